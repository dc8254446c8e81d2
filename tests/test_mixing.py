"""The mixing coder: any image comes back, on every engine, and nothing else does any harm."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import mixing
from ncml_codec.coder import Encoder
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.mixing.logits import (
    distribution_values,
    squash_values,
    stretch_values,
)
from ncml_codec.mixing.neighbours import TAPS, places
from ncml_codec.mixing.passes import code
from ncml_codec.mixing.walk import Plan
from ncml_codec.wave import lag
from tests.pictures import Samples, extremes, valley


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Samples, bool]:
    """Byte planes of any small shape and content, and whether they are halves of 16-bit samples."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    wide = draw(st.booleans())
    count = draw(st.sampled_from([2, 4, 6, 8] if wide else [1, 2, 3, 4, 5, 8]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 5, 256]))
    palette = random.integers(0, 256, (levels, count), np.uint8)
    if draw(st.booleans()):
        return palette[random.integers(0, levels, (height, width))], wide
    return random.integers(0, levels, (height, width, count)).astype(np.uint8), wide


@given(pictures())
@settings(deadline=None, max_examples=60)
def test_any_picture_comes_back(picture: tuple[Samples, bool]) -> None:
    planes, wide = picture
    data = mixing.encode(planes, wide)
    assert np.array_equal(mixing.decode(data, planes.shape), planes)


@pytest.mark.parametrize("candidates", [False, True])
@pytest.mark.parametrize("fitted", [False, True])
def test_every_plan_comes_back(candidates: bool, fitted: bool) -> None:
    for name, planes in {"valley": valley(60, 120, 12, 17), **extremes(13, 9)}.items():
        samples = planes.reshape(-1, 3).T.astype(np.int64)
        plan = Plan(*planes.shape[:2], (8, 8, 8), candidates, fitted)
        encoder = Encoder()
        code(plan, samples, encoder, "auto")
        flags = 2 * candidates + 4 * fitted
        data = bytes([flags, 8, 8, 8]) + encoder.finish()
        assert np.array_equal(mixing.decode(data, planes.shape), planes), name


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 30), (30, 2)])
def test_narrow_pictures_come_back(shape: tuple[int, int]) -> None:
    planes = valley(200, 100, *shape)
    assert np.array_equal(mixing.decode(mixing.encode(planes), planes.shape), planes)


@given(pictures(), st.data())
@settings(deadline=None, max_examples=60)
def test_damage_is_refused_or_gives_some_picture(
    picture: tuple[Samples, bool], data: st.DataObject
) -> None:
    planes, wide = picture
    damaged = bytearray(mixing.encode(planes, wide))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for payload in (bytes(damaged), bytes(damaged[:cut])):
        try:
            found = mixing.decode(payload, planes.shape)
        except FormatError:
            continue
        assert found.shape == planes.shape


@given(st.binary(max_size=60), st.integers(1, 6), st.integers(1, 6), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_refused_or_give_some_picture(
    payload: bytes, height: int, width: int, count: int
) -> None:
    with contextlib.suppress(FormatError):
        assert mixing.decode(payload, (height, width, count)).shape == (height, width, count)


def test_sizes_that_cannot_be_are_refused_before_anything_is_allocated() -> None:
    for shape in [(0, 5, 1), (2**20, 2**20, 1), (4, 4, 9)]:
        with pytest.raises(FormatError, match="mixing payload"):
            mixing.decode(b"\0\1\1\1\1\1\1\1\1\1", shape)
    with pytest.raises(FormatError, match="high bytes"):
        mixing.decode(b"\1\1\1\1", (4, 4, 3))
    with pytest.raises(UsageError, match="9 planes"):
        mixing.encode(np.zeros((4, 4, 9), np.uint8))


def test_neighbours_are_of_earlier_waves() -> None:
    for tap in TAPS.values():
        assert lag(tap) > 0
    for height, width in ((1, 1), (1, 6), (6, 1), (5, 2), (7, 9)):
        for row in range(height):
            for column in range(width):
                found = places(np.array([row]), np.array([column]), height, width)[:, 0]
                for place in found:
                    if place == height * width:
                        assert row == 0
                        continue
                    i, j = divmod(int(place), width)
                    assert j + 2 * i < column + 2 * row


def test_tables_do_not_depend_on_the_mathematical_library() -> None:
    """No value is so near to a tie that an error of a few units in its last place could matter."""
    for values in (stretch_values(), squash_values(), distribution_values()):
        ties = np.abs(values - np.floor(values) - 0.5)
        assert ties.min() > 1000 * np.abs(values).max() * 2.0**-52


def test_what_repeats_costs_next_to_nothing() -> None:
    """A flat area of a screenshot: 3 x 40,000 samples."""
    flat = np.full((160, 250, 3), 77, np.uint8)
    assert len(mixing.encode(flat)) < 80
