"""`ncml-eval robustness`: what one level of noise costs, in likelihood and in bytes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.zip.targets import check_outputs

if TYPE_CHECKING:
    import torch

    from ncml_codec.learn.data.crops import Images
    from ncml_codec.learn.evaluation.robustness import Curve


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, help="Folder of images, cifar10:DIR, ...")
@click.option("--split", type=click.Choice(["train", "test"]), default="test")
@click.option(
    "--pi", "shares", type=float, multiple=True, default=(0.0, 0.5, 1.0), help="Share that moves."
)
@click.option("--times", type=click.IntRange(1), default=1, help="Noise times, 0 to T, equally.")
@click.option("--limit", type=click.IntRange(1), help="The first so many images only.")
@click.option("--coded", type=click.IntRange(0), default=0, help="Images coded to bytes as well.")
@click.option("--batch", type=click.IntRange(1), default=64)
@click.option("--seed", type=int, default=0, help="Of the moves.")
@click.option("--device", default="cpu")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="*.png, as figure 4.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each run.")
@failing_cleanly
def robustness(
    runs: tuple[Path, ...],
    source: str,
    split: str,
    shares: tuple[float, ...],
    times: int,
    limit: int | None,
    coded: int,
    batch: int,
    seed: int,
    device: str,
    threads: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Bits per dimension of RUNS under p_pi: each sub-pixel moved by -1, 0, +1 levels with
    probabilities pi/2, 1 - pi, pi/2 (reflected at 0 and 255).

    With --times the difference to the images as they are (delta log p) over the noise times that
    the network is asked at; with --coded the bytes of perturbed images, coded by the exported
    integer network (wave networks) and decoded again.
    """
    import torch

    from ncml_codec.errors import UsageError
    from ncml_codec.learn.data.datasets import first, open_dataset, path_of
    from ncml_codec.learn.evaluation.robustness import draw
    from ncml_codec.learn.training.checkpoint import files_of

    if not all(0 <= share <= 1 for share in shares):
        raise UsageError(f"pi = {', '.join(f'{s:g}' for s in shares)}: must be 0 to 1")
    read = [file for run in runs for file in files_of(run)]
    check_outputs([output], [*read, path_of(source)])
    torch.set_num_threads(threads)
    images = open_dataset(source, split, 1)
    images = images if limit is None else first(images, limit)
    found = []
    curves = []
    for run in runs:
        facts, curve = _one(run, images, shares, times, batch, torch.device(device), seed)
        facts["coded"] = _coded(run, images, shares, coded, seed) if coded else []
        found.append(facts)
        curves.append(curve)
        if not as_json:
            _say(facts)
    if output is not None:
        draw(curves, output)
    if as_json:
        click.echo(json.dumps(found, indent=2))


def _one(
    run: Path,
    images: Images,
    shares: tuple[float, ...],
    times: int,
    batch: int,
    device: torch.device,
    seed: int,
) -> tuple[dict[str, Any], Curve]:
    from ncml_codec.learn.evaluation.robustness import (
        Curve,
        mean_absolute_perturbation,
        under_perturbation,
    )
    from ncpn.runs import from_pretrained, recorded_process

    process = recorded_process(run)
    count = times if process.horizon > 0 else 1
    parts = [index / max(1, count - 1) for index in range(count)]
    model = from_pretrained(run).to(device)
    at = [part * process.horizon for part in parts]
    likelihoods = under_perturbation(model, images, shares, at, batch, device, seed)
    deltas = {pi: [line.delta for line in likelihoods if line.pi == pi] for pi in shares}
    moved = mean_absolute_perturbation(process, images, at) if process.horizon > 0 else []
    facts = {
        "run": str(run),
        "T": process.horizon,
        "images": images.describe(),
        "likelihoods": [asdict(line) for line in likelihoods],
        "mean_absolute_perturbation": dict(zip(at, moved, strict=False)),
    }
    return facts, Curve(run.name, parts, deltas, moved)


def _coded(
    run: Path, images: Images, shares: tuple[float, ...], count: int, seed: int
) -> list[dict[str, Any]]:
    import numpy as np

    from ncml_codec.errors import UsageError
    from ncml_codec.learn.data.perturbation import perturbed
    from ncpn.bundles import coding
    from ncpn.integers import calibration
    from ncpn.runs import from_pretrained
    from ncpn.wave_network.wave import WaveNCPN

    model = from_pretrained(run)
    if not isinstance(model, WaveNCPN):
        raise UsageError(f"{run}: not a wave NCPN; the codec runs no other network: leave --coded")
    pixels = [image.transpose(1, 2, 0) for batch in images.batches(64) for image in batch]
    network = calibration.best_integers(model, pixels[: min(count, 32)])
    lines = []
    for share in shares:
        random = np.random.default_rng([seed, round(share * 1e9)])
        moved = [perturbed(np.ascontiguousarray(p), share, random) for p in pixels[:count]]
        sizes = coding.coded(network, moved)
        bits = {"stream_bits": sizes.stream_bits, "file_bits": sizes.file_bits}
        lines.append({"pi": share, **asdict(sizes), **bits})
    return lines


def _say(facts: dict[str, Any]) -> None:
    click.echo(f"{facts['run']} on {facts['images']}")
    for line in facts["likelihoods"]:
        click.echo(
            f"  t = {line['t']:.4g}, pi = {line['pi']:g}: {line['bits_per_dimension']:.4f} +-"
            f" {line['standard_error']:.4f} bits per dimension,"
            f" delta log p {line['delta']:.4f} +- {line['delta_error']:.4f}"
        )
    for t, levels in facts["mean_absolute_perturbation"].items():
        click.echo(
            f"  t = {t:.4g}: the process moves a sub-pixel by {levels:.2f} levels on average"
        )
    for line in facts["coded"]:
        click.echo(
            f"  {line['images']} images coded, pi = {line['pi']:g}: one stream of"
            f" {line['stream_bytes']} bytes ({line['stream_bits']:.4f} bits per sub-pixel),"
            f" as files {line['file_bytes']} bytes ({line['file_bits']:.4f})"
        )
