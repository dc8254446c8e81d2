"""Score-based refinement: noisy images at time t brought back to t = 0 (NCML paper, section 4.2).

The reverse of the noise process by its SDE or its ODE (Song et al. 2021, "Score-based generative
modeling through SDEs", sections 3.3 and 4), from any start time, since the network gives samples
at every t (`ncml_codec.learn.sampling.sampler`). The score is the gradient of the likelihood by
autograd. Images here are real numbers; rounding to grey levels is the caller's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncml_codec.learn.likelihood.objective import NoiseConditional
from ncml_codec.learn.likelihood.processes import Process

Score = Callable[[Tensor, Tensor], Tensor]  # of x [batch, channel, height, width] and t [batch]
After = Callable[[Tensor, float], Tensor]  # what becomes of the images after a step, at its time

# Where the ODE ends, as a share of its start: std is below a fifth of a level there for processes
# of 10 levels, and the network at exactly t = 0 gives masses with tails, not a density.
ODE_END = 1e-3


def model_score(model: NoiseConditional) -> Score:
    """The gradient of log p_t(x), in nats per grey level, of a network's likelihood.

    At t = 0 that of the masses of whole levels, else of the density (see `objective.image_bits`).
    """

    def score(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_p = model(x, t).log_mass(x, edges=t == 0).sum()
            return torch.autograd.grad(log_p, x)[0]

    return score


@torch.no_grad()
def euler_maruyama(
    score: Score,
    process: Process,
    x: Tensor,
    start: float,
    generator: torch.Generator,
    steps: int = 50,
    after: After = lambda x, t: x,
) -> Tensor:
    """x at time 0 from x at `start`, by the reverse SDE in equal steps of time.

    The last step adds no noise: it would be all that is left of it.
    """
    times = torch.linspace(start, 0, steps + 1, dtype=torch.float64).tolist()
    for now, then in itertools.pairwise(times):
        x = after(_reverse_step(score, process, x, now, then, generator), then)
    return x


@torch.no_grad()
def predictor_corrector(
    score: Score,
    process: Process,
    x: Tensor,
    start: float,
    generator: torch.Generator,
    steps: int = 50,
    ratio: float = 0.16,
    after: After = lambda x, t: x,
) -> Tensor:
    """The same, each step followed by one of Langevin dynamics at its new time.

    ratio: of the signal to the noise in a corrector's step (Song et al. 2021, algorithms 4 and 5).
    """
    times = torch.linspace(start, 0, steps + 1, dtype=torch.float64).tolist()
    for now, then in itertools.pairwise(times):
        x = _reverse_step(score, process, x, now, then, generator)
        if then > 0:
            slope = score(x, _time(x, then))
            noise = _noise(x, generator)
            norms = [part.flatten(1).norm(dim=1).mean() for part in (noise, slope)]
            size = 2 * (ratio * norms[0] / norms[1].clamp(min=1e-12)) ** 2
            x = x + size * slope + torch.sqrt(2 * size) * noise
        x = after(x, then)
    return x


@torch.no_grad()
def probability_flow(
    score: Score,
    process: Process,
    x: Tensor,
    start: float,
    segments: int = 10,
    tolerance: float = 0.05,
    after: After = lambda x, t: x,
) -> Tensor:
    """The same by the probability-flow ODE, which adds no noise: x is a function of its start.

    Runge-Kutta 4(5) by scipy with adaptive steps, for the batch as one system. tolerance: local
    error in grey levels. segments: `after` is called so many times, at equal steps of time.
    """
    from scipy.integrate import solve_ivp

    def slope(t: float, flat: Any) -> Any:
        here = torch.from_numpy(flat.reshape(x.shape)).to(x)
        time = _time(x, t)
        drift = process.flow_drift(here, time, score(here, time))
        return drift.double().cpu().numpy().ravel()

    end = start * ODE_END
    times = np.linspace(start, end, segments + 1).tolist()
    for now, then in itertools.pairwise(times):
        state = x.double().cpu().numpy().ravel()
        found = solve_ivp(slope, (now, then), state, rtol=1e-5, atol=tolerance, t_eval=[then])
        x = after(torch.from_numpy(found.y[:, -1].reshape(x.shape)).to(x), then)
    return x


def _reverse_step(
    score: Score, process: Process, x: Tensor, now: float, then: float, generator: torch.Generator
) -> Tensor:
    t = _time(x, now)
    x = x - (now - then) * process.reverse_drift(x, t, score(x, t))
    if then > 0:
        spread = process.diffusion(t)[:, None, None, None] * math.sqrt(now - then)
        x = x + spread * _noise(x, generator)
    return x


def _time(x: Tensor, t: float) -> Tensor:
    return torch.full((len(x),), t, dtype=x.dtype, device=x.device)


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
