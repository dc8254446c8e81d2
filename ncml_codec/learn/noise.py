"""Noise processes: the continuum of noise levels t that NCML trains on (seed paper, section 4).

VE, VP and sub-VP of Song et al. 2021 (section 3.4 and appendix B), in grey levels: an image x_0
of levels 0 to 255 becomes x_t = c + m(t) (x_0 - c) + std(t) z with z standard normal and
c = 127.5. Song et al. scale images to [0, 1] for VE and to [-1, 1] for VP and sub-VP; here their
sigma is times 255 and times 127.5 levels.

The paper's T does not give the "about 10 levels" of noise that it states, but about 180 (VE,
T = 0.5), 41 (VP, T = 0.1) and 1 (sub-VP, T = 0.025): `from_noise_levels` sets the strength by its
standard deviation instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ncml_codec.errors import UsageError

CENTRE = 127.5
PAPER_HORIZON = {"none": 0.0, "ve": 0.5, "vp": 0.1, "subvp": 0.025}


class Process(Protocol):
    """A Gaussian perturbation kernel p(x_t | x_0) for t in [0, horizon]; std(0) = 0."""

    horizon: float

    def mean_scale(self, t: Tensor) -> Tensor:
        """m(t), without unit."""
        ...

    def std(self, t: Tensor) -> Tensor:
        """Standard deviation at t, in grey levels."""
        ...


@dataclass(frozen=True)
class Clean:
    """No noise: t is always 0, plain maximum likelihood."""

    horizon: float = 0.0

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def std(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)


@dataclass(frozen=True)
class VarianceExploding:
    """dx = sqrt(d sigma^2 / dt) dw with sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    sigma(0)^2 is subtracted, so that t = 0 is clean data.
    """

    horizon: float = PAPER_HORIZON["ve"]
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def std(self, t: Tensor) -> Tensor:
        growth = 2 * t * math.log(self.sigma_max / self.sigma_min)
        return 2 * CENTRE * self.sigma_min * torch.sqrt(torch.expm1(growth))


@dataclass(frozen=True)
class VariancePreserving:
    """dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw, beta linear from beta_min to beta_max."""

    horizon: float = PAPER_HORIZON["vp"]
    beta_min: float = 0.1
    beta_max: float = 20.0

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._integral(t))

    def std(self, t: Tensor) -> Tensor:
        return CENTRE * torch.sqrt(-torch.expm1(-self._integral(t)))

    def _integral(self, t: Tensor) -> Tensor:
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2


@dataclass(frozen=True)
class SubVariancePreserving(VariancePreserving):
    """VP's drift with less diffusion: the variance is VP's squared (Song et al. 2021, eq. 29)."""

    horizon: float = PAPER_HORIZON["subvp"]

    def std(self, t: Tensor) -> Tensor:
        return CENTRE * -torch.expm1(-self._integral(t))


def process_named(
    sde: str, horizon: float | None = None, noise_levels: float | None = None
) -> Process:
    """The process `none`, `ve`, `vp` or `subvp`, its strength as T or as std at T in grey levels.

    Neither given: the paper's T. Raises UsageError for both, and for a strength out of reach.
    """
    processes = {
        "none": Clean,
        "ve": VarianceExploding,
        "vp": VariancePreserving,
        "subvp": SubVariancePreserving,
    }
    if sde not in processes:
        raise UsageError(f"sde {sde!r}: not one of {', '.join(processes)}")
    process = processes[sde]()
    if horizon is None and noise_levels is None:
        return process
    if isinstance(process, Clean):
        raise UsageError("sde none has no noise: leave out its strength")
    if horizon is not None and noise_levels is not None:
        raise UsageError("give the noise strength as T or as noise levels, not both")
    if horizon is not None:
        if not 0 < horizon <= 1:
            raise UsageError(f"T = {horizon}: must be above 0 and at most 1")
        return replace(process, horizon=horizon)
    assert noise_levels is not None
    return from_noise_levels(process, noise_levels)


def from_noise_levels(process: Process, levels: float) -> Process:
    """The process with T such that std(T) is `levels`, by bisection on [0, 1]."""
    low, high = 0.0, 1.0
    reach = std_at(process, 1.0)
    if not 0 < levels <= reach:
        raise UsageError(f"noise levels {levels}: must be above 0 and at most {reach:.1f}")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if std_at(process, middle) < levels else (low, middle)
    return replace(process, horizon=high)  # type: ignore[type-var]


def std_at(process: Process, t: float) -> float:
    """std(t) in grey levels."""
    return float(process.std(torch.tensor(t, dtype=torch.float64)))


def perturb(process: Process, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """A draw of x_t given x_0 = x. x: [batch, channel, height, width] levels; t: [batch]."""
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    scale = process.mean_scale(t)[:, None, None, None]
    return CENTRE + scale * (x - CENTRE) + process.std(t)[:, None, None, None] * noise


def draw_times(
    process: Process, count: int, clean_share: float, generator: torch.Generator
) -> Tensor:
    """Noise times [count]: 0 with probability `clean_share`, else uniform on [0, T].

    The uniform distribution alone (the paper's mu) never draws t = 0, the only t of the codec.
    """
    uniform = torch.rand(2, count, generator=generator, device=generator.device)
    return torch.where(uniform[0] < clean_share, 0.0, process.horizon * uniform[1])
