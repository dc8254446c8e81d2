"""`ncml-eval ood`: how well a network tells images of its training distribution from others."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ncml_cli.report import failing_cleanly


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, help="In distribution: cifar10:DIR, a folder, ...")
@click.option("--split", type=click.Choice(["train", "test"]), default="test")
@click.option(
    "--ood",
    "others",
    multiple=True,
    default=("constant", "uniform"),
    help="Outliers: constant, uniform, svhn:DIR, a folder, ... (several may be given).",
)
@click.option("--reference", help="Images that set typicality; a data set's train split if unset.")
@click.option("--limit", type=click.IntRange(2), default=1000, help="Images of each set.")
@click.option("--side", type=click.IntRange(4), default=32, help="Side of the images, pixels.")
@click.option("--batch", type=click.IntRange(1), default=64)
@click.option("--seed", type=int, default=0, help="Of constant and uniform images.")
@click.option("--device", default="cpu")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each run.")
@failing_cleanly
def ood(
    runs: tuple[Path, ...],
    source: str,
    split: str,
    others: tuple[str, ...],
    reference: str | None,
    limit: int,
    side: int,
    batch: int,
    seed: int,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """AUROC of RUNS: how often an image of the distribution has the larger statistic.

    Statistics: log p(x), minus the slope ||grad log p(x)||, the paper's |p(x)| ||grad log p(x)||,
    and typicality. Below 0.5 the outliers have the larger one.
    """
    import torch

    from ncml_codec.learn.evaluation import outliers
    from ncpn.runs import from_pretrained

    torch.set_num_threads(threads)
    where = torch.device(device)
    if reference is None and ":" in source and not source.startswith(("folder:", "array:")):
        reference = source
    known = outliers.open_images(source, split, limit, side, seed)
    names = outliers.names(others)
    sets = {
        name: outliers.open_images(other, split, limit, side, seed)
        for name, other in zip(names, others, strict=True)
    }
    typical = None
    if reference is not None:
        typical = outliers.open_images(reference, "train", limit, side, seed)
    found = []
    for run in runs:
        model = from_pretrained(run).to(where)
        entropy = None
        if typical is not None:
            entropy = outliers.measure(model, typical, batch, where).entropy
        inside = outliers.measure(model, known, batch, where)
        outside = {
            name: outliers.measure(model, images, batch, where) for name, images in sets.items()
        }
        rows = outliers.table(inside, outside, entropy)
        counts = {"inside": len(known), **{name: len(images) for name, images in sets.items()}}
        found.append({"run": str(run), "data": source, "images": counts, "auroc": rows})
        if not as_json:
            click.echo(f"{run}: AUROC against {source}, {len(known)} images")
            for statistic, row in rows.items():
                figures = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
                click.echo(f"  {statistic:12}{figures}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
