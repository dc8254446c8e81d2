"""The bytes of a `.ncmz` file of version 1: header, sections, checksums. FORMAT.md, part 1.

This module knows lengths and checksums, not what a payload means. Every claim of a header is
checked before anything is allocated for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError, NotThisFormat, Truncated
from ncml_codec.format.adaptation import STATIC, is_known
from ncml_codec.format.sections import Reader, checksum, varint
from ncml_codec.network.model_file import IDENTITY_BYTES
from ncml_codec.network.wave_order import wave_count
from ncml_codec.picture import orientation
from ncml_codec.picture.kinds import GREY, RGB, Kind
from ncml_codec.picture.orientation import UPRIGHT, turned_sides

MAGIC = b"\x89NCZ"
VERSION = 1
BY_TILE = 255  # adaptation: every tile has its own
TILE_EXPONENTS = range(5, 15)
MAX_SIDE = 2**24 - 1
MAX_TILES = 1 << 16  # a tile takes some hundred times the memory of the byte that says it is empty

# A square image of N pixels has about 3 sqrt(N) waves. Images of at most nine times as many waves,
# or of 16 pixels a wave, may adapt. A step of learning costs as much as 20 to 100 pixels.
_WAVES_SQUARED_PER_PIXEL = 729
_PIXELS_PER_WAVE = 16
_RGB, _METADATA = 1, 2  # bits of the kind byte
_TURN = 2  # the bit from which on it holds the turn


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its sections.

    planes: 1 (grey) or 3 (RGB); identity: of the model; tile_exponent: tiles are squares of side
    2**tile_exponent, cut off at the right and lower edge, in row-major order; turn: in which each
    of them is coded, see `orientation`.
    """

    width: int
    height: int
    planes: int
    identity: bytes
    tile_exponent: int
    turn: int = UPRIGHT

    @property
    def kind(self) -> Kind:
        return Kind(RGB if self.planes == 3 else GREY, 8)

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Every tile as (top, left, height, width)."""
        side = 1 << self.tile_exponent
        return [
            (top, left, min(side, self.height - top), min(side, self.width - left))
            for top in range(0, self.height, side)
            for left in range(0, self.width, side)
        ]

    def tile_count(self) -> int:
        """How many `tiles` there are, without making the list."""
        return sum(count for _, _, count in self.tile_shapes())

    def tile_shapes(self) -> list[tuple[int, int, int]]:
        """The different tiles, at most four, as they are coded (turned): height, width, count."""
        side = 1 << self.tile_exponent
        rows, last_row = divmod(self.height, side)
        columns, last_column = divmod(self.width, side)
        return [
            (*turned_sides(height, width, self.turn), down * across)
            for height, down in ((side, rows), (last_row, 1))
            for width, across in ((side, columns), (last_column, 1))
            if height * width * down * across
        ]

    @cached_property
    def may_adapt(self) -> bool:
        """Whether tiles may adapt to the image: their waves are not too short for it.

        Where a wave holds few pixels, learning after each wave takes far longer than coding.
        FORMAT.md, section 1.
        """
        shapes = self.tile_shapes()
        waves = sum(count * wave_count(height, width) for height, width, count in shapes)
        pixels = self.width * self.height
        short = waves * _PIXELS_PER_WAVE > pixels
        return not short or waves**2 <= pixels * _WAVES_SQUARED_PER_PIXEL


@dataclass(frozen=True)
class Tile:
    """A tile's coded words, and the CRC-32 of its samples (rows, pixels, planes; one byte each).

    adaptation: how it adapts to its image, see `adaptation`; turn: the header's. payload: read from
    a file, a view of its bytes, so that a large file is in memory once.
    """

    payload: bytes | memoryview
    samples_crc: int
    adaptation: int = STATIC
    turn: int = UPRIGHT


@dataclass(frozen=True)
class Container:
    """A whole file.

    metadata: a packed section (see `png_chunks.pack_chunks`), empty if there is none.
    """

    header: Header
    metadata: bytes
    tiles: Sequence[Tile]

    @property
    def adaptation(self) -> int:
        """That of all tiles, or BY_TILE."""
        found = {tile.adaptation for tile in self.tiles}
        return found.pop() if len(found) == 1 else BY_TILE


def write_container(container: Container) -> bytes:
    """The file's bytes."""
    header = container.header
    kind = (_RGB if header.planes == 3 else 0) | (_METADATA if container.metadata else 0)
    kind |= header.turn << _TURN
    adaptation = container.adaptation
    head = MAGIC + bytes([VERSION, kind, adaptation, header.tile_exponent])
    head += header.identity + varint(header.width) + varint(header.height)
    if container.metadata:
        head += varint(len(container.metadata))
    head += b"".join(varint(len(tile.payload)) for tile in container.tiles)
    parts: list[bytes | memoryview] = [head, checksum(head)]
    if container.metadata:
        parts += [container.metadata, checksum(container.metadata)]
    for tile in container.tiles:
        own = bytes([tile.adaptation]) if adaptation == BY_TILE else b""
        crc = zlib.crc32(tile.payload, zlib.crc32(own))
        parts += [own, tile.payload, struct.pack("<II", crc, tile.samples_crc)]
    return b"".join(parts)


