"""`ncml-eval quality` and `ncml-eval classifier`: how like real images samples are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.zip.targets import check_outputs
from ncml_codec.errors import UsageError


@click.command()
@click.argument("samples")
@click.option("--data", "source", required=True, help="Real images: cifar10:DIR, a folder, ...")
@click.option("--split", type=click.Choice(["train", "test"]), default="test")
@click.option("--limit", type=click.IntRange(2), default=10_000, help="Real images, at most.")
@click.option("--side", type=click.IntRange(8), default=32, help="Side of the images, pixels.")
@click.option(
    "--inception", type=click.Path(path_type=Path), help="Inception weights, for FID and KID."
)
@click.option(
    "--classifier", type=click.Path(path_type=Path), help="A file of ncml-eval classifier."
)
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@failing_cleanly
def quality(
    samples: str,
    source: str,
    split: str,
    limit: int,
    side: int,
    inception: Path | None,
    classifier: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Distance of SAMPLES to real images: array:FILE.npy of ncml-sample --array, or a folder.

    FID and KID with --inception; with --classifier the same distances in the features of a small
    classifier, which are not FID and KID. All of them fall with the number of images: compare
    equal numbers.
    """
    import torch

    from ncml_codec.learn.evaluation import classifier as classifiers
    from ncml_codec.learn.evaluation import outliers
    from ncml_codec.learn.evaluation import quality as measures

    if inception is None and classifier is None:
        raise UsageError(
            f"give --inception ({measures.INCEPTION}), or --classifier (a file made by ncml-eval"
            " classifier)"
        )
    torch.set_num_threads(threads)
    drawn = outliers.open_images(samples, split, 1_000_000, side, 0)
    real = outliers.open_images(source, split, limit, side, 0)
    found = {}
    if inception is not None:
        found["inception"] = measures.inception_distances(drawn, real, inception)
    if classifier is not None:
        model = classifiers.read(classifier)
        parts = (classifiers.features(model, images) for images in (drawn, real))
        found["small classifier"] = measures.distances(*parts)
    if as_json:
        click.echo(json.dumps({name: asdict(value) for name, value in found.items()}, indent=2))
        return
    for name, value in found.items():
        click.echo(
            f"features of {name}: Frechet distance {value.frechet:.4f}, kernel distance"
            f" {value.kernel:.5f} ({value.samples} samples, {value.real} real images)"
        )


@click.command()
@click.option("--data", "source", required=True, help="Labelled images: cifar10:DIR, svhn:DIR.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--steps", type=click.IntRange(2), default=800)
@click.option("--batch", type=click.IntRange(2), default=64)
@click.option("--seed", type=int, default=0)
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@failing_cleanly
def classifier(source: str, output: Path, steps: int, batch: int, seed: int, threads: int) -> None:
    """Train the small classifier whose features `quality` compares samples in."""
    import torch

    from ncml_codec.learn.data.datasets import ArrayImages, open_dataset, path_of
    from ncml_codec.learn.evaluation import classifier as classifiers

    check_outputs([output], [path_of(source)])
    torch.set_num_threads(threads)
    images, test = (open_dataset(source, split, 8) for split in ("train", "test"))
    if not isinstance(images, ArrayImages) or not isinstance(test, ArrayImages):
        raise UsageError(f"{source}: a folder has no labels; train the classifier on cifar10:DIR")
    model = classifiers.train(images, steps, batch, seed, click.echo)
    right = classifiers.accuracy(model, test)
    classifiers.write(model, output, {"accuracy": right, "steps": steps})
    click.echo(f"{output}: {100 * right:.1f} % of {len(test.images)} test images right")
