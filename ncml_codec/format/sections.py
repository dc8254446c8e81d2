"""How `.ncmz` files are read from the front: numbers, sections and checksums."""

from __future__ import annotations

import struct
import zlib

from ncml_codec.errors import ChecksumMismatch, FormatError, Truncated


class Reader:
    """Takes bytes from the front, or says what is missing."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = memoryview(data), at

    def take(self, what: str, count: int) -> memoryview:
        left = len(self.data) - self.at
        if count > left:
            raise Truncated(
                f"{what}: needs {count} bytes at offset {self.at}, the file has {left} more;"
                " it was cut short"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def section(self, what: str, count: int) -> memoryview:
        """`count` bytes that their CRC-32 follows."""
        start = self.at
        section = self.take(what, count)
        (stated,) = struct.unpack("<I", self.take(f"{what}'s checksum", 4))
        if zlib.crc32(section) != stated:
            raise ChecksumMismatch(
                f"{what}: the {count} bytes at offset {start} do not match their checksum;"
                " the file is damaged"
            )
        return section

    def varint(self, what: str) -> int:
        """LEB128, at most five bytes, shortest form."""
        value = 0
        for index in range(5):
            (byte,) = self.take(what, 1)
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                if byte == 0 and index:
                    raise FormatError(
                        f"{what}: a number at offset {self.at - 1} has a useless zero"
                    )
                return value
        raise FormatError(f"{what}: a number at offset {self.at - 5} is longer than five bytes")


def varint(value: int) -> bytes:
    """A number as `Reader.varint` reads it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def checksum(data: bytes | memoryview) -> bytes:
    """The CRC-32 that follows a section."""
    return struct.pack("<I", zlib.crc32(data))
