"""PNG chunks: taken out whole, put back whole."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec.errors import FormatError, InputError
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import Picture, encode_file
from tests.builders.pictures import VALLEY, valley

KINDS = st.sampled_from([b"tEXt", b"zTXt", b"pHYs", b"prVt"])
CHUNKS = st.lists(st.tuples(KINDS, st.binary(max_size=30)), max_size=5)


@given(CHUNKS, CHUNKS)
def test_chunks_come_back_in_order(
    before: list[png_chunks.Chunk], after: list[png_chunks.Chunk]
) -> None:
    chunks = [*before, (png_chunks.PIXELS, b""), *after]
    section = png_chunks.pack_chunks(chunks)
    if before or after:
        assert png_chunks.unpack_chunks(section) == chunks
        picture = Picture(valley(0, 0, 4, 5), chunks)
        _, found = png_chunks.split(encode_file(picture, "joined.png"), "joined.png")
        assert found == chunks
    else:
        assert section == b""


def test_the_header_is_read() -> None:
    header, chunks = png_chunks.split(VALLEY.read_bytes(), "valley.png")
    assert header == png_chunks.ImageHeader(480, 320, 8, 2, False)
    assert [kind for kind, _ in chunks] == [b"tEXt", b"pHYs", b"IDAT"]


@given(st.integers(0, VALLEY.stat().st_size - 1))
def test_cut_png_files_are_refused(length: int) -> None:
    with pytest.raises(InputError):
        png_chunks.split(VALLEY.read_bytes()[:length], "cut.png")


def test_a_chunk_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(VALLEY.read_bytes())
    data[data.index(b"tEXt") + 5] ^= 1
    with pytest.raises(InputError, match="tEXt"):
        png_chunks.split(bytes(data), "flipped.png")


def test_an_icc_profile_survives_its_chunk() -> None:
    chunk = png_chunks.icc_chunk(b"profile" * 50)
    assert png_chunks.icc_profile([chunk]) == b"profile" * 50
    assert png_chunks.icc_profile([(b"iCCP", b"name\0\0not zlib")]) is None
    assert png_chunks.icc_profile([]) is None


@given(st.binary(min_size=1, max_size=60))
def test_any_metadata_section_is_chunks_or_refused(section: bytes) -> None:
    with pytest.raises(FormatError):
        png_chunks.unpack_chunks(section)


def test_a_png_without_image_data_is_refused() -> None:
    ihdr = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = png_chunks.SIGNATURE
    for kind, content in ((b"IHDR", ihdr), (b"IEND", b"")):
        crc = zlib.crc32(kind + content)
        body += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)
    with pytest.raises(InputError, match="without image data"):
        png_chunks.split(body, "empty.png")
