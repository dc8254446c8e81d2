"""What `ncmlzip` does with one file: compress, decompress or test it. See `batch` for many.

A job is what holds for all files of one call, the user's model loaded. It can be sent to another
process; what it would say to the user it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ncml_cli.report import Done, NotKept
from ncml_cli.zip.settings import Settings, engine_of
from ncml_cli.zip.targets import Target, free_target, image_name, names_no_format
from ncml_codec.atomic_files import FileState, InputFile, remove, write_atomically
from ncml_codec.decode import image_decoder, jpeg_decoder, memory, tile_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.image_decoder import Opened
from ncml_codec.encode import image_encoder, jpeg_encoder, levels
from ncml_codec.errors import BeyondLimit, FormatError, InputError, NcmlError, UnknownModel
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import is_kept
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks, row_readers
from ncml_codec.picture.image_files import (
    WRITABLE,
    admit_all,
    encode_parts,
    not_held,
    written_bytes,
)
from ncml_codec.picture.picture import Samples, Source

if TYPE_CHECKING:
    from ncml_cli.meter import Meter
    from ncml_codec.decode.region import Region
    from ncml_codec.decode.salvage import Loss, Salvaged

SMALL = 1 << 21  # pixels up to which an image is one process's: at most a few seconds
_HEAD = 1 << 12  # bytes that hold the header of any small image's file

Rest = Callable[[], Done]
T = TypeVar("T")


class Job(Protocol):
    """Work on one file after the other."""

    @property
    def settings(self) -> Settings: ...

    def pixels(self, source: Path) -> int | None:
        """The size of the image, by a look at the file's beginning; None if that does not tell."""
        ...

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        """Compute; what is left to do, which writes the output and says what was done.

        Only the output of a small image waits for that. target: from `targets.plan`; bar:
        hears of the work, if there is one. Raises NcmlError.
        """
        ...


