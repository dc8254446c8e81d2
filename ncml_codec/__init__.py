"""Lossless image compression by an integer autoregressive network in wave order.

    data = ncml_codec.compress(pixels)         # uint8 or uint16 [height, width, 1 to 4]
    assert (ncml_codec.decompress(data) == pixels).all()

The codec wing is this package without `learn`: importing it never imports torch. FORMAT.md
describes the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__version__ = "0.1.0"


def compress(pixels: npt.ArrayLike, model: str | None = None, level: int | None = None) -> bytes:
    """The `.ncmz` bytes of an image.

    pixels: uint8 or uint16, [height, width] or [height, width, channels]: 1 grey, 2 grey and alpha,
    3 RGB, 4 RGBA. model: a released model's name or a model file's path, None for the level's own.
    level: 1 (fastest) to 9 (smallest), 5 if None. Raises UnsupportedImage for other arrays,
    UsageError for an unknown model or level.
    """
    from ncml_codec import images, levels, library
    from ncml_codec.picture import from_array

    level = levels.DEFAULT if level is None else level
    found = library.load(model or levels.at(level).model)
    return images.encode(from_array(pixels), found, level=level)


def decompress(data: bytes, model: str | None = None) -> npt.NDArray[Any]:
    """The pixels of `.ncmz` bytes: uint8 or uint16, [height, width] if grey, else with channels.

    Palettes come as RGB or RGBA, fewer than 8 bits stretched to 8. model: needed only if the file
    was made with one that is not released. Raises FormatError.
    """
    from ncml_codec import images, library
    from ncml_codec.picture import expanded

    pixels = expanded(images.decode(data, [library.load(model)] if model else []))
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
