"""Images from a network: plain sampling, the paper's two phases, and completion of given parts.

NCML paper, section 4.2: draw at noise time t, where the network is robust against its own
errors, then refine to t = 0 by the score. Random numbers come from one generator.

At t > 0 values are cut to what noisy images reach: their range at t and five standard deviations
more. Without it a network's draw beyond that makes the next ones worse, which a score then spreads
(bench/notebook/noise-and-likelihood.md, "Sampling").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ncml_codec.errors import UsageError
from ncml_codec.learn.likelihood.processes import CENTRE, Process
from ncml_codec.learn.sampling import refinement
from ncml_codec.learn.sampling.sampler import Given, Progress, ancestral, uniforms
from ncpn.bundles import walks
from ncpn.network import NCPN

METHODS = ("sde", "pc", "ode")

Frame = Callable[[Tensor, float], None]  # told the images and their time after a refinement's step


@dataclass(frozen=True)
class SampleConfig:
    """How to draw.

    start: noise time of ancestral sampling; 0 for plain sampling, without refinement. method: of
    refinement: reverse SDE (Euler-Maruyama), the same with a corrector after each step, or ODE.
    steps: of time; for the ODE, whose steps adapt, only how often `Frame` is told.
    """

    start: float = 0.0
    method: str = "sde"
    steps: int = 50


def draw(
    model: NCPN,
    process: Process,
    config: SampleConfig,
    shape: Sequence[int],
    generator: torch.Generator,
    *,
    labels: Tensor | None = None,
    given: Given | None = None,
    progress: Progress = lambda pixels: None,
    frame: Frame = lambda images, t: None,
) -> Tensor:
    """Grey levels, whole numbers in float [batch, 3, height, width].

    shape: those four numbers. labels: long [batch]. given: the part of the images that stays; with
    a start above 0 it enters every step with the noise of the step's time (Song et al. 2021,
    appendix I.2). Raises UsageError for a start that the network was not trained for.
    """
    if not 0 <= config.start <= process.horizon:
        raise UsageError(f"start t = {config.start:g}: the network knows 0 to {process.horizon:g}")
    if config.method not in METHODS:
        raise UsageError(f"method {config.method!r}: not one of {', '.join(METHODS)}")
    numbers = uniforms(shape, generator)
    begin = partial(walks.walk, model, t=_times(shape, config.start, generator), labels=labels)
    if config.start == 0:
        return ancestral(begin, numbers, whole=True, given=given, progress=progress)
    hold = _Held(
        process, given, torch.randn(tuple(shape), generator=generator, device=generator.device)
    )
    known = None if given is None else Given(hold.at(config.start), given.mask)
    limits = reach(process, config.start)
    x = ancestral(begin, numbers, whole=False, given=known, bounds=limits, progress=progress)
    frame(x, config.start)

    def after(x: Tensor, t: float) -> Tensor:
        x = hold(x.clamp(*reach(process, t)), t)
        frame(x, t)
        return x

    score = refinement.model_score(walks.asked_with(model, labels))
    arguments = (score, process, x, config.start)
    if config.method == "sde":
        x = refinement.euler_maruyama(*arguments, generator, config.steps, after=after)
    elif config.method == "pc":
        x = refinement.predictor_corrector(*arguments, generator, config.steps, after=after)
    else:
        x = refinement.probability_flow(*arguments, config.steps, after=after)
    return hold(x, 0.0).round().clamp(0, 255)


def reach(process: Process, t: float) -> tuple[float, float]:
    """Levels that noisy images do not exceed at t, but for one sub-pixel in some millions."""
    time = torch.tensor(t, dtype=torch.float64)
    half = float(CENTRE * process.mean_scale(time) + 5 * process.std(time))
    return CENTRE - half, CENTRE + half


def top_half(height: int, width: int) -> Tensor:
    """The mask of `Given` for the paper's completions: the rows of the upper half."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[: height // 2] = True
    return mask


def first_half(model: NCPN, height: int, width: int) -> Tensor:
    """The mask of the first half of the pixels in the network's own order: all of it is looked at.

    For a wave network about a triangle; for the paper's the upper half.
    """
    mask = torch.zeros(height, width, dtype=torch.bool)
    for rows, columns in walks.order(model, height, width):
        if 2 * (int(mask.sum()) + len(rows)) > height * width:
            break
        mask[rows, columns] = True
    return mask


@dataclass(frozen=True)
class _Held:
    """Puts the given part back into images, with the same noise at every time, less and less."""

    process: Process
    given: Given | None
    noise: Tensor

    def __call__(self, x: Tensor, t: float) -> Tensor:
        return x if self.given is None else torch.where(self.given.mask, self.at(t), x)

    def at(self, t: float) -> Tensor:
        """The given values at time t."""
        assert self.given is not None
        time = torch.full((1, 1, 1, 1), t, device=self.noise.device)
        mean = CENTRE + self.process.mean_scale(time) * (self.given.values - CENTRE)
        return mean + self.process.std(time) * self.noise


def _times(shape: Sequence[int], t: float, generator: torch.Generator) -> Tensor:
    return torch.full((shape[0],), t, device=generator.device)
