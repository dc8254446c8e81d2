"""A small picture of an image, put into its file, so that it is seen without being decoded.

Its bytes come from Pillow, so another version of Pillow may make others. FORMAT.md, section 2.1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ncml_codec.decode.preview import upright
from ncml_codec.errors import InputError
from ncml_codec.format import container, directory, kept_file
from ncml_codec.format.container import MAX_PREVIEW
from ncml_codec.picture import exif, pillow_formats
from ncml_codec.picture.picture import Picture, Source, expanded

NONE = 0
SIDE = 256  # pixels of the longest side
SMALLEST = 32  # side
_FROM = 1_000_000  # pixels of an image that gets one without being asked
_SHARE = 100  # of a file's bytes, one may be its preview
_THIN = 4  # pixels of a preview's shortest side: below, it shows nothing
_QUALITIES = (80, 65, 50, 35, 25)  # of WebP
_ROWS = 64  # read at a time


def with_preview(data: bytes, picture: Source, side: int | None = None) -> bytes:
    """A `.ncmz` file's bytes, with a preview of its image.

    side: of the longest side, SMALLEST to LONGEST pixels; NONE for no preview; None for SIDE if the
    image has a megapixel. The preview is smaller, or missing, if it would take more than
    MAX_PREVIEW bytes or one in a hundred of the file's.
    """
    side = side_of(side, picture.width * picture.height)
    most = bytes_left(data)
    if side == NONE or most == 0 or _is_thin(picture.width, picture.height, side):
        return data
    return _inserted(data, of_picture(picture, side, most))


def with_preview_of_jpeg(data: bytes, original: bytes, side: int | None = None) -> bytes:
    """The same for the file of a JPEG file: by what Pillow decodes of it, if it does."""
    try:
        with pillow_formats.opened(original, "it", decoded=True) as image:
            side, most = side_of(side, image.width * image.height), bytes_left(data)
            if side == NONE or most == 0 or _is_thin(*image.size, side):
                return data
            image.draft("RGB", (2 * side, 2 * side))
            turn = int(image.getexif().get(exif.ORIENTATION, exif.UPRIGHT))
            small = upright(image.convert("RGB"), turn)
    except (InputError, OSError, SyntaxError, ValueError):  # damaged: it has no preview
        return data
    return _inserted(data, packed(small, side, most))


def of_picture(picture: Source, side: int, most: int) -> bytes:
    """The preview of an image, upright, of at most `most` bytes; empty if that is too few."""
    found = dict(picture.chunks).get(b"eXIf", b"")
    small = upright(reduced(picture, side), exif.orientation(found))
    return packed(small, side, most)


def side_of(side: int | None, pixels: int) -> int:
    """The side that an image of so many pixels gets: NONE or SIDE where none was asked for."""
    if side is None:
        return SIDE if pixels >= _FROM else NONE
    return side


def bytes_left(data: bytes) -> int:
    """What a preview of a file may take."""
    return min(MAX_PREVIEW, len(data) // _SHARE)


def packed(image: Image.Image, side: int, most: int) -> bytes:
    """A WebP file of at most `most` bytes, as large and then as good as these allow; else empty."""
    while side >= SMALLEST:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            out = io.BytesIO()
            small.save(out, "WEBP", quality=quality)
            if out.tell() <= most:
                return out.getvalue()
        side = side * 3 // 4
    return b""


def _is_thin(width: int, height: int, side: int) -> bool:
    return side * min(width, height) < _THIN * max(width, height)


def _inserted(data: bytes, preview: bytes) -> bytes:
    if not preview:
        return data
    found = directory.read_directory(data)
    if found.kept is not None:
        return kept_file.write(replace(found.kept.read(data), preview=preview))
    return container.write(replace(found.read(data), preview=preview))


def reduced(picture: Source, side: int) -> Image.Image:
    """The image in 8 bits, averaged over squares: at least twice `side` long if it was."""
    factor = max(1, max(picture.width, picture.height) // (2 * side))
    count = factor * max(1, _ROWS // factor)
    bands = []
    for top in range(0, picture.height, count):
        stop = min(top + count, picture.height)
        parts = [
            _pixels(picture, at, min(at + _ROWS, stop)).reduce((factor, 1))
            for at in range(top, stop, _ROWS)
        ]
        bands.append(_joined(parts).reduce((1, factor)))
    return _joined(bands)


def _pixels(picture: Source, top: int, stop: int) -> Image.Image:
    rows = Picture(picture.rows(top, stop), picture.chunks, picture.kind)
    found = expanded(rows)
    eight = (found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found
    return Image.fromarray(np.ascontiguousarray(eight[:, :, 0] if eight.shape[2] == 1 else eight))


def _joined(parts: Sequence[Image.Image]) -> Image.Image:
    """Parts of an image below each other."""
    whole = Image.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole
