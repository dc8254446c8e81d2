"""PNG image data: rows and diagonals give what the specification says byte by byte."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.errors import FormatError
from ncml_codec.picture import png_rows
from ncml_codec.picture.kinds import Kind
from tests.builders import kinds_of_images
from tests.plain_decoder import png as plain_png

KINDS = st.sampled_from(kinds_of_images.ALL)
SIDES = st.integers(1, 21)


@given(KINDS, SIDES, SIDES, st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_any_image_data_is_read_as_byte_by_byte(
    kind: Kind, height: int, width: int, interlaced: bool, seed: int
) -> None:
    layout = (height, width, kind.channels, kind.bit_depth, interlaced)
    random = np.random.default_rng(seed)
    content = bytearray(random.bytes(png_rows.size_of(*layout)))
    at = 0
    for rows, columns, _ in png_rows._passes(height, width, interlaced):
        for _ in range(rows):
            content[at] %= 5
            at += 1 + png_rows.stride_of(columns, kind.channels, kind.bit_depth)
    assert at == len(content)
    plain = np.array(plain_png.image(bytes(content), *layout))
    assert np.array_equal(png_rows.read(bytes(content), *layout), plain)


@given(KINDS, SIDES, SIDES, st.sampled_from([None, 0, 1, 2, 3, 4]), st.integers(0, 99))
@settings(deadline=None)
def test_every_filter_is_undone(
    kind: Kind, height: int, width: int, chosen: int | None, seed: int
) -> None:
    made = kinds_of_images.picture(kind, height, width, seed)
    rows = png_rows.pack(made.samples, kind.bit_depth)
    above = np.random.default_rng(seed).integers(0, 256, rows.shape[1]).astype(np.uint8)
    step = max(1, kind.channels * kind.bit_depth // 8)
    filtered = png_rows.filter_rows(rows, np.concatenate([above[None], rows[:-1]]), step, chosen)
    assert np.array_equal(png_rows.unfilter(filtered, step, above), rows)
    again = png_rows.unpack(rows, width, kind.channels, kind.bit_depth)
    assert np.array_equal(again, made.samples)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_pillow_and_diagonals_undo_filters_alike(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtered = np.random.default_rng(step).integers(0, 256, (41, 1 + 24 * step), np.uint8)
    filtered[:, 0] %= 5
    above = filtered[7, 1:]
    by_diagonals = png_rows.unfilter(filtered, step, above)
    monkeypatch.setattr(png_rows, "_WORTH", 0)
    monkeypatch.setattr(png_rows, "_AT_ONCE", 400)
    assert np.array_equal(png_rows.unfilter(filtered, step, above), by_diagonals)


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(FormatError, match="filter 5"):
        png_rows.read(b"\0\1\5\1", 2, 1, 1, 8)


def test_a_stream_is_unpacked_no_further_than_needed() -> None:
    packed = zlib.compress(bytes(1000))
    assert png_rows.inflate(packed, 1000) == (bytes(1000), True)
    assert png_rows.inflate(packed, 999) == (bytes(999), False)
    assert png_rows.inflate(packed + b"more", 1000) == (bytes(1000), False)


@pytest.mark.parametrize("damage", ["short", "checksum", "cut", "cut checksum", "none"])
def test_a_damaged_stream_is_refused(damage: str) -> None:
    packed = zlib.compress(bytes(range(256)))
    bad = {
        "short": zlib.compress(bytes(255)),
        "checksum": packed[:-1] + bytes([packed[-1] ^ 1]),
        "cut": packed[:-20],
        "cut checksum": packed[:-2],
        "none": b"no zlib",
    }[damage]
    with pytest.raises(FormatError, match="image data"):
        png_rows.inflate(bad, 256)