@dataclass(frozen=True)
class Compress:
    """An image to a `.ncmz` file.

    model: None for the level's own; strip: leave metadata out, see `row_readers.stripped`, and
    remove inputs that hold what is not kept; decoded: take lossy files for the pixels that they
    decode to; preview_side: see `preview.with_preview`.
    """

    settings: Settings
    model: Model | None
    force: bool
    remove: bool
    check: bool
    level: int
    strip: bool = False
    decoded: bool = False
    preview_side: int | None = None

    def pixels(self, source: Path) -> int | None:
        return row_readers.size_of(source)

    def opened(self, file: InputFile) -> Source:
        """The image as it is to be kept. Raises InputError."""
        most = self.settings.memory
        admit = (
            partial(image_encoder.check_memory, most, self.level, self.model) if most else admit_all
        )
        limit, decoded = self.settings.max_pixels, self.decoded
        picture = about(file.path, lambda: row_readers.open_image(file, limit, decoded, admit))
        return row_readers.stripped(picture) if self.strip else picture

    def network(self) -> Model:
        """A model that may be taken: all of a level are for the same engine."""
        return levels.of_level(self.level, self.model)[0][0][0]

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        path = free_target(source, target, self.force)
        started = time.perf_counter()
        with InputFile(source) as file:
            if not self.decoded and jpeg_encoder.is_jpeg(file):
                return self._start_jpeg(file, path, threads, bar)
            picture = self.opened(file)
            passes = 2 if self.check else 1
            pixels = picture.width * picture.height
            with self.settings.effort(threads, bar, pixels * passes, source) as effort:
                how = (self.model, effort, self.level, self.preview_side)
                data = about(source, lambda: image_encoder.encode(picture, *how))
                if self.check:
                    about(source, lambda: image_encoder.verify(data, picture, self.model, effort))
                not_kept = picture.not_kept
        more = f"{time.perf_counter() - started:.2f} s, {engine_of(effort, self.network())}"
        samples = pixels * picture.planes
        return partial(self.finish, source, file.state, path, data, samples, more, not_kept)

    def _start_jpeg(self, file: InputFile, path: Path, threads: int, bar: Meter | None) -> Rest:
        """Of a JPEG file, which comes back byte for byte: see `start`."""
        source, started = file.path, time.perf_counter()
        _check_size(source, file.status.st_size, self.settings)
        data = file.read()
        with self.settings.effort(threads, bar, 0, source) as effort:
            most = self.settings.max_pixels
            how = (None, effort, self.level, most, self.strip, self.preview_side)
            made = about(source, lambda: jpeg_encoder.encode(data, *how))
            if self.check:
                about(source, lambda: jpeg_encoder.verify(made, None, effort))
        more = f"{time.perf_counter() - started:.2f} s, {made.kept_whole or 'by its coefficients'}"
        facts: dict[str, Any] = {"kept": "whole" if made.kept_whole else "coefficients"}
        if made.kept_whole:
            facts["reason"] = made.kept_whole
        left_out = [f"{kind} ({length} bytes)" for kind, length in made.left_out.items()]
        if left_out:
            more += "; another JPEG file will come back, without what is not kept"
        done = (source, file.state, path, made.data, None, more, left_out, facts)
        return partial(self.finish, *done)

    def finish(
        self,
        source: Path,
        read: FileState,
        path: Path,
        data: bytes,
        samples: int | None,
        more: str,
        not_kept: Sequence[str],
        own: Mapping[str, Any] = MappingProxyType({}),
    ) -> Done:
        """Write the file, remove the input if it is not to be kept.

        read: the input as it was read; samples: how many the image has, None for a JPEG file;
        not_kept: as of `picture.Picture`; own: further facts. Raises NotKept after writing if the
        input holds more than may be lost, and keeps it.
        """
        before = read.size
        written = write_atomically(path, data, replace=self.force, like=read.status)
        bits = 8 * len(data) / samples if samples else None
        facts = {
            "output": str(path),
            "input_bytes": before,
            "output_bytes": len(data),
            **({"bits_per_sub_pixel": round(bits, 4)} if bits else {}),
            "checked": self.check,
            "not_kept": list(not_kept),
            **own,
        }
        if self.remove:
            if not self.strip:
                _check_kept(source, path, not_kept, facts)
            remove(source, read, path, written)
        return Done(
            f"{source} -> {path}: {before} -> {len(data)} bytes"
            f" ({100 * len(data) / max(before, 1):.1f} %)"
            + (f", {bits:.3f} bits per sub-pixel" if bits else ", a JPEG file"),
            f"{more}, {'checked' if self.check else 'not checked'}",
            facts,
            _warning(source, not_kept),
        )


