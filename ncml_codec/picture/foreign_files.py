"""WebP, BMP, TIFF and JPEG by their own structure, looked at before Pillow opens them.

That bounds what Pillow would allocate, and names what a file holds that does not come back. Pixels
are not its business. Sources: the WebP container specification (RFC 9649), Microsoft's
BITMAPV5HEADER, TIFF 6.0, BigTIFF, ITU-T T.81 (JPEG).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncml_codec.errors import InputError, UnsupportedImage

MAX_TAGS = 1 << 12  # of a TIFF
MAX_SEGMENTS = 1 << 16  # of a JPEG
MAX_VALUES = 1 << 17  # of a TIFF's tag, but for bytes: Pillow keeps some hundred bytes for each
_NAMED = 8  # tags and chunks that are listed
_SLACK = 1 << 16  # bytes by which a TIFF's values may overlap each other
_WEBP_KNOWN = {b"VP8X", b"VP8L", b"VP8 ", b"ALPH", b"ICCP", b"EXIF"}
_WEBP_ANIMATION = {b"ANIM", b"ANMF"}
# TIFF tags that say how pixels are laid out, or that come back: the profile. All others are named.
_WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _PALETTE, _EXTRA = 256, 257, 262, 277, 320, 338
_PIECES = ((273, 279), (324, 325))  # offsets and lengths of strips, and of tiles
_LAYOUT = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284}
_LAYOUT |= {288, 289, 292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 338, 339}
_LAYOUT |= {347, 34675}
_RESOLUTION = {282, 283, 296}
_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPES |= {16: 8, 17: 8, 18: 8}  # BigTIFF's
# Pixels, or bytes of rows, that a byte of packed data gives at most. A pair of bytes is a run of up
# to 255 pixels in a BMP, of 128 bytes in PackBits; LZW's table is full after 5.4 kB; deflate's
# longest match takes two bits. A JPEG's block of 64 pixels takes at least a bit, unless its code is
# arithmetic. Other ways of packing (Group 4, LZMA, zstd, WebP) have no such bound.
_RUNS, _JPEG = 128, 512
_TIFF_RATIOS = {5: 1366, 8: 1032, 32946: 1032, 32773: 64}  # by the number of a compression
_BITS, _COMPRESSION, _TILE = 258, 259, (322, 323)
_LARGE_TILE = 1 << 20  # pixels of a TIFF's tile from which it may not be larger than the image
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's markers that state the size
# JPEG's markers with content, and its end; segments that come back or say how pixels are coded,
# and those that have a name.
_MARKER, _SCAN, _END = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]"), 0xDA, 0xD9
_JPEG_KEPT = ((0xE1, b"Exif\0\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))
_JPEG_NAMED = (
    (0xE0, b"JFXX\0", "thumbnail"),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0", "XMP"),
    (0xED, b"Photoshop 3.0\0", "Photoshop's data"),
    (0xFE, b"", "comment"),
)
_BYTES = (1, 2, 7)  # which Pillow keeps as bytes
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True)
class Survey:
    """What a file says of itself. size: width and height, None if it is of another format or too
    short to tell. is_lossy: for a WebP. not_kept: as of `picture.Picture`."""

    size: tuple[int, int] | None = None
    is_lossy: bool = False
    not_kept: Sequence[str] = ()


def survey(data: bytes, name: str) -> Survey:
    """What a WebP, BMP, TIFF or JPEG says before its pixels are touched; of others, nothing.

    name: of the file, for errors. Raises UnsupportedImage for animations and several pages,
    InputError for claims that the file's length contradicts.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data, name)
    if data[:2] == b"BM":
        return _bmp(data, name)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        return _tiff(data, name)
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data, name)
    if data[:4] == b"MM\0+":
        raise UnsupportedImage(f"{name}: a BigTIFF with the high byte first; it is not handled")
    return Survey()


def _webp(data: bytes, name: str) -> Survey:
    size, found, first = None, dict.fromkeys([b"RIFF"]), b""
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    at = 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 18]
        found[kind] = None
        if kind in (b"VP8L", b"VP8 ") and not first:
            first = kind
        if size is None and len(body) == 10:
            size = _webp_size(kind, body)
        at += 8 + length + (length & 1)
    if _WEBP_ANIMATION & found.keys():
        raise UnsupportedImage(f"{name}: an animated WebP, which is not handled")
    others = [kind for kind in found if kind not in _WEBP_KNOWN | {b"RIFF"}]
    names = [kind.decode("ascii", "replace").strip() for kind in others]
    not_kept = _listed("chunk", names) + _behind(len(data) - end)
    return Survey(size, first == b"VP8 ", not_kept)


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    """Width and height by the first ten bytes of a chunk, if it holds them."""
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 16383) + 1, (bits >> 14 & 16383) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 16383, height & 16383
    return None


