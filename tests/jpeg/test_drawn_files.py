"""Random sound JPEG files come back byte for byte; damaged ones too, or they are refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ncml_codec import jpeg
from ncml_codec.errors import UnreadableJpeg
from tests.builders.edits import edited
from tests.builders.jpeg_files import drawn_jpeg
from tests.builders.jpeg_law import read_alike, recipe_alike

# Numbers rather than drawn choices: a file takes a thousand of them, too many to shrink.
NUMBERS = st.integers(0, 2**32 - 1)


@given(NUMBERS)
@settings(max_examples=150)
def test_any_tables_and_scan_scripts_come_back(number: int) -> None:
    drawn = drawn_jpeg(random.Random(number))
    read = read_alike(drawn.data)
    assert read is not None
    assert read.recipe.cut is None
    for ours, written in zip(read.coefficients, drawn.coefficients, strict=True):
        np.testing.assert_array_equal(ours, written)


@given(NUMBERS)
@settings(max_examples=150)
def test_damaged_files_come_back_or_are_refused(number: int) -> None:
    chance = random.Random(number)
    read_alike(edited(chance, drawn_jpeg(chance).data))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff\xd8")
@example(b"\xff\xd8\xff\xd9")
def test_any_bytes_are_refused_or_come_back(data: bytes) -> None:
    read_alike(data)
    read_alike(b"\xff\xd8" + data)


@given(NUMBERS)
@settings(max_examples=150)
def test_any_recipe_gives_a_file_or_is_refused(number: int) -> None:
    chance = random.Random(number)
    drawn = drawn_jpeg(chance)
    packed = jpeg.read(drawn.data).recipe.pack()
    recipe_alike(edited(chance, packed), 2000, drawn.coefficients)


def test_drawn_files_reach_what_they_are_for() -> None:
    """The generator itself: none of these is left out by accident."""
    seen = set[str]()
    for number in range(200):
        drawn = drawn_jpeg(random.Random(number))
        read = jpeg.read(drawn.data)
        frame, recipe = read.layout.frame, read.recipe
        seen.add(f"{len(frame.components)} components")
        seen.add(f"kind {frame.kind:x}")
        seen |= {"padding" for notes in recipe.scans if len(notes.padding) > 1}
        seen |= {"breaks" for notes in recipe.scans if notes.breaks}
        seen |= {"zero runs" for notes in recipe.scans if notes.zero_runs}
        seen |= {"restarts" for notes in recipe.scans if notes.restarts}
        seen |= {"height" for _ in [0] if b"\xff\xdc\0\4" in recipe.markers}
        seen |= {"wide steps" for _ in [0] if read.layout.quantisation.max() > 255}
        seen |= {"tail" for _ in [0] if recipe.tail}
        seen |= {"factor 3" for one in frame.components if 3 in (one.horizontal, one.vertical)}
        seen |= {"one pixel" for _ in [0] if 1 in (frame.width, frame.height)}
    expected = {f"{count} components" for count in (1, 2, 3, 4)} | {"kind c0", "kind c1", "kind c2"}
    expected |= {"padding", "breaks", "zero runs", "restarts", "height", "wide steps", "tail"}
    assert seen == expected | {"factor 3", "one pixel"}


def test_a_small_file_cut_at_every_byte_comes_back_or_is_refused() -> None:
    came_back = 0
    for number in (1, 2, 3):
        data = drawn_jpeg(random.Random(number)).data[:1500]
        came_back += sum(read_alike(data[:length]) is not None for length in range(len(data)))
    assert came_back > 50


def test_the_reason_for_refusing_a_file_is_said() -> None:
    with pytest.raises(UnreadableJpeg, match="not a JPEG file"):
        jpeg.read(b"\x89PNG\r\n")
