"""`ncml-eval`: what a trained network is worth."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ncml_cli.evaluate.ood import ood
from ncml_cli.evaluate.quality import classifier, quality
from ncml_cli.evaluate.robustness import robustness
from ncml_cli.report import failing_cleanly
from ncml_cli.zip.targets import check_outputs


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
def main() -> None:
    """Evaluate training runs."""


main.add_command(classifier)
main.add_command(ood)
main.add_command(quality)
main.add_command(robustness)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, help="Folder of images, cifar10:DIR, ...")
@click.option("--split", type=click.Choice(["train", "test"]), default="test")
@click.option("--t", "times", type=float, multiple=True, default=(0.0,), help="Noise times.")
@click.option("--limit", type=click.IntRange(1), help="The first so many images only.")
@click.option("--batch", type=click.IntRange(1), default=64)
@click.option("--seed", type=int, default=0, help="Of the noise at t > 0.")
@click.option("--device", default="cpu")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@failing_cleanly
def bpd(
    run: Path,
    source: str,
    split: str,
    times: tuple[float, ...],
    limit: int | None,
    batch: int,
    seed: int,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Bits per dimension of RUN's averaged weights over a whole data set, at each time t."""
    import torch

    from ncml_codec.errors import UsageError
    from ncml_codec.learn.data.datasets import check_labels, first, open_dataset
    from ncml_codec.learn.evaluation.held_out import bits_per_dimension
    from ncml_codec.learn.training.checkpoint import load_config
    from ncpn import presets
    from ncpn.runs import from_pretrained, recorded_process

    torch.set_num_threads(threads)
    process = recorded_process(run)
    beyond = [t for t in times if not 0 <= t <= process.horizon]
    if beyond:
        raise UsageError(f"t = {beyond[0]}: this run was trained on 0 to {process.horizon:g}")
    model = from_pretrained(run).to(device).eval()
    images = open_dataset(source, split, 1)
    images = images if limit is None else first(images, limit)
    classes = presets.classes(model)
    check_labels(images, classes)
    results = bits_per_dimension(
        model, images, process, times, batch, torch.device(device), seed, labelled=classes > 0
    )
    if as_json:
        sde = load_config(run)["process"]["sde"]
        facts = {"run": str(run), "data": source, "split": split, "sde": sde}
        click.echo(json.dumps({**facts, "likelihoods": [asdict(r) for r in results]}, indent=2))
        return
    for result in results:
        click.echo(
            f"t = {result.t:g} (std {result.noise_levels:.2f} levels): "
            f"{result.bits_per_dimension:.4f} +- {result.standard_error:.4f} bits per dimension"
            f" over {result.images} images"
        )


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="*.png")
@failing_cleanly
def curves(runs: tuple[Path, ...], output: Path) -> None:
    """Draw the training curves of RUNS into one picture."""
    from ncml_codec.learn.training.curves import draw
    from ncml_codec.learn.training.log import EVALUATIONS, LOG

    check_outputs([output], [run / name for run in runs for name in (LOG, EVALUATIONS)])
    draw(runs, output)


if __name__ == "__main__":
    main()
