"""`python -m bench`: see bench/README.md for which command makes which table."""

from __future__ import annotations

from pathlib import Path

import click

_OUT = click.option("--out", type=click.Path(path_type=Path), help="JSON lines; .md beside it.")


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Measure sizes and speed."""


@main.command()
@click.option("--images", "folders", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--models", default="photo", help="Released models, separated by commas.")
@click.option("--rivals", default="png,webp,jpegls,jxl3,jxl7,jxl9", help="Of bench/rivals.py.")
@click.option("--engine", default="auto")
@click.option("--repeats", type=click.IntRange(1), default=1, help="Times are medians of these.")
@_OUT
def codecs(
    folders: tuple[Path, ...], models: str, rivals: str, engine: str, repeats: int, out: Path | None
) -> None:
    """Sizes and times of our models and of rivals on the same images."""
    from bench import codecs as bench_codecs

    images = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    names = [name for name in models.split(",") if name]
    others = [name for name in rivals.split(",") if name]
    records = bench_codecs.run(images, names, others, engine, repeats, click.echo)
    _report(records, bench_codecs.table(records), out)


@main.command()
@click.option("--photograph", type=click.Path(path_type=Path), required=True)
@click.option("--sizes", default="32x32,768x512,2048x1365,24MP", help="Of bench/speed.py.")
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
    from bench import plots
    from bench import speed as bench_speed

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
    _report(records, bench_speed.table(records), out)
    if out is not None:
        plots.scaling(records, out.with_suffix(".png"))


@main.command()
@click.option("--photograph", type=click.Path(path_type=Path), required=True)
@click.option("--model", default="photo")
@click.option("--engine", default="auto")
@click.option("--repeats", type=click.IntRange(1), default=5)
@_OUT
def profile(photograph: Path, model: str, engine: str, repeats: int, out: Path | None) -> None:
    """Where the CPU time of coding one image goes, on one thread."""
    from bench import profile as bench_profile

    records = bench_profile.run(photograph, model, engine, repeats, click.echo)
    _report(records, bench_profile.table(records), out)


def _report(records: list[dict[str, object]], text: str, out: Path | None) -> None:
    from bench.record import write_lines

    click.echo("\n" + text)
    if out is not None:
        write_lines(out, records)
        out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
