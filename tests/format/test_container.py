"""The container: what is written is read, and nothing else is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.errors import FormatError, NotThisFormat, Truncated
from ncml_codec.format import directory
from ncml_codec.format.container import (
    DRAFT,
    KINDS,
    MAGIC,
    MAX_SIDE,
    Container,
    Flag,
    Header,
    Layer,
    Method,
    Transform,
    of_tiles,
    write,
)
from ncml_codec.format.sections import checksum
from ncml_codec.format.tiles import PLANES, Tile, TileLayout, Tiles
from ncml_codec.network.adaptation import STATIC, heads_learn, network_learns
from ncml_codec.picture.kinds import RGB_ALPHA, Kind
from tests.builders.photographs import photograph

LAYOUTS = st.builds(
    TileLayout,
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    planes=st.sampled_from(PLANES),
    identity=st.binary(min_size=4, max_size=4),
    tile_exponent=st.integers(5, 14),
    turn=st.integers(0, 7),
)
CRCS = st.integers(0, 2**32 - 1)
FOUR = TileLayout(40, 33, 3, b"name", 5)  # tiles
HEADS, WHOLE = heads_learn(3), network_learns(3)
OWN = [Tile(bytes(range(8)), 3), Tile(b"", 0, HEADS), Tile(b"word", 2**31, WHOLE), Tile(b"1", 1)]
EXAMPLES = [
    of_tiles(Tiles(FOUR, [Tile(bytes(range(8)), 12345)] * 4), b"metadata"),
    of_tiles(Tiles(FOUR, OWN)),
    Container(
        Header(40, 33, Kind(RGB_ALPHA, 16), Transform.VALUES, 8),
        b"metadata",
        b"table",
        [Layer(Method.ZSTD, 3, bytes(range(8))), Tiles(FOUR, OWN), Layer(Method.WEBP, 2, b"")],
        12345,
    ),
]


@st.composite
def coded(draw: st.DrawFn, header: Header, planes: int) -> Layer | Tiles:
    """A layer of so many planes, by any method."""
    method = draw(st.sampled_from(Method))
    payloads = st.binary(max_size=12)
    if method != Method.NETWORK or planes not in PLANES or header.width > 300:
        return Layer(max(method, Method.WEBP), planes, draw(payloads))
    layout = replace(draw(LAYOUTS), width=header.width, height=header.height, planes=planes)
    known = draw(st.sampled_from([[STATIC], [HEADS], [STATIC, HEADS, WHOLE]]))
    known = known if layout.may_adapt else [STATIC]
    tiles = st.builds(Tile, payloads, CRCS, st.sampled_from(known))
    return Tiles(layout, [draw(tiles) for _ in range(layout.tile_count())])


@st.composite
def files(draw: st.DrawFn) -> Container:
    kind = draw(st.sampled_from(KINDS))
    transform = draw(st.sampled_from(Transform))
    wide = kind.bit_depth == 16 and transform != Transform.PALETTE
    width = draw(st.one_of(st.integers(1, 300), st.integers(1, MAX_SIDE)))
    low_bits = draw(st.integers(0, 8)) if wide else 0
    header = Header(width, draw(st.integers(1, 300)), kind, transform, low_bits)
    layers: list[Layer | Tiles] = []
    left = header.byte_planes
    while left:
        layers.append(draw(coded(header, draw(st.integers(1, left)))))
        left -= layers[-1].planes
    table = draw(st.binary(min_size=1, max_size=9)) if transform else b""
    is_plain = kind.suits_network and not header.is_transformed
    is_photograph = is_plain and isinstance(layers[0], Tiles) and len(layers) == 1
    crc = None if is_photograph else draw(CRCS)
    return Container(header, draw(st.binary(max_size=20)), table, layers, crc)


@given(files())
@settings(max_examples=200)
def test_a_file_comes_back(file: Container) -> None:
    data = write(file)
    assert directory.read(data) == file
    found = directory.read_directory(data)
    assert (found.header, found.end) == (file.header, len(data))
    assert (found.tiled is not None) == (file.samples_crc is None)
    first = min([at for at, _ in found.sections.values()], default=found.layers[0].at)
    assert directory.read_directory(data[:first]) == found
    with pytest.raises(Truncated):
        directory.read_directory(data[: first - 1])


@given(LAYOUTS)
def test_tiles_cover_the_image_once(layout: TileLayout) -> None:
    tiles = layout.tiles()
    assert len(tiles) == layout.tile_count()
    assert sum(height * width for _, _, height, width in tiles) == layout.height * layout.width
    assert all(top + height <= layout.height for top, _, height, _ in tiles)
    assert all(left + width <= layout.width for _, left, _, width in tiles)


@pytest.mark.parametrize("file", EXAMPLES)
def test_every_truncation_is_refused(file: Container) -> None:
    data = write(file)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            directory.read(data[:length])


@pytest.mark.parametrize("file", EXAMPLES)
def test_every_flipped_bit_is_refused_or_in_a_samples_checksum(file: Container) -> None:
    data = write(file)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = directory.read(bytes(damaged))
        except FormatError:
            continue
        assert found != file  # the samples' own checksum, which decoding compares
        assert without_samples_checksums(found) == without_samples_checksums(file)


def without_samples_checksums(file: Container) -> Container:
    layers = [
        replace(layer, tiles=[replace(tile, samples_crc=0) for tile in layer.tiles])
        if isinstance(layer, Tiles)
        else layer
        for layer in file.layers
    ]
    return replace(file, layers=layers, samples_crc=None)


@given(st.sampled_from(EXAMPLES), st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(file: Container, more: bytes) -> None:
    with pytest.raises(FormatError, match=f"{len(more)} bytes follow the end"):
        directory.read(write(file) + more)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=1000)
def test_any_bytes_are_refused(noise: bytes, with_magic: bool) -> None:
    with pytest.raises(FormatError):
        directory.read((MAGIC + bytes([DRAFT]) if with_magic else b"") + noise)


@pytest.mark.parametrize(("draft", "reader"), [(1, "0.1"), (2, "0.1"), (4, "newer"), (0, "newer")])
def test_other_drafts_are_not_this_format(draft: int, reader: str) -> None:
    data = write(EXAMPLES[0])
    with pytest.raises(NotThisFormat, match=f"draft {draft} of the format.*{reader}"):
        directory.read(data[:4] + bytes([draft]) + data[5:])


def test_claims_of_a_header_are_checked_before_they_are_believed() -> None:
    layout = TileLayout(MAX_SIDE, MAX_SIDE, 3, b"name", 5)  # 2**38 lengths that are not there
    with pytest.raises(FormatError, match="274877906944 tiles; at most 65536"):
        directory.read(photograph(layout, [])[:-4] + bytes(100))
    fewer = replace(layout, height=1, tile_exponent=11)
    with pytest.raises(Truncated, match="8192 tiles"):
        directory.read(photograph(fewer, [])[:-4] + bytes(100))


def test_what_stands_around_a_photograph_takes_32_bytes() -> None:
    data = photograph(TileLayout(768, 512, 3, b"name", 11), [Tile(bytes(300_000), 0)])
    assert len(data) - 300_000 == 32


S, T, L = Flag.SECTIONS, Flag.TRANSFORM, Flag.LAYERS
ONE = bytes([Method.ZSTD, 1])  # a layer of all planes, whose payload is a byte


def by_network(adaptation: int, tile_byte: int) -> bytes:
    """Two layers: three planes by the network, in one tile without words, and one plane."""
    network = bytes([Method.NETWORK, 3, *b"name", adaptation, tile_byte, 0])
    return b"\2" + network + bytes([Method.ZSTD, 1, 1])


def forged(flags: int, head: bytes, size: bytes = b"\x09\x08") -> bytes:
    """The header of a file of 8-bit RGBA, whose checksum is right."""
    kind = KINDS.index(Kind(RGB_ALPHA, 8))
    data = MAGIC + bytes([DRAFT, kind | flags]) + size + head
    return data + checksum(data)


@pytest.mark.parametrize(
    "data",
    [
        forged(0, ONE),
        forged(S, b"\1\1\1" + ONE),
        forged(S | T, b"\2\1\1\2\1" + b"\2\0" + ONE),
        forged(L, b"\2\3\1\1\3\3\1"),
        forged(L, by_network(3, 11 | 7 << 4)),
    ],
)
def test_such_headers_are_sound_without_what_is_wrong(data: bytes) -> None:
    assert directory.read_directory(data).header.width == 9


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ("image kind 141", forged(128, ONE)),
        ("image kind 79", forged(79, ONE)),
        ("a preview of 0 bytes", forged(31, b"\0" + ONE)),
        ("a preview of 4097 bytes", forged(31, b"\x81\x20" + ONE)),
        ("a preview of more than 4096 bytes", forged(S, b"\1\0\x81\x20" + ONE)),
        ("kept by way 3", forged(15, b"\3" + ONE)),
        ("an image of 0 x 8 pixels", forged(0, ONE, b"\0\x08")),
        ("useless zero", forged(0, ONE, b"\x89\0\x08")),
        ("section 3, which", forged(S, b"\1\3\1" + ONE)),
        ("section 0, which", forged(S, b"\2\1\1\0\1" + ONE)),
        ("section 1, which", forged(S, b"\2\1\1\1\1" + ONE)),
        ("section 1, which", forged(S | T, b"\2\2\1\1\1" + b"\1\0" + ONE)),
        ("an empty section", forged(S, b"\0" + ONE)),
        ("an empty section", forged(S, b"\1\1\0" + ONE)),
        ("a transform that changes nothing", forged(T, b"\0\0" + ONE)),
        ("transform 3, which", forged(T, b"\3\0" + ONE)),
        ("1 low bits of 8, at most 0", forged(T, b"\0\1" + ONE)),
        ("transform 0 with table", forged(S, b"\1\2\1" + ONE)),
        ("transform 2 without table", forged(T, b"\2\0" + ONE)),
        ("transform 2 without table", forged(S | T, b"\1\1\1" + b"\2\0" + ONE)),
        ("method 6, which", forged(0, b"\6\1")),
        ("method 0, which", forged(0, b"\0\1")),
        ("a network's layer of 4 planes", forged(0, b"\1name\0\x0b\0")),
        ("0 layers of 4 planes", forged(L, b"\0")),
        ("1 layers of 4 planes", forged(L, b"\1" + b"\3\4\1")),
        ("5 layers of 4 planes", forged(L, b"\5" + 5 * b"\3\1\1")),
        (r"layers of \[0, 4\] planes, of 4 in all", forged(L, b"\2\3\0\1\3\4\1")),
        (r"layers of \[1, 2\] planes, of 4 in all", forged(L, b"\2\3\1\1\3\2\1")),
        (r"tiles of side 2\*\*4, which", forged(L, by_network(0, 4))),
        (r"tiles of side 2\*\*15, which", forged(L, by_network(0, 15))),
        ("turn 8, which", forged(L, by_network(0, 11 | 8 << 4))),
        ("adaptation 8 of 3 planes", forged(L, by_network(8, 11))),
    ],
)
def test_what_the_format_does_not_have_is_refused(message: str, data: bytes) -> None:
    with pytest.raises(FormatError, match=message):
        directory.read_directory(data)
