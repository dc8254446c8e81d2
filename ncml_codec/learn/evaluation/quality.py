"""How like real images samples are: distances between the distributions of features.

FID (Heusel et al. 2017) and KID (Binkowski et al. 2018) by torch-fidelity with the Inception
weights that the user has; and the same two distances in the features of
`ncml_codec.learn.evaluation.classifier`, which must not be taken for them. All depend on the number
of images: compare equal numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncml_codec.atomic_files import check_is_file, translated
from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data.crops import Pixels

Features = npt.NDArray[np.float64]

INCEPTION = (
    "weights-inception-2015-12-05-6726825d.pth of"
    " https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0"
)


@dataclass(frozen=True)
class Distances:
    """Frechet distance, and squared maximum mean discrepancy with the cubic polynomial kernel."""

    frechet: float
    kernel: float
    samples: int
    real: int


def distances(samples: Features, real: Features) -> Distances:
    """Between two sets of features, [count, features]; at least 2 images each, else UsageError."""
    if min(len(samples), len(real)) < 2:
        raise UsageError(f"{len(samples)} samples, {len(real)} real images: needs 2 of each")
    return Distances(frechet(samples, real), kernel(samples, real), len(samples), len(real))


def frechet(one: Features, other: Features) -> float:
    """|m - n|^2 + tr(C + D - 2 (C D)^(1/2)) of the means and covariances of two sets.

    The trace of the root is the sum of the roots of the eigenvalues of C^(1/2) D C^(1/2), which is
    symmetric.
    """
    mean = one.mean(0) - other.mean(0)
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * shared)


def kernel(one: Features, other: Features) -> float:
    """The unbiased estimate of the squared discrepancy, kernel (x y / features + 1)^3, as KID's.

    Of all images at once, where KID averages over subsets.
    """

    def products(x: Features, y: Features) -> Features:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def within(x: Features) -> float:
        found = products(x, x)
        return float((found.sum() - np.trace(found)) / (len(x) * (len(x) - 1)))

    return within(one) + within(other) - 2 * float(products(one, other).mean())


def inception_distances(samples: Pixels, real: Pixels, weights: Path) -> Distances:
    """FID and KID between uint8 images [count, 3, height, width], by torch-fidelity.

    KID over subsets of at most 1000. Raises InputError if the weights are missing or hold more than
    tensors.
    """
    if not weights.exists():
        raise InputError(
            f"{weights}: missing, so there is no FID; nothing is downloaded: get {INCEPTION}"
        )
    check_is_file(weights)
    with translated(f"{weights}: not a file of weights; get {INCEPTION}"):
        # torch-fidelity unpickles without care, so look at the file first.
        torch.load(weights, map_location="cpu", weights_only=True)
    import torch_fidelity

    found: dict[str, Any] = torch_fidelity.calculate_metrics(
        input1=_Images(samples),
        input2=_Images(real),
        cuda=False,
        fid=True,
        kid=True,
        kid_subset_size=min(1000, len(samples), len(real)),
        feature_extractor_weights_path=str(weights),
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    return Distances(
        float(found["frechet_inception_distance"]),
        float(found["kernel_inception_distance_mean"]),
        len(samples),
        len(real),
    )


class _Images(torch.utils.data.Dataset[Tensor]):
    """A data set as torch-fidelity wants it: uint8 [3, height, width] each."""

    def __init__(self, images: Pixels) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._images[index].copy())
