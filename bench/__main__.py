"""`python -m bench`: see bench/README.md for which command makes which table."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.comparison.command import comparison
from ncml_codec.errors import NcmlError, naming_extras

if TYPE_CHECKING:
    from bench.record import Record

_OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="JSON lines; .md and .html beside it."
)
_COMPARE = click.option(
    "--compare", type=click.Path(path_type=Path), help="Older JSON lines: print what moved."
)


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
def main() -> None:
    """Measure sizes, likelihoods and speed, and draw what was measured."""


@main.command()
@click.option("--images", "folders", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--models", default="photo", help="Released models or *.ncpn, separated by commas.")
@click.option("--levels", default="static", help="Of compression, separated by commas.")
@click.option(
    "--rivals", default="all", help="Short names of bench/codecs/rivals.py and programs.py."
)
@click.option("--engine", default="auto", help="Of our codec.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Also so many; 0: all cores.")
@click.option("--repeats", type=click.IntRange(1), default=1, help="Times are medians of these.")
@click.option("--limit", type=click.IntRange(1), help="The first so many images of each folder.")
@click.option("--pictures/--no-pictures", default=True, help="Keep thumbnails and cost maps.")
@_OUT
@_COMPARE
def codecs(
    folders: tuple[Path, ...],
    models: str,
    levels: str,
    rivals: str,
    engine: str,
    threads: int,
    repeats: int,
    limit: int | None,
    pictures: bool,
    out: Path | None,
    compare: Path | None,
) -> None:
    """Sizes, times and memory of our models and of rivals on the same images."""
    from bench.codecs import codecs as bench_codecs
    from bench.codecs.measuring import Plan
    from bench.codecs.ours import variants
    from bench.codecs.subjects import image_files
    from bench.codecs.tables import table

    records = bench_codecs.run(
        image_files(folders, limit),
        variants(_split(models), _split(levels)),
        _split(rivals),
        engine,
        Plan(repeats, threads or os.cpu_count() or 1),
        pictures,
        click.echo,
    )
    _report(records, table(records), out, compare)


@main.command()
@click.option("--files", type=click.Path(path_type=Path), multiple=True, help="Of JPEG files.")
@click.option("--images", type=click.Path(path_type=Path), multiple=True, help="For Pillow.")
@click.option("--quality", default="75,90", help="Of Pillow's files, separated by commas.")
@click.option("--sampling", default="4:2:0", help="Likewise: 4:4:4, 4:2:2, 4:2:0.")
@click.option("--every", type=click.IntRange(1), default=1, help="Each so many of every group.")
@click.option("--threads", default="1", help="Separated by commas, of codecs that have them.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Times are medians of these.")
@click.option("--note", default="", help="A sentence for the report: what else the machine does.")
@_OUT
@_COMPARE
def jpeg(
    files: tuple[Path, ...],
    images: tuple[Path, ...],
    quality: str,
    sampling: str,
    every: int,
    threads: str,
    repeats: int,
    note: str,
    out: Path | None,
    compare: Path | None,
) -> None:
    """Sizes and times of JPEG files by ours, Lepton, JPEG XL and zstd."""
    from bench.codecs import jpeg_files as bench_jpeg
    from bench.codecs.jpeg_codecs import every_of_group, jpeg_codecs, jpeg_files, made_by_pillow

    qualities = [int(number) for number in _split(quality)]
    given = [*jpeg_files(files), *made_by_pillow(images, qualities, _split(sampling))]
    counts = [int(count) for count in _split(threads)]
    codecs = jpeg_codecs()
    chosen = every_of_group(given, every)
    records = bench_jpeg.run(chosen, codecs, counts, repeats, note, click.echo)
    _report(records, bench_jpeg.table(records), out, compare)


@main.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    required=True,
    help="Folder of a training run; RUN=MODEL names the integer network that was made of it.",
)
@click.option("--data", "source", required=True, help="Folder of images, cifar10:DIR, ...")
@click.option("--pi", "shares", default="0,0.5,1", help="Shares of sub-pixels moved by a level.")
@click.option("--limit", type=click.IntRange(1), help="The first so many images only.")
@click.option("--crop", type=click.IntRange(4), help="Central part used, pixels.")
@click.option("--seed", type=int, default=0, help="Of the moves.")
@_OUT
@_COMPARE
def likelihood(
    checkpoints: tuple[str, ...],
    source: str,
    shares: str,
    limit: int | None,
    crop: int | None,
    seed: int,
    out: Path | None,
    compare: Path | None,
) -> None:
    """From bits per dimension of trained networks to bytes of files, step by step."""
    from bench.likelihood import likelihood as bench_likelihood

    records = bench_likelihood.run(
        checkpoints,
        source,
        [float(share) for share in _split(shares)],
        limit,
        crop,
        seed,
        click.echo,
    )
    _report(records, bench_likelihood.table(records), out, compare)


@main.command()
@click.option("--photograph", type=click.Path(path_type=Path), required=True)
@click.option("--sizes", default="32x32,768x512,2048x1365,24MP", help="Of bench/speed/speed.py.")
@click.option("--engines", default="native,numpy", help="numpy: up to three megapixels.")
@click.option("--threads", default="1,2")
@click.option(
    "--models", default="photo,wave-fast,wave-max", help="The first at all sizes; or presets."
)
@click.option("--batch", default=1000, help="Images of 32 x 32 in one call; 0: none.")
@click.option("--repeats", type=click.IntRange(1), default=3)
@_OUT
def speed(
    photograph: Path,
    sizes: str,
    engines: str,
    threads: str,
    models: str,
    batch: int,
    repeats: int,
    out: Path | None,
) -> None:
    """Seconds and peak memory of whole ncmlzip processes; with --out, plots in X.png too."""
    from bench.speed import plots as speed_plots
    from bench.speed import speed as bench_speed

    plan = bench_speed.Plan(
        photograph,
        sizes.split(","),
        engines.split(","),
        [int(count) for count in threads.split(",")],
        models.split(","),
        batch,
        repeats,
    )
    records = bench_speed.run(plan, click.echo)
    _report(records, bench_speed.table(records), out, None)
    if out is not None:
        speed_plots.scaling(records, out.with_suffix(".png"))


@main.command()
@click.option("--presets", default="paper,base,small,tiny,wave-fast,wave-photo,wave-max")
@click.option("--device", default="cpu")
@click.option("--precision", type=click.Choice(["float32", "bf16", "fp16"]), default="float32")
@click.option("--steps", type=click.IntRange(1), default=3, help="Timed; speeds are medians.")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@_OUT
def training(
    presets: str, device: str, precision: str, steps: int, threads: int, out: Path | None
) -> None:
    """Pixels a second of training steps, and their share of the device's peak."""
    import torch

    from bench.speed import training as bench_training

    torch.set_num_threads(threads)
    names = presets.split(",")
    records = bench_training.run(names, device, precision, steps, click.echo)
    _report(records, bench_training.table(records), out, None)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, help="As for ncml-eval: cifar10:DIR, ...")
