"""All engines give the same integers, on networks that reach every clip."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.codec import walk_tile
from ncml_codec.network import Integers, Network
from tests.networks import random_network
from tests.pictures import Samples, extremes, valley


class Recorder:
    """A coder that keeps the counts."""

    def __init__(self) -> None:
        self.counts: list[Integers] = []

    def code(self, counts: Integers, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self.counts.append(counts)
        return symbols


def all_counts(name: str, network: Network, array: Samples) -> Integers:
    recorder = Recorder()
    walk_tile(engines.load(name, network), array.shape, array, recorder)
    return np.concatenate(recorder.counts)


@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 3),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    planes=st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=60)
def test_engines_agree_on_random_networks(
    seed: int, width: int, blocks: int, hidden: int, k: int, size: tuple[int, int], planes: int
) -> None:
    network = random_network(seed, width, blocks, hidden, k)
    array = np.random.default_rng(seed).integers(0, 256, (*size, planes), np.uint8)
    assert (all_counts("numpy", network, array) == all_counts("torch", network, array)).all()


def test_engines_agree_on_extremes() -> None:
    network = random_network(7, 12, 2, 8, 4)
    for array in extremes(9, 14).values():
        assert (all_counts("numpy", network, array) == all_counts("torch", network, array)).all()


def test_random_networks_do_use_their_range() -> None:
    counts = all_counts("numpy", random_network(3), valley(0, 0, 20, 30))
    assert counts.min() < 100
    assert counts.max() > 2**23


def test_what_is_later_in_wave_order_changes_no_distribution() -> None:
    network = random_network(11, 8, 3, 6, 3)
    before = valley(100, 100, 11, 13)
    for row, column in ((0, 0), (5, 6), (10, 12), (4, 0), (0, 12)):
        after = before.copy()
        after[row, column] ^= 255
        first, second = (all_counts("numpy", network, array) for array in (before, after))
        place = _first_row_of_pixel(before.shape, row, column)
        assert (first[:place] == second[:place]).all()
        assert (first != second).any() or (row, column) == (10, 12)


def _first_row_of_pixel(shape: tuple[int, ...], row: int, column: int) -> int:
    """Where the wave of a pixel begins in the counts, plus nothing of the wave itself but plane 0's
    high nibbles, which depend on earlier waves alone."""
    from ncml_codec.wave import wave_rows

    wave = column + 2 * row
    sizes = []
    for earlier in range(wave + 1):
        first, stop = wave_rows(earlier, shape[0], shape[1])
        sizes.append(stop - first)
    return 6 * sum(sizes[:-1]) + sizes[-1]
