"""The two things that are asked of EXIF data: which way up the image is, and its thumbnail.

Exif 2.32: a TIFF header, whose first directory is of the image and the second of the thumbnail.
Data may be anything; what is not understood is not there.
"""

from __future__ import annotations

import struct

SIGNATURE = b"Exif\0\0"  # before the data in a JPEG file
UPRIGHT = 1
ORIENTATION, _THUMBNAIL, _THUMBNAIL_BYTES = 0x0112, 0x0201, 0x0202
_SHORT = 3  # a value of 16 bits


def orientation(exif: bytes) -> int:
    """1 to 8: how to turn the image so that it is upright, which is 1."""
    found = _directories(exif)
    value = found[0].get(ORIENTATION, UPRIGHT) if found else UPRIGHT
    return value if 1 <= value <= 8 else UPRIGHT


def thumbnail(exif: bytes) -> bytes | None:
    """The small JPEG file, or None."""
    found = _directories(exif)
    if len(found) < 2:
        return None
    begin, length = found[1].get(_THUMBNAIL, 0), found[1].get(_THUMBNAIL_BYTES, 0)
    data = exif[begin : begin + length]
    return data if len(data) == length and data.startswith(b"\xff\xd8") else None


def _directories(exif: bytes) -> list[dict[int, int]]:
    """The first values of all tags in the first two directories, as far as they are sound."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    found: list[dict[int, int]] = []
    if order is None:
        return found
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        while at and len(found) < 2:
            (entries,) = struct.unpack_from(f"{order}H", exif, at)
            end = at + 2 + 12 * entries
            values: dict[int, int] = {}
            for entry in range(at + 2, end, 12):
                tag, kind, _, value = struct.unpack_from(f"{order}HHII", exif, entry)
                if kind == _SHORT:
                    (value,) = struct.unpack_from(f"{order}H", exif, entry + 8)
                values[tag] = value
            found.append(values)
            (at,) = struct.unpack_from(f"{order}I", exif, end)
    except struct.error:
        return found
    return found
