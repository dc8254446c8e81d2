"""Damaged files: a clear FormatError, never a crash, a wrong image, or an endless allocation."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.decode import image_decoder
from ncml_codec.errors import FormatError, UnsupportedImage
from ncml_codec.format import directory
from ncml_codec.format.container import write
from ncml_codec.format.tiles import Tile, TileLayout
from ncml_codec.network.model_file import read_model
from ncml_codec.picture import png_chunks
from tests.builders.photographs import layout_of, photograph, tiles_of
from tests.builders.pictures import GOLDEN

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
        picture = image_decoder.decode(data, [TINY], max_pixels=100_000)
    except FormatError:
        return
    assert np.array_equal(picture.samples, image_decoder.decode(original, [TINY]).samples)


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
    tile, *others = tiles_of(FILES[name])
    words = data.draw(st.binary(min_size=0, max_size=64).filter(lambda w: w != tile.payload))
    forged = [Tile(words, tile.samples_crc), *others]
    decodes_or_is_refused(photograph(layout_of(FILES[name]), forged), FILES[name])


def test_metadata_that_unpacks_to_gigabytes_is_refused_unread() -> None:
    # A frame header that claims 2**40 bytes: magic, descriptor with 8 bytes of content size.
    bomb = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00"
    with pytest.raises(FormatError, match="unpacks to"):
        image_decoder.decode(with_metadata(bomb), [TINY])


def with_metadata(section: bytes) -> bytes:
    return write(replace(directory.read(FILES["chunks"]), metadata=section))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x05\0\0\0tEXtabc", "cut short"),
        (b"\xff\xff\xff\xfftEXt", "cut short"),
        (b"\0\0\0", "no record"),
        (b"\0\0\0\0tEXt", "where the pixels stand"),
        (b"\0\0\0\0IDAT" * 2, "where the pixels stand"),
        (b"\x01\0\0\0IDATx", "where the pixels stand"),
        (b"\0\0\0\0IDAT\0\0\0\0IHDR", "IHDR"),
        (b"\0\0\0\0IDAT\0\0\0\0IEND", "empty record IEND"),
        (b"\x01\0\0\0IENDx\0\0\0\0IDAT", "IEND that is not the last"),
        (b"\0\0\0\0IDAT" + b"\0\0\0\0tEXt" * 2**16, "more than 65536 records"),
    ],
)
def test_metadata_that_is_no_list_of_chunks_is_refused(content: bytes, problem: str) -> None:
    packed = zstandard.ZstdCompressor().compress(content)
    with pytest.raises(FormatError, match=problem):
        image_decoder.decode(with_metadata(packed), [TINY])


def test_bytes_after_the_metadata_frame_are_refused() -> None:
    sound = directory.read(FILES["chunks"]).metadata
    for more in (b"x", sound):
        with pytest.raises(FormatError, match="metadata"):
            image_decoder.decode(with_metadata(sound + more), [TINY])


def test_more_metadata_than_can_be_read_is_not_written() -> None:
    chunks = [(b"tEXt", b"")] * 2**16 + [(b"IDAT", b"")]
    with pytest.raises(UnsupportedImage, match="65537 chunks"):
        png_chunks.pack_chunks(chunks)
    assert png_chunks.unpack_chunks(png_chunks.pack_chunks(chunks[1:])) == chunks[1:]


def test_the_limit_of_pixels_comes_before_the_tiles() -> None:
    layout = TileLayout(2**20, 2**20, 3, TINY.identity, 5)  # 2**30 tiles
    head = photograph(layout, [])[:-4] + bytes(1000)
    for data in (head, head + bytes(2**16)):
        with pytest.raises(FormatError, match=r"beyond the limit of 1000000 \(max_pixels\)"):
            image_decoder.decode(data, [TINY], max_pixels=10**6)


def test_a_sound_checksum_over_wrong_samples_is_found() -> None:
    data = FILES["scene"]
    wrong = data[:-4] + struct.pack("<I", zlib.crc32(b"other"))
    with pytest.raises(FormatError, match="samples"):
        image_decoder.decode(wrong, [TINY])
