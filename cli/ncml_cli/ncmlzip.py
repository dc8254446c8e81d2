"""`ncmlzip`: compress images without loss, and get the same pixels back."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncml_cli.bundle import bundle, unbundle
from ncml_cli.report import attempt, failing_cleanly, report
from ncml_cli.score import score
from ncml_cli.targets import SUFFIX, plan, restored_name
from ncml_codec.errors import UsageError

if TYPE_CHECKING:
    from ncml_cli import jobs

Paths = tuple[Path, ...]


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


main.add_command(bundle)
main.add_command(score)
main.add_command(unbundle)


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
        click.option(
            "--device", help="With --engine torch: cpu, cuda or auto, images of one size together."
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


def _level_options(command: Callable[..., None]) -> Callable[..., None]:
    said = {
        1: "Fastest: the network stays as it is.",
        5: "The default: its heads learn from the image (-2 to -4 are the same).",
        6: "With three learning rates tried; -7: with five.",
        8: "The whole network learns.",
        9: "Smallest: several rates tried, the whole network learning.",
    }
    for level in reversed(range(1, 10)):
        option = click.option(
            f"-{level}",
            "level",
            flag_value=level,
            type=int,
            default=None,
            help=said.get(level),
            hidden=level not in said,
        )
        command = option(command)
    return command


@main.command()
@_files
@_output_options
@_effort_options
@click.option("--no-check", is_flag=True, help="Do not decode the result to check it.")
@_level_options
@failing_cleanly
def compress(
    files: Paths,
    output: Path | None,
    folder: Path | None,
    force: bool,
    remove: bool,
    no_check: bool,
    level: int | None,
    **settings: Any,
) -> None:
    """Compress images: img.png becomes img.png.ncmz.

    8-bit grey and RGB, from PNG, WebP (lossless), BMP, TIFF, PPM and PGM. Every file is decoded
    again and compared before it is written.
    """
    from ncml_cli import batch, jobs
    from ncml_codec import levels, library

    if remove and no_check:
        raise UsageError("--rm needs the check: leave out --no-check")
    targets = plan(files, output, folder, lambda name: name + SUFFIX)
    found = _settings(settings)
    level = levels.DEFAULT if level is None else level
    model = library.load(found.model or levels.at(level).model)
    if found.device is not None and level != 1:
        raise UsageError("--device codes images together, whose networks cannot learn: add -1")
    batch.run(jobs.Compress(found, model, force, remove, not no_check, level), targets, files)


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
    from ncml_cli import batch, jobs

    targets = plan(files, output, folder, restored_name)
    found = _settings(settings)
    batch.run(jobs.Decompress(found, found.models(), force, remove), targets, files)


@main.command()
@_files
@_effort_options
@failing_cleanly
def test(files: Paths, **settings: Any) -> None:
    """Decode files and check every checksum; write nothing."""
    from ncml_cli import batch, jobs

    found = _settings(settings)
    batch.run(jobs.Test(found, found.models()), {file: file for file in files}, files)


@main.command()
@_files
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each file.")
@click.option("-m", "--model", help="A model file to look the identity up in.")
@failing_cleanly
def info(files: Paths, as_json: bool, model: str | None) -> None:
    """Say what files hold, without decoding pixels; checksums of all sections are checked."""
    from ncml_cli import jobs
    from ncml_codec import library
    from ncml_codec.files import read_file

    extra = [library.load(model)] if model else []
    found: list[dict[str, Any]] = []

    def one(source: Path) -> str:
        facts = jobs.about(source, lambda: _facts(source, read_file(source), extra))
        found.append(facts)
        if not as_json:
            click.echo("\n".join(f"{key + ':':22}{value}" for key, value in facts.items()))
            click.echo()
        return ""

    try:
        report(files, (attempt(functools.partial(one, source)) for source in files))
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


def _settings(options: dict[str, Any]) -> jobs.Settings:
    from ncml_cli import jobs

    if options["device"] is not None and options["engine"] != "torch":
        raise UsageError("--device is for the torch engine: add --engine torch")
    threads = options.pop("threads") or os.cpu_count() or 1
    return jobs.Settings(threads=threads, **options)


def _facts(source: Path, data: bytes, extra: list[Any]) -> dict[str, Any]:
    from ncml_codec import engines, library, png
    from ncml_codec.container import read_container
    from ncml_codec.errors import UnknownModel
    from ncml_codec.strength import describe

    container = read_container(data)
    header = container.header
    try:
        found, model = library.find(header.identity, extra)
        name = found or "given with -m"
        engine = str(engines.load("auto", model.network, os.cpu_count() or 1))
    except UnknownModel:
        name, engine = "not at hand", "none"
    samples = header.width * header.height * header.planes
    chunks = [kind.decode("latin-1") for kind, _ in png.unpack_chunks(container.metadata)]
    return {
        "file": str(source),
        "width": header.width,
        "height": header.height,
        "kind": "8-bit RGB" if header.planes == 3 else "8-bit grey",
        "model": name,
        "model_identity": header.identity.hex(),
        "adaptation": ", ".join(sorted({describe(tile.adaptation) for tile in container.tiles})),
        "engine_here": engine,
        "bytes": len(data),
        "raw_bytes": samples,
        "bits_per_sub_pixel": round(8 * len(data) / samples, 4),
        "tiles": len(container.tiles),
        "payload_bytes": sum(len(tile.payload) for tile in container.tiles),
        "metadata_bytes": len(container.metadata),
        "metadata": [kind for kind in chunks if kind != "IDAT"],
    }


if __name__ == "__main__":
    main()
