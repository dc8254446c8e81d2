"""Telling images of the training distribution from others (NCML paper, section 5, appendix A.1.2).

A statistic for every image, larger for images like those that the network knows, and the AUROC: how
often an image of the distribution has the larger one. All at t = 0, images of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ncml_codec.errors import UsageError
from ncml_codec.learn.data.crops import Pixels
from ncml_codec.learn.data.datasets import ArrayImages, first, open_dataset
from ncml_codec.learn.likelihood.objective import NoiseConditional
from ncml_codec.learn.sampling.refinement import model_score

Values = npt.NDArray[np.float64]

SYNTHETIC = ("constant", "uniform")


@dataclass(frozen=True)
class Measured:
    """Of every image, [count]: log p(x) in nats, and log of the norm of its gradient.

    The gradient is that of log p by the levels, in nats per grey level.
    """

    log_p: Values
    log_slope: Values
    sub_pixels: int

    def statistics(self, entropy: float | None) -> dict[str, Values]:
        """The statistics by name.

        log p: the likelihood; slope: minus the log norm of its gradient; paper: the logarithm of
        |p(x)| * ||grad log p(x)||, a sum of logarithms, since p(x) of thousands of bits is 0 in
        floating point; typicality: minus the distance of -log p per sub-pixel from `entropy`, its
        mean over reference images (Nalisnick et al. 2019), if that is given.
        """
        found = {
            "log p": self.log_p,
            "slope": -self.log_slope,
            "paper": self.log_p + self.log_slope,
        }
        if entropy is not None:
            found["typicality"] = -np.abs(-self.log_p / self.sub_pixels - entropy)
        return found

    @property
    def entropy(self) -> float:
        """Mean of -log p in nats per sub-pixel."""
        return float(-self.log_p.mean() / self.sub_pixels)


def measure(model: NoiseConditional, images: Pixels, batch: int, device: torch.device) -> Measured:
    """Likelihoods and slopes of uint8 images [count, 3, height, width]."""
    score = model_score(model)
    log_p, log_slope = [], []
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch]).to(device).float()
        t = torch.zeros(len(x), device=device)
        with torch.no_grad():
            log_p.append(model(x, t).log_mass(x).double().sum((1, 2, 3)).cpu())
        norm = score(x, t).double().flatten(1).norm(dim=1)
        log_slope.append(norm.clamp(min=1e-300).log().cpu())
    return Measured(torch.cat(log_p).numpy(), torch.cat(log_slope).numpy(), images[0].size)


def auroc(inside: Values, outside: Values) -> float:
    """The probability that a value of `inside` is above one of `outside`, ties counted half.

    The area under the receiver operating characteristic, by ranks.
    """
    return float(placements(inside, outside)[0].mean())


def placements(inside: Values, outside: Values) -> tuple[Values, Values]:
    """What each image contributes to the AUROC, which is the mean of either.

    For a value of `inside`, the share of `outside` below it; for one of `outside`, the share of
    `inside` above it. The variance of the AUROC is, for large sets, that of the means of both,
    added (DeLong et al. 1988); of a difference of two AUROCs of the same images, with differences.
    """
    return _share_below(inside, outside), _share_below(-outside, -inside)


def open_images(source: str, split: str, count: int, side: int, seed: int) -> Pixels:
    """At most `count` images, uint8 [count, 3, side, side].

    source: "constant" (one uniformly drawn colour an image), "uniform" (every sub-pixel drawn
    uniformly), or a data set of `datasets.open_dataset`; a folder's images are cut to their
    middle. Raises UsageError for data sets of another size.
    """
    random = np.random.default_rng([seed, side])
    if source == "constant":
        colours = random.integers(0, 256, (count, 3, 1, 1), np.uint8)
        return np.tile(colours, (1, 1, side, side))
    if source == "uniform":
        return random.integers(0, 256, (count, 3, side, side), np.uint8)
    images = first(open_dataset(source, split, side), count)
    if isinstance(images, ArrayImages):
        if images.images.shape[2:] != (side, side):
            raise UsageError(f"{source}: {images.describe()}, not {side} x {side}; give --side")
        return images.images
    return np.stack([_middle(image, side) for image in images.images])


def table(
    inside: Measured, outside: dict[str, Measured], entropy: float | None
) -> dict[str, dict[str, float]]:
    """AUROC by statistic and by set of outliers, and their average as in the paper's table 2."""
    known = inside.statistics(entropy)
    others = {name: measured.statistics(entropy) for name, measured in outside.items()}
    rows = {}
    for statistic, values in known.items():
        row = {name: auroc(values, found[statistic]) for name, found in others.items()}
        rows[statistic] = {**row, "average": float(np.mean(list(row.values())))}
    return rows


def names(sources: Sequence[str]) -> list[str]:
    """Short names of sources for tables: the kind of a data set, the last part of a path."""
    return [source.partition(":")[0].rstrip("/").rpartition("/")[2] for source in sources]


def _share_below(values: Values, others: Values) -> Values:
    """For each of `values`, the share of `others` below it, ties counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left")
    not_above = np.searchsorted(ordered, values, "right")
    shares: Values = (below + not_above) / (2 * len(others))
    return shares


def _middle(image: Pixels, side: int) -> Pixels:
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side].transpose(2, 0, 1)
