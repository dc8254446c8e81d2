"""Colours of several images in torch: the factors and the counts of each alone, to the bit."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ncml_codec import colours, tables
from ncml_codec.engines.torch_colours import Colours
from ncml_codec.engines.torch_mixture import Distribution, Mixture, mass_weights
from ncml_codec.network import Integers
from ncml_codec.tables import SYMBOLS, Mixtures
from tests.networks import random_network
from tests.test_colours import SPREADS, TABLES, a_wave, experienced

CPU = torch.device("cpu")
NETWORK = random_network(0, k=3)
DISTRIBUTION = Distribution(NETWORK, CPU)
PIXELS = 33  # of the 40 rows of `a_wave`; the others are beyond the wave


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(2, 1), (3, 1), (1, 2), (3, 2)]),
    st.tuples(SPREADS, SPREADS),
)
# A smaller seed is no simpler: nothing is shrunk, which takes minutes with so many cells.
@settings(deadline=None, max_examples=40, phases=(Phase.reuse, Phase.generate))
def test_what_cells_do_and_learn_is_the_same(
    seed: int, mode_and_plane: tuple[int, int], spreads: tuple[int, int]
) -> None:
    """Of any cells, in every mode; and rows that are no pixels teach nothing."""
    mode, plane = mode_and_plane
    waves = [a_wave(seed + image, plane, spread) for image, spread in enumerate(spreads)]
    alone = [
        experienced(mode, plane, earlier, seed + image)
        for image, (_, earlier, _) in enumerate(waves)
    ]
    together = Colours(mode, len(waves), CPU)
    for image, one in enumerate(alone):
        for stage, own in zip(together.stages[plane], one.stages[plane], strict=True):
            stage.seen[image] = torch.from_numpy(own.seen)
            stage.expected[image] = torch.from_numpy(own.expected)

    mixture = of_all([wave[0] for wave in waves])
    earlier, values = (stacked([wave[part] for wave in waves]) for part in (1, 2))
    found = together.masses(plane, DISTRIBUTION.levels(mixture), earlier)
    masses = [
        one.masses(plane, wave[0], wave[1], TABLES) for one, wave in zip(alone, waves, strict=True)
    ]
    expected = np.stack([tables.weights(own.high_counts()) for own in masses])
    assert np.array_equal(found.high().numpy(), expected)
    for nibble in range(SYMBOLS):
        high = np.full(40, nibble, np.int32)
        lows = [
            tables.weights(own.low_counts(wave[0], high, TABLES))
            for own, wave in zip(masses, waves, strict=True)
        ]
        given_high = stacked([high, high])
        closed = DISTRIBUTION.low(mixture, given_high)
        assert np.array_equal(found.low(given_high, closed).numpy(), np.stack(lows))

    together.learn(plane, values, earlier, torch.arange(40) < PIXELS)
    for image, (one, wave) in enumerate(zip(alone, waves, strict=True)):
        pixels = np.arange(PIXELS, dtype=np.int32)
        one.masses(plane, wave[0].rows(pixels), wave[1][:PIXELS], TABLES)
        one.learn(wave[2][:PIXELS])
        for stage, own in zip(together.stages[plane], one.stages[plane], strict=True):
            assert np.array_equal(stage.seen[image].numpy(), own.seen)
            assert np.array_equal(stage.expected[image].numpy(), own.expected)


@given(
    st.lists(
        st.lists(st.one_of(st.integers(0, 2**36), st.just(0)), min_size=16, max_size=16),
        min_size=1,
        max_size=4,
    )
)
def test_weights_of_any_masses_are_the_same(masses: list[list[int]]) -> None:
    rows = np.array([*masses, [0] * SYMBOLS], np.float64)
    expected = tables.weights(tables.mass_counts(rows))
    assert np.array_equal(mass_weights(torch.from_numpy(rows)).numpy(), expected)


def test_every_kind_of_cells_is_as_large_as_in_numpy() -> None:
    for mode in (1, 2, 3):
        here, there = Colours(mode, 1, CPU), colours.Colours(mode)
        sizes = [[stage.seen.numel() for stage in stages] for stages in here.stages]
        assert sizes == [[stage.seen.size for stage in stages] for stages in there.stages]
        assert colours.cell_count(mode) == sum(map(sum, sizes))
    assert colours.cell_count(0) == 0


def of_all(mixtures: list[Mixtures]) -> Mixture:
    names = ("weight", "mean", "mantissa", "shift")
    return Mixture(*(stacked([getattr(one, name) for one in mixtures]) for name in names))


def stacked(parts: list[Integers]) -> Tensor:
    return torch.from_numpy(np.stack(parts).astype(np.int32))
