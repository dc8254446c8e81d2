"""What `ncmlzip` does with one file: compress, decompress or test it. See `batch` for many.

A job is what holds for all files of one call, its model loaded. It can be sent to another process;
what it would say to the user it returns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from ncml_cli.targets import free_target, remove_input
from ncml_codec import codec, engines, library, readers
from ncml_codec.codec import Effort
from ncml_codec.container import read_header
from ncml_codec.errors import NcmlError
from ncml_codec.files import Written, read_file, write_atomically
from ncml_codec.model import Model
from ncml_codec.pixels import Samples, encode_parts

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

SMALL = 1 << 21  # pixels up to which an image is one process's: at most a few seconds
_LONG = 500_000  # pixels from which a terminal gets a progress bar
_HEAD = 1 << 12  # bytes that hold the header of any small image's file

Target = Path | NcmlError
Rest = Callable[[], str]
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """model: as given, None for the default; threads: for all files together; device: of the torch
    engine, for images together; None for one image after the other."""

    model: str | None
    engine: str
    threads: int
    quiet: bool
    verbose: bool
    device: str | None = None

    def models(self) -> list[Model]:
        """The model that was given, if one was. Raises UsageError, InputError or FormatError."""
        return [library.load(self.model)] if self.model else []

    def message(self, line: str, more: str) -> str:
        """What is said of a file; nothing if the user wants none."""
        return "" if self.quiet else line + (f", {more}" if self.verbose and more else "")


class Job(Protocol):
    """Work on one file after the other."""

    @property
    def settings(self) -> Settings: ...

    def pixels(self, source: Path) -> int | None:
        """The size of the image, by a look at the file's beginning; None if that does not tell."""
        ...

    def start(self, source: Path, target: Target, threads: int, bar: bool) -> Rest:
        """Compute; what is left to do, which writes the output and returns the message.

        Only the output of a small image waits for that. target: from `targets.plan`; bar: whether
        there may be one. Raises NcmlError.
        """
        ...


@dataclass(frozen=True)
class Compress:
    """An image to a `.ncmz` file."""

    settings: Settings
    model: Model
    force: bool
    remove: bool
    check: bool
    level: int

    def pixels(self, source: Path) -> int | None:
        return readers.size_of(source)

    def start(self, source: Path, target: Target, threads: int, bar: bool) -> Rest:
        path = free_target(source, target, self.force)
        started = time.perf_counter()
        picture = readers.open_image(source)
        passes = 2 if self.check else 1
        pixels = picture.width * picture.height
        with _effort(self.settings, threads, bar, pixels * passes, source) as effort:
            data = codec.encode(picture, self.model, effort, level=self.level)
            if self.check:
                codec.verify(data, picture, self.model, effort)
        more = f"{time.perf_counter() - started:.2f} s, {_engine(effort, self.model)}"
        return partial(self.finish, source, path, data, pixels * picture.planes, more)

    def finish(self, source: Path, path: Path, data: bytes, samples: int, more: str) -> str:
        """Write the file, remove the input if it is not to be kept; the message.

        samples: how many the image has.
        """
        before = source.stat().st_size
        written = write_atomically(path, data, replace=self.force)
        if self.remove:
            remove_input(source, path, written)
        return self.settings.message(
            f"{source} -> {path}: {before} -> {len(data)} bytes"
            f" ({100 * len(data) / max(before, 1):.1f} %),"
            f" {8 * len(data) / samples:.3f} bits per sub-pixel",
            f"{more}, {'checked' if self.check else 'not checked'}",
        )


@dataclass(frozen=True)
class Decompress:
    """A `.ncmz` file to an image. models: looked at before the released ones."""

    settings: Settings
    models: Sequence[Model]
    force: bool
    remove: bool

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: bool) -> Rest:
        path = free_target(source, target, self.force)
        started = time.perf_counter()
        data = read_file(source)
        with _effort(self.settings, threads, bar, _coded_pixels(source), source) as effort:
            opened = about(source, lambda: codec.open_file(data, self.models, effort))
            header = opened.header
            shape = (header.height, header.width, header.planes)
            bands = _bands_about(source, opened.bands)
            parts = encode_parts(shape, opened.chunks, bands, str(path))
            small = header.width * header.height <= SMALL
            # Parts are computed as they are asked for.
            written = None if small else write_atomically(path, parts, replace=self.force)
            data = b"".join(parts)
        size = f"{header.width} x {header.height}"
        more = f"{time.perf_counter() - started:.2f} s, {_engine(effort, opened.model)}"
        return partial(self.finish, source, path, written or data, size, more)

    def finish(self, source: Path, path: Path, data: bytes | Written, size: str, more: str) -> str:
        """Write the image if it is not, remove the input if it is not to be kept; the message."""
        if isinstance(data, bytes):
            data = write_atomically(path, data, replace=self.force)
        if self.remove:
            remove_input(source, path, data)
        return self.settings.message(f"{source} -> {path}: {size}", more)


@dataclass(frozen=True)
class Test:
    """Decode a `.ncmz` file and check every checksum."""

    settings: Settings
    models: Sequence[Model]

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: bool) -> Rest:
        del target
        started = time.perf_counter()
        data = read_file(source)
        with _effort(self.settings, threads, bar, _coded_pixels(source), source) as effort:
            opened = about(source, lambda: codec.open_file(data, self.models, effort))
            for _ in _bands_about(source, opened.bands):
                pass
        seconds = time.perf_counter() - started
        message = self.settings.message(
            f"{source}: sound, {opened.header.width} x {opened.header.height}",
            f"{seconds:.2f} s, {_engine(effort, opened.model)}",
        )
        return lambda: message


@contextmanager
def _effort(
    settings: Settings, threads: int, bar: bool, pixels: int | None, source: Path
) -> Iterator[Effort]:
    """How to compute; with a progress bar on a terminal if there is much to do."""
    effort = Effort(settings.engine, threads)
    if not bar or settings.quiet or (pixels or 0) < _LONG or not sys.stderr.isatty():
        yield effort
        return
    made: ProgressBar[int] = click.progressbar(length=pixels, label=str(source), file=sys.stderr)
    with made as shown:
        yield replace(effort, progress=shown.update)


def _engine(effort: Effort, model: Model) -> str:
    """The engine and how it computes; if `auto` is not the native one, why."""
    name = str(engines.load(effort.engine, model.network, effort.threads))
    missing = engines.why_not_native() if effort.engine == "auto" else None
    return f"engine {name} (not native: {missing})" if missing else f"engine {name}"


def _coded_pixels(source: Path) -> int | None:
    """Pixels of a `.ncmz` file; None if its beginning does not say, which decoding reports."""
    try:
        with source.open("rb") as file:
            header = read_header(file.read(_HEAD))
    except (NcmlError, OSError):
        return None
    return header.width * header.height


def about(source: Path, action: Callable[[], T]) -> T:
    """The action's result; its errors name the file."""
    try:
        return action()
    except NcmlError as error:
        raise type(error)(f"{source}: {error}") from error


def _bands_about(source: Path, bands: Iterator[Samples]) -> Iterator[Samples]:
    """The bands; the errors of decoding them name the file."""
    while (band := about(source, lambda: next(bands, None))) is not None:
        yield band
