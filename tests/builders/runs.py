"""Tiny training runs on real images, for the tests of the tools that take a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner, Result

from ncml_cli.train.train import main as train_main
from ncml_codec.learn.data.crops import CropConfig
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training.checkpoint import save_config
from ncml_codec.learn.training.loop import TrainConfig, train
from ncpn import presets
from tests.builders.pictures import Samples, real_images, valley


def thumbnails(count: int, side: int = 32) -> Samples:
    """Small pictures, uint8 [count, 3, side, side]: CIFAR-10 test images if they are here.

    Else parts of the repository's photograph.
    """
    mosaics = [path for path in real_images("cifar10") if path.name.startswith("test")]
    if mosaics and side == 32:
        from PIL import Image

        with Image.open(mosaics[0]) as mosaic:
            pixels = np.asarray(mosaic.convert("RGB"))
        across = pixels.shape[1] // 32
        places = [(32 * (i // across), 32 * (i % across)) for i in range(count)]
        images = [pixels[top : top + 32, left : left + 32] for top, left in places]
    else:
        images = [valley(7 * (i % 30), 11 * (i % 19), side, side) for i in range(count)]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def trained(run: Path, model: str = "wave-tiny", sde: str = "vp", steps: int = 60) -> Path:
    """A run of a few seconds; model: a preset. Returns its folder."""
    process = process_named(sde, noise_levels=None if sde == "none" else 10)
    shape = presets.preset(model, process.horizon)
    recorded = {"sde": sde, "T": process.horizon}
    crops = CropConfig(32, 8)
    facts = {"model": presets.to_json(shape), "process": recorded, "crops": asdict(crops)}
    save_config(run, facts)
    torch.manual_seed(0)
    network = presets.build(shape)
    images = ArrayImages(thumbnails(64))
    first = torch.from_numpy(images.images[:16]).float()
    presets.initialise(network, first, torch.zeros(16))
    config = TrainConfig(steps=steps, warmup=5, average=0.9)
    train(network, images, process, crops, config, run, lambda line: None)
    return run


def saved(folder: Path, images: Samples) -> Path:
    """The images [count, 3, height, width] as PNG files of a folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index:04}.png")
    return folder


def trained_by_command(folder: Path, run: Path, *options: object) -> Result:
    """What `ncml-train` says of the smallest network, on a folder of images."""
    first = ("--data", folder, "--out", run, "--model", "wave-tiny", "--crop", 16, "--batch", 2)
    return CliRunner().invoke(train_main, [str(word) for word in (*first, *options)])
