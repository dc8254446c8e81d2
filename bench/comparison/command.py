"""`python -m bench comparison`: its options, and the order of measuring and writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ncml_codec.errors import UsageError

_AMOUNTS = {
    "images": (2, "200", "For likelihoods."),
    "curve-images": (2, "48", "For delta log p."),
    "times": (2, "5", "Noise times of delta log p."),
    "coded": (1, "100", "Images coded to bytes, by wave networks."),
    "bundled": (1, "16", "The same, by the paper's network."),
    "outliers": (2, "100", "Images of each set."),
    "samples": (1, "16", "Of each grid."),
    "steps": (1, "30", "Of the refinement."),
    "distance-samples": (0, "0", "For the distance in classifier features."),
    "completed": (1, "6", "Images completed."),
}


def _amounts(command: Callable[..., None]) -> Callable[..., None]:
    """Options of `_AMOUNTS`: the least, the default and what it is."""
    for option, (_, default, words) in reversed(_AMOUNTS.items()):
        command = click.option(f"--{option}", default=default, metavar="N[,M]", help=words)(command)
    return command


@click.command(context_settings={"show_default": True})
@click.option("--runs", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--data", required=True, help="cifar10:DIR.")
@click.option("--ood", "others", multiple=True, default=("constant", "uniform"))
@click.option("--classifier", type=click.Path(), help="A file of ncml-eval classifier.")
@_amounts
@click.option("--seed", type=int, default=0)
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--note", default="", help="A paragraph for the page.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of what is measured already.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("bench/results/mle-vs-ncml.md")
)
def comparison(
    runs: tuple[Path, ...],
    data: str,
    others: tuple[str, ...],
    classifier: str | None,
    seed: int,
    threads: int,
    note: str,
    keep: Path | None,
    out: Path,
    **amounts: str,
) -> None:
    """MLE against NCML: one page from the checkpoints of training runs.

    Amounts: N for wave networks, M for the paper's, which is much slower.
    """
    import torch

    from bench.comparison import measurements as bench_comparison
    from bench.comparison import page, records

    torch.set_num_threads(threads)
    plan = {
        kind: records.Settings(
            data=data,
            others=others,
            classifier=classifier,
            seed=seed,
            **{name: _amount(name, text, index) for name, text in amounts.items()},
        )
        for index, kind in enumerate(("wave", "paper"))
    }
    measured = []
    for run in runs:
        settings = plan[records.kind(run)]
        place = keep and records.kept(run, keep)
        found = place and records.load(place, settings)
        if not found:
            found = bench_comparison.measure(run, settings, click.echo)
            if place:
                records.save(found, place)
        measured.append(found)
    click.echo(page.write(page.grouped(measured), note, out))


def _amount(name: str, text: str, index: int) -> int:
    """The number in `text`, or of two with a comma between them the one at `index`."""
    option = name.replace("_", "-")
    least = _AMOUNTS[option][0]
    try:
        parts = [int(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < least:
        raise UsageError(f"--{option} {text}: not N or N,M of at least {least}")
    return parts[min(index, len(parts) - 1)]
