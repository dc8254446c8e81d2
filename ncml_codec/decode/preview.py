"""The small picture of an image that its file holds, without decoding the image.

Of a JPEG file without one it is the thumbnail in its EXIF data. FORMAT.md, section 2.1.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_codec import jpeg, zstd_frames
from ncml_codec.atomic_files import check_is_file
from ncml_codec.errors import FormatError, InputError, Truncated
from ncml_codec.format import directory
from ncml_codec.format.container import Section
from ncml_codec.format.kept_file import Coding, KeptHead
from ncml_codec.format.sections import Reader
from ncml_codec.picture import exif

if TYPE_CHECKING:  # Pillow is imported once it is needed
    from PIL.Image import Image

LONGEST = 1024  # pixels of its longest side
_HEAD = 1 << 16  # bytes that hold the header and the preview of most files
_RECIPE_BYTES = 1 << 24  # unpacked, beyond which no thumbnail is looked for
_TURNS = {  # of EXIF's orientations: names of Pillow's `Transpose`
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def of_bytes(data: bytes) -> Image | None:
    """The preview in a file's bytes, or in its beginning; None if there is none.

    It is upright; 8-bit grey, RGB or RGBA. Raises FormatError, Truncated if more of the file is
    needed.
    """
    found = directory.read_directory(data)
    if packed := found.section(data, Section.PREVIEW):
        preview = _decoded(packed, "WEBP")
        if preview is None:
            raise FormatError("preview: not a WebP file of at most 1024 x 1024 pixels")
        return preview
    if found.kept is None or found.kept.coding == Coding.WHOLE:
        return None
    return _thumbnail(found.kept, data)


def of_file(path: Path) -> Image | None:
    """The preview in a file, of which no more than is needed is read.

    Raises FormatError, or InputError if it cannot be read.
    """
    check_is_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            try:
                return of_bytes(head)
            except Truncated:
                return of_bytes(head + file.read())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def upright(image: Image, orientation: int) -> Image:
    """The image, turned as EXIF's orientation 1 to 8 says."""
    from PIL.Image import Transpose

    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(Transpose[turn])


def _thumbnail(kept: KeptHead, data: bytes) -> Image | None:
    packed = Reader(data, kept.recipe_at).section("recipe", kept.recipe_bytes)
    if not 0 <= zstd_frames.unpacked_bytes(packed, "recipe") <= _RECIPE_BYTES:
        return None
    content = zstd_frames.unpack(bytes(packed), "recipe", at_most=_RECIPE_BYTES)
    found = jpeg.exif_of(jpeg.Recipe.unpack(content))
    small = exif.thumbnail(found)
    image = None if small is None else _decoded(small, "JPEG")
    return None if image is None else upright(image, exif.orientation(found))


def _decoded(data: bytes, kind: str) -> Image | None:
    """An image of at most LONGEST pixels a side, by Pillow, if it can read it."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=(kind,)) as image:
            if max(image.size) > LONGEST:
                return None
            image.load()
            modes = {"L": "L", "RGBA": "RGBA", "LA": "RGBA"}
            return image.convert(modes.get(image.mode, "RGB"))
    except (OSError, SyntaxError, ValueError):
        return None
