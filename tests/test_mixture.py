"""The likelihood: 256 masses that sum to one, against a brute-force twin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ncml_codec.learn.mixture import Mixture, bits_per_dimension, log_mass


def random_mixture(seed: int, k: int = 3, sharp: bool = False) -> Mixture:
    """Parameters for one image of 2 planes, 3 x 4, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        uniform = torch.rand((1, 2, k, 3, 4), generator=generator, dtype=torch.float64)
        return low + (high - low) * uniform

    return Mixture(draw(-2, 2), draw(-20, 275), draw(-4, -2) if sharp else draw(-2, 5))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sharp", [False, True])
def test_masses_of_all_levels_sum_to_one(seed: int, sharp: bool) -> None:
    mixture = random_mixture(seed, sharp=sharp)
    total = sum(
        log_mass(torch.full((1, 2, 3, 4), float(level), dtype=torch.float64), mixture).exp()
        for level in range(256)
    )
    assert isinstance(total, Tensor)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-9, atol=0)


def test_masses_are_the_definition() -> None:
    mixture = random_mixture(9)
    x = torch.tensor([0.0, 1, 7, 128, 254, 255] * 4, dtype=torch.float64).reshape(1, 2, 3, 4)
    weights = torch.softmax(mixture.logits, 2)
    scale = mixture.log_scales.exp()
    value = x[:, :, None]
    upper = torch.sigmoid((value + 0.5 - mixture.means) / scale)
    lower = torch.sigmoid((value - 0.5 - mixture.means) / scale)
    upper = torch.where(value == 255, 1.0, upper)
    lower = torch.where(value == 0, 0.0, lower)
    brute = ((upper - lower) * weights).sum(2)
    # The absolute part is what the brute-force difference loses near 1.
    torch.testing.assert_close(log_mass(x, mixture).exp(), brute, rtol=1e-9, atol=1e-15)


def test_far_tails_are_finite_with_finite_gradients() -> None:
    means = torch.full((1, 1, 1, 1, 1), 10.0, requires_grad=True)
    scales = torch.full((1, 1, 1, 1, 1), -4.0, requires_grad=True)
    mixture = Mixture(torch.zeros(1, 1, 1, 1, 1), means, scales)
    value = log_mass(torch.full((1, 1, 1, 1), 200.0), mixture)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert means.grad is not None
    assert torch.isfinite(means.grad).all()
    # d/dmean log exp(-(x - mean) / s) = 1 / s
    assert float(means.grad) == pytest.approx(math.exp(4), rel=1e-3)


def test_without_edges_the_bin_has_the_density_mass() -> None:
    mixture = random_mixture(2)
    x = torch.full((1, 2, 3, 4), 255.0, dtype=torch.float64)
    inside = log_mass(x, mixture, edges=False)
    assert (inside < log_mass(x, mixture, edges=True)).all()
    per_image = log_mass(x, mixture, edges=torch.tensor([False]))
    torch.testing.assert_close(per_image, inside)


def test_noisy_values_have_a_smooth_likelihood() -> None:
    mixture = random_mixture(5)
    values = [
        log_mass(torch.full((1, 2, 3, 4), v, dtype=torch.float64), mixture, edges=False)
        for v in (99.9999, 100.0, 100.0001)
    ]
    middle = (values[0] + values[2]) / 2
    torch.testing.assert_close(values[1], middle, rtol=1e-6, atol=1e-6)


def test_bits_are_nats_over_log_2() -> None:
    assert float(bits_per_dimension(torch.tensor([math.log(2), 3 * math.log(2)]))) == (
        pytest.approx(2.0)
    )