def _bmp(data: bytes, name: str) -> Survey:
    if len(data) < 26:
        return Survey()
    start, header_size = struct.unpack_from("<II", data, 10)
    if header_size < 40:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours, density, entry = 0, 0, [0, 0], 3
    elif len(data) < 54:
        return Survey()
    else:
        width, height, _, bits, compression, _ = struct.unpack_from("<IiHHII", data, 18)
        *density, colours, _ = struct.unpack_from("<iiII", data, 38)
        height, entry = abs(height), 4
    not_kept = ["resolution"] if any(density) else []
    if header_size >= 108 and len(data) >= 122 and data[70:74] not in (b"BGRs", b" niW"):
        not_kept.append("colour profile")
    if compression in (1, 2):
        _check_ratio(width * height, _RUNS * len(data), name)
    if compression in (0, 3):
        stride = (width * bits + 31) // 32 * 4
        end = start + stride * height
        # The padding of the last row may be missing.
        if end - 3 > len(data):
            raise InputError(f"{name}: {len(data)} bytes, but its header says {end}; it is damaged")
        masks = 12 if compression == 3 and header_size == 40 else 0
        palette = (colours or 1 << bits) * entry if bits <= 8 else colours * entry
        if any(data[14 + header_size + masks + palette : start]):
            not_kept.append("bytes before its pixels")
        if len(data) > end and "colour profile" not in not_kept:
            # Some programs fill up to a whole number of four bytes.
            not_kept += _behind(len(data) - end) if len(data) - end > 3 or any(data[end:]) else []
        if bits == 32 and start < end <= len(data):
            used = _used_bits(data, header_size) if compression == 3 else 0xFFFFFF
            pixels = np.frombuffer(data, "<u4", width * height, start)
            varying = int(np.bitwise_or.reduce(pixels) ^ np.bitwise_and.reduce(pixels))
            if varying & ~used:
                not_kept.append("bits of its pixels that are no colour")
    return Survey((width, height), not_kept=not_kept)


def _used_bits(data: bytes, header_size: int) -> int:
    """Bits of a pixel of 32 bits that are colour or alpha, by a BMP's masks."""
    masks = struct.unpack_from("<4I" if header_size >= 56 else "<3I", data, 54)
    used = 0
    for mask in masks:
        used |= mask
    return used or 0xFFFFFFFF  # without masks, Pillow takes all for colour and alpha


def _tiff(data: bytes, name: str) -> Survey:
    from PIL import TiffTags

    order, is_big = "<" if data[:2] == b"II" else ">", data[2] == 43
    tags, end, more = _directory(data, order, is_big, name)
    if more:
        raise UnsupportedImage(f"{name}: several pages; only one is handled")
    not_kept = ["resolution"] if tags.keys() & _RESOLUTION else []
    others = sorted(tags.keys() - _LAYOUT - _RESOLUTION)
    known = [TiffTags.lookup(tag).name for tag in others]
    named = [one if one != "unknown" else str(tag) for tag, one in zip(others, known, strict=True)]
    not_kept += _listed("tag", named)
    palette = np.array(tags.get(_PALETTE, ()), np.int64)
    # As 257 times a byte or 256 times one, both are common.
    if (palette % 257).any() and (palette % 256).any():
        not_kept.append("the low bytes of its palette")
    if tags.get(_SAMPLES, [1])[:1] != [1] and 1 in tags.get(_EXTRA, ()):
        raise UnsupportedImage(f"{name}: a TIFF with alpha multiplied in, which is not handled")
    pieces = [
        start + length
        for offsets, counts in _PIECES
        for start, length in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    ]
    end = max([end, *pieces])
    # Other tags may point to what the directory does not hold; strips may lack their lengths.
    if pieces and not others and len(data) > end + 1:
        not_kept += _behind(len(data) - end)
    width, height = (tags.get(tag, [0])[:1] for tag in (_WIDTH, _HEIGHT))
    size = (width[0], height[0]) if width and height else None
    if size:
        _check_packing(tags, size[0] * size[1], len(data), name)
    return Survey(size, not_kept=not_kept)


