"""Noise processes: the continuum of noise levels t that NCML trains on (NCML paper, section 4).

VE, VP and sub-VP of Song et al. 2021 ("Score-based generative modeling through SDEs", section
3.4 and appendix B), in grey levels: an image x_0 of levels 0 to 255 becomes

    x_t = c + m(t) (x_0 - c) + std(t) z,   z standard normal, c = 127.5,

the solution of dx = f(x, t) dt + g(t) dw. Song et al. scale images to [0, 1] for VE and to
[-1, 1] for VP and sub-VP; here their sigma is times 255 and times 127.5 levels.

The paper's T do not give the "about 10 levels" of noise that it states, but about 180 (VE,
T = 0.5), 41 (VP, T = 0.1) and 1 (sub-VP, T = 0.025): `from_noise_levels` sets the strength by its
standard deviation instead.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ncml_codec.errors import UsageError

CENTRE = 127.5
PAPER_HORIZON = {"none": 0.0, "ve": 0.5, "vp": 0.1, "subvp": 0.025}

_CELLS = 4096  # of [0, T] for importance sampling


@dataclass(frozen=True)
class Process(ABC):
    """A diffusion of images on [0, horizon] whose kernel p(x_t | x_0) is Gaussian; std(0) = 0.

    Times are [batch]; images [batch, channel, height, width].
    """

    horizon: float

    @abstractmethod
    def mean_scale(self, t: Tensor) -> Tensor:
        """m(t), without unit."""

    @abstractmethod
    def std(self, t: Tensor) -> Tensor:
        """Standard deviation at t, in grey levels."""

    @abstractmethod
    def decay(self, t: Tensor) -> Tensor:
        """a(t) of the drift f(x, t) = -a(t) (x - c), per unit of time."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """g(t), in grey levels per square root of time."""

    def perturb(self, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of x_t given x_0 = x."""
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        mean = CENTRE + _each(self.mean_scale(t)) * (x - CENTRE)
        return mean + _each(self.std(t)) * noise

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """f(x, t)."""
        return -_each(self.decay(t)) * (x - CENTRE)

    def reverse_drift(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Drift of the reverse SDE, f - g^2 score (Anderson 1982; Song et al. 2021, eq. 6).

        The NCML paper's eq. 4 prints a plus between g^2 and the score: a misprint.
        """
        return self.drift(x, t) - _each(self.diffusion(t) ** 2) * score

    def flow_drift(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Drift of the probability-flow ODE, f - g^2 score / 2 (Song et al. 2021, eq. 13)."""
        return self.drift(x, t) - 0.5 * _each(self.diffusion(t) ** 2) * score

    def draw_times(
        self, count: int, clean_share: float, importance: bool, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Times and weights, [count] each: t = 0 with probability `clean_share`, else on [0, T].

        Uniform on [0, T] with weights 1 (the paper's mu, which alone never draws the codec's
        t = 0); with `importance`, of density proportional to g(t)^2 (Song et al. 2021, "Maximum
        likelihood training of score-based diffusion models", section 5), with weights that keep
        every expectation what it is under the uniform density.
        """
        device = generator.device
        uniform = torch.rand(2, count, generator=generator, device=device)
        clean = (uniform[0] < clean_share) | (self.horizon == 0)
        if importance and self.horizon > 0:
            t, weight = self._important(uniform[1])
        else:
            t, weight = self.horizon * uniform[1], torch.ones(count, device=device)
        zero = torch.zeros_like(t)
        return torch.where(clean, zero, t), torch.where(clean, zero + 1, weight)

    def _important(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """By inversion of a distribution that is constant in each of 4096 cells: exact weights."""
        middles = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * (self.horizon / _CELLS)
        mass = self.diffusion(middles) ** 2
        mass = (mass / mass.sum()).to(uniform.device)
        upper = mass.cumsum(0)
        place = uniform.double() * upper[-1]
        cell = torch.searchsorted(upper, place).clamp(max=_CELLS - 1)
        inside = ((place - (upper[cell] - mass[cell])) / mass[cell]).clamp(0, 1)
        t = (cell + inside) * (self.horizon / _CELLS)
        return t.to(uniform.dtype), (1 / (_CELLS * mass[cell])).to(uniform.dtype)


@dataclass(frozen=True)
class Clean(Process):
    """No noise: t is always 0, plain maximum likelihood."""

    horizon: float = PAPER_HORIZON["none"]

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def std(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def decay(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)


@dataclass(frozen=True)
class VarianceExploding(Process):
    """dx = sqrt(d sigma^2 / dt) dw with sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    sigma(0)^2 is subtracted from the variance, so that t = 0 is clean data.
    """

    horizon: float = PAPER_HORIZON["ve"]
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def std(self, t: Tensor) -> Tensor:
        return 2 * CENTRE * self.sigma_min * torch.sqrt(torch.expm1(2 * t * self._growth()))

    def decay(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        sigma = 2 * CENTRE * self.sigma_min * torch.exp(t * self._growth())
        return sigma * math.sqrt(2 * self._growth())

    def _growth(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class VariancePreserving(Process):
    """dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw, beta linear from beta_min to beta_max at t = 1."""

    horizon: float = PAPER_HORIZON["vp"]
    beta_min: float = 0.1
    beta_max: float = 20.0

    def mean_scale(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._integral(t))

    def std(self, t: Tensor) -> Tensor:
        return CENTRE * torch.sqrt(-torch.expm1(-self._integral(t)))

    def decay(self, t: Tensor) -> Tensor:
        return 0.5 * self._beta(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return CENTRE * torch.sqrt(self._beta(t))

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def _integral(self, t: Tensor) -> Tensor:
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2


@dataclass(frozen=True)
class SubVariancePreserving(VariancePreserving):
    """VP's drift with less diffusion: std is VP's variance (Song et al. 2021, eq. 29)."""

    horizon: float = PAPER_HORIZON["subvp"]

    def std(self, t: Tensor) -> Tensor:
        return CENTRE * -torch.expm1(-self._integral(t))

    def diffusion(self, t: Tensor) -> Tensor:
        return super().diffusion(t) * torch.sqrt(-torch.expm1(-2 * self._integral(t)))


def process_named(
    sde: str, horizon: float | None = None, noise_levels: float | None = None
) -> Process:
    """The process `none`, `ve`, `vp` or `subvp`, its strength as T or as std at T in grey levels.

    Neither given: the paper's T. Raises UsageError for both, and for a strength out of reach.
    """
    processes: dict[str, Process] = {
        "none": Clean(),
        "ve": VarianceExploding(),
        "vp": VariancePreserving(),
        "subvp": SubVariancePreserving(),
    }
    if sde not in processes:
        raise UsageError(f"sde {sde!r}: not one of {', '.join(processes)}")
    process = processes[sde]
    if horizon is None and noise_levels is None:
        return process
    if isinstance(process, Clean):
        raise UsageError("sde none has no noise: leave out its strength")
    if horizon is not None and noise_levels is not None:
        raise UsageError("give the noise strength as T or as noise levels, not both")
    if noise_levels is not None:
        return from_noise_levels(process, noise_levels)
    if horizon is None or not 0 < horizon <= 1:
        raise UsageError(f"T = {horizon}: must be above 0 and at most 1")
    return replace(process, horizon=horizon)


def from_noise_levels(process: Process, levels: float) -> Process:
    """The process with T such that std(T) is `levels`, by bisection on [0, 1]."""
    low, high = 0.0, 1.0
    reach = std_at(process, 1.0)
    if not 0 < levels <= reach:
        raise UsageError(f"noise levels {levels}: must be above 0 and at most {reach:.1f}")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if std_at(process, middle) < levels else (low, middle)
    return replace(process, horizon=high)


def std_at(process: Process, t: float) -> float:
    """std(t) in grey levels."""
    return float(process.std(torch.tensor(t, dtype=torch.float64)))


def _each(values: Tensor) -> Tensor:
    """One value an image, to multiply images with."""
    return values[:, None, None, None]
