"""Sharing threads out: all are used where it pays, and results stay in order."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.engines.thread_shares import Shares, in_order, shares

SIZES = st.lists(st.tuples(st.integers(1, 2048), st.integers(1, 2048)), min_size=1, max_size=40)


@given(SIZES, st.integers(1, 64), st.booleans())
def test_no_more_threads_are_shared_out_than_there_are(
    sizes: list[tuple[int, int]], threads: int, within: bool
) -> None:
    found = shares(sizes, threads, within)
    assert 1 <= found.at_once <= len(sizes)
    assert found.threads >= 1
    assert found.at_once * found.threads <= threads
    assert within or found.threads == 1


def test_one_large_tile_among_slivers_gets_all_threads() -> None:
    sizes = [(2048, 2048), (2048, 52), (52, 2048), (52, 52)]
    assert shares(sizes, 2, within=True) == Shares(1, 2)
    assert shares(sizes, 2, within=False) == Shares(2, 1)


def test_equal_tiles_are_coded_at_once() -> None:
    assert shares([(2048, 2048)] * 6, 2, within=True) == Shares(2, 1)
    assert shares([(2000, 2000)] * 6, 3, within=True) == Shares(3, 1)


def test_a_small_image_is_not_worth_a_second_thread() -> None:
    assert shares([(32, 32)], 2, within=True) == Shares(1, 1)
    assert shares([(512, 768)], 2, within=True) == Shares(1, 2)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_results_come_in_order(delays: list[int], at_once: int) -> None:
    def late(item: tuple[int, int]) -> int:
        time.sleep(item[1] / 1000)
        return item[0]

    assert list(in_order(late, enumerate(delays), at_once)) == list(range(len(delays)))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_what_waits_is_bounded(at_once: int) -> None:
    """Items taken and results not yet given back: those at work, and one more."""
    taken, given_back, most = 0, 0, 0
    lock = threading.Lock()

    def items() -> object:
        nonlocal taken, most
        for item in range(20):
            with lock:
                taken += 1
                most = max(most, taken - given_back)
            yield item

    for _ in in_order(lambda item: item, items(), at_once):  # type: ignore[arg-type]
        with lock:
            given_back += 1
    assert most <= at_once + 2


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_first_error_ends_everything(at_once: int) -> None:
    done = []

    def fails_at_two(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        done.append(item)
        return item

    with pytest.raises(ValueError, match="two"):
        list(in_order(fails_at_two, range(100), at_once))
    assert len(done) < 10
