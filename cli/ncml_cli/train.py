"""`ncml-train`: train a network on images by noise conditional maximum likelihood."""

from __future__ import annotations

import ctypes
import math
from dataclasses import asdict
from pathlib import Path

import click

from ncml_cli.report import failing_cleanly


@click.command(context_settings={"show_default": True})
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    help="Folder of images (several may be given), or one of cifar10:DIR, svhn:DIR,"
    " imagenet32:DIR, imagenet64:DIR, celeba64:DIR, array:FILE.npy.",
)
@click.option("--model", default="wave-photo", help="Preset of the network.")
@click.option("--out", "run", type=click.Path(path_type=Path), required=True, help="Run's folder.")
@click.option("--sde", type=click.Choice(["none", "ve", "vp", "subvp"]), default="none")
@click.option("--T", "horizon", type=float, help="Noise strength as the paper's T.")
@click.option("--noise-levels", type=float, help="Noise strength as std at T, in grey levels.")
@click.option("--clean-share", type=float, default=0.5, help="Probability of t = 0 in training.")
@click.option("--steps", type=click.IntRange(1), default=20_000)
@click.option("--max-minutes", type=float, default=math.inf, help="Fit the schedule to this time.")
@click.option("--batch", type=click.IntRange(1), default=4, help="Crops a step.")
@click.option("--crop", type=click.IntRange(8), default=64, help="Side of a crop, pixels.")
@click.option("--grey", type=click.FloatRange(0, 1), default=0.02, help="Share of grey crops.")
@click.option("--matrix-rate", type=float, default=7e-3, help="Muon's peak rate (matrices).")
@click.option("--rate", type=float, default=5e-3, help="AdamW's peak rate (the rest).")
@click.option("--average", type=click.FloatRange(0, 1), default=0.999, help="Decay of the EMA.")
@click.option("--seed", type=int, default=0)
@click.option("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--log-every", type=click.IntRange(1), default=100, help="Steps between log lines.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@failing_cleanly
def main(
    sources: tuple[str, ...],
    model: str,
    run: Path,
    sde: str,
    horizon: float | None,
    noise_levels: float | None,
    clean_share: float,
    steps: int,
    max_minutes: float,
    batch: int,
    crop: int,
    grey: float,
    matrix_rate: float,
    rate: float,
    average: float,
    seed: int,
    device: str,
    threads: int,
    log_every: int,
    resume: bool,
) -> None:
    """Train a network on images.

    Leaves config.json, model.safetensors (averaged weights), training.safetensors (to resume
    from) and log.csv in --out. `ncml-export` turns the run into a model file for the codec.
    """
    import torch

    from ncml_codec.errors import UsageError
    from ncml_codec.learn import noise
    from ncml_codec.learn.checkpoint import has_snapshot, save_config
    from ncml_codec.learn.data import CropConfig
    from ncml_codec.learn.datasets import open_training
    from ncml_codec.learn.optimiser import OptimiserConfig
    from ncml_codec.learn.training import TrainConfig, train
    from ncpn import presets

    if has_snapshot(run) and not resume:
        raise UsageError(f"{run}: holds a training run; --resume goes on with it")
    if resume and not has_snapshot(run):
        raise UsageError(f"{run}: holds no checkpoint to resume from")
    _keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    process = noise.process_named(sde, horizon, noise_levels)
    shape = presets.preset(model, process.horizon)
    network = presets.build(shape).to(device)
    crops = CropConfig(crop, batch, grey)
    config = TrainConfig(
        steps=steps,
        minutes=max_minutes,
        optimiser=OptimiserConfig(matrix_rate, rate),
        average=average,
        clean_share=clean_share,
        seed=seed,
        log_every=log_every,
    )
    images = open_training(sources, crop)
    levels = noise.std_at(process, process.horizon)
    click.echo(f"{images.describe()}; seed {seed}")
    click.echo(f"{model}: {presets.multiply_adds(network)} multiply-adds a pixel")
    click.echo(f"sde {sde}: T = {process.horizon:g}, std(T) = {levels:.2f} grey levels")
    plain = {"steps": steps, "minutes": None if math.isinf(max_minutes) else max_minutes}
    save_config(
        run,
        {
            "model": presets.to_json(shape),
            "process": {"sde": sde, "T": process.horizon, "noise_levels": levels},
            "crops": asdict(crops),
            "training": {**asdict(config), **plain},
            "data": list(sources),
        },
    )
    train(network, images, process, crops, config, run, say=click.echo)
    click.echo(f"trained; the averaged weights are in {run}/model.safetensors")


def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors; a fifth of the time went into page faults."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # another C library
    for parameter, size in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
        mallopt(parameter, size)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


if __name__ == "__main__":
    main()
