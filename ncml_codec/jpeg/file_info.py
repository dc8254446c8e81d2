"""What a JPEG file is and holds, from its recipe alone: no coefficient is needed.

Kinds of metadata follow their usual signatures; nothing is interpreted but the place of the EXIF
thumbnail. Recipes may be anything: see `layout` for what is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ncml_codec.jpeg.jpeg_file import layout
from ncml_codec.jpeg.markers import BLOCKS_MAX
from ncml_codec.jpeg.quality import quality_estimate
from ncml_codec.jpeg.recipe import Recipe
from ncml_codec.jpeg.records import Frame
from ncml_codec.picture import exif

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOI, EOI, SOS, _DRI, _TEM, _COM = 0xD8, 0xD9, 0xDA, 0xDD, 0x01, 0xFE
_APP0, _APP14, _APP15 = 0xE0, 0xEE, 0xEF

_SIGNATURES = (
    (0xE0, b"JFIF\0", "JFIF"),
    (0xE0, b"JFXX\0", "JFIF"),
    (0xE1, b"Exif\0", "EXIF"),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0", "XMP"),
    (0xE1, b"http://ns.adobe.com/xmp/extension/\0", "XMP"),
    (0xE2, b"ICC_PROFILE\0", "ICC"),
    (0xE2, b"MPF\0", "MPF"),
    (0xEB, b"JP", "JUMBF"),
    (0xED, b"Photoshop 3.0\0", "Photoshop"),
    (0xEE, b"Adobe", "Adobe"),
    (_COM, b"", "comment"),
)
# By the ratio of factors, luma to chroma: across, down.
_SAMPLINGS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}


@dataclass(frozen=True)
class FileInfo:
    """colours: grey, YCbCr, RGB, CMYK, YCCK, or how many components.

    sampling: 4:2:0 and the like, or the factors of each component, 2x2 1x2 1x1.
    quality: libjpeg's setting, 1 to 100; None where the tables are of another kind, and
    quality_exact says whether they are the very ones of that setting.
    restart_interval: in units, at the first scan; 0 if there are no restarts.
    metadata: bytes by kind, markers included, in the order of the file; `further images`, `video`
    and `trailing bytes` follow the end, `unread` is the tail of a damaged file.
    thumbnail: bytes of the one within EXIF, or 0.
    headers, coded: bytes of the other segments, and of the scans.
    """

    width: int
    height: int
    colours: str
    sampling: str
    quality: int | None
    quality_exact: bool
    progressive: bool
    scans: int
    restart_interval: int
    metadata: dict[str, int]
    thumbnail: int
    headers: int
    coded: int


def file_info(recipe: Recipe, *, blocks_max: int = BLOCKS_MAX) -> FileInfo:
    """What the file is. The bytes of metadata, headers and scans add up to its size."""
    of = layout(recipe, blocks_max=blocks_max)
    metadata: dict[str, int] = {}
    interval, interval_at_scan = 0, None
    jfif, transform, ended = False, None, False
    for code, _, body in segments(recipe.markers):
        if code == _DRI and len(body) > 1:
            interval = int.from_bytes(body[:2], "big")
        elif code == SOS and interval_at_scan is None:
            interval_at_scan = interval
        elif code == EOI:
            ended = True
        if kind := kind_of(code, body):
            metadata[kind] = metadata.get(kind, 0) + len(body) + 4
            jfif = jfif or kind == "JFIF"
            if kind == "Adobe" and len(body) > 11:
                transform = body[11]
    headers = len(recipe.markers) - sum(metadata.values())
    if recipe.tail:
        metadata[tail_kind(recipe.tail) if ended else "unread"] = len(recipe.tail)
    quality, exact = quality_estimate(of.quantisation)
    found = thumbnail(recipe)
    return FileInfo(
        of.frame.width,
        of.frame.height,
        _colours(of.frame, jfif, transform),
        _sampling(of.frame),
        quality,
        exact,
        of.frame.progressive,
        len(recipe.scans),
        interval_at_scan or 0,
        metadata,
        len(found) if found else 0,
        headers,
        recipe.size - len(recipe.markers) - len(recipe.tail),
    )


def thumbnail(recipe: Recipe) -> bytes | None:
    """The small JPEG file within the EXIF data, or None."""
    return exif.thumbnail(exif_of(recipe))


def exif_of(recipe: Recipe) -> bytes:
    """The EXIF data, from its TIFF header on; empty if there is none."""
    for code, _, body in segments(recipe.markers):
        if kind_of(code, body) == "EXIF":
            return body[len(exif.SIGNATURE) :]
    return b""


def is_whole(recipe: Recipe) -> bool:
    """Whether the file was read to the end of its image."""
    return recipe.cut is None and any(code == EOI for code, _, _ in segments(recipe.markers))


def segments(markers: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The code, the body's place and the body of each segment, as far as they are whole; at last
    the end of the image."""
    at = 2
    while found := _MARKER.search(markers, at):
        code, at = markers[found.end() - 1], found.end()
        if code == EOI:
            yield code, at, b""
            return
        if code in (_TEM, _SOI):
            continue
        length = int.from_bytes(markers[at : at + 2], "big")
        if length < 2 or at + length > len(markers):
            return
        yield code, at + 2, markers[at + 2 : at + length]
        at += length


def kind_of(code: int, body: bytes) -> str | None:
    """What metadata a segment holds, in a word; None for one that decoding needs."""
    for marker, signature, kind in _SIGNATURES:
        if code == marker and body.startswith(signature):
            return kind
    return f"APP{code - _APP0}" if _APP0 <= code <= _APP15 else None


def tail_kind(tail: bytes) -> str:
    """What follows the end of the image, in a word."""
    if tail.startswith(b"\xff\xd8\xff"):
        return "further images"
    return "video" if tail[4:8] == b"ftyp" else "trailing bytes"


def _colours(frame: Frame, jfif: bool, transform: int | None) -> str:
    """As libjpeg guesses (jdapimin.c, default_decompress_parms)."""
    count = len(frame.components)
    if count == 3:
        letters = bytes(component.identifier for component in frame.components) == b"RGB"
        plain = transform == 0 if transform is not None else letters
        return "RGB" if plain and not jfif else "YCbCr"
    if count == 4:
        return "YCCK" if transform == 2 else "CMYK"
    return "grey" if count == 1 else f"{count} components"


def _sampling(frame: Frame) -> str:
    first, *others = [(one.horizontal, one.vertical) for one in frame.components]
    if not others:
        return "4:0:0"
    ratio = first[0] / others[0][0], first[1] / others[0][1]
    if ratio in _SAMPLINGS and len(others) > 1 and others[0] == others[1]:
        text = _SAMPLINGS[int(ratio[0]), int(ratio[1])]
        if len(others) == 2:
            return text
        if others[2] == first:
            return text + ":4"
    return " ".join(f"{across}x{down}" for across, down in (first, *others))
