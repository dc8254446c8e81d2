"""Model files taken apart, and put together again under the right checksum."""

from __future__ import annotations

import struct
import zlib

from tests.builders.pictures import GOLDEN

TINY = (GOLDEN / "tiny.ncpn").read_bytes()


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Description and packed tensors of a model file."""
    (length,) = struct.unpack_from("<I", data, 8)
    return data[12 : 12 + length], data[12 + length : -4]


def sealed(description: bytes, packed: bytes) -> bytes:
    body = TINY[:8] + struct.pack("<I", len(description)) + description + packed
    return body + struct.pack("<I", zlib.crc32(body))
