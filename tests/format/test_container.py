"""The container: what is written is read, and nothing else is believed."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.errors import FormatError, Truncated
from ncml_codec.format.container import (
    Container,
    Header,
    Tile,
    read_container,
    read_header,
    write_container,
)

HEADERS = st.builds(
    Header,
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    planes=st.sampled_from([1, 3]),
    identity=st.binary(min_size=8, max_size=8),
    tile_exponent=st.integers(5, 14),
)
EXAMPLE = Header(40, 33, 3, b"identity", 5)


@st.composite
def containers(draw: st.DrawFn) -> Container:
    header = draw(HEADERS)
    tiles = [
        Tile(draw(st.binary(max_size=12)), draw(st.integers(0, 2**32 - 1)))
        for _ in range(header.tile_count())
    ]
    return Container(header, draw(st.binary(max_size=20)), tiles)


def example() -> bytes:
    tiles = [Tile(bytes(range(8)), zlib.crc32(b"samples")) for _ in range(EXAMPLE.tile_count())]
    return write_container(Container(EXAMPLE, b"metadata", tiles))


@given(containers())
@settings(max_examples=50)
def test_a_container_comes_back(container: Container) -> None:
    data = write_container(container)
    assert read_container(data) == container
    assert read_header(data) == container.header


@given(HEADERS)
def test_tiles_cover_the_image_once(header: Header) -> None:
    tiles = header.tiles()
    assert len(tiles) == header.tile_count()
    assert sum(height * width for _, _, height, width in tiles) == header.height * header.width
    assert all(top + height <= header.height for top, _, height, _ in tiles)
    assert all(left + width <= header.width for _, left, _, width in tiles)


def test_every_truncation_is_refused() -> None:
    data = example()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read_container(data[:length])


def test_every_flipped_bit_is_refused_or_in_a_samples_checksum() -> None:
    data = example()
    sound = read_container(data)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = read_container(bytes(damaged))
        except FormatError:
            continue
        assert (found.header, found.metadata) == (sound.header, sound.metadata)
        assert [tile.payload for tile in found.tiles] == [tile.payload for tile in sound.tiles]
        assert found != sound  # the samples' own checksum, which decoding compares


@given(st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(FormatError, match="follow the end"):
        read_container(example() + more)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=1000)
def test_any_bytes_are_refused(noise: bytes, with_magic: bool) -> None:
    with pytest.raises(FormatError):
        read_container((b"\x89NCZ\x01" if with_magic else b"") + noise)


def test_claims_of_a_header_are_checked_before_they_are_believed() -> None:
    # 2**24 - 1 squared with tiles of 32: 2**38 lengths that are not there.
    head = b"\x89NCZ\x01\x01\x00\x05" + b"identity" + b"\xff\xff\xff\x07" * 2
    with pytest.raises(FormatError, match="274877906944 tiles; at most 65536"):
        read_container(head + bytes(100))
    fewer = head[:7] + b"\x0b" + head[8:-4] + b"\x01"  # tiles of 2048, one row of them
    with pytest.raises(Truncated, match="8192 tiles"):
        read_container(fewer + bytes(100))


def test_the_header_of_a_small_image_takes_32_bytes() -> None:
    tile = Tile(bytes(4000), 0)
    data = write_container(Container(Header(32, 32, 3, b"identity", 11), b"", [tile]))
    assert len(data) - 4000 == 32