def read_header(data: bytes) -> Header:
    """The header alone, checked against its checksum; the sections may be missing or damaged."""
    return read_head(data)[0]


def read_container(data: bytes, max_pixels: int | None = None) -> Container:
    """The file's parts, every section checked against its checksum.

    Raises FormatError that names what is wrong: foreign, cut short, damaged where, too long, or an
    image of more than max_pixels.
    """
    header, adaptation, metadata_length, lengths, at = read_head(data, max_pixels)
    reader = Reader(data, at)
    metadata = b""
    if metadata_length is not None:
        metadata = bytes(reader.section("metadata", metadata_length))
    tiles = [
        read_tile(reader, index, length, adaptation, header) for index, length in enumerate(lengths)
    ]
    if reader.at != len(data):
        raise FormatError(f"{len(data) - reader.at} bytes follow the end of the last section")
    return Container(header, metadata, tiles)


def read_tile(reader: Reader, index: int, length: int, adaptation: int, header: Header) -> Tile:
    """The tile of this number, whose payload has `length` bytes, at the reader's place.

    adaptation: what `read_head` gave. Raises FormatError.
    """
    own = 1 if adaptation == BY_TILE else 0
    section = reader.section(f"tile {index}", own + length)
    strength = section[0] if own else adaptation
    _check_adaptation(f"tile {index}", strength, header)
    (crc,) = struct.unpack("<I", reader.take(f"tile {index}'s samples checksum", 4))
    return Tile(section[own:], crc, strength, header.turn)


def section_bytes(length: int, adaptation: int) -> int:
    """All bytes of a tile whose payload has `length`, as `read_tile` takes them, checksums too."""
    return (1 if adaptation == BY_TILE else 0) + length + 8


def read_head(
    data: bytes, max_pixels: int | None = None
) -> tuple[Header, int, int | None, list[int], int]:
    """Header, adaptation, length of the metadata if there is any, the payloads' lengths, and where
    they begin.

    Raises FormatError; BeyondLimit for more than max_pixels, before anything is made for them.
    """
    if not data:
        raise Truncated("the file is empty")
    if not data.startswith(MAGIC[: len(data)]):
        raise NotThisFormat("not an ncmz file: it does not begin as one")
    reader = Reader(data, len(MAGIC))
    version, kind, adaptation, exponent = reader.take("header", 4)
    if version != VERSION:
        kind_of_error = NotThisFormat if version > VERSION else FormatError
        raise kind_of_error(
            f"format version {version}; this program reads version {VERSION}:"
            f" {'update it' if version > VERSION else 'the file is damaged'}"
        )
    identity = bytes(reader.take("header", IDENTITY_BYTES))
    width, height = reader.varint("header"), reader.varint("header")
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise FormatError(
            f"header: an image of {width} x {height} pixels; sides are 1 to {MAX_SIDE}"
        )
    check_pixels(width, height, max_pixels)
    if exponent not in TILE_EXPONENTS:
        raise FormatError(f"header: tiles of side 2**{exponent}, which this version does not know")
    if kind >> _TURN >= orientation.COUNT:
        raise FormatError(f"header: image kind {kind}, which this version does not know")
    planes = 3 if kind & _RGB else 1
    header = Header(width, height, planes, identity, exponent, kind >> _TURN)
    metadata_length = reader.varint("header") if kind & _METADATA else None
    count = header.tile_count()
    if count > MAX_TILES:
        raise FormatError(f"header: {count} tiles; at most {MAX_TILES} are allowed")
    if count > len(data) - reader.at:
        raise Truncated(f"header: {count} tiles, but {len(data) - reader.at} bytes follow")
    lengths = [reader.varint("header") for _ in range(count)]
    end = reader.at
    (stated,) = struct.unpack("<I", reader.take("header checksum", 4))
    if zlib.crc32(data[:end]) != stated:
        raise ChecksumMismatch("header: its bytes do not match their checksum; the file is damaged")
    if adaptation != BY_TILE:
        _check_adaptation("header", adaptation, header)
    return header, adaptation, metadata_length, lengths, reader.at


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Raise BeyondLimit for an image of more pixels; None: any number is allowed."""
    if max_pixels is not None and width * height > max_pixels:
        raise BeyondLimit(
            f"an image of {width} x {height} pixels, beyond the limit of {max_pixels} (max_pixels)"
        )


def _check_adaptation(where: str, adaptation: int, header: Header) -> None:
    if not is_known(adaptation, header.planes):
        raise FormatError(
            f"{where}: adaptation {adaptation} of {header.planes} planes, which this version does"
            " not know"
        )
    if adaptation != STATIC and not header.may_adapt:
        raise FormatError(
            f"{where}: adaptation {adaptation} of an image of {header.width} x {header.height}"
            f" pixels in tiles of side {1 << header.tile_exponent}: its waves hold too few pixels"
        )
