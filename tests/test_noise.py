"""Noise processes: clean at t = 0, of the stated strength at T, and what their equations say."""

from __future__ import annotations

import math

import pytest
import torch

from ncml_codec.errors import UsageError
from ncml_codec.learn.noise import (
    CENTRE,
    PAPER_HORIZON,
    Process,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    draw_times,
    perturb,
    process_named,
    std_at,
)

NOISY = ["ve", "vp", "subvp"]


@pytest.mark.parametrize("sde", ["none", *NOISY])
def test_time_zero_is_clean_data(sde: str) -> None:
    process = process_named(sde)
    zero = torch.zeros(3)
    assert (process.std(zero) == 0).all()
    assert (process.mean_scale(zero) == 1).all()
    x = torch.arange(48.0).reshape(3, 1, 4, 4)
    torch.testing.assert_close(perturb(process, x, zero, torch.Generator()), x)


@pytest.mark.parametrize(("sde", "levels"), [("ve", 180), ("vp", 41), ("subvp", 1.1)])
def test_the_papers_times_give_these_noise_levels(sde: str, levels: float) -> None:
    assert std_at(process_named(sde), PAPER_HORIZON[sde]) == pytest.approx(levels, rel=0.02)


@pytest.mark.parametrize("sde", NOISY)
@pytest.mark.parametrize("levels", [0.5, 10.0, 60.0])
def test_strength_can_be_given_in_grey_levels(sde: str, levels: float) -> None:
    process = process_named(sde, noise_levels=levels)
    assert std_at(process, process.horizon) == pytest.approx(levels, rel=1e-6)


@pytest.mark.parametrize(
    "process",
    [VarianceExploding(0.3), VariancePreserving(0.3), SubVariancePreserving(0.3)],
    ids=NOISY,
)
def test_moments_are_those_of_the_simulated_sde(process: Process) -> None:
    mean, variance = 100.0, 0.0
    steps = 20_000
    dt = process.horizon / steps
    for step in range(steps):
        drift, diffusion = equation(process, (step + 0.5) * dt)
        mean += drift * mean * dt
        variance += (2 * drift * variance + diffusion) * dt
    t = torch.tensor(process.horizon, dtype=torch.float64)
    # The midpoint rule is exact to second order: 20,000 steps leave about 1e-6.
    assert 100 * float(process.mean_scale(t)) == pytest.approx(mean, rel=1e-4)
    assert float(process.std(t)) == pytest.approx(math.sqrt(variance), rel=1e-4)


def equation(process: Process, t: float) -> tuple[float, float]:
    """Drift a of dx = a x dt + g dw, and g^2 in squared grey levels (Song et al. 2021, app. B)."""
    if isinstance(process, VarianceExploding):
        growth = process.sigma_max / process.sigma_min
        sigma = 2 * CENTRE * process.sigma_min * growth**t
        return 0.0, 2 * sigma**2 * math.log(growth)
    assert isinstance(process, VariancePreserving)
    beta = process.beta_min + t * (process.beta_max - process.beta_min)
    integral = process.beta_min * t + (process.beta_max - process.beta_min) * t**2 / 2
    share = 1 - math.exp(-2 * integral) if isinstance(process, SubVariancePreserving) else 1.0
    return -beta / 2, CENTRE**2 * beta * share


@pytest.mark.parametrize("sde", NOISY)
def test_perturbed_images_have_the_stated_moments(sde: str) -> None:
    process = process_named(sde, noise_levels=20.0)
    x = torch.full((1, 1, 400, 400), 200.0)
    t = torch.tensor([process.horizon])
    noisy = perturb(process, x, t, torch.Generator().manual_seed(0))
    mean = CENTRE + float(process.mean_scale(t)) * (200 - CENTRE)
    assert float(noisy.mean()) == pytest.approx(mean, abs=5 * 20 / 400)
    assert float(noisy.std()) == pytest.approx(20.0, rel=0.02)


def test_times_are_zero_as_often_as_asked_and_else_uniform() -> None:
    process = process_named("vp")
    times = draw_times(process, 40_000, 0.3, torch.Generator().manual_seed(0))
    later = times[times > 0]
    assert float((times == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(later.mean()) == pytest.approx(process.horizon / 2, rel=0.02)
    assert float(later.max()) <= process.horizon


def test_plain_maximum_likelihood_is_always_clean() -> None:
    times = draw_times(process_named("none"), 100, 0.0, torch.Generator())
    assert (times == 0).all()


@pytest.mark.parametrize(
    ("sde", "horizon", "levels"),
    [
        ("vpp", None, None),
        ("vp", 0.1, 10.0),
        ("vp", 0.0, None),
        ("vp", 1.5, None),
        ("vp", None, 128.0),
        ("ve", None, -1.0),
        ("none", 0.1, None),
    ],
)
def test_impossible_strengths_are_refused(
    sde: str, horizon: float | None, levels: float | None
) -> None:
    with pytest.raises(UsageError):
        process_named(sde, horizon, levels)
