"""MLE against NCML on the same images: every measurement of the NCML paper, for given runs.

Runs are compared within groups of the same network and budget; the run without noise is the
group's MLE. `bench.comparison.page` writes down what is measured here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.comparison.records import SHARES, Measured, Settings
from ncml_codec.errors import InputError
from ncml_codec.learn.data.crops import Pixels
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.data.perturbation import perturbed
from ncml_codec.learn.evaluation import classifier as classifiers
from ncml_codec.learn.evaluation import outliers, quality
from ncml_codec.learn.evaluation.robustness import (
    bits_of_images,
    mean_absolute_perturbation,
    under_perturbation,
)
from ncml_codec.learn.likelihood.processes import Process, std_at
from ncml_codec.learn.sampling.sampler import Given
from ncml_codec.learn.training.checkpoint import load_config
from ncpn import presets, runs
from ncpn.bundles import bundle_file, coding, generation
from ncpn.bundles.generation import SampleConfig
from ncpn.integers import calibration
from ncpn.network import NCPN
from ncpn.wave_network.wave import WaveNCPN

SIDE = 32
CPU = torch.device("cpu")

Say = Callable[[str], None]


def measure(run: Path, settings: Settings, say: Say) -> Measured:
    """Everything for one run. Raises InputError if it holds no network, or no data are there."""
    model, process = runs.from_pretrained(run), runs.recorded_process(run)
    test = test_images(settings, settings.images)
    facts = {**_training(run, model, process), "settings": asdict(settings)}
    say(f"{run}: likelihoods of {len(test.images)} images")
    bits = {
        share: bits_of_images(model, test, share, 0.0, 20, CPU, settings.seed) for share in SHARES
    }
    facts["bits"] = {str(share): _mean(values) for share, values in bits.items()}
    facts["deltas"], facts["moved"] = _curve(model, process, settings)
    if isinstance(model, WaveNCPN):
        say(f"{run}: coding {settings.coded} images, three times")
        facts["coded"] = _coded(model, settings)
    else:
        say(f"{run}: coding {settings.bundled} images in floating point")
        facts["bundled"] = _bundled(model, settings)
    say(f"{run}: outliers")
    facts["auroc"], places = _outliers(model, settings)
    start, count = process.horizon, max(settings.samples, settings.distance_samples)
    say(f"{run}: {count} samples")
    plain = _samples(model, process, settings, count, 0.0)
    refined = _samples(model, process, settings, count, start) if start else None
    if settings.classifier is not None and settings.distance_samples:
        facts["distance"] = _distances(plain, refined, settings)
    say(f"{run}: completions")
    completions = _samples(
        model, process, settings, 3 * settings.completed, start, masked(settings)
    )
    shown = slice(0, settings.samples)
    return Measured(
        facts,
        bits,
        places,
        plain[shown],
        None if refined is None else refined[shown],
        completions,
    )


def masked(settings: Settings) -> Given:
    """The images to complete, each three times, and which part is given."""
    values = torch.from_numpy(test_images(settings, settings.completed).images).float()
    return Given(values.repeat_interleave(3, 0), generation.top_half(SIDE, SIDE))


def test_images(settings: Settings, count: int) -> ArrayImages:
    """The first `count` test images."""
    return ArrayImages(outliers.open_images(settings.data, "test", count, SIDE, settings.seed))


def _training(run: Path, model: NCPN, process: Process) -> dict[str, Any]:
    """What a run was and how long it took, from its own records."""
    config = load_config(run)
    try:
        with (run / "log.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        steps, seconds = int(last["step"]), float(last["seconds"])
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise InputError(f"{run}: its log.csv does not say how long it was trained") from error
    network = {key: value for key, value in config["model"].items() if key != "time_scale"}
    options = config.get("options", {})
    return {
        "run": run.name,
        "sde": config["process"]["sde"],
        "T": process.horizon,
        "std": std_at(process, process.horizon),
        "network": network,
        "budget": {name: options.get(name) for name in ("steps", "max-minutes", "batch")},
        "parameters": presets.parameter_count(model),
        "steps": steps,
        "minutes": seconds / 60,
        "images_seen": steps * int(config["crops"]["batch"]),
    }


def _curve(
    model: NCPN, process: Process, settings: Settings
) -> tuple[list[dict[str, Any]], list[float]]:
    """Delta log p over the noise times, and how far the process moves sub-pixels at them."""
    images = test_images(settings, settings.curve_images)
    count = settings.times if process.horizon else 1
    times = [process.horizon * index / max(1, count - 1) for index in range(count)]
    lines = under_perturbation(model, images, SHARES[1:], times, 20, CPU, settings.seed)
    moved = mean_absolute_perturbation(process, images, times)
    return [asdict(line) for line in lines], moved


def _coded(model: WaveNCPN, settings: Settings) -> dict[str, Any]:
    """Real sizes under p_pi. The integers are fitted to training images."""
    training = outliers.open_images(settings.data, "train", 48, SIDE, settings.seed)
    samples = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in training]
    network = calibration.best_integers(model, samples)
    found = {}
    for share in SHARES:
        random = np.random.default_rng([settings.seed, round(100 * share)])
        images = perturbed(test_images(settings, settings.coded).images, share, random)
        moved = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images]
        sizes = coding.coded(network, moved)
        bits = _mean(bits_of_images(model, ArrayImages(images), 0.0, 0.0, 20, CPU))
        found[str(share)] = {
            **asdict(sizes),
            "float_bits": bits["mean"],
            "stream_bits": sizes.stream_bits,
            "file_bits": sizes.file_bits,
        }
    return found


def _bundled(model: NCPN, settings: Settings) -> dict[str, Any]:
    """Real sizes of images coded together by a network that the codec does not run."""
    images = test_images(settings, settings.bundled)
    pixels = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images.images]
    names = [f"{index}.png" for index in range(len(pixels))]
    payload, rest = bundle_file.sizes(bundle_file.encode(bundle_file.Bundle(names, pixels), model))
    bits = _mean(bits_of_images(model, images, 0.0, 0.0, 20, CPU))["mean"]
    return {
        "images": len(pixels),
        "float_bits": bits,
        "payload_bits": 8 * payload / images.images.size,
        "payload_bytes": payload,
        "other_bytes": rest,
    }


def _outliers(
    model: NCPN, settings: Settings
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[Tensor, Tensor]]]:
    """AUROC by statistic and set, and the placements of the paper's statistic."""
    opened = partial(outliers.open_images, count=settings.outliers, side=SIDE, seed=settings.seed)
    measured = partial(outliers.measure, model, batch=20, device=CPU)
    entropy = measured(opened(settings.data, "train")).entropy
    inside = measured(opened(settings.data, "test"))
    names = outliers.names(settings.others)
    outside = {
        name: measured(opened(other, "test"))
        for name, other in zip(names, settings.others, strict=True)
    }
    known = inside.statistics(None)["paper"]
    places = {}
    for name, found in outside.items():
        pair = outliers.placements(known, found.statistics(None)["paper"])
        places[name] = (torch.from_numpy(pair[0]), torch.from_numpy(pair[1]))
    return outliers.table(inside, outside, entropy), places


