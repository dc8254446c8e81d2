"""MLE against NCML on the same images: every measurement of the NCML paper, for given runs.

Runs are compared within groups of the same network and budget; the run without noise is the
group's MLE. `bench.comparison_page` writes down what is measured here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ncml_codec.errors import InputError
from ncml_codec.files import write_atomically
from ncml_codec.learn import classifier as classifiers
from ncml_codec.learn import outliers, quality
from ncml_codec.learn.checkpoint import load_config
from ncml_codec.learn.data import Pixels
from ncml_codec.learn.datasets import ArrayImages
from ncml_codec.learn.noise import Process, std_at
from ncml_codec.learn.perturbation import perturbed
from ncml_codec.learn.robustness import (
    bits_of_images,
    mean_absolute_perturbation,
    under_perturbation,
)
from ncml_codec.learn.sampling import Given
from ncpn import bundles, coding, export, generation, presets
from ncpn.generation import SampleConfig
from ncpn.presets import NCPN
from ncpn.wave import WaveNCPN

SHARES = (0.0, 0.5, 1.0)
SIDE = 32
CPU = torch.device("cpu")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much to measure; the page repeats it.

    data: a data set of `ncml_codec.learn.datasets` of 32 x 32 images. images: of the test set, for
    likelihoods; curve_images: for delta log p at `times` noise times; coded: coded to bytes;
    outliers: of each set; samples: of each grid; steps: of refinement; bundled: coded to
    bytes where the codec does not run the network; distance_samples: for the distance in classifier
    features, 0 for none; completed: images completed, three times each.
    """

    data: str
    others: Sequence[str] = ("constant", "uniform")
    classifier: str | None = None
    images: int = 200
    curve_images: int = 48
    times: int = 5
    coded: int = 100
    bundled: int = 16
    outliers: int = 100
    samples: int = 16
    steps: int = 30
    distance_samples: int = 0
    completed: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """A run's figures, plain JSON values, and its pictures as levels [count, 3, 32, 32]."""

    facts: dict[str, Any]
    bits: dict[float, Tensor]
    plain: Tensor
    refined: Tensor | None
    completions: Tensor


def measure(run: Path, settings: Settings, say: Say) -> Measured:
    """Everything for one run. Raises InputError if it holds no network, or no data are there."""
    model, process = presets.from_pretrained(run), presets.recorded_process(run)
    test = _images(settings, settings.images)
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
    facts["auroc"] = _outliers(model, settings)
    say(f"{run}: samples")
    start = process.horizon
    plain = _samples(model, process, settings, settings.samples, 0.0)
    refined = _samples(model, process, settings, settings.samples, start) if start else None
    if settings.classifier is not None and settings.distance_samples:
        say(f"{run}: {settings.distance_samples} samples more, for their distance to real images")
        facts["distance"] = _distances(model, process, settings)
    say(f"{run}: completions")
    completions = _samples(
        model, process, settings, 3 * settings.completed, start, masked(settings)
    )
    return Measured(facts, bits, plain, refined, completions)


def save(measured: Measured, path: Path) -> None:
    """One safetensors file, so that a page of many hours can be gone on with."""
    tensors = {f"bits/{share}": values for share, values in measured.bits.items()}
    tensors |= {"plain": measured.plain, "completions": measured.completions}
    if measured.refined is not None:
        tensors["refined"] = measured.refined
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, serialise(whole, {"facts": json.dumps(measured.facts)}), replace=True)


def load(path: Path, settings: Settings) -> Measured | None:
    """What `save` wrote; None if there is nothing, or it was measured with other settings."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})["facts"])
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    if facts["settings"] != json.loads(json.dumps(asdict(settings))):
        return None
    bits = {share: tensors[f"bits/{share}"] for share in SHARES}
    return Measured(facts, bits, tensors["plain"], tensors.get("refined"), tensors["completions"])


def kept(run: Path, folder: Path) -> Path:
    """Where a run's figures are kept: by its network and weights."""
    return folder / f"{bundles.identity(presets.from_pretrained(run))[:16]}.safetensors"


