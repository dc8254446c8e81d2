"""A layer that the network codes: tiles, each coded on its own. FORMAT.md, section 9.

This module knows how tiles lie and what is said of them, not what their payloads mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ncml_codec.errors import FormatError
from ncml_codec.network.adaptation import COLOUR_MODES, STATIC, Adaptation, Learns
from ncml_codec.network.wave_order import wave_count
from ncml_codec.picture.orientation import UPRIGHT, turned_sides

BY_TILE = 255  # in place of an adaptation: every tile has its own
TILE_EXPONENTS = range(5, 15)
MAX_TILES = 1 << 16  # a tile takes some hundred times the memory of the byte that says it is empty
PLANES = (1, 3)  # that a network's layer may hold

# A square image of N pixels has about 3 sqrt(N) waves. Images of at most nine times as many waves,
# or of 16 pixels a wave, may adapt. A step of learning costs as much as 20 to 100 pixels.
_WAVES_SQUARED_PER_PIXEL = 729
_PIXELS_PER_WAVE = 16

# A byte that states an adaptation: its strength, plus _NETWORK if the whole network learns, plus
# _COLOURS times its colour mode.
_NETWORK, _COLOURS = 8, 16


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

    def adaptation(self, where: str, byte: int) -> Adaptation:
        """The adaptation that a byte of a file states.

        Raises FormatError for one that these tiles cannot have; where begins its message.
        """
        modes = COLOUR_MODES if self.planes == 3 else [0]
        if byte % _COLOURS == _NETWORK or byte // _COLOURS not in modes:
            raise FormatError(
                f"{where}: adaptation {byte} of {self.planes} planes, which this version does not"
                " know"
            )
        if byte != 0 and not self.may_adapt:
            raise FormatError(
                f"{where}: adaptation {byte} of an image of {self.width} x {self.height}"
                f" pixels in tiles of side {1 << self.tile_exponent}: its waves hold too few pixels"
            )
        return adaptation_of(byte)


@dataclass(frozen=True)
class Tile:
    """A tile's coded words, and the CRC-32 of its samples (rows, pixels, planes; one byte each).

    payload: of a tile that was read, a view of the file's bytes, so that a large file is in memory
    once.
    """

    payload: bytes | memoryview
    samples_crc: int
    adaptation: Adaptation = STATIC


@dataclass(frozen=True)
class Tiles:
    """A layer of one or three byte planes. tiles: in the order of `TileLayout.tiles`."""

    layout: TileLayout
    tiles: Sequence[Tile]

    @property
    def planes(self) -> int:
        return self.layout.planes

    @property
    def adaptation(self) -> Adaptation | None:
        """That of all tiles; None if they differ."""
        found = {tile.adaptation for tile in self.tiles}
        return found.pop() if len(found) == 1 else None


def adaptation_byte(adaptation: Adaptation | None) -> int:
    """The byte that states it in a file. None: BY_TILE."""
    if adaptation is None:
        return BY_TILE
    body = _NETWORK if adaptation.learns == Learns.NETWORK else 0
    return adaptation.strength + body + _COLOURS * adaptation.colour_mode


def adaptation_of(byte: int) -> Adaptation:
    """The adaptation of a byte. Raises ValueError for one that states none."""
    learning, colour_mode = byte % _COLOURS, byte // _COLOURS
    learns = Learns.NETWORK if learning >= _NETWORK else Learns.HEADS if learning else STATIC.learns
    return Adaptation(colour_mode, learns, learning % _NETWORK)
