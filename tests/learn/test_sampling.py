"""Ancestral sampling: every walk draws the same images from the same random numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from ncml_codec.learn.likelihood.mixture import Distribution, JointMixture, Mixture
from ncml_codec.learn.sampling.sampler import (
    Begin,
    Given,
    ancestral,
    one_by_one,
    raster_order,
    uniforms,
    wave_order,
)
from ncpn.bundles import walks
from ncpn.paper_network.pixelcnn import PixelCNNConfig
from tests.builders.float_networks import CONFIGS, network_of, times

HEIGHT, WIDTH = 8, 12


def numbers(seed: int, *shape: int) -> Tensor:
    return uniforms(shape, torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("t", [0.0, 0.6])
def test_waves_and_single_pixels_draw_the_same_images(t: float) -> None:
    model, chances = network_of("wave"), numbers(1, 2, 3, HEIGHT, WIDTH)
    singles = one_by_one(wave_order(HEIGHT, WIDTH))
    backwards = [(rows.flip(0), columns.flip(0)) for rows, columns in wave_order(HEIGHT, WIDTH)]
    begins: list[Begin] = [
        partial(walks.walk, model, t=times(t, 2)),
        partial(walks.recomputed, model, t=times(t, 2)),
        partial(walks.recomputed, model, t=times(t, 2), steps=singles),
        partial(walks.recomputed, model, t=times(t, 2), steps=one_by_one(backwards)),
    ]
    drawn = [ancestral(begin, chances, whole=t == 0) for begin in begins]
    assert drawn[0].std() > 5
    for other in drawn[1:]:
        torch.testing.assert_close(drawn[0], other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (5, 2), (3, 9)])
def test_small_images_have_all_their_pixels_drawn(size: tuple[int, int]) -> None:
    model, chances = network_of("wave"), numbers(2, 2, 3, *size)
    t, seen = times(0.6, 2), []
    fast = ancestral(partial(walks.walk, model, t=t), chances, whole=False, progress=seen.append)
    slow = ancestral(partial(walks.recomputed, model, t=t), chances, whole=False)
    assert sum(seen) == size[0] * size[1]
    assert (fast != 0).all()
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.6])
@pytest.mark.parametrize("labels", [None, torch.tensor([2, 0])])
@pytest.mark.parametrize("size", [(8, 12), (4, 4)])
def test_the_papers_network_draws_the_same_with_and_without_what_is_kept(
    t: float, labels: Tensor | None, size: tuple[int, int]
) -> None:
    config = PixelCNNConfig(width=16, blocks=2, mixtures=3, features=8, classes=3, heads=2)
    model, chances = network_of(config), numbers(3, 2, 3, *size)
    fast, slow = (
        ancestral(partial(walk, model, t=times(t, 2), labels=labels), chances, whole=t == 0)
        for walk in (walks.walk, walks.recomputed)
    )
    assert fast.std() > 5
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-8)


def test_at_time_zero_levels_are_whole() -> None:
    for kind in CONFIGS:
        begin = partial(walks.walk, network_of(kind), t=times(0, 2))
        drawn = ancestral(begin, numbers(3, 2, 3, 4, 4), whole=True)
        assert torch.equal(drawn, drawn.round())
        assert 0 <= drawn.min() <= drawn.max() <= 255


def joint(batch: int) -> JointMixture:
    """A mixture whose channels depend strongly on each other, the same at every place."""
    logits = torch.tensor([0.3, -0.2])[None, :, None, None].double()
    means = torch.tensor([[20.0, 200.0], [3.0, 250.0], [100.0, 130.0]]).double()
    log_scales = torch.tensor([[0.5, 2.0], [1.5, 1.0], [-1.0, 2.5]]).double()
    coefficients = torch.tensor([[0.1, -0.2], [0.3, 0.1], [-0.4, 0.2]]).double()

    def each(part: Tensor) -> Tensor:
        return part[None, :, :, None, None].expand(batch, -1, -1, 1, 1)

    parts = (each(means), each(log_scales), each(coefficients))
    return JointMixture(logits.expand(batch, -1, 1, 1), *parts)


def separate(batch: int) -> Mixture:
    like = joint(batch)
    logits = like.logits[:, None] + torch.tensor([0.0, 1.0, -1.0])[None, :, None, None, None]
    return Mixture(
        logits.double() * torch.tensor([1.0, -1.0])[:, None, None], *[like.means, like.log_scales]
    )


@pytest.mark.parametrize("make", [joint, separate])
@pytest.mark.parametrize("whole", [True, False])
def test_draws_follow_the_masses(make: Callable[[int], Distribution], whole: bool) -> None:
    """Five standard errors of 40,000 draws: level by level, and for what channels share."""
    count = 40_000
    mixture, chances = make(count), numbers(4, count, 3, 1, 1)
    x = torch.zeros(count, 3, 1, 1, dtype=torch.float64)
    for channel in range(3):
        logistics = mixture.channel(channel, x, edges=whole)
        x[:, channel] = logistics.draw(chances[:, :, channel], whole=whole)
    levels = torch.arange(256) if whole else torch.arange(-60, 316)
    red = torch.zeros(len(levels), 3, 1, 1, dtype=torch.float64)
    red[:, 0, 0, 0] = levels
    mass = make(len(levels)).log_mass(red, edges=whole)[:, 0, 0, 0].exp()
    if whole:
        found = torch.bincount(x[:, 0, 0, 0].long(), minlength=256) / count
        error = (mass * (1 - mass) / count).sqrt() + 2e-4
        assert ((found - mass).abs() < 5 * error).all()
    else:  # the masses are then the density at the levels, and its integral's grid
        middle = float((mass * levels).sum())
        assert abs(float(x[:, 0].mean()) - middle) < 5 * float(x[:, 0].std()) / count**0.5 + 0.1
    blue = make(count).channel(2, x, edges=whole)
    expected = (blue.log_weights.exp() * blue.means).sum(1)[:, 0, 0]
    away = (x[:, 2, 0, 0] - expected)[(expected > 20) & (expected < 235)]
    assert abs(float(away.mean())) < 5 * float(away.std()) / len(away) ** 0.5


@pytest.mark.parametrize("make", [joint, separate])
def test_channels_given_the_earlier_ones_make_up_the_log_mass(
    make: Callable[[int], Distribution],
) -> None:
    x = 255 * numbers(6, 50, 3, 1, 1)[0]
    log_mass = make(50).log_mass(x, edges=False)
    for channel in range(3):
        given = make(50).channel(channel, x, edges=False)
        alone = Mixture(*(p[:, None] for p in (given.log_weights, given.means, given.log_scales)))
        one = alone.log_mass(x[:, channel : channel + 1], edges=False)[:, 0]
        torch.testing.assert_close(one, log_mass[:, channel])


def test_draws_beyond_the_bounds_are_cut() -> None:
    begin = partial(walks.walk, network_of("wave"), t=times(0.6, 2))
    chances = numbers(7, 2, 3, HEIGHT, WIDTH)
    free, cut = (
        ancestral(begin, chances, whole=False, bounds=bounds)
        for bounds in ((-1e9, 1e9), (100.0, 150.0))
    )
    assert torch.equal(free, ancestral(begin, chances, whole=False))
    assert free.min() < 100 < 150 < free.max()
    assert cut.min() == 100
    assert cut.max() == 150
    assert cut[:, :, 0, 0].equal(free[:, :, 0, 0].clamp(100, 150))


def test_given_pixels_stay_and_the_rest_depends_on_them() -> None:
    for kind in CONFIGS:
        model, chances = network_of(kind), numbers(5, 1, 3, HEIGHT, WIDTH)
        mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
        mask[: HEIGHT // 2] = True
        begin = partial(walks.walk, model, t=times(0, 1))
        drawn = []
        for level in (30.0, 220.0):
            values = torch.full((1, 3, HEIGHT, WIDTH), level, dtype=torch.float64)
            image = ancestral(begin, chances, whole=True, given=Given(values, mask))
            assert (image[:, :, : HEIGHT // 2] == level).all()
            drawn.append(image[:, :, HEIGHT // 2 :])
        assert (drawn[0] != drawn[1]).float().mean() > 0.5


def test_orders_have_every_place_once() -> None:
    for steps in (wave_order(5, 7), raster_order(5, 7), one_by_one(wave_order(5, 7))):
        places = [
            (int(i), int(j)) for rows, columns in steps for i, j in zip(rows, columns, strict=True)
        ]
        assert len(places) == 35
        assert set(places) == set(np.ndindex(5, 7))
