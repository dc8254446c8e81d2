"""Bundles with another header."""

from __future__ import annotations

import json
import struct
import zlib

from ncpn.bundles import bundle_file


def changed(data: bytes, change: object) -> bytes:
    """The bundle with its header changed and its checksum made right again."""
    assert callable(change)
    start = len(bundle_file.MAGIC) + 4
    (length,) = struct.unpack("<I", data[start - 4 : start])
    header = json.loads(data[start : start + length])
    change(header)
    text = json.dumps(header).encode()
    head = bundle_file.MAGIC + struct.pack("<I", len(text)) + text
    return head + struct.pack("<I", zlib.crc32(head)) + data[start + length + 4 :]
