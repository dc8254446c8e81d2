"""The bytes of a `.ncmz` file of version 2, for images of every kind. FORMAT.md, part 2.

This module knows lengths and checksums, not what a payload means: see `byte_planes` and `methods`.
Every claim of a header is checked before anything is allocated for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.format.container import MAGIC, MAX_SIDE
from ncml_codec.format.sections import Reader, checksum, varint
from ncml_codec.picture import kinds
from ncml_codec.picture.kinds import Kind

VERSION = 2
SAMPLES, PALETTE, VALUES = 0, 1, 2  # transforms, see `byte_planes`
MAX_PLANES = 8

_METADATA = 1  # bit of the flags


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its sections.

    transform: SAMPLES, PALETTE or VALUES. low_bits: of each number that stand in a plane of their
    own; 0 if numbers are single bytes.
    """

    width: int
    height: int
    kind: Kind
    transform: int
    low_bits: int

    @property
    def planes(self) -> int:
        """Samples of a pixel, as of `pixels.Source`."""
        return self.kind.channels

    @property
    def byte_planes(self) -> int:
        """What the layers hold together."""
        numbers = 1 if self.transform == PALETTE else self.kind.channels
        return numbers * (2 if self.low_bits else 1)


@dataclass(frozen=True)
class Layer:
    """Some consecutive byte planes, coded. method: its number, see `layers`."""

    method: int
    planes: int
    payload: bytes | memoryview


@dataclass(frozen=True)
class General:
    """A whole file. metadata: a packed section (see `png_chunks.pack_chunks`), empty if there is
    none.

    table: of the transform, empty for SAMPLES. samples_crc: see `byte_planes.samples_crc`.
    """

    header: Header
    metadata: bytes
    table: bytes
    layers: Sequence[Layer]
    samples_crc: int


def write(file: General) -> bytes:
    """The file's bytes."""
    header = file.header
    flags = _METADATA if file.metadata else 0
    head = MAGIC + bytes([VERSION, header.kind.colour_type, header.kind.bit_depth, flags])
    head += varint(header.width) + varint(header.height)
    if file.metadata:
        head += varint(len(file.metadata))
    head += bytes([header.transform, header.low_bits])
    if header.transform != SAMPLES:
        head += varint(len(file.table))
    head += bytes([len(file.layers)])
    for layer in file.layers:
        head += bytes([layer.method, layer.planes]) + varint(len(layer.payload))
    parts: list[bytes | memoryview] = [head, checksum(head)]
    if file.metadata:
        parts += [file.metadata, checksum(file.metadata)]
    if header.transform != SAMPLES:
        parts += [file.table, checksum(file.table)]
    for layer in file.layers:
        parts += [layer.payload, checksum(layer.payload)]
    return b"".join([*parts, struct.pack("<I", file.samples_crc)])


def is_general(data: bytes) -> bool:
    """Whether a file begins as one of this version."""
    return data[:5] == MAGIC + bytes([VERSION])


def read_header(data: bytes) -> Header:
    """The header alone, checked against its checksum; the sections may be missing or damaged."""
    return read_head(data)[0]


def read(data: bytes) -> General:
    """The file's parts, every section checked against its checksum.

    Raises FormatError that names what is wrong: cut short, damaged where, unknown, too long.
    """
    header, metadata_length, table_length, layers, at = read_head(data)
    reader = Reader(data, at)
    metadata = table = b""
    if metadata_length is not None:
        metadata = bytes(reader.section("metadata", metadata_length))
    if table_length is not None:
        table = bytes(reader.section("table", table_length))
    coded = [
        Layer(method, planes, reader.section(f"layer {index}", length))
        for index, (method, planes, length) in enumerate(layers)
    ]
    (crc,) = struct.unpack("<I", reader.take("the samples' checksum", 4))
    if reader.at != len(data):
        raise FormatError(f"{len(data) - reader.at} bytes follow the end of the last section")
    return General(header, metadata, table, coded, crc)


def read_head(
    data: bytes,
) -> tuple[Header, int | None, int | None, list[tuple[int, int, int]], int]:
    """Header, lengths of metadata and table if there are any, method, planes and length of every
    layer, and where the sections begin."""
    reader = Reader(data, len(MAGIC) + 1)
    colour_type, depth, flags = reader.take("header", 3)
    width, height = reader.varint("header"), reader.varint("header")
    metadata_length = reader.varint("header") if flags & _METADATA else None
    transform, low_bits = reader.take("header", 2)
    table_length = reader.varint("header") if transform != SAMPLES else None
    (count,) = reader.take("header", 1)
    layers = []
    for _ in range(count):
        method, planes = reader.take("header", 2)
        layers.append((method, planes, reader.varint("header")))
    end = reader.at
    (stated,) = struct.unpack("<I", reader.take("header checksum", 4))
    if zlib.crc32(data[:end]) != stated:
        raise ChecksumMismatch("header: its bytes do not match their checksum; the file is damaged")
    problem = None
    if not kinds.exists(colour_type, depth):
        problem = f"colour type {colour_type} of {depth} bits"
    elif flags > _METADATA:
        problem = f"flags {flags}"
    elif not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        problem = f"an image of {width} x {height} pixels; sides are 1 to {MAX_SIDE}"
    elif transform > VALUES:
        problem = f"transform {transform}"
    elif low_bits > (8 if depth == 16 and transform != PALETTE else 0):
        problem = f"{low_bits} low bits of {depth}"
    elif metadata_length == 0:
        problem = "an empty metadata section"
    if problem:
        raise FormatError(f"header: {problem}, which this version does not know")
    header = Header(width, height, Kind(colour_type, depth), transform, low_bits)
    held = [planes for _, planes, _ in layers]
    if 0 in held or sum(held) != header.byte_planes:
        raise FormatError(f"header: layers of {held} planes, of {header.byte_planes} in all")
    return header, metadata_length, table_length, layers, reader.at
