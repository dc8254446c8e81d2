"""Kinds of images: what one sample means and how many bits it has, in PNG's terms.

Every file format is described so; what PNG has no kind for, the codec does not hold. Source: PNG
specification, third edition, 11.2.1 (IHDR).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
_NAMES = {
    GREY: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    GREY_ALPHA: "grey with alpha",
    RGB_ALPHA: "RGBA",
}


@dataclass(frozen=True)
class Kind:
    """colour_type: GREY, ...; bit_depth: of a sample, one of DEPTHS[colour_type]."""

    colour_type: int
    bit_depth: int

    @property
    def channels(self) -> int:
        """Samples of a pixel, alpha last; a palette's index is one."""
        return _CHANNELS[self.colour_type]

    @property
    def colours(self) -> int:
        """Channels without alpha."""
        return self.channels - (self.colour_type in (GREY_ALPHA, RGB_ALPHA))

    @property
    def dtype(self) -> npt.DTypeLike:
        """Of arrays that hold such samples: uint8, uint16 for 16 bits."""
        return np.uint16 if self.bit_depth == 16 else np.uint8

    @property
    def suits_network(self) -> bool:
        """Whether the network codes such samples as they are: 8-bit grey or RGB."""
        return self.bit_depth == 8 and self.colour_type in (GREY, RGB)

    def __str__(self) -> str:
        return f"{self.bit_depth}-bit {_NAMES[self.colour_type]}"


def exists(colour_type: int, bit_depth: int) -> bool:
    """Whether PNG has this kind."""
    return bit_depth in DEPTHS.get(colour_type, ())


def of_samples(channels: int, dtype: npt.DTypeLike) -> Kind:
    """The kind of an array's samples, [height, width, channels]: no palette, 8 or 16 bits."""
    depth = 16 if np.dtype(dtype) == np.uint16 else 8
    return Kind({1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}[channels], depth)
