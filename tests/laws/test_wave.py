"""Wave order: every pixel once, and neighbours always earlier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec.network.wave_order import (
    block_taps,
    lag,
    near_taps,
    wave_count,
    wave_rows,
    window_taps,
)


@given(st.integers(1, 40), st.integers(1, 40))
def test_every_pixel_is_in_one_wave(height: int, width: int) -> None:
    seen = [
        (row, wave - 2 * row)
        for wave in range(wave_count(height, width))
        for row in range(*wave_rows(wave, height, width))
    ]
    assert len(seen) == len(set(seen)) == height * width
    assert all(0 <= row < height and 0 <= column < width for row, column in seen)


@pytest.mark.parametrize("tap", [*window_taps(), *near_taps(), *block_taps()[:-1]])
def test_neighbours_are_in_earlier_waves(tap: tuple[int, int]) -> None:
    assert tap[1] + 2 * tap[0] < 0
    assert lag(tap) == -(tap[1] + 2 * tap[0])


def test_only_hidden_layers_see_their_own_place() -> None:
    assert block_taps()[-1] == (0, 0)
    assert (0, 0) not in window_taps()


def test_the_window_holds_the_nearest_neighbours() -> None:
    assert {(0, -1), (-1, 0), (-1, 1), (-1, -1)} <= set(near_taps()) <= set(window_taps())
    assert (-1, 2) not in window_taps()
