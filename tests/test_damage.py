"""Damaged files: a clear FormatError, never a crash, a wrong image, or an endless allocation."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import codec
from ncml_codec.container import Container, Tile, read_container, write_container
from ncml_codec.errors import FormatError
from ncml_codec.model import read_model
from tests.pictures import GOLDEN

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
FILES = {
    path.stem: path.read_bytes()
    for path in sorted(GOLDEN.glob("*.ncmz"))
    if "wild" not in path.stem
}
SMALL = sorted(name for name, data in FILES.items() if len(data) < 500)
ANY_DAMAGE = settings(deadline=None, max_examples=1500)


def decodes_or_is_refused(data: bytes, original: bytes) -> None:
    """Whatever `data` is: the original's picture, or a FormatError, no other exception."""
    try:
        picture = codec.decode(data, [TINY], max_pixels=100_000)
    except FormatError:
        return
    assert np.array_equal(picture.samples, codec.decode(original, [TINY]).samples)


@given(st.sampled_from(sorted(FILES)), st.data())
@ANY_DAMAGE
def test_flipped_bits(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    decodes_or_is_refused(bytes(damaged), FILES[name])


@given(st.sampled_from(sorted(FILES)), st.data())
@ANY_DAMAGE
def test_cut_joined_and_repeated_pieces(name: str, data: st.DataObject) -> None:
    original = FILES[name]
    pieces = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(original)), st.integers(0, len(original))), max_size=4
        )
    )
    damaged = b"".join(original[min(piece) : max(piece)] for piece in pieces)
    decodes_or_is_refused(damaged, original)


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=40))
@ANY_DAMAGE
def test_headers_followed_by_anything(name: str, noise: bytes) -> None:
    decodes_or_is_refused(FILES[name][:16] + noise, FILES[name])


@given(st.sampled_from(SMALL), st.data())
@settings(deadline=None, max_examples=400)
def test_payloads_with_right_checksums_but_wrong_words(name: str, data: st.DataObject) -> None:
    container = read_container(FILES[name])
    tile = container.tiles[0]
    words = data.draw(st.binary(min_size=0, max_size=64).filter(lambda w: w != tile.payload))
    forged = Container(
        container.header, container.metadata, [Tile(words, tile.samples_crc), *container.tiles[1:]]
    )
    decodes_or_is_refused(write_container(forged), FILES[name])


def test_metadata_that_unpacks_to_gigabytes_is_refused_unread() -> None:
    container = read_container(FILES["chunks"])
    # A frame header that claims 2**40 bytes: magic, descriptor with 8 bytes of content size.
    bomb = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00"
    forged = write_container(Container(container.header, bomb, container.tiles))
    with pytest.raises(FormatError, match="unpacks to"):
        codec.decode(forged, [TINY])


def test_metadata_records_that_overrun_are_refused() -> None:
    import zstandard

    container = read_container(FILES["chunks"])
    for content in (b"\x05\0\0\0tEXtabc", b"\xff\xff\xff\xfftEXt", b"\0\0\0"):
        packed = zstandard.ZstdCompressor().compress(content)
        forged = write_container(Container(container.header, packed, container.tiles))
        with pytest.raises(FormatError, match="metadata"):
            codec.decode(forged, [TINY])


def test_a_sound_checksum_over_wrong_samples_is_found() -> None:
    data = FILES["scene"]
    wrong = data[:-4] + struct.pack("<I", zlib.crc32(b"other"))
    with pytest.raises(FormatError, match="samples"):
        codec.decode(wrong, [TINY])
