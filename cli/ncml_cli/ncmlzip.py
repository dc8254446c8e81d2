"""`ncmlzip`: compress images without loss, and get the same pixels back."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.targets import SUFFIX, free_target, plan, remove_input, restored_name
from ncml_codec.errors import NcmlError, UsageError
from ncml_codec.files import read_file, write_atomically

if TYPE_CHECKING:
    from ncml_codec.codec import Effort
    from ncml_codec.pixels import Picture

_LONG = 500_000  # pixels from which a terminal gets a progress bar

Paths = tuple[Path, ...]
T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
def main() -> None:
    """Lossless image compression by autoregressive networks.

    \b
    ncmlzip compress photo.png          writes photo.png.ncmz, checked by decoding it
    ncmlzip decompress photo.png.ncmz   writes photo.png, the same pixels
    ncmlzip test *.ncmz                 decodes and checks, writes nothing
    ncmlzip info photo.png.ncmz         what the file holds
    """


def _files(command: Callable[..., None]) -> Callable[..., None]:
    argument = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
    return argument(command)


def _effort_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Say more about each file."),
        click.option("-q", "--quiet", is_flag=True, help="Errors only."),
        click.option(
            "--threads", type=click.IntRange(1), help="Threads, over tiles and within them."
        ),
        click.option("--engine", default="auto", help="auto, native, numpy or torch: same bytes."),
        click.option("-m", "--model", help="A released model's name, or a model file."),
    ):
        command = option(command)
    return command


def _output_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--rm", "remove", is_flag=True, help="Remove the input after success."),
        click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
        click.option(
            "-O", "--output-dir", "folder", type=click.Path(path_type=Path), help="Write here."
        ),
        click.option(
            "-o", "--output", type=click.Path(path_type=Path), help="Output, for one input."
        ),
    ):
        command = option(command)
    return command


@main.command()
@_files
@_output_options
@_effort_options
@click.option("--no-check", is_flag=True, help="Do not decode the result to check it.")
@failing_cleanly
def compress(
    files: Paths,
    output: Path | None,
    folder: Path | None,
    force: bool,
    remove: bool,
    no_check: bool,
    **settings: Any,
) -> None:
    """Compress images: img.png becomes img.png.ncmz.

    8-bit grey and RGB, from PNG, WebP (lossless), BMP, TIFF, PPM and PGM. Every file is decoded
    again and compared before it is written.
    """
    from ncml_codec import codec, library
    from ncml_codec.pixels import decode_file

    if remove and no_check:
        raise UsageError("--rm needs the check: leave out --no-check")
    session = _Session.of(settings)
    model = library.load(session.model or library.DEFAULT)
    targets = plan(files, output, folder, lambda name: name + SUFFIX)

    def one(source: Path) -> None:
        target = free_target(source, targets[source], force)
        started = time.perf_counter()
        original = read_file(source)
        picture = decode_file(original, str(source))
        passes = 1 if no_check else 2
        with session.effort(picture.width * picture.height * passes, source) as effort:
            data = codec.encode(picture, model, effort)
            if not no_check:
                codec.verify(data, picture, model, effort)
        write_atomically(target, data, replace=force)
        if remove:
            remove_input(source, target, data)
        seconds = time.perf_counter() - started
        session.say(
            f"{source} -> {target}: {_ratio(len(original), len(data))},"
            f" {_bpsp(len(data), picture):.3f} bits per sub-pixel",
            f"{seconds:.2f} s, engine {session.engine_name(model)}"
            f"{', not checked' if no_check else ', checked'}",
        )

    _each(files, one)


@main.command()
@_files
@_output_options
@_effort_options
@failing_cleanly
def decompress(
    files: Paths,
    output: Path | None,
    folder: Path | None,
    force: bool,
    remove: bool,
    **settings: Any,
) -> None:
    """Restore images: img.png.ncmz gives img.png back.

    The suffix of the output's name chooses its format: png, webp, bmp, tif, ppm or pgm.
    """
    from ncml_codec import codec
    from ncml_codec.pixels import encode_file

    session = _Session.of(settings)
    targets = plan(files, output, folder, restored_name)

    def one(source: Path) -> None:
        target = free_target(source, targets[source], force)
        started = time.perf_counter()
        data = read_file(source)
        with session.effort(_pixels(data), source) as effort:
            picture = _about(source, lambda: codec.decode(data, session.models(), effort))
        restored = encode_file(picture, str(target))
        write_atomically(target, restored, replace=force)
        if remove:
            remove_input(source, target, restored)
        seconds = time.perf_counter() - started
        session.say(f"{source} -> {target}: {picture.width} x {picture.height}", f"{seconds:.2f} s")

    _each(files, one)


@main.command()
@_files
@_effort_options
@failing_cleanly
def test(files: Paths, **settings: Any) -> None:
    """Decode files and check every checksum; write nothing."""
    from ncml_codec import codec

    session = _Session.of(settings)

    def one(source: Path) -> None:
        data = read_file(source)
        with session.effort(_pixels(data), source) as effort:
            picture = _about(source, lambda: codec.decode(data, session.models(), effort))
        session.say(f"{source}: sound, {picture.width} x {picture.height}", "")

    _each(files, one)


@main.command()
@_files
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each file.")
@click.option("-m", "--model", help="A model file to look the identity up in.")
@failing_cleanly
def info(files: Paths, as_json: bool, model: str | None) -> None:
    """Say what files hold, without decoding pixels; checksums of all sections are checked."""
    from ncml_codec import library

    extra = [library.load(model)] if model else []
    found: list[dict[str, Any]] = []

    def one(source: Path) -> None:
        facts = _about(source, lambda: _facts(source, read_file(source), extra))
        found.append(facts)
        if not as_json:
            click.echo("\n".join(f"{key + ':':22}{value}" for key, value in facts.items()))
            click.echo()

    try:
        _each(files, one)
    finally:
        if as_json:
            click.echo(json.dumps(found, indent=2))


@main.command()
@failing_cleanly
def models() -> None:
    """List the models that ship with this program."""
    from ncml_codec import library

    for name in library.released():
        model = library.load(name)
        default = " (default)" if name == library.DEFAULT else ""
        click.echo(
            f"{name}{default}: {model.network.multiply_adds()} multiply-adds a pixel,"
            f" identity {model.identity.hex()}"
        )


@dataclass
class _Session:
    """What holds for all files of one call."""

    model: str | None
    engine: str
    threads: int
    quiet: bool
    verbose: bool

    @classmethod
    def of(cls, settings: dict[str, Any]) -> _Session:
        threads = settings.pop("threads") or os.cpu_count() or 1
        return cls(threads=threads, **settings)

    def models(self) -> list[Any]:
        from ncml_codec import library

        return [library.load(self.model)] if self.model else []

    def engine_name(self, model: Any) -> str:
        """The engine and how it computes; if `auto` is not the native one, why."""
        from ncml_codec import engines

        name = str(engines.load(self.engine, model.network, self.threads))
        missing = engines.why_not_native() if self.engine == "auto" else None
        return f"{name} (not native: {missing})" if missing else name

    @contextmanager
    def effort(self, pixels: int, source: Path) -> Iterator[Effort]:
        """How to compute; with a progress bar on a terminal if there is much to do."""
        from ncml_codec.codec import Effort

        if self.quiet or pixels < _LONG or not sys.stderr.isatty():
            yield Effort(self.engine, self.threads)
            return
        with click.progressbar(length=pixels, label=str(source), file=sys.stderr) as bar:
            yield Effort(self.engine, self.threads, bar.update)

    def say(self, line: str, more: str) -> None:
        if not self.quiet:
            click.echo(line + (f", {more}" if self.verbose and more else ""), err=True)


def _each(files: Paths, one: Callable[[Path], None]) -> None:
    """Do every file whatever happens to the others; exit 1 if any failed (one alone: its code)."""
    failures = []
    for source in files:
        try:
            one(source)
        except NcmlError as error:
            click.echo(f"ncmlzip: {error}", err=True)
            failures.append(error)
    if failures:
        sys.exit(failures[0].exit_code if len(files) == 1 else 1)


def _pixels(data: bytes) -> int:
    """Pixels of a file for the progress bar; 0 if its header is unsound, which decoding reports."""
    from ncml_codec.container import read_header

    try:
        header = read_header(data)
    except NcmlError:
        return 0
    return header.width * header.height


def _about(source: Path, action: Callable[[], T]) -> T:
    """The action's result; its errors name the file."""
    try:
        return action()
    except NcmlError as error:
        raise type(error)(f"{source}: {error}") from error


