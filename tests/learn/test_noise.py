"""Noise processes: clean at t = 0, of the stated strength at T, and what their equations say."""

from __future__ import annotations

import math

import pytest
import torch

from ncml_codec.errors import UsageError
from ncml_codec.learn.likelihood.processes import (
    CENTRE,
    PAPER_HORIZON,
    Process,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
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
    torch.testing.assert_close(process.perturb(x, zero, torch.Generator()), x)


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
    """Drift a of dx = a x dt + g dw, and g^2, from the process's own methods."""
    time = torch.tensor(t, dtype=torch.float64)
    return -float(process.decay(time)), float(process.diffusion(time)) ** 2


@pytest.mark.parametrize("t", [0.01, 0.3])
def test_the_equations_are_those_of_song(t: float) -> None:
    time = torch.tensor(t, dtype=torch.float64)
    beta, integral = 0.1 + 19.9 * t, 0.1 * t + 19.9 * t**2 / 2
    sigma = 255 * 0.01 * 5000**t
    expected = {
        "ve": (0.0, sigma * math.sqrt(2 * math.log(5000))),
        "vp": (beta / 2, CENTRE * math.sqrt(beta)),
        "subvp": (beta / 2, CENTRE * math.sqrt(beta * (1 - math.exp(-2 * integral)))),
    }
    for sde, (decay, diffusion) in expected.items():
        process = process_named(sde)
        assert float(process.decay(time)) == pytest.approx(decay)
        assert float(process.diffusion(time)) == pytest.approx(diffusion)


def test_reverse_drifts_lead_a_gaussian_back() -> None:
    """For Gaussian data the score is known, and mean and spread must return along both."""
    process = VariancePreserving(0.2)
    mean, spread = 30.0, 12.0
    steps = 4000
    generator = torch.Generator().manual_seed(0)
    x = (mean + spread * torch.randn(20_000, 1, 1, 1, generator=generator)) + CENTRE
    t = torch.full((len(x),), process.horizon)
    for noisy in (True, False):
        y, dt = process.perturb(x, t, generator), process.horizon / steps
        for step in range(steps, 0, -1):
            time = torch.tensor([step * dt - dt / 2])
            scale, std = process.mean_scale(time), process.std(time)
            score = -(y - CENTRE - scale * mean) / (scale**2 * spread**2 + std**2)
            if noisy:
                kick = process.diffusion(time) * math.sqrt(dt)
                y = y - process.reverse_drift(y, time, score) * dt
                y = y + kick * torch.randn(y.shape, generator=generator)
            else:
                y = y - process.flow_drift(y, time, score) * dt
        # Sampling error of 20,000 draws: 0.085 in the mean, 0.06 in the spread; four of each.
        assert float(y.mean()) - CENTRE == pytest.approx(mean, abs=0.34)
        assert float(y.std()) == pytest.approx(spread, abs=0.25)


@pytest.mark.parametrize("sde", NOISY)
def test_perturbed_images_have_the_stated_moments(sde: str) -> None:
    process = process_named(sde, noise_levels=20.0)
    x = torch.full((1, 1, 400, 400), 200.0)
    t = torch.tensor([process.horizon])
    noisy = process.perturb(x, t, torch.Generator().manual_seed(0))
    mean = CENTRE + float(process.mean_scale(t)) * (200 - CENTRE)
    assert float(noisy.mean()) == pytest.approx(mean, abs=5 * 20 / 400)
    assert float(noisy.std()) == pytest.approx(20.0, rel=0.02)


def test_times_are_zero_as_often_as_asked_and_else_uniform() -> None:
    process = process_named("vp")
    times, weights = process.draw_times(40_000, 0.3, False, torch.Generator().manual_seed(0))
    later = times[times > 0]
    assert float((times == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(later.mean()) == pytest.approx(process.horizon / 2, rel=0.02)
    assert float(later.max()) <= process.horizon
    assert (weights == 1).all()


@pytest.mark.parametrize("sde", NOISY)
def test_importance_sampling_keeps_expectations(sde: str) -> None:
    process = process_named(sde)
    generator = torch.Generator().manual_seed(0)
    times, weights = process.draw_times(400_000, 0.0, True, generator)
    share = times / process.horizon
    # Weights are bounded below by what the largest g^2 gives, so moments converge.
    for power, expected in ((0, 1.0), (1, 1 / 2), (2, 1 / 3)):
        assert float((weights * share**power).mean()) == pytest.approx(expected, rel=0.05)
    cells = torch.histc(share, 10, 0, 1) / len(times)
    middles = (torch.arange(10) + 0.5) * process.horizon / 10
    density = process.diffusion(middles) ** 2
    torch.testing.assert_close(cells, density / density.sum(), rtol=0.15, atol=0.002)


def test_plain_maximum_likelihood_is_always_clean() -> None:
    times, weights = process_named("none").draw_times(100, 0.0, True, torch.Generator())
    assert (times == 0).all()
    assert (weights == 1).all()


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
