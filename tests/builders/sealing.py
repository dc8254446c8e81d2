"""Checksums of damaged files put right again, so that the damage gets past them."""

from __future__ import annotations

import contextlib
import struct
import zlib

from ncml_codec.format.container import TURN_BIT, Flag, Method
from ncml_codec.format.kept_file import DIGEST_BYTES, Coding, is_kept
from ncml_codec.format.tiles import BY_TILE
from ncml_codec.network.model_file import IDENTITY_BYTES


def varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of a `.ncmz` header and where it ends. Raises IndexError."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def with_checksums(data: bytes) -> bytes:
    """A `.ncmz` file whose header and sections are given the checksums of what they hold now.

    Its header may say anything: it is followed as far as it goes.
    """
    out = bytearray(data)
    with contextlib.suppress(IndexError):
        at, sections = kept_header_of(out) if is_kept(out[:6]) else header_of(out)
        seal(out, 0, at)
        at += 4
        for length, more in sections:
            if at + length + 4 > len(out):
                break
            seal(out, at, at + length)
            at += length + 4 + more
    return bytes(out[: len(data)])


def header_of(data: bytearray) -> tuple[int, list[tuple[int, int]]]:
    """Where its checksum stands; of each section the bytes before its own, and those after it that
    no other section holds. Raises IndexError."""
    flags = data[5]
    width, at = varint(data, 6)
    height, at = varint(data, at)
    sections = []
    if flags & Flag.SECTIONS:
        count, at = data[at], at + 1
        for _ in range(count):
            length, at = varint(data, at + 1)
            sections.append((length, 0))
    at += 2 if flags & Flag.TRANSFORM else 0
    layers, at = (data[at], at + 1) if flags & Flag.LAYERS else (1, at)
    for _ in range(layers):
        method, at = data[at], at + (2 if flags & Flag.LAYERS else 1)
        tiles, own, more = 1, 0, 0
        if method == Method.NETWORK:
            own_byte, tile_byte = data[at + IDENTITY_BYTES], data[at + IDENTITY_BYTES + 1]
            at, own, more = at + IDENTITY_BYTES + 2, int(own_byte == BY_TILE), 4
            side = 1 << tile_byte % (1 << TURN_BIT)
            tiles = -(-width // side) * -(-height // side)
        for _ in range(min(tiles, len(data))):
            length, at = varint(data, at)
            sections.append((length + own, more))
    return at, sections


def kept_header_of(data: bytearray) -> tuple[int, list[tuple[int, int]]]:
    """As `header_of`, of a JPEG file's header."""
    _, at = varint(data, 6)
    _, at = varint(data, at)
    sections, count = [], 1
    if data[5] & Flag.SECTIONS:
        length, at = varint(data, at)
        sections.append((length, 0))
    coding, at = data[at], at + 1
    if coding != Coding.WHOLE:
        length, at = varint(data, at + IDENTITY_BYTES)
        sections.append((length, 0))
        count, at = varint(data, at)
    for _ in range(min(count, len(data))):
        length, at = varint(data, at)
        sections.append((length, 0))
    return at + DIGEST_BYTES, sections


def seal(out: bytearray, start: int, stop: int) -> None:
    out[stop : stop + 4] = struct.pack("<I", zlib.crc32(out[start:stop]))


def with_png_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        stop = at + 8 + length
        if stop + 4 > len(out):
            break
        out[stop : stop + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : stop]))
        at = stop + 4
    return bytes(out)