@dataclass(frozen=True)
class Decompress:
    """A `.ncmz` file to an image.

    models: looked at before the released ones. keep_going: write what is left of a damaged file.
    part: write this part of the image alone. suffix: of the format to write; None for the name's.
    strip: as of `Compress`.
    """

    settings: Settings
    models: Sequence[Model]
    force: bool
    remove: bool
    keep_going: bool = False
    part: Region | None = None
    suffix: str | None = None
    strip: bool = False

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        path = free_target(source, target, self.force)
        with InputFile(source) as file:
            _check_size(source, file.status.st_size, self.settings)
            data = file.read()
        read = file.state
        if is_kept(data) and not self.part and path.suffix.lower() not in WRITABLE:
            try:
                return self._start_jpeg(source, read, data, path, threads, bar)
            except FormatError as error:
                if not self.keep_going or isinstance(error, BeyondLimit | UnknownModel):
                    raise
            # The plan of the call does not know this output, so it must not replace any file.
            path = free_target(source, path.with_name(f"{path.name}.png"), force=False)
            return replace(self, force=False)._start_pixels(source, read, data, path, threads, bar)
        return self._start_pixels(source, read, data, path, threads, bar)

    def _start_pixels(
        self,
        source: Path,
        read: FileState,
        data: bytes,
        path: Path,
        threads: int,
        bar: Meter | None,
    ) -> Rest:
        """The image, or a part or what is left of it: see `start`."""
        started, of_jpeg = time.perf_counter(), is_kept(data) and not self.part
        salvaged = None
        with self.settings.effort(threads, bar, _coded_pixels(source), source) as effort:
            if self.keep_going:
                salvaged = about(source, lambda: _salvage(data, self, effort))
                opened = salvaged.opened
            else:
                opened = about(source, lambda: _open(data, self, effort))
            bands = _bands_about(source, opened.bands)
            chunks = png_chunks.needed(opened.chunks) if self.strip else opened.chunks
            pixels = opened.width * opened.height
            held = len(data) + written_bytes(pixels, opened.kind, str(path))
            _check_size(source, held, self.settings)
            parts = encode_parts(opened.shape, chunks, bands, str(path), opened.kind)
            small = pixels <= SMALL
            # Parts are computed as they are asked for.
            written = (
                None
                if small
                else write_atomically(path, parts, replace=self.force, like=read.status)
            )
            data = b"".join(parts)
        size = f"{opened.width} x {opened.height}"
        more = f"{time.perf_counter() - started:.2f} s, {engine_of(effort, opened.model)}"
        losses = salvaged.losses if salvaged else []
        lost = not_held(chunks, opened.kind, str(path))
        if of_jpeg:
            lost = ["the JPEG file, of which these are the pixels", *lost]
        return partial(self.finish, source, read, path, written or data, size, more, lost, losses)

    def _start_jpeg(
        self,
        source: Path,
        read: FileState,
        data: bytes,
        path: Path,
        threads: int,
        bar: Meter | None,
    ) -> Rest:
        """The very JPEG file: see `start`."""
        if self.strip:
            raise InputError(
                f"{source}: a JPEG file comes back as it was; give --strip to compress"
            )
        started = time.perf_counter()
        with self.settings.effort(threads, bar, 0, source) as effort:
            found, size = _restored(source, data, self.settings, effort)
        more = f"{time.perf_counter() - started:.2f} s"
        return partial(self.finish, source, read, path, found, f"{size}, a JPEG file", more)

    def finish(
        self,
        source: Path,
        read: FileState,
        path: Path,
        data: bytes | FileState,
        size: str,
        more: str,
        not_kept: Sequence[str] = (),
        losses: Sequence[Loss] = (),
    ) -> Done:
        """Write the image if it is not, remove the input if it is not to be kept.

        read: the input as it was read; not_kept: what the image's format cannot hold. Raises
        FormatError after writing if tiles are lost, and NotKept as `Compress.finish` does; both
        keep the input.
        """
        if isinstance(data, bytes):
            data = write_atomically(path, data, replace=self.force, like=read.status)
        if losses:
            from ncml_codec.decode import salvage

            raise FormatError(
                f"{source}: damaged: {salvage.summary(losses)}. What is left is in {path}, lost"
                f" pixels in grey ({tile_decoder.LOST}); {source} is kept"
                + (f"; not kept: {', '.join(not_kept)}" if not_kept else "")
            )
        facts = {
            "output": str(path),
            "input_bytes": read.size,
            "output_bytes": data.size,
            "size": size,
            "not_kept": list(not_kept),
        }
        if self.remove:
            if not self.strip:
                _check_kept(source, path, not_kept, facts)
            remove(source, read, path, data)
        is_fallback = (
            self.suffix is None
            and names_no_format(source)
            and path.name == image_name(source, part=self.part)
        )
        note = ", as PNG, since the name has no suffix of a lossless format" if is_fallback else ""
        return Done(f"{source} -> {path}: {size}{note}", more, facts, _warning(source, not_kept))