def _samples(
    model: NCPN,
    process: Process,
    settings: Settings,
    count: int,
    start: float,
    given: Given | None = None,
) -> Tensor:
    """[count, 3, 32, 32], drawn 64 at a time, which is what memory allows with gradients."""
    generator = torch.Generator().manual_seed(settings.seed)
    config = SampleConfig(start, "sde", settings.steps)
    parts = []
    for first in range(0, count, 64):
        part = slice(first, min(first + 64, count))
        known = None if given is None else Given(given.values[part], given.mask)
        shape = (part.stop - part.start, 3, SIDE, SIDE)
        parts.append(generation.draw(model, process, config, shape, generator, given=known))
    return torch.cat(parts)


def _distances(plain: Tensor, refined: Tensor | None, settings: Settings) -> dict[str, Any]:
    """In classifier features, to the test images but the last, which show what could be reached."""
    assert settings.classifier is not None
    features = partial(classifiers.features, classifiers.read(Path(settings.classifier)))
    count = settings.distance_samples
    images = test_images(settings, 100_000).images
    real = features(images[:-count])
    drawn = {"plain": plain, "two phases": refined, "real": torch.from_numpy(images[-count:])}
    found = {}
    for name, tensor in drawn.items():
        if tensor is not None:
            pixels: Pixels = tensor[:count].to(torch.uint8).numpy()
            found[name] = asdict(quality.distances(features(pixels), real))
    return found


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images of one size, and its standard error."""
    return {
        "mean": float(values.mean()),
        "error": float(values.std(correction=1)) / len(values) ** 0.5,
    }
