"""`ncmlzip`: compress images without loss, and get the same pixels back."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ncml_cli.report import Done, Outcome, Speech, attempt, failing_cleanly, report, shown
from ncml_cli.zip import options
from ncml_cli.zip.bundle import bundle, unbundle
from ncml_cli.zip.inputs import PIPE
from ncml_cli.zip.integrate import integrate
from ncml_cli.zip.preview import preview
from ncml_cli.zip.score import score
from ncml_codec.errors import UsageError


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Say the version and the engine, and leave."""
    if not asked or context.resilient_parsing:
        return
    import ncml_codec
    from ncml_codec import engines

    missing = engines.why_not_native()
    engine = f"numpy engine: {missing}" if missing else "native engine"
    click.echo(f"ncmlzip, version {ncml_codec.__version__}, {engine}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and the engine, and exit.",
)
def main() -> None:
    """Lossless image compression by autoregressive networks.

    \b
    ncmlzip compress photo.png          writes photo.png.ncmz, checked by decoding it
    ncmlzip decompress photo.png.ncmz   writes photo.png, the same pixels
    ncmlzip test *.ncmz                 decodes and checks, writes nothing
    ncmlzip info photo.png.ncmz         what the file holds
    ncmlzip preview photo.png.ncmz -o small.png

    \b
    ncmlzip compress -r photos/ -O archive --mirror --skip-existing
    ncmlzip test -r archive/
    ncmlzip compress < photo.png | ssh host 'cat > photo.png.ncmz'
    find . -name '*.png' -mtime +30 -print0 | ncmlzip compress --rm --files-from -

    Inputs are kept unless --rm is given, outputs are not replaced unless -f is. Permissions and
    times of files are kept. A file that fails does not stop the others. What is said goes to
    standard error. `ncmlzip COMMAND --help` tells the rest.

    \b
    Exit codes, for one file: 0 all is well, or the file was skipped; 1 it cannot be
    read or written, is of a kind that is not handled, or its model is missing; 2 usage;
    3 decoding gave something else (a bug; nothing was written); 4 a damaged file. For
    several files, -r or --files-from: 1 if any of them failed.
    Interrupted (SIGINT, SIGTERM, SIGHUP): 130; no output is half-written.
    """


main.add_command(bundle)
main.add_command(integrate)
main.add_command(preview)
main.add_command(score)
main.add_command(unbundle)


@main.command()
@options.inputs
@options.outputs
@click.option(
    "--strip",
    is_flag=True,
    help="Leave out metadata that no colour depends on, and whatever else is not kept. Of a JPEG"
    " file another one of the same pixels comes back.",
)
@click.option("--no-check", is_flag=True, help="Do not decode the result to check it.")
@click.option(
    "--decoded", is_flag=True, help="Take JPEG and lossy WebP for the pixels they decode to."
)
@options.preview
@options.levels
@options.effort
@options.speech
@failing_cleanly
def compress(
    strip: bool,
    no_check: bool,
    decoded: bool,
    preview_side: int | None,
    level: int | None,
    **given: Any,
) -> None:
    """Compress images: img.png becomes img.png.ncmz, photo.jpg becomes photo.jpg.ncmz.

    Every kind of PNG (1 to 16 bits, palettes, alpha), and lossless WebP, BMP, TIFF, PBM, PGM and
    PPM. JPEG files are kept byte for byte. Every file is decoded again and compared before it is
    written. Without files, or with -, from standard input to standard output. -r takes files with
    the suffix of an image, and does not follow links to folders.

    \b
    ncmlzip compress *.png
    ncmlzip compress -8 --strip photo.png -o small.ncmz
    ncmlzip compress -r photos/ -O archive --mirror --skip-existing
    cat photo.png | ncmlzip compress > photo.png.ncmz
    ncmlzip compress --json *.png | jq -r 'select(.status == "failed") | .file'
    """
    from ncml_cli.zip import calls
    from ncml_cli.zip.compression import Compress
    from ncml_codec.encode import levels
    from ncml_codec.network import released_models

    force, remove = given["force"], given["remove"]
    if remove and no_check:
        raise UsageError("--rm needs the check: leave out --no-check")
    wanted = calls.call(given, "compressed")
    level = levels.DEFAULT if level is None else level
    model = released_models.load(wanted.settings.model) if wanted.settings.model else None
    how = (force, remove, not no_check, level, strip, decoded, preview_side)
    job = Compress(wanted.settings, model, *how)
    calls.compress(wanted, job)


