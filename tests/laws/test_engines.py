"""All engines and instruction sets give the same integers, on networks that reach every clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.decode.tile_walk import walk_tile
from ncml_codec.engines import Engine, Walk
from ncml_codec.errors import UsageError
from ncml_codec.format.adaptation import STATIC
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers, Network
from tests.builders.networks import random_network
from tests.builders.pictures import Samples, extremes, valley

NETWORKS = given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 3),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    planes=st.sampled_from([1, 3]),
)
# In the order in which the native engine looks for them.
INSTRUCTION_SETS = ["avx512vnni", "avx512", "avxvnni", "avx2", "neon", "portable"]


class Recorder:
    """A coder that keeps the counts."""

    def __init__(self) -> None:
        self.counts: list[Integers] = []

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self.counts.append(weights.astype(np.int32) + 1)
        return symbols


class Stepwise:
    """An engine without its survey, so that it is walked stage by stage."""

    def __init__(self, engine: Engine) -> None:
        self.name, self._engine = engine.name, engine

    def walk(self, height: int, width: int, strength: int = STATIC) -> Walk:
        return self._engine.walk(height, width, strength)


def all_counts(
    engine: str | Engine, network: Network, array: Samples, strength: int = STATIC
) -> Integers:
    recorder = Recorder()
    engine = engines.load(engine, network) if isinstance(engine, str) else engine
    walk_tile(engine, array.shape, array, recorder, strength=strength)
    return np.concatenate(recorder.counts)


def native(network: Network, isa: str, threads: int = 1) -> Engine:
    """The native engine with this instruction set; skips the test where there is none."""
    missing = engines.why_not_native()
    if missing:
        pytest.skip(f"no native engine: {missing}")
    from ncml_codec.engines.native_engine import INSTRUCTION_SETS as HERE
    from ncml_codec.engines.native_engine import NativeEngine

    if isa not in HERE:
        pytest.skip(f"this processor or this build has no {isa}")
    return NativeEngine(network, threads, isa)


def engine_of(name: str, network: Network, threads: int = 1) -> Engine:
    """The engine of this name, or the native one with this instruction set; skips as `native`."""
    if name in INSTRUCTION_SETS:
        return native(network, name, threads)
    return engines.load(name, network)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@NETWORKS
@settings(deadline=None, max_examples=40)
def test_native_agrees_on_random_networks(
    isa: str,
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
) -> None:
    network, array = drawn(seed, width, blocks, hidden, k, size, planes)
    expected = all_counts("numpy", network, array)
    engine = native(network, isa, threads=1 + seed % 3)
    assert (all_counts(engine, network, array) == expected).all()
    assert (all_counts(Stepwise(engine), network, array) == expected).all()


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_native_agrees_on_wide_networks(isa: str) -> None:
    """Wide enough for several vectors and tiles, and waves for several chunks and threads."""
    for seed, width, hidden, k in ((1, 48, 48, 4), (2, 33, 70, 16), (3, 65, 17, 5)):
        network = random_network(seed, width, 2, hidden, k)
        array = np.random.default_rng(seed).integers(0, 256, (50 + seed, 101, 3), np.uint8)
        expected = all_counts("numpy", network, array)
        for threads in (1, 2, 5):
            engine = native(network, isa, threads)
            assert (all_counts(engine, network, array) == expected).all()
            assert (all_counts(Stepwise(engine), network, array) == expected).all()


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_native_agrees_on_extremes(isa: str) -> None:
    network = random_network(7, 12, 2, 8, 4)
    for array in extremes(9, 14).values():
        expected = all_counts("numpy", network, array)
        assert (all_counts(native(network, isa), network, array) == expected).all()


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_native_takes_any_taps(isa: str) -> None:
    network = with_far_taps(5)
    array = np.random.default_rng(5).integers(0, 256, (21, 23, 3), np.uint8)
    expected = all_counts("numpy", network, array)
    assert (all_counts(native(network, isa), network, array) == expected).all()


def test_native_refuses_what_would_leave_its_arrays() -> None:
    network = random_network(3, 9, 1, 5, 2)
    walk = native(network, "portable").walk(6, 7)
    zero = np.zeros(1, np.int32)
    for call in (
        lambda: walk.high(0),
        lambda: walk.put(0, zero),
        lambda: walk.begin(1),
        lambda: walk.begin(-1),
    ):
        with pytest.raises(ValueError, match="native engine"):
            call()
    assert walk.begin(0) == 1
    for call in (
        lambda: walk.begin(1),
        lambda: walk.high(1),
        lambda: walk.high(-1),
        lambda: walk.high(3),
        lambda: walk.low(0, zero),
    ):
        with pytest.raises(ValueError, match="native engine"):
            call()
    walk.high(0)
    for nibbles in (zero - 1, zero + 16, np.zeros(2, np.int32), np.zeros((1, 1), np.int32)):
        with pytest.raises(ValueError, match="native engine"):
            walk.low(0, nibbles)
    walk.low(0, zero)
    for values in (zero - 1, zero + 256, np.zeros(0, np.int32)):
        with pytest.raises(ValueError, match="native engine"):
            walk.put(0, values)
    for height, width in ((0, 5), (5, 0), (-1, 5), (2**24, 1)):
        with pytest.raises(ValueError, match="native engine"):
            native(network, "portable").walk(height, width)


@pytest.mark.parametrize("broken", ["window", "neighbours", "shape", "shift", "table", "k"])
def test_native_refuses_unsound_networks(broken: str) -> None:
    """Not even a network that nobody has checked can make it leave its arrays."""
    network = random_network(3, 9, 1, 5, 2)
    first, tables = network.first, network.tables
    changed = {
        "window": {"window": [(0, 1)]},
        "neighbours": {"neighbours": [(-9, 0)] * 5},
        "shape": {"first": replace(first, weight=first.weight[:, 1:].copy())},
        "shift": {"first": replace(first, shift=first.shift + 32)},
        "table": {"tables": replace(tables, logistic=tables.logistic[:-1])},
        "k": {"k": 17},
    }[broken]
    with pytest.raises(UsageError, match="native engine"):
        native(replace(network, **changed), "portable")


def test_random_networks_do_use_their_range() -> None:
    counts = all_counts("numpy", random_network(3), valley(0, 0, 20, 30))
    assert counts.min() < 100
    assert counts.max() > 2**23


def test_what_is_later_in_wave_order_changes_no_distribution() -> None:
    network = random_network(11, 8, 3, 6, 3)
    assert_causal("numpy", network, valley(100, 100, 11, 13), STATIC)


def drawn(
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    room: int = 1,
) -> tuple[Network, Samples]:
    """A network and an image of noise for it. room: of `random_network`."""
    array = np.random.default_rng(seed).integers(0, 256, (*size, planes), np.uint8)
    return random_network(seed, width, blocks, hidden, k, room=room), array


def with_far_taps(seed: int) -> Network:
    """A network whose taps reach as far as they may, in an order of their own."""
    far = [(-8, 8), (3, -7), (0, -8), (-8, -8), (-1, 1), (0, -1)]
    return random_network(seed, 5, 2, 4, 2, far, far[:1:-1], [(0, 0), *far, (2, -8)])


def assert_causal(engine: Engine | str, network: Network, before: Samples, adaptation: int) -> None:
    """A pixel changes no counts of earlier and equal waves, and those of a later one if there is
    any."""
    first = all_counts(engine, network, before, adaptation)
    bottom, right = before.shape[0] - 1, before.shape[1] - 1
    places = ((0, 0), (bottom // 2, right // 2), (bottom, right), (bottom // 3, 0), (0, right))
    for row, column in places:
        after = before.copy()
        after[row, column] ^= 255
        second = all_counts(engine, network, after, adaptation)
        place = first_row_of_pixel(before.shape, row, column)
        assert (first[:place] == second[:place]).all()
        assert (first[place:] != second[place:]).any() or (row, column) == (bottom, right)


def first_row_of_pixel(shape: tuple[int, ...], row: int, column: int) -> int:
    """Where the wave of a pixel begins in the counts, plus nothing of the wave itself but plane 0's
    high nibbles, which depend on earlier waves alone."""
    from ncml_codec.network.wave_order import wave_rows

    wave = column + 2 * row
    sizes = []
    for earlier in range(wave + 1):
        first, stop = wave_rows(earlier, shape[0], shape[1])
        sizes.append(stop - first)
    return 6 * sum(sizes[:-1]) + sizes[-1]