@click.option("--limit", type=click.IntRange(1), help="The first so many test images only.")
@click.option("--batch", type=click.IntRange(1), default=50)
@click.option("--device", default="cpu")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--note", default="", help="A sentence for the report: the budget.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Of the results.")
def runs(
    runs: tuple[Path, ...],
    source: str,
    limit: int | None,
    batch: int,
    device: str,
    threads: int,
    note: str,
    folder: Path,
) -> None:
    """Test likelihoods and curves of finished training runs."""
    import torch

    from bench.likelihood import runs as bench_runs

    torch.set_num_threads(threads)
    records = bench_runs.run(runs, source, limit, batch, device, note, click.echo)
    bench_runs.keep(runs, folder)
    _report(records, bench_runs.table(records), folder / f"{folder.name}.jsonl", None)


@main.command()
@click.option("--photograph", type=click.Path(path_type=Path), required=True)
@click.option("--model", default="photo")
@click.option("--engine", default="auto")
@click.option("--repeats", type=click.IntRange(1), default=5)
@_OUT
def profile(photograph: Path, model: str, engine: str, repeats: int, out: Path | None) -> None:
    """Where the CPU time of coding one image goes, on one thread."""
    from bench.speed import profile as bench_profile

    records = bench_profile.run(photograph, model, engine, repeats, click.echo)
    _report(records, bench_profile.table(records), out, None)