@main.command()
@options.inputs
@options.outputs
@click.option("--to", type=click.Choice(options.FORMATS), help="Write this format.")
@click.option(
    "--strip",
    is_flag=True,
    help="Leave out metadata that no colour depends on; let go what the format cannot hold.",
)
@click.option("--keep-going", is_flag=True, help="Write what is left of a damaged file.")
@options.region
@options.effort
@options.work
@options.speech
@failing_cleanly
def decompress(
    to: str | None, strip: bool, keep_going: bool, region: Sequence[int] | None, **given: Any
) -> None:
    """Restore images: img.png.ncmz gives img.png back, photo.jpg.ncmz the very photo.jpg.

    The suffix of the output's name chooses its format: png, which holds every image,
    webp, bmp, tif, ppm, pgm or pbm; --to replaces it. A name without such a suffix gets .png.
    Metadata that the format cannot hold is named; with --rm such an input stays without --strip.
    Without files, or with -, from standard input to standard output, as PNG if --to does not say
    otherwise. Nothing goes there before all of the file is decoded and found sound.

    Of a damaged file nothing is written, unless --keep-going is given: then its sound tiles are,
    the lost ones in grey and named, and the exit code is still 4. Of a damaged JPEG file they are
    written as pixels, to photo.jpg.png.

    --region writes a part of each image, photo-X,Y,W,H.png for photo.png. Of a photograph only the
    tiles (2048 x 2048) that it touches are decoded, and checked; of a baseline JPEG file those
    (1024 x 1024) around it.

    \b
    ncmlzip decompress *.ncmz
    ncmlzip decompress photo.png.ncmz -o photo.ppm
    ncmlzip decompress -c --to ppm photo.png.ncmz | pnmscale 0.5 > small.ppm
    ncmlzip decompress --region 4000,1000,800,600 scan.png.ncmz -o detail.png
    ncmlzip decompress -r archive/ -O restored --mirror
    """
    from ncml_cli.zip import calls
    from ncml_cli.zip.decompression import Decompress
    from ncml_codec.decode.region import region_of

    output = given["output"]
    if to is not None and output not in (None, PIPE) and output.suffix.lower() != f".{to}":
        raise UsageError(f"--to {to} and the suffix of {output} choose different formats")
    wanted = calls.call(given, "restored")
    if keep_going and wanted.stdout:
        raise UsageError("--keep-going writes files: no pipe with it")
    settings, force, remove = wanted.settings, given["force"], given["remove"]
    part = None if region is None else region_of(region)
    if part and (keep_going or remove):
        raise UsageError("--region gives a part: no --rm and no --keep-going with it")
    suffix = None if to is None else f".{to}"
    job = Decompress(settings, settings.models(), force, remove, keep_going, part, suffix, strip)
    calls.decompress(wanted, job)


@main.command()
@options.inputs
@options.effort
@options.work
@options.speech
@failing_cleanly
def test(**given: Any) -> None:
    """Decode files and check every checksum; name what is damaged; write nothing.

    With several files, -r or --files-from the last line says how many are sound; it is an error if
    there are none to check.

    \b
    ncmlzip test -r archive/
    """
    from ncml_cli.zip import calls
    from ncml_cli.zip.decompression import Test

    wanted = calls.call(given, "sound")
    calls.test(wanted, Test(wanted.settings, wanted.settings.models()))


@main.command()
@options.inputs
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each file.")
@click.option("-m", "--model", help="A model file to look the identity up in.")
@options.pixels
@options.work
@failing_cleanly
def info(
    files: tuple[Path, ...],
    recursive: bool,
    files_from: Path | None,
    as_json: bool,
    model: str | None,
    max_pixels: int,
    max_work: int | None,
) -> None:
    """Say what files hold, without decoding pixels; checksums of all sections are checked.

    Size, model, how it learned, the work of decoding it in multiply-adds, bytes, ratio (bytes of
    samples for each byte of the file), bits per sub-pixel, and the sections.
    """
    from ncml_cli.zip import info as facts
    from ncml_cli.zip import inputs, jobs, pipes, targets
    from ncml_codec.atomic_files import read_file
    from ncml_codec.network import released_models

    extra = [released_models.load(model)] if model else []
    limits = (max_pixels, max_work)
    told: list[dict[str, Any]] = []

    def one(source: Path, problem: Exception | None) -> Done:
        if problem:
            raise problem
        found = jobs.about(source, lambda: facts.facts_of(source, read_file(source), extra, limits))
        found["file"] = speech.named(found["file"])
        told.append(found)
        return Done()

    def outcomes() -> Iterator[Outcome]:
        for source, problem in sources.items():
            outcome = attempt(functools.partial(one, source, problem), source)
            if isinstance(outcome, Done) and not as_json:
                click.echo("\n".join(shown(line) for line in [*facts.lines(told[-1]), ""]))
            yield outcome

    found = inputs.find(files, recursive, files_from, {targets.SUFFIX})
    with pipes.opened(PIPE in found, "", bool(files)) as pipe:
        sources = {pipe.source if path == PIPE else path: found[path] for path in found}
        speech = Speech(several=recursive or files_from is not None, names=pipe.names)
        if not as_json:
            speech = replace(speech, left_out=inputs.left_out(found, {targets.SUFFIX}))
        try:
            report(list(sources), outcomes(), speech)
        finally:
            if as_json:
                click.echo(json.dumps(told, indent=2))


@main.command()
@failing_cleanly
def models() -> None:
    """List the models that ship with this program."""
    from ncml_codec.network import released_models

    for name in released_models.released():
        model = released_models.load(name)
        default = " (default)" if name == released_models.DEFAULT else ""
        click.echo(
            f"{name}{default}: {model.network.multiply_adds()} multiply-adds a pixel,"
            f" identity {model.identity.hex()}"
        )


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@failing_cleanly
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and files.

    \b
    eval "$(ncmlzip completion bash)"       in ~/.bashrc
    eval "$(ncmlzip completion zsh)"        in ~/.zshrc, after compinit
    ncmlzip completion fish > ~/.config/fish/completions/ncmlzip.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "ncmlzip", "_NCMLZIP_COMPLETE").source())


if __name__ == "__main__":
    main()