@dataclass(frozen=True)
class Test:
    """Decode a `.ncmz` file and check every checksum; name all that is damaged."""

    settings: Settings
    models: Sequence[Model]

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        if isinstance(target, NcmlError):
            raise target
        started = time.perf_counter()
        with InputFile(source) as file:
            _check_size(source, file.status.st_size, self.settings)
            data = file.read()
        with self.settings.effort(threads, bar, _coded_pixels(source), source) as effort:
            if is_kept(data):
                _, size = _restored(source, data, self.settings, effort)
                more = f"{time.perf_counter() - started:.2f} s"
                return partial(self.finish, source, len(data), f"{size}, a JPEG file", more)
            salvaged = about(source, lambda: _salvage(data, self, effort))
            opened = salvaged.opened
            for _ in _bands_about(source, opened.bands):
                pass
        if salvaged.losses:
            from ncml_codec.decode import salvage

            raise FormatError(f"{source}: {salvage.summary(salvaged.losses)}")
        size = f"{opened.width} x {opened.height}"
        more = f"{time.perf_counter() - started:.2f} s, {engine_of(effort, opened.model)}"
        return partial(self.finish, source, len(data), size, more)

    def finish(self, source: Path, length: int, size: str, more: str) -> Done:
        """What is said of a sound file of so many bytes."""
        return Done(f"{source}: sound, {size}", more, {"input_bytes": length, "size": size})


def _check_kept(
    source: Path, path: Path, not_kept: Sequence[str], facts: Mapping[str, Any]
) -> None:
    """Raise NotKept if the input holds what its output does not. facts: of the output."""
    if not_kept:
        raise NotKept(
            f"{source}: {path} is written, but {source} stays, since these would be lost:"
            f" {', '.join(not_kept)}; --strip lets them go",
            facts,
        )


def _warning(source: Path, not_kept: Sequence[str]) -> str:
    return f"{source}: not kept: {', '.join(not_kept)}" if not_kept else ""


def _check_size(source: Path, held: int, settings: Settings) -> None:
    """Raise BeyondLimit if so many bytes in memory are more than --memory allows."""
    about(source, lambda: memory.check(settings.memory, held))


def _restored(source: Path, data: bytes, settings: Settings, effort: Effort) -> tuple[bytes, str]:
    """The JPEG file in a `.ncmz` file's bytes, and the size of its image in words."""
    most, work = settings.max_pixels, settings.max_work
    kept = about(source, lambda: read_directory(data, most).kept)
    assert kept is not None
    found = about(source, lambda: jpeg_decoder.restore(kept, data, (), effort, most, work))
    return found, f"{kept.width} x {kept.height}"


def _open(data: bytes, job: Decompress | Test, effort: Effort) -> Opened:
    most, work = job.settings.max_pixels, job.settings.max_work
    if isinstance(job, Decompress) and job.part:
        from ncml_codec.decode import region

        return region.open_file(data, job.part, job.models, effort, most, work)
    return image_decoder.open_file(data, job.models, effort, most, work)


def _salvage(data: bytes, job: Decompress | Test, effort: Effort) -> Salvaged:
    from ncml_codec.decode import salvage

    most, work = job.settings.max_pixels, job.settings.max_work
    return salvage.open_file(data, job.models, effort, most, work)


def _coded_pixels(source: Path) -> int | None:
    """Pixels of a `.ncmz` file; None if its beginning does not say, which decoding reports."""
    try:
        if not source.is_file():
            return None
        with source.open("rb") as file:
            header = image_decoder.read_header(file.read(_HEAD))
    except (NcmlError, OSError):
        return None
    return header.width * header.height


def about(source: Path, action: Callable[[], T]) -> T:
    """The action's result; its errors name the file."""
    try:
        return action()
    except NcmlError as error:
        if str(error).startswith(f"{source}: "):
            raise
        raise type(error)(f"{source}: {error}") from error


def _bands_about(source: Path, bands: Iterator[Samples]) -> Iterator[Samples]:
    """The bands; the errors of decoding them name the file."""
    while (band := about(source, lambda: next(bands, None))) is not None:
        yield band