def _check_packing(tags: dict[int, list[int]], pixels: int, length: int, name: str) -> None:
    """Raise InputError if a TIFF's rows do not fit into a file of this length, or into its tiles.

    tags: as of `_directory`.
    """
    ratio = _TIFF_RATIOS.get((tags.get(_COMPRESSION) or [1])[0])
    if ratio:
        bits = sum(tags.get(_BITS) or [1])
        _check_ratio(pixels * bits // 8, ratio * length, name)
    width, height = ((tags.get(tag) or [0])[0] for tag in _TILE)
    if width * height > max(_LARGE_TILE, 4 * pixels):
        raise InputError(f"{name}: tiles of {width} x {height} pixels; it is damaged")


def _jpeg(data: bytes, name: str) -> Survey:
    size, found, at, is_header = None, dict[str, None](), 0, True
    for _ in range(MAX_SEGMENTS):
        match = _MARKER.search(data, at)
        if not match or match.end() + 2 > len(data):
            return Survey(size, not_kept=list(found))
        marker, at = match[0][1], match.end()
        if marker == _END:
            return Survey(size, not_kept=[*found, *_behind(len(data) - at)])
        content = data[at + 2 : at + int.from_bytes(data[at : at + 2])]
        if marker in _FRAMES and size is None and len(content) > 4:
            height, width = struct.unpack_from(">HH", content, 1)
            if marker < 0xC9:  # those from it on are arithmetic
                _check_ratio(width * height, _JPEG * len(data), name)
            size = width, height
        is_header &= marker != _SCAN
        found |= dict.fromkeys(_not_kept_of(marker, content, is_header))
        at += 2 + len(content)
    raise UnsupportedImage(f"{name}: more than {MAX_SEGMENTS} segments are not handled")


def _not_kept_of(marker: int, content: bytes, is_header: bool) -> list[str]:
    """What of a JPEG's segment does not come back. is_header: Pillow reads what it keeps there."""
    said = [
        what
        for kind, start, what in _JPEG_NAMED
        if (kind, start) == (marker, content[: len(start)])
    ]
    if said or not 0xE0 <= marker <= 0xEF:
        return said
    if marker == 0xE0 and content.startswith(b"JFIF\0"):
        thumbnail = ["thumbnail"] if len(content) > 14 else []
        has_resolution = content[7:12] not in (b"\0\0\1\0\1", b"\0\0\0\0\0", b"")
        return (["resolution"] if has_resolution else []) + thumbnail
    comes_back = any(content.startswith(start) for kind, start in _JPEG_KEPT if kind == marker)
    return [] if comes_back and is_header else [f"segment APP{marker - 0xE0}"]


def _check_ratio(claimed: int, most: int, name: str) -> None:
    """Raise InputError if a file claims more than its bytes can give at most."""
    if claimed > most:
        raise InputError(f"{name}: too short for the image that its header claims; it is damaged")


def _directory(
    data: bytes, order: str, is_big: bool, name: str
) -> tuple[dict[int, list[int]], int, int]:
    """The first directory's tags, numbers of those that say how pixels are laid out, the end of
    what it holds, and the offset of the next directory."""
    offset, number = ("Q", "Q") if is_big else ("I", "H")
    form = f"{order}HH{offset}"
    head, inline = struct.calcsize(form), struct.calcsize(offset)
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + number, data, at)
        at += struct.calcsize(number)
        if count > MAX_TAGS:
            raise InputError(f"{name}: a TIFF of {count} tags; at most {MAX_TAGS} are handled")
        tags, end, held = {}, at + count * (head + inline) + inline, 0
        for entry in range(at, at + count * (head + inline), head + inline):
            tag, form_of_value, values = struct.unpack_from(form, data, entry)
            length = _TYPES.get(form_of_value, 0) * values
            place = entry + head
            if length > inline:
                (place,) = struct.unpack_from(order + offset, data, place)
                held += length
                end = max(end, place + length)
            # Pillow reads all values of a directory at once.
            if place + length > len(data) or held > len(data) + _SLACK:
                raise InputError(f"{name}: its tag {tag} claims {length} bytes; it is damaged")
            if form_of_value not in _BYTES and values > MAX_VALUES:
                raise UnsupportedImage(
                    f"{name}: its tag {tag} has {values} values (strips or tiles, mostly); at most"
                    f" {MAX_VALUES} are handled"
                )
            letter = _LETTERS.get(form_of_value) if tag in _LAYOUT - {34675, 347} else None
            tags[tag] = (
                list(struct.unpack_from(f"{order}{values}{letter}", data, place)) if letter else []
            )
        (more,) = struct.unpack_from(order + offset, data, at + count * (head + inline))
    except (struct.error, OverflowError) as error:
        raise InputError(f"{name}: its tags are cut short; it is damaged") from error
    return tags, end, more


def _listed(word: str, names: Sequence[str]) -> list[str]:
    """The names after a word, but of many only the first and how many more there are."""
    more = [f"{len(names) - _NAMED} more {word}s"] if len(names) > _NAMED else []
    return [f"{word} {name}" for name in names[:_NAMED]] + more


def _behind(count: int) -> list[str]:
    return [f"{count} byte{'' if count == 1 else 's'} behind its end"] if count > 0 else []
