"""A small picture of an image, put into its file, so that it is seen without being decoded.

Its bytes come from Pillow, so another version of Pillow may make others. FORMAT.md, section 2.1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ncml_codec.decode.preview import of_bytes, upright
from ncml_codec.errors import InputError
from ncml_codec.format import container, directory, kept_file
from ncml_codec.format.container import MAX_PREVIEW
from ncml_codec.picture import exif
from ncml_codec.picture.picture import Picture, Source, expanded

if TYPE_CHECKING:  # Pillow is imported once it is needed
    from PIL.Image import Image

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
    """The same for the file of a JPEG file: by what Pillow decodes of it, if it does.

    side: None also leaves it to the thumbnail in the file's EXIF data, if there is one.
    """
    from ncml_codec.picture import pillow_formats

    header, most = directory.read_directory(data).header, bytes_left(data)
    wanted = side_of(side, header.width * header.height)
    if wanted == NONE or most == 0 or _is_thin(header.width, header.height, wanted):
        return data
    if side is None and of_bytes(data) is not None:
        return data
    try:
        with pillow_formats.opened(original, "it", decoded=True) as image:
            image.draft("RGB", (2 * wanted, 2 * wanted))
            turn = int(image.getexif().get(exif.ORIENTATION, exif.UPRIGHT))
            shown = upright(image.convert("RGB"), turn)
    except (InputError, OSError, SyntaxError, ValueError):  # damaged: it has no preview
        return data
    return _inserted(data, packed(shown, wanted, most))


def of_picture(picture: Source, side: int, most: int) -> bytes:
    """The preview of an image, upright, of at most `most` bytes; empty if that is too few."""
    return packed(small(picture, side), side, most)


def small(picture: Source, side: int) -> Image:
    """The image, upright, in 8 bits and at most `side` pixels long."""
    found = dict(picture.chunks).get(b"eXIf", b"")
    image = upright(reduced(picture, side), exif.orientation(found))
    image.thumbnail((side, side))
    return image


def side_of(side: int | None, pixels: int) -> int:
    """The side that an image of so many pixels gets: NONE or SIDE where none was asked for."""
    if side is None:
        return SIDE if pixels >= _FROM else NONE
    return side


def bytes_left(data: bytes) -> int:
    """What a preview of a file may take."""
    return min(MAX_PREVIEW, len(data) // _SHARE)


def packed(image: Image, side: int, most: int) -> bytes:
    """A WebP file of at most `most` bytes, as large and then as good as these allow; else empty."""
    while side >= SMALLEST:
        shrunk = image.copy()
        shrunk.thumbnail((side, side))
        for quality in _QUALITIES:
            out = io.BytesIO()
            shrunk.save(out, "WEBP", quality=quality)
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


def reduced(picture: Source, side: int) -> Image:
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


def _pixels(picture: Source, top: int, stop: int) -> Image:
    rows = Picture(picture.rows(top, stop), picture.chunks, picture.kind)
    import PIL.Image

    found = expanded(rows)
    eight = (found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found
    return PIL.Image.fromarray(
        np.ascontiguousarray(eight[:, :, 0] if eight.shape[2] == 1 else eight)
    )


def _joined(parts: Sequence[Image]) -> Image:
    """Parts of an image below each other."""
    import PIL.Image

    whole = PIL.Image.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole
