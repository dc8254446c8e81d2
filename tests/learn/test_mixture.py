"""The likelihood: 256 masses that sum to one, against a brute-force twin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ncml_codec.learn.likelihood.mixture import JointMixture, Mixture, bits_per_dimension


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
        mixture.log_mass(torch.full((1, 2, 3, 4), float(level), dtype=torch.float64)).exp()
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
    torch.testing.assert_close(mixture.log_mass(x).exp(), brute, rtol=1e-9, atol=1e-15)


def test_far_tails_are_finite_with_finite_gradients() -> None:
    means = torch.full((1, 1, 1, 1, 1), 10.0, requires_grad=True)
    scales = torch.full((1, 1, 1, 1, 1), -4.0, requires_grad=True)
    mixture = Mixture(torch.zeros(1, 1, 1, 1, 1), means, scales)
    value = mixture.log_mass(torch.full((1, 1, 1, 1), 200.0))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert means.grad is not None
    assert torch.isfinite(means.grad).all()
    # d/dmean log exp(-(x - mean) / s) = 1 / s
    assert float(means.grad) == pytest.approx(math.exp(4), rel=1e-3)


def test_without_edges_the_bin_has_the_density_mass() -> None:
    mixture = random_mixture(2)
    x = torch.full((1, 2, 3, 4), 255.0, dtype=torch.float64)
    inside = mixture.log_mass(x, edges=False)
    assert (inside < mixture.log_mass(x, edges=True)).all()
    per_image = mixture.log_mass(x, edges=torch.tensor([False]))
    torch.testing.assert_close(per_image, inside)


def test_noisy_values_have_a_smooth_likelihood() -> None:
    mixture = random_mixture(5)
    values = [
        mixture.log_mass(torch.full((1, 2, 3, 4), v, dtype=torch.float64), edges=False)
        for v in (99.9999, 100.0, 100.0001)
    ]
    middle = (values[0] + values[2]) / 2
    torch.testing.assert_close(values[1], middle, rtol=1e-6, atol=1e-6)


def random_joint(seed: int, k: int = 3) -> JointMixture:
    """Parameters for two pixels in a row, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        uniform = torch.rand((1, *shape, 1, 2), generator=generator, dtype=torch.float64)
        return low + (high - low) * uniform

    parts = draw(-20, 275, 3, k), draw(-2, 5, 3, k), draw(-1, 1, 3, k)
    return JointMixture(draw(-2, 2, k), *parts)


def pixels(*levels: tuple[float, float, float]) -> Tensor:
    """A row of pixels, [1, 3, 1, width]."""
    return torch.tensor(levels, dtype=torch.float64).T[None, :, None]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channel", range(3))
def test_masses_of_every_channel_given_the_earlier_sum_to_one(seed: int, channel: int) -> None:
    mixture, x = random_joint(seed), pixels((3, 250, 90), (255, 0, 17))
    total = torch.zeros(2, dtype=torch.float64)
    for level in range(256):
        x[:, channel] = level
        total += mixture.log_mass(x)[0, channel, 0].exp()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-9, atol=0)


def test_joint_masses_of_two_channels_sum_to_one() -> None:
    one, total = random_joint(7), torch.zeros(2, dtype=torch.float64)
    parts = (one.logits, one.means, one.log_scales, one.coefficients)
    mixture = JointMixture(*(part.expand(256, *part.shape[1:]) for part in parts))
    x = torch.zeros(256, 3, 1, 2, dtype=torch.float64)
    x[:, 1] = torch.arange(256.0)[:, None, None]
    for red in range(256):
        x[:, 0] = red
        total += mixture.log_mass(x)[:, :2, 0].sum(1).exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-9, atol=0)


def test_joint_masses_are_the_definition() -> None:
    mixture, x = random_joint(11), pixels((0, 128, 255), (40, 255, 77))
    found = mixture.log_mass(x)[0].sum(0).exp()
    for column in range(2):
        red, green, blue = x[0, :, 0, column].tolist()
        total = 0.0
        weights = torch.softmax(mixture.logits[0, :, 0, column], 0).tolist()
        for component, weight in enumerate(weights):
            means, log_scales, c = (
                part[0, :, component, 0, column].tolist()
                for part in (mixture.means, mixture.log_scales, mixture.coefficients)
            )
            means[1] += c[0] * (red - 127.5)
            means[2] += c[1] * (red - 127.5) + c[2] * (green - 127.5)
            for level, mean, log_scale in zip((red, green, blue), means, log_scales, strict=True):
                weight *= bin_mass(level, mean, math.exp(log_scale))
            total += weight
        assert float(found[0, column]) == pytest.approx(total, rel=1e-7)


def bin_mass(level: float, mean: float, scale: float) -> float:
    """One logistic's mass on the bin of a level, outer bins with their tails."""

    def below(limit: float) -> float:
        return 0.5 + 0.5 * math.tanh((limit - mean) / scale / 2)

    upper = 1.0 if level == 255 else below(level + 0.5)
    return upper - (0.0 if level == 0 else below(level - 0.5))


def test_one_component_of_its_own_is_the_same_in_both_mixtures() -> None:
    joint, x = random_joint(13, k=1), pixels((9, 200, 31), (255, 3, 0))
    none = JointMixture(joint.logits, joint.means, joint.log_scales, 0 * joint.coefficients)
    apart = Mixture(0 * joint.means, joint.means, joint.log_scales)
    for edges in (True, False):
        one, other = (mixture.log_mass(x, edges=edges) for mixture in (none, apart))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_bits_are_nats_over_log_2() -> None:
    assert float(bits_per_dimension(torch.tensor([math.log(2), 3 * math.log(2)]))) == (
        pytest.approx(2.0)
    )
