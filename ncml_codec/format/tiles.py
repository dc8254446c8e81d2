"""A layer that the network codes: tiles, each coded on its own. FORMAT.md, section 9.

This module knows how tiles lie and what is said of them, not what their payloads mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ncml_codec.errors import FormatError
from ncml_codec.format.adaptation import STATIC, is_known
from ncml_codec.network.wave_order import wave_count
from ncml_codec.picture.orientation import UPRIGHT, turned_sides

BY_TILE = 255  # adaptation: every tile has its own
TILE_EXPONENTS = range(5, 15)
MAX_TILES = 1 << 16  # a tile takes some hundred times the memory of the byte that says it is empty
PLANES = (1, 3)  # that a network's layer may hold

# A square image of N pixels has about 3 sqrt(N) waves. Images of at most nine times as many waves,
# or of 16 pixels a wave, may adapt. A step of learning costs as much as 20 to 100 pixels.
_WAVES_SQUARED_PER_PIXEL = 729
_PIXELS_PER_WAVE = 16


@dataclass(frozen=True)
class TileLayout:
    """How an image is cut into tiles, and by which model they are coded.

    width, height: of the image in pixels. planes: 1 (grey) or 3 (RGB). identity: of the model.
    tile_exponent: tiles are squares of side 2**tile_exponent, cut off at the right and lower edge,
    in row-major order. turn: the orientation in which each tile is coded, see `orientation`.
    """

    width: int
    height: int
    planes: int
    identity: bytes
    tile_exponent: int
    turn: int = UPRIGHT

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Every tile as (top, left, height, width)."""
        side = 1 << self.tile_exponent
        return [
            (top, left, min(side, self.height - top), min(side, self.width - left))
            for top in range(0, self.height, side)
            for left in range(0, self.width, side)
        ]

    def tile_count(self) -> int:
        """How many `tiles` there are, without making the list."""
        return sum(count for _, _, count in self.tile_shapes())

    def tile_shapes(self) -> list[tuple[int, int, int]]:
        """The different tiles, at most four, as they are coded (turned): height, width, count."""
        side = 1 << self.tile_exponent
        rows, last_row = divmod(self.height, side)
        columns, last_column = divmod(self.width, side)
        return [
            (*turned_sides(height, width, self.turn), down * across)
            for height, down in ((side, rows), (last_row, 1))
            for width, across in ((side, columns), (last_column, 1))
            if height * width * down * across
        ]

    @cached_property
    def may_adapt(self) -> bool:
        """Whether tiles may adapt to the image: their waves are not too short for it.

        Where a wave holds few pixels, learning after each wave takes far longer than coding.
        FORMAT.md, section 9.
        """
        shapes = self.tile_shapes()
        waves = sum(count * wave_count(height, width) for height, width, count in shapes)
        pixels = self.width * self.height
        short = waves * _PIXELS_PER_WAVE > pixels
        return not short or waves**2 <= pixels * _WAVES_SQUARED_PER_PIXEL

    def check_adaptation(self, where: str, adaptation: int) -> None:
        """Raise FormatError for an adaptation that tiles cannot have. where: begins its message."""
        if not is_known(adaptation, self.planes):
            raise FormatError(
                f"{where}: adaptation {adaptation} of {self.planes} planes, which this version does"
                " not know"
            )
        if adaptation != STATIC and not self.may_adapt:
            raise FormatError(
                f"{where}: adaptation {adaptation} of an image of {self.width} x {self.height}"
                f" pixels in tiles of side {1 << self.tile_exponent}: its waves hold too few pixels"
            )


@dataclass(frozen=True)
class Tile:
    """A tile's coded words, and the CRC-32 of its samples (rows, pixels, planes; one byte each).

    adaptation: how it adapts to its image, see `adaptation`. payload: of a tile that was read, a
    view of the file's bytes, so that a large file is in memory once.
    """

    payload: bytes | memoryview
    samples_crc: int
    adaptation: int = STATIC


@dataclass(frozen=True)
class Tiles:
    """A layer of one or three byte planes. tiles: in the order of `TileLayout.tiles`."""

    layout: TileLayout
    tiles: Sequence[Tile]

    @property
    def planes(self) -> int:
        return self.layout.planes

    @property
    def adaptation(self) -> int:
        """That of all tiles, or BY_TILE."""
        found = {tile.adaptation for tile in self.tiles}
        return found.pop() if len(found) == 1 else BY_TILE
