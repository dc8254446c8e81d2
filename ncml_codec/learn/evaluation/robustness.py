"""What one level of noise costs: likelihoods under p_pi (NCML paper, sections 3.1 and 4.1).

Images are moved by `perturbation.perturbed`; the network is asked at t, of images to which no
noise of t has been added: eq. 8 as it is printed, whose expectations are over p_data and p_pi.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncml_codec.learn.data.crops import Images, Pixels
from ncml_codec.learn.data.perturbation import perturbed
from ncml_codec.learn.likelihood.objective import NoiseConditional, image_bits
from ncml_codec.learn.likelihood.processes import CENTRE, Process


@dataclass(frozen=True)
class PerturbedLikelihood:
    """Bits per dimension under p_pi at time t, over all images, and what pi = 0 has fewer.

    delta: eq. 8's |difference| to the images as they are; the standard errors are those of
    the means over images, of the difference image by image.
    """

    pi: float
    t: float
    bits_per_dimension: float
    standard_error: float
    delta: float
    delta_error: float


@torch.no_grad()
def under_perturbation(
    model: NoiseConditional,
    images: Images,
    shares: Sequence[float],
    times: Sequence[float],
    batch: int,
    device: torch.device,
    seed: int = 0,
) -> list[PerturbedLikelihood]:
    """Likelihoods for every pi in `shares` at every t in `times`, in this order.

    The moves are the same at every t, and drawn by (seed, pi, place of the batch).
    """
    sizes = torch.tensor([float(image.size) for b in images.batches(batch) for image in b])
    weights = (sizes / sizes.sum()).double()
    results = []
    for t in times:
        clean = bits_of_images(model, images, 0.0, t, batch, device, seed)
        for share in shares:
            bits = bits_of_images(model, images, share, t, batch, device, seed) if share else clean
            mean, error = _mean(bits, weights)
            delta, delta_error = _mean(bits - clean, weights)
            results.append(PerturbedLikelihood(share, t, mean, error, abs(delta), delta_error))
    return results


@torch.no_grad()
def bits_of_images(
    model: NoiseConditional,
    images: Images,
    share: float,
    t: float,
    batch: int,
    device: torch.device,
    seed: int = 0,
) -> Tensor:
    """Bits per dimension of each image after a draw of p_pi, asked at t: [count], float64."""
    found = []
    for pixels in _perturbed_batches(images.batches(batch), share, seed):
        x = torch.from_numpy(pixels).to(device).float()
        found.append(image_bits(model, x, torch.full((len(x),), t, device=device)).double().cpu())
    return torch.cat(found)


def mean_absolute_perturbation(
    process: Process, images: Images, times: Sequence[float]
) -> list[float]:
    """E |x_t - x_0| per sub-pixel in grey levels at each t, exactly for these images' levels.

    x_t - x_0 is Gaussian with mean (m(t) - 1)(x_0 - c), and the mean of its absolute value is
    that of the folded normal distribution. Figure 4 (right) of the paper.
    """
    counts = np.zeros(256, np.int64)
    for batch in images.batches(256):
        counts += np.bincount(batch.ravel(), minlength=256)
    weights = torch.from_numpy(counts / counts.sum())
    levels = torch.arange(256, dtype=torch.float64)
    found = []
    for t in times:
        time = torch.tensor([t], dtype=torch.float64)
        mean = (process.mean_scale(time) - 1) * (levels - CENTRE)
        std = process.std(time).clamp(min=1e-12)
        folded = std * math.sqrt(2 / math.pi) * torch.exp(-0.5 * (mean / std) ** 2)
        folded = folded + mean * torch.erf(mean / (std * math.sqrt(2)))
        found.append(float((weights * folded).sum()))
    return found


@dataclass(frozen=True)
class Curve:
    """A run's robustness over its noise times, for `draw`.

    shares: T's parts, 0 to 1; deltas: by pi, delta log p in bits per dimension; moved: mean
    absolute perturbation in grey levels, empty if there is no noise.
    """

    name: str
    shares: Sequence[float]
    deltas: Mapping[float, Sequence[float]]
    moved: Sequence[float]


def draw(curves: Sequence[Curve], out: Path) -> None:
    """The paper's figure 4 as a PNG: a panel for every pi, and one of the processes' strength."""
    from matplotlib.figure import Figure

    panels = sorted({pi for curve in curves for pi in curve.deltas if pi > 0})
    figure = Figure(figsize=(4 * (len(panels) + 1), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels) + 1, squeeze=False)[0]
    for index, curve in enumerate(curves):
        style = {"color": f"C{index % 10}", "linestyle": ("-", "--", ":", "-.")[index % 4]}
        for panel, pi in zip(axes, panels, strict=False):
            if len(curve.shares) > 1:
                panel.plot(curve.shares, curve.deltas[pi], label=curve.name, **style)
            else:
                panel.axhline(curve.deltas[pi][0], label=curve.name, **style)
        if curve.moved:
            axes[-1].plot(curve.shares, curve.moved, label=curve.name, **style)
    for panel, pi in zip(axes, panels, strict=False):
        panel.set_title(f"$\\pi$ = {pi:g}")
        panel.set_ylabel(r"$\Delta \log p$, bits per dimension")
        panel.set_ylim(bottom=0)
    axes[-1].axhline(1, color="grey", linestyle=":", label="1 level")
    axes[-1].set_title("noise process")
    axes[-1].set_ylabel("mean absolute perturbation, grey levels")
    for panel in axes:
        panel.set_xlabel("t / T")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(out, dpi=110)


def _perturbed_batches(batches: Iterator[Pixels], share: float, seed: int) -> Iterator[Pixels]:
    for place, batch in enumerate(batches):
        random = np.random.default_rng([seed, round(share * 1e9), place])
        yield perturbed(batch, share, random)


def _mean(values: Tensor, weights: Tensor) -> tuple[float, float]:
    """The weighted mean and its standard error."""
    mean = float((weights * values).sum())
    return mean, math.sqrt(float((weights**2 * (values - mean) ** 2).sum()))
