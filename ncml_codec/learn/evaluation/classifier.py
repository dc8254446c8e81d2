"""A small classifier of small images, trained in a minute or two: features to compare samples in.

It is no Inception network, and distances in its features are no FID: they compare samples of our
own networks with each other, where no published weights are at hand.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from ncml_codec.atomic_files import write_atomically
from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data.crops import CropConfig, Pixels
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.training.checkpoint import json_of, numbers, read_header, with_weights

_MAX_SIZE = 1024  # of what a file may ask for


@dataclass(frozen=True)
class ClassifierConfig:
    """width: channels at full resolution, twice and four times as many below; features: of the
    last layer before the classes."""

    width: int = 24
    features: int = 64
    classes: int = 10


class Classifier(nn.Module):
    """Three levels of two convolutions, a mean over places, `features`, then the classes."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        widths = [3, config.width, 2 * config.width, 4 * config.width]
        self.levels = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(one, other, 3, padding=1, bias=False),
                    nn.GroupNorm(4, other),
                    nn.ReLU(),
                    nn.Conv2d(other, other, 3, padding=1, groups=4, bias=False),
                    nn.GroupNorm(4, other),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for one, other in itertools.pairwise(widths)
            ]
        )
        self.last = nn.Linear(widths[-1], config.features)
        self.out = nn.Linear(config.features, config.classes)

    def features(self, x: Tensor) -> Tensor:
        """x: levels, [batch, 3, height, width], sides at least 8; [batch, features]."""
        h = x / 64 - 2
        for level in self.levels:
            h = level(h)
        return F.relu(self.last(h.mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes, [batch, classes]."""
        return self.out(self.features(x))


def train(
    images: ArrayImages,
    steps: int,
    batch: int = 64,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Classifier:
    """A classifier trained by AdamW with one cycle of rates. Raises UsageError without labels."""
    if images.labels is None:
        raise UsageError("these images have no labels: train the classifier on cifar10:DIR")
    torch.manual_seed(seed)
    model = Classifier(ClassifierConfig(classes=int(images.labels.max()) + 1))
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    crops, right = CropConfig(batch=batch), 0.0
    for step in range(steps):
        pixels, labels = images.labelled(crops, seed, step)
        assert labels is not None
        logits = model(torch.from_numpy(pixels).float())
        wanted = torch.from_numpy(labels)
        loss = F.cross_entropy(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
        share = float((logits.argmax(1) == wanted).float().mean())
        right = share if step == 0 else 0.98 * right + 0.02 * share
        if (step + 1) % 100 == 0 or step + 1 == steps:
            say(f"step {step + 1}: {100 * right:.1f} % of training images right")
    return model.eval()


@torch.no_grad()
def accuracy(model: Classifier, images: ArrayImages, batch: int = 256) -> float:
    """The share of images whose most likely class is theirs."""
    assert images.labels is not None
    found = [model(torch.from_numpy(x).float()).argmax(1).numpy() for x in images.batches(batch)]
    return float((np.concatenate(found) == images.labels).mean())


@torch.no_grad()
def features(model: Classifier, images: Pixels, batch: int = 256) -> npt.NDArray[np.float64]:
    """Of uint8 images [count, 3, height, width]: [count, features]."""
    parts = [
        model.features(torch.from_numpy(images[start : start + batch]).float()).double().numpy()
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def write(model: Classifier, path: Path, facts: dict[str, float]) -> None:
    """A safetensors file; facts, such as the accuracy, go into its header."""
    header = {"classifier": json.dumps(asdict(model.config)), "facts": json.dumps(facts)}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, save(tensors, header), replace=True)


def read(path: Path) -> Classifier:
    """What `write` wrote. Raises InputError for anything else."""
    what = f"{path}: not a classifier of ncml-eval classifier"
    found = json_of(read_header(path).get("classifier", "").encode(), what)
    sizes = numbers(found, what, width=int, features=int, classes=int)
    if not all(0 < size <= _MAX_SIZE for size in sizes.values()):
        raise InputError(f"{what}: a size is not between 1 and {_MAX_SIZE}")
    return with_weights(lambda: Classifier(ClassifierConfig(**sizes)), path).eval()