def _facts(source: Path, data: bytes, extra: list[Any]) -> dict[str, Any]:
    from ncml_codec import library, png
    from ncml_codec.container import read_container
    from ncml_codec.errors import UnknownModel

    container = read_container(data)
    header = container.header
    try:
        name = library.find(header.identity, extra)[0] or "given with -m"
    except UnknownModel:
        name = "not at hand"
    samples = header.width * header.height * header.planes
    chunks = [kind.decode("latin-1") for kind, _ in png.unpack_chunks(container.metadata)]
    return {
        "file": str(source),
        "width": header.width,
        "height": header.height,
        "kind": "8-bit RGB" if header.planes == 3 else "8-bit grey",
        "model": name,
        "model_identity": header.identity.hex(),
        "adaptation": "static" if header.adaptation == 0 else header.adaptation,
        "bytes": len(data),
        "raw_bytes": samples,
        "bits_per_sub_pixel": round(8 * len(data) / samples, 4),
        "tiles": len(container.tiles),
        "payload_bytes": sum(len(tile.payload) for tile in container.tiles),
        "metadata_bytes": len(container.metadata),
        "metadata": [kind for kind in chunks if kind != "IDAT"],
    }


def _ratio(before: int, after: int) -> str:
    return f"{before} -> {after} bytes ({100 * after / max(before, 1):.1f} %)"


def _bpsp(size: int, picture: Picture) -> float:
    return 8 * size / picture.samples.size


if __name__ == "__main__":
    main()