def masked(settings: Settings) -> Given:
    """The images to complete, each three times, and which part is given."""
    values = torch.from_numpy(_images(settings, settings.completed).images).float()
    return Given(values.repeat_interleave(3, 0), generation.top_half(SIDE, SIDE))


def real_distance(settings: Settings) -> dict[str, Any] | None:
    """The distance of as many real test images to the others: what samples could reach at best."""
    if settings.classifier is None or not settings.distance_samples:
        return None
    count, model = settings.distance_samples, classifiers.read(Path(settings.classifier))
    images = _images(settings, 100_000).images
    parts = (classifiers.features(model, part) for part in (images[-count:], images[:-count]))
    return asdict(quality.distances(*parts))


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
    images = _images(settings, settings.curve_images)
    count = settings.times if process.horizon else 1
    times = [process.horizon * index / max(1, count - 1) for index in range(count)]
    lines = under_perturbation(model, images, SHARES[1:], times, 20, CPU, settings.seed)
    moved = mean_absolute_perturbation(process, images, times)
    return [asdict(line) for line in lines], moved


def _coded(model: WaveNCPN, settings: Settings) -> dict[str, Any]:
    """Real sizes under p_pi. Units of the integers are chosen on training images."""
    training = outliers.open_images(settings.data, "train", 48, SIDE, settings.seed)
    samples = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in training]
    network = export.best_integers(model, samples)
    found = {}
    for share in SHARES:
        random = np.random.default_rng([settings.seed, round(100 * share)])
        images = perturbed(_images(settings, settings.coded).images, share, random)
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
    images = _images(settings, settings.bundled)
    pixels = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images.images]
    names = [f"{index}.png" for index in range(len(pixels))]
    payload, rest = bundles.sizes(bundles.encode(bundles.Bundle(names, pixels), model))
    bits = _mean(bits_of_images(model, images, 0.0, 0.0, 20, CPU))["mean"]
    return {
        "images": len(pixels),
        "float_bits": bits,
        "payload_bits": 8 * payload / images.images.size,
        "payload_bytes": payload,
        "other_bytes": rest,
    }


def _outliers(model: NCPN, settings: Settings) -> dict[str, dict[str, float]]:
    opened = partial(outliers.open_images, count=settings.outliers, side=SIDE, seed=settings.seed)
    measured = partial(outliers.measure, model, batch=20, device=CPU)
    entropy = measured(opened(settings.data, "train")).entropy
    names = outliers.names(settings.others)
    outside = {
        name: measured(opened(other, "test"))
        for name, other in zip(names, settings.others, strict=True)
    }
    return outliers.table(measured(opened(settings.data, "test")), outside, entropy)


def _samples(
    model: NCPN,
    process: Process,
    settings: Settings,
    count: int,
    start: float,
    given: Given | None = None,
) -> Tensor:
    generator = torch.Generator().manual_seed(settings.seed)
    config = SampleConfig(start, "sde", settings.steps)
    shape = (count, 3, SIDE, SIDE)
    return generation.draw(model, process, config, shape, generator, given=given)


def _distances(model: NCPN, process: Process, settings: Settings) -> dict[str, Any]:
    """In classifier features, of plain samples and, where there is noise, of refined ones."""
    assert settings.classifier is not None
    classifier = classifiers.read(Path(settings.classifier))
    count = settings.distance_samples
    real = classifiers.features(classifier, _images(settings, 100_000).images[:-count])
    found = {}
    for name, start in (("plain", 0.0), ("two phases", process.horizon)):
        if start or name == "plain":
            drawn = _samples(model, process, settings, count, start)
            pixels: Pixels = drawn.to(torch.uint8).numpy()
            features = classifiers.features(classifier, pixels)
            found[name] = asdict(quality.distances(features, real))
    return found


def _images(settings: Settings, count: int) -> ArrayImages:
    return ArrayImages(outliers.open_images(settings.data, "test", count, SIDE, settings.seed))


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images of one size, and its standard error."""
    return {
        "mean": float(values.mean()),
        "error": float(values.std(correction=1)) / len(values) ** 0.5,
    }
