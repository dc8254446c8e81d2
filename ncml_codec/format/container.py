"""What a `.ncmz` file holds, and how it is written. FORMAT.md, section 1.

This module knows lengths and checksums, not what a payload means: see `byte_planes` and
`decode.layers`. `directory` reads files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ncml_codec.format.sections import checksum, varint
from ncml_codec.format.tiles import Tiles, adaptation_byte
from ncml_codec.picture import kinds
from ncml_codec.picture.kinds import GREY, RGB, Kind

MAGIC = b"\x89NCZ"
DRAFT = 3
MAX_SIDE = 2**24 - 1
MAX_PLANES = 8
MAX_PREVIEW = 1 << 12  # bytes

KINDS = [Kind(colour, depth) for colour, depths in kinds.DEPTHS.items() for depth in depths]
TURN_BIT = 4  # of a tile byte: the exponent is below it, the turn above


class Flag(IntFlag):
    """Bits of the kind byte; the others hold the number of the image's kind."""

    SECTIONS = 16
    TRANSFORM = 32
    LAYERS = 64


class Method(IntEnum):
    """How a layer is coded. See `decode.layers`; FORMAT.md, section 11."""

    NETWORK = 1
    WEBP = 2
    ZSTD = 3
    DEFLATE = 4
    MIXING = 5


class Section(IntEnum):
    """What a section holds."""

    PREVIEW = 0
    METADATA = 1
    TABLE = 2


class Transform(IntEnum):
    """How samples become the numbers that layers hold. See `byte_planes`."""

    SAMPLES = 0
    PALETTE = 1
    VALUES = 2


@dataclass(frozen=True)
class Header:
    """The image that a file holds.

    width, height: in pixels. low_bits: of each number that stand in a plane of their own; 0 if
    numbers are single bytes.
    """

    width: int
    height: int
    kind: Kind
    transform: Transform = Transform.SAMPLES
    low_bits: int = 0

    @property
    def planes(self) -> int:
        """Samples of a pixel, as of `picture.Source`."""
        return self.kind.channels

    @property
    def is_transformed(self) -> bool:
        """Whether byte planes differ from the samples."""
        return bool(self.transform or self.low_bits)

    @property
    def byte_planes(self) -> int:
        """What the layers hold together."""
        numbers = 1 if self.transform == Transform.PALETTE else self.kind.channels
        return numbers * (2 if self.low_bits else 1)


@dataclass(frozen=True)
class Layer:
    """Some consecutive byte planes, coded by another method than the network."""

    method: Method
    planes: int
    payload: bytes | memoryview


@dataclass(frozen=True)
class Container:
    """A whole file.

    metadata: a packed section (see `png_chunks.pack_chunks`), empty if there is none. table: of the
    transform, empty for SAMPLES. samples_crc: see `byte_planes.samples_crc`; None for the
    file of a photograph (`of_tiles`), whose tiles have checksums of their own. preview: a small
    WebP image, of at most MAX_PREVIEW bytes; empty if there is none.
    """

    header: Header
    metadata: bytes
    table: bytes
    layers: Sequence[Layer | Tiles]
    samples_crc: int | None
    preview: bytes = b""


def of_tiles(tiles: Tiles, metadata: bytes = b"") -> Container:
    """The file of a photograph: 8-bit grey or RGB samples, coded by the network as they are."""
    layout = tiles.layout
    kind = Kind(RGB if layout.planes == 3 else GREY, 8)
    return Container(Header(layout.width, layout.height, kind), metadata, b"", [tiles], None)


def write(file: Container) -> bytes:
    """The file's bytes."""
    header, layers = file.header, file.layers
    sections = {
        Section.PREVIEW: file.preview,
        Section.METADATA: file.metadata,
        Section.TABLE: file.table,
    }
    sections = {section: content for section, content in sections.items() if content}
    kind = KINDS.index(header.kind)
    kind |= Flag.SECTIONS if sections else 0
    kind |= Flag.TRANSFORM if header.is_transformed else 0
    kind |= Flag.LAYERS if len(layers) != 1 else 0
    head = MAGIC + bytes([DRAFT, kind]) + varint(header.width) + varint(header.height)
    if sections:
        head += bytes([len(sections)])
        for section, content in sections.items():
            head += bytes([section]) + varint(len(content))
    if header.is_transformed:
        head += bytes([header.transform, header.low_bits])
    if len(layers) != 1:
        head += bytes([len(layers)])
    head += b"".join(_layer_head(layer, several=len(layers) != 1) for layer in layers)
    parts: list[bytes | memoryview] = [head, checksum(head)]
    for content in sections.values():
        parts += [content, checksum(content)]
    for layer in layers:
        if isinstance(layer, Layer):
            parts += [layer.payload, checksum(layer.payload)]
            continue
        by_tile = layer.adaptation is None
        for tile in layer.tiles:
            own = bytes([adaptation_byte(tile.adaptation)]) if by_tile else b""
            crc = zlib.crc32(tile.payload, zlib.crc32(own))
            parts += [own, tile.payload, struct.pack("<II", crc, tile.samples_crc)]
    if file.samples_crc is not None:
        parts.append(struct.pack("<I", file.samples_crc))
    return b"".join(parts)


def payload_bytes(layer: Layer | Tiles) -> int:
    """The coded bytes of a layer, without what stands around them."""
    if isinstance(layer, Layer):
        return len(layer.payload)
    return sum(len(tile.payload) for tile in layer.tiles)


def layer_bytes(layer: Layer | Tiles) -> int:
    """What one of several layers takes in a file, its part of the header and checksums included."""
    checksums = 4
    if isinstance(layer, Tiles):
        checksums = len(layer.tiles) * (9 if layer.adaptation is None else 8)
    return len(_layer_head(layer, several=True)) + payload_bytes(layer) + checksums


def _layer_head(layer: Layer | Tiles, several: bool) -> bytes:
    """What the header says of a layer."""
    own = bytes([layer.planes]) if several else b""
    if isinstance(layer, Layer):
        return bytes([layer.method]) + own + varint(len(layer.payload))
    layout = layer.layout
    head = bytes([Method.NETWORK]) + own + layout.identity
    tile_byte = layout.tile_exponent | layout.turn << TURN_BIT
    head += bytes([adaptation_byte(layer.adaptation), tile_byte])
    return head + b"".join(varint(len(tile.payload)) for tile in layer.tiles)
