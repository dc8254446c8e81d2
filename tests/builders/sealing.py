"""Checksums of damaged files put right again, so that the damage gets past them."""

from __future__ import annotations

import contextlib
import struct
import zlib

from ncml_codec.decode.layers import NETWORK
from ncml_codec.format.container import BY_TILE


def varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of a `.ncmz` header and where it ends. Raises IndexError."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def with_checksums(data: bytes) -> bytes:
    """A `.ncmz` file whose header and sections are given the checksums of what they hold now."""
    out = bytearray(data)
    with contextlib.suppress(IndexError):
        (seal_version_2 if out[4] == 2 else seal_version_1)(out)
    return bytes(out[: len(data)])


def seal(out: bytearray, start: int, stop: int) -> None:
    out[stop : stop + 4] = struct.pack("<I", zlib.crc32(out[start:stop]))


def seal_version_1(out: bytearray) -> None:
    width, at = varint(out, 16)
    height, at = varint(out, at)
    lengths = []
    if out[5] & 2:
        length, at = varint(out, at)
        lengths.append(length)
    side = 1 << out[7]
    tiles = -(-width // side) * -(-height // side)
    own = out[6] == BY_TILE
    for _ in range(min(tiles, len(out))):
        length, at = varint(out, at)
        lengths.append(length + own)
    seal(out, 0, at)
    at += 4
    for index, length in enumerate(lengths):
        if at + length + 4 > len(out):
            break
        seal(out, at, at + length)
        at += length + (4 if index == 0 and out[5] & 2 else 8)


def seal_version_2(out: bytearray) -> None:
    _, at = varint(out, 8)
    _, at = varint(out, at)
    lengths, networks = [], set()
    if out[7] & 1:
        length, at = varint(out, at)
        lengths.append(length)
    transform, at = out[at], at + 2
    if transform:
        length, at = varint(out, at)
        lengths.append(length)
    layers, at = out[at], at + 1
    for _ in range(layers):
        if out[at] == NETWORK:
            networks.add(len(lengths))
        length, at = varint(out, at + 2)
        lengths.append(length)
    seal(out, 0, at)
    at += 4
    for index, length in enumerate(lengths):
        if at + length + 4 > len(out):
            break
        if index in networks:
            out[at : at + length] = with_checksums(bytes(out[at : at + length]))
        seal(out, at, at + length)
        at += length + 4


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
