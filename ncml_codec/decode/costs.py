"""The work of decoding, by headers alone, and its limits.

The unit is about a multiply-add of a network in the native engine, on one thread: 1e11 of them took
one second on the machine that the weights below were measured on (`python -m bench hostile`). Work
is an estimate that orders files, not a promise of seconds. It does not depend on the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ncml_codec.coefficients.network import Network as CoefficientNetwork
from ncml_codec.coefficients.tiles import tiles
from ncml_codec.errors import BeyondLimit
from ncml_codec.format.tiles import TileLayout
from ncml_codec.jpeg import Layout
from ncml_codec.network.adaptation import STATIC, STRONGEST, Adaptation, Learns, network_learns
from ncml_codec.network.integer_network import Network
from ncml_codec.network.wave_order import wave_count

TIMES_HONEST = 10  # what is allowed by default, see `Work.check`

# By plane and pixel: the mixture and the coder; what the gradient takes where the heads learn.
_CODED, _GRADIENT = 40_000, 40_000
_CELLS = 20_000  # by plane and pixel where colours count
_COLOUR_TABLES = {0: 0, 1: 20_000_000, 2: 30_000_000, 3: 300_000_000}  # by tile and colour mode
_WAVE, _TILE = 100_000, 3_000_000  # by plane and wave, by tile: what does not depend on pixels
# By parameter that learns: the gradient at a pixel, and a step of the optimiser after a wave. To
# begin a tile costs as much as three steps.
_HEAD_GRADIENT, _BODY_GRADIENT, _STEP, _BEGIN = 3, 6, 600, 3
_DECISION, _GROUP = 30_000, 370_000  # mixing: by bit of a sample, by bit of a sample and wave
# JPEG files: by block without a coefficient that is 0, beside the network (those of a photograph
# take a fifth to a tenth of that); by tile and plane; by byte of a file that is kept whole.
_BLOCK, _BLOCK_TILE, _WHOLE_BYTE = 4_000_000, 50_000_000, 300
NOTE = 100_000  # by byte of a recipe's notes
_BYTE = 2_000  # by byte of planes that are unpacked: zstd, zlib, WebP


@dataclass(frozen=True)
class Work:
    """multiply_adds: of decoding, in the unit above; honest: of a square image of as many pixels
    that is coded in the same way, in tiles as this program writes them."""

    multiply_adds: int
    honest: int

    def __add__(self, other: Work) -> Work:
        return Work(self.multiply_adds + other.multiply_adds, self.honest + other.honest)

    @property
    def is_honest(self) -> bool:
        """Whether the default limit allows twice as much: encoders write nothing else, so that no
        file of theirs is near the limit."""
        return 2 * self.multiply_adds <= TIMES_HONEST * self.honest

    def check(self, max_work: int | None) -> None:
        """Raise BeyondLimit for more than max_work; None allows TIMES_HONEST the honest work."""
        most = TIMES_HONEST * self.honest if max_work is None else max_work
        if self.multiply_adds > most:
            raise BeyondLimit(
                f"decoding takes the work of {self.multiply_adds} multiply-adds, beyond the limit"
                f" of {most} (max_work)"
            )


NONE = Work(0, 0)


def of_network(layout: TileLayout, adaptation: Adaptation | None, network: Network) -> Work:
    """The work of a layer that the network codes.

    adaptation: of all tiles; None, if each has its own, counts as the most costly.
    """
    if adaptation is None:
        adaptation = network_learns(STRONGEST) if layout.may_adapt else STATIC
        if layout.may_adapt and layout.planes == 3:
            adaptation = adaptation.with_colours(3)
    height, width = _square(layout.height, layout.width)
    square = replace(layout, height=height, width=width, tile_exponent=11)
    return Work(*(_of_network(each, adaptation, network) for each in (layout, square)))


def of_mixing(height: int, width: int, planes: int) -> Work:
    """The work of a layer of the mixing coder whose samples have all their bits."""

    def of(height: int, width: int) -> int:
        return 8 * planes * (height * width * _DECISION + _waves(height, width) * _GROUP)

    return Work(of(height, width), of(*_square(height, width)))


def of_bytes(height: int, width: int, planes: int) -> Work:
    """The work of a layer whose bytes are only unpacked."""
    work = height * width * planes * _BYTE
    return Work(work, work)


def of_coefficients(layout: Layout, network: CoefficientNetwork) -> Work:
    """The work of a JPEG file that is coded by its coefficients, if none of them is 0.

    How its blocks lie hardly matters: every such file is as honest as any other.
    """
    work = len(tiles(layout)) * len(layout.shapes) * _BLOCK_TILE
    for index, (rows, columns, _) in enumerate(layout.shapes):
        work += rows * columns * (network.plane(index).multiply_adds() + _BLOCK)
    return Work(work, work)


def of_whole_file(length: int) -> Work:
    """The work of a file of so many bytes that is only unpacked and compared with its digest."""
    return Work(length * _WHOLE_BYTE, length * _WHOLE_BYTE)


def _of_network(layout: TileLayout, adaptation: Adaptation, network: Network) -> int:
    planes, all_weights = layout.planes, network.multiply_adds()
    heads = sum(
        layer.weight.size
        for head in network.heads[:planes]
        for layer in (head.trunk, head.earlier, head.out)
        if layer is not None
    )
    mode = adaptation.colour_mode
    by_pixel = all_weights + planes * (_CODED + (_CELLS if mode else 0))
    learning = 0
    if adaptation.learns == Learns.HEADS:
        by_pixel += planes * _GRADIENT + _HEAD_GRADIENT * heads
        learning = heads
    elif adaptation.learns == Learns.NETWORK:
        by_pixel += planes * _GRADIENT + _BODY_GRADIENT * all_weights
        learning = all_weights
    by_wave, by_tile = planes * _WAVE + _STEP * learning, _TILE + _COLOUR_TABLES[mode]
    work = 0
    for height, width, count in layout.tile_shapes():
        waves = _waves(height, width)
        tile = height * width * by_pixel + waves * by_wave + by_tile + _BEGIN * _STEP * learning
        work += count * tile
    return work


def _square(height: int, width: int) -> tuple[int, int]:
    """Sides of a nearly square image of at least as many pixels."""
    side = math.isqrt(height * width - 1) + 1
    return side, -(-height * width // side)


def _waves(height: int, width: int) -> int:
    """Waves that have pixels."""
    return min(wave_count(height, width), height * width)
