"""A JPEG file without its metadata: what neither its pixels nor their look depend on."""

from __future__ import annotations

import struct

from ncml_codec.errors import UnreadableJpeg
from ncml_codec.jpeg.file_info import SOS, is_whole, kind_of, segments, tail_kind
from ncml_codec.jpeg.recipe import Recipe
from ncml_codec.picture import exif

_SHOWN = ("JFIF", "ICC", "Adobe")  # what colours and shapes depend on
_APP1 = 0xE1


def stripped(data: bytes, recipe: Recipe) -> tuple[bytes, dict[str, int]]:
    """The file without metadata, and the bytes that were left out, by kind.

    JFIF, ICC profile and Adobe's segment stay, and of EXIF the orientation if it is not upright.
    Only what stands before the first scan or behind the image is left out; coded bytes stay as they
    are. recipe: of the file. Raises UnreadableJpeg for a file that is damaged within its scans.
    """
    found = list(segments(recipe.markers))
    if not is_whole(recipe) and (recipe.cut is not None or recipe.tail):
        raise UnreadableJpeg("a damaged JPEG file")
    kept, left_out, at = bytearray(), dict[str, int](), 0
    for code, begin, body in found:
        if code == SOS:
            break
        kind, end = kind_of(code, body), begin + len(body)
        if kind is None or kind in _SHOWN:
            continue
        stays = _oriented(body) if kind == "EXIF" else b""
        if stays == body:
            continue
        kept += data[at : begin - 4]
        kept += b"\xff" + struct.pack(">BH", code, len(stays) + 2) + stays if stays else b""
        left_out[kind] = left_out.get(kind, 0) + len(body) - len(stays) + (0 if stays else 4)
        at = end
    if recipe.tail:
        left_out[tail_kind(recipe.tail)] = len(recipe.tail)
    return bytes(kept) + data[at : len(data) - len(recipe.tail)], left_out


def _oriented(segment: bytes) -> bytes:
    """EXIF of the orientation alone; nothing if it is upright or not stated."""
    tiff = segment[len(exif.SIGNATURE) :]
    found = exif.orientation(tiff)
    if found == exif.UPRIGHT:
        return b""
    order = "<" if tiff.startswith(b"II") else ">"
    one = struct.pack(f"{order}HHHIHHI", 1, exif.ORIENTATION, 3, 1, found, 0, 0)
    return exif.SIGNATURE + tiff[:4] + struct.pack(f"{order}I", 8) + one