@main.command()
@click.option("--images", "folders", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--others", type=click.Path(path_type=Path), multiple=True, help="Left as they are.")
@click.option("--models", default="fast,photo", help="Released models or *.ncpn; first: base.")
@click.option(
    "--level",
    "levels",
    type=click.IntRange(1, 9),
    multiple=True,
    default=(1, 2),
    help="What learns: 1 nothing, 2 the heads, 8 all.",
)
@click.option("--every", type=click.IntRange(1), default=3, help="Of each folder of --images.")
@click.option("--crop", type=click.IntRange(16), default=256, help="Central part coded, pixels.")
@click.option("--engine", default="auto")
@_OUT
def altered(
    folders: tuple[Path, ...],
    others: tuple[Path, ...],
    models: str,
    levels: tuple[int, ...],
    every: int,
    crop: int,
    engine: str,
    out: Path | None,
) -> None:
    """Sizes of photographs as they are and altered, by kind, one model against another."""
    from bench.codecs import altered as bench_altered
    from bench.codecs.subjects import image_files
    from ncml_codec.decode.effort import Effort

    records = bench_altered.run(
        [path for folder in folders for path in image_files([folder])[::every]],
        image_files(others),
        _split(models),
        levels,
        crop,
        Effort(engine),
        click.echo,
    )
    _report(records, bench_altered.table(records), out, None)


@main.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@_OUT
def models(results: tuple[Path, ...], out: Path | None) -> None:
    """The released models side by side, from RESULTS of `codecs` (JSON lines)."""
    from bench.codecs import models as bench_models
    from bench.record import read_lines

    records = bench_models.run({path.stem: read_lines(path) for path in results})
    _report(records, bench_models.table(records), out, None)


@main.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="*.html")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for the plots as PNG.")
def report(results: tuple[Path, ...], output: Path, plots: Path | None) -> None:
    """One page, complete in itself, with tables and plots of RESULTS (JSON lines)."""
    from bench.record import read_lines
    from bench.report.page import page, save_plots

    files = {path.stem: read_lines(path) for path in results}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(files), encoding="utf-8")
    click.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    if plots is not None:
        for path in save_plots(files, plots):
            click.echo(str(path))


@main.command()
@click.option("--pixels", type=click.IntRange(64), default=4096, help="That each file claims.")
def hostile(pixels: int) -> None:
    """CPU time and memory of hostile `.ncmz` files, each decoded in a process of its own."""
    from bench.speed import hostile as found

    click.echo(found.table([(case, found.measured(case)) for case in found.cases(pixels)]))


@main.command()
@click.option("--photograph", type=click.Path(path_type=Path), required=True)
@click.option("--only", multiple=True, help="Cases whose names hold this; may be given again.")
@click.option("--level", "levels", type=int, multiple=True, help="Cases of this level.")
@click.option("--minutes", is_flag=True, help="Also the cases that take minutes each.")
def memory(photograph: Path, only: tuple[str, ...], levels: tuple[int, ...], minutes: bool) -> None:
    """Peak memory of ncmlzip, each call in a process of its own, against --memory's estimate."""
    from bench.speed import memory as bench_memory

    click.echo(bench_memory.table(bench_memory.run(photograph, only, levels, minutes, click.echo)))


main.add_command(comparison)


def _report(records: list[Record], text: str, out: Path | None, compare: Path | None) -> None:
    from bench.comparing import moved
    from bench.record import read_lines, write_lines
    from bench.report.page import page

    click.echo("\n" + text)
    older = None if compare is None else read_lines(compare)
    if out is not None:
        write_lines(out, records)
        out.with_suffix(".md").write_text(text, encoding="utf-8")
        out.with_suffix(".html").write_text(page({out.stem: records}), encoding="utf-8")
    if older is not None:
        click.echo(moved(older, records))


def _split(names: str) -> list[str]:
    return [name for name in names.split(",") if name]


if __name__ == "__main__":
    try:
        with naming_extras():
            main()
    except NcmlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
