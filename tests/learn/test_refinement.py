"""Refinement: the score is the gradient of log p; reversing a process gives its start back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ncml_codec.learn.likelihood.processes import CENTRE, Process, process_named
from ncml_codec.learn.sampling import refinement
from ncml_codec.learn.sampling.refinement import euler_maruyama, model_score, predictor_corrector
from tests.builders.float_networks import network_of, times

MEAN, SPREAD = 90.0, 20.0  # of the toy's sub-pixels, grey levels
COUNT = 20_000
Refine = Callable[[refinement.Score, Process, Tensor, float], Tensor]


def moments(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the toy's sub-pixels at t: Gaussian at every time."""
    scale = process.mean_scale(t)
    return CENTRE + scale * (MEAN - CENTRE), (scale * SPREAD) ** 2 + process.std(t) ** 2


def toy_score(process: Process) -> refinement.Score:
    def score(x: Tensor, t: Tensor) -> Tensor:
        mean, variance = (part[:, None, None, None] for part in moments(process, t))
        return (mean - x) / variance

    return score


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


REFINEMENTS: dict[str, Refine] = {
    "sde": lambda *args: euler_maruyama(*args, generator(1), steps=300),
    "pc": lambda *args: predictor_corrector(*args, generator(1), steps=150, ratio=0.1),
    "ode": lambda *args: refinement.probability_flow(*args),
}


@pytest.mark.parametrize("sde", ["ve", "vp", "subvp"])
@pytest.mark.parametrize("method", list(REFINEMENTS))
def test_the_reverse_of_a_gaussian_is_the_gaussian(sde: str, method: str) -> None:
    """Moments within five standard errors, and 2 % of the spread for the steps' own error."""
    process = process_named(sde, noise_levels=30)
    mean, variance = moments(process, torch.tensor([process.horizon], dtype=torch.float64))
    noisy = mean + variance.sqrt() * torch.randn(
        COUNT, 1, 1, 1, generator=generator(0), dtype=torch.float64
    )
    found = REFINEMENTS[method](toy_score(process), process, noisy, process.horizon)
    assert abs(float(noisy.std()) - SPREAD) > 8  # there was something to do
    assert abs(float(found.mean()) - MEAN) < 5 * SPREAD / COUNT**0.5 + 0.02 * SPREAD
    assert abs(float(found.std()) - SPREAD) < 5 * SPREAD / (2 * COUNT) ** 0.5 + 0.02 * SPREAD


def test_the_flow_keeps_the_order_of_quantiles() -> None:
    """In one dimension the ODE is monotone: a Gaussian's quantiles go to the same quantiles."""
    process = process_named("vp", noise_levels=30)
    mean, variance = moments(process, torch.tensor([process.horizon], dtype=torch.float64))
    normal = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None, None, None]
    found = refinement.probability_flow(
        toy_score(process), process, mean + variance.sqrt() * normal, process.horizon
    )
    torch.testing.assert_close(found, MEAN + SPREAD * normal, rtol=0, atol=0.2)


@pytest.mark.parametrize("kind", ["wave", "paper"])
@pytest.mark.parametrize("t", [0.0, 0.6])
def test_the_score_equals_finite_differences(kind: str, t: float) -> None:
    """Central differences in double precision; the networks have kinks, so 1e-3 levels."""
    model, time = network_of(kind), times(t, 2)
    x = 20 + 200 * torch.rand(2, 3, 8, 8, generator=generator(2), dtype=torch.float64)
    found = model_score(model)(x, time)

    def log_p(x: Tensor) -> Tensor:
        return model(x, time).log_mass(x, edges=time == 0).sum((1, 2, 3))

    random = generator(3)
    step = 1e-3
    for _ in range(12):
        place = tuple(int(torch.randint(n, (), generator=random)) for n in x.shape)
        change = torch.zeros_like(x)
        change[place] = step
        with torch.no_grad():
            slope = (log_p(x + change) - log_p(x - change))[place[0]] / (2 * step)
        torch.testing.assert_close(found[place], slope, rtol=1e-3, atol=1e-5)


def test_a_network_at_small_noise_pulls_towards_what_it_knows() -> None:
    """A noisy image becomes likelier under the network at small t."""
    model, process = network_of("wave"), process_named("vp", noise_levels=10)
    x = process.perturb(
        torch.full((2, 3, 8, 8), 120.0, dtype=torch.float64),
        torch.full((2,), process.horizon, dtype=torch.float64),
        generator(4),
    )
    seen: list[float] = []

    def after(x: Tensor, t: float) -> Tensor:
        seen.append(t)
        return x

    found = euler_maruyama(
        model_score(model), process, x, process.horizon, generator(5), steps=20, after=after
    )
    assert len(seen) == 20
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0
    small = torch.full((2,), process.horizon / 20, dtype=torch.float64)
    with torch.no_grad():
        before, now = (model(y, small).log_mass(y, edges=False).sum() for y in (x, found))
    assert now > before


def test_what_is_done_after_a_step_stays() -> None:
    process = process_named("ve", noise_levels=10)
    x = torch.full((1, 3, 4, 4), 60.0, dtype=torch.float64)

    def held(x: Tensor, t: float) -> Tensor:
        return torch.cat([torch.full_like(x[:, :, :2], 7.0), x[:, :, 2:]], 2)

    for refined in (
        euler_maruyama(toy_score(process), process, x, process.horizon, generator(6), 5, held),
        refinement.probability_flow(toy_score(process), process, x, process.horizon, after=held),
    ):
        assert (refined[:, :, :2] == 7).all()
        assert refined[:, :, 2:].mean() > 61
