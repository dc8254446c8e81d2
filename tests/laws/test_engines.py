"""All engines and instruction sets give the same integers, on networks that reach every clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.errors import UsageError
from ncml_codec.network.integer_network import Network
from tests.builders.adaptations import STATIC
from tests.builders.engines import (
    INSTRUCTION_SETS,
    Stepwise,
    all_counts,
    assert_causal,
    drawn,
    native,
)
from tests.builders.networks import random_network
from tests.builders.pictures import extremes, valley

NETWORKS = given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 3),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    planes=st.sampled_from([1, 3]),
)


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


def with_far_taps(seed: int) -> Network:
    """A network whose taps reach as far as they may, in an order of their own."""
    far = [(-8, 8), (3, -7), (0, -8), (-8, -8), (-1, 1), (0, -1)]
    return random_network(seed, 5, 2, 4, 2, far, far[:1:-1], [(0, 0), *far, (2, -8)])
