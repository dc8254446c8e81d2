"""A file's coefficients in tiles that are coded apart from each other.

So threads share a file, a part can be decoded alone, and what a coder holds is bounded. A tile is a
rectangle of units (of all components' blocks at one place), the same part of every component.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ncml_codec.coefficients import codec
from ncml_codec.coefficients.codec import Coefficients
from ncml_codec.coefficients.network import Network
from ncml_codec.coefficients.planes import PlaneQuantisation
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.errors import FormatError
from ncml_codec.jpeg import Frame, Layout

SIDE = 1024  # of a tile, in pixels of the first component's resolution or a finer one


@dataclass(frozen=True, eq=False)
class Tile:
    """places: of each component, rows and columns of blocks: (first, end, first, end)."""

    places: tuple[tuple[int, int, int, int], ...]
    quantisation: PlaneQuantisation

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """As `Layout.shapes`, of this tile."""
        return tuple((bottom - top, right - left, 64) for top, bottom, left, right in self.places)

    def pixels(self, frame: Frame) -> tuple[int, int, int, int]:
        """Where it lies in the image: top, left, height, width."""
        (top, bottom, left, right), first = self.places[0], frame.components[0]
        down, across = (
            8 * frame.vertical // first.vertical,
            8 * frame.horizontal // first.horizontal,
        )
        if len(self.places) == 1:
            down = across = 8
        top, left = top * down, left * across
        height, width = (
            min(bottom * down, frame.height) - top,
            min(right * across, frame.width) - left,
        )
        return top, left, height, width

    def of(self, coefficients: Sequence[Coefficients]) -> tuple[Coefficients, ...]:
        """This tile's part of a file's coefficients: views."""
        return tuple(
            plane[top:bottom, left:right]
            for plane, (top, bottom, left, right) in zip(coefficients, self.places, strict=True)
        )


def tiles(layout: Layout, side: int = SIDE) -> list[Tile]:
    """All tiles of a file, row by row. side: in pixels."""
    frame, alone = layout.frame, len(layout.shapes) == 1
    factors = [(1, 1) if alone else (part.vertical, part.horizontal) for part in frame.components]
    rows, columns = layout.shapes[0][:2] if alone else frame.mcus
    down = max(1, side // (8 * max(vertical for vertical, _ in factors)))
    across = max(1, side // (8 * max(horizontal for _, horizontal in factors)))
    return [
        Tile(
            tuple(
                (
                    top * vertical,
                    min(top + down, rows) * vertical,
                    left * horizontal,
                    min(left + across, columns) * horizontal,
                )
                for vertical, horizontal in factors
            ),
            layout.quantisation,
        )
        for top in range(0, rows, down)
        for left in range(0, columns, across)
    ]


def encode(
    coefficients: Sequence[Coefficients],
    layout: Layout,
    network: Network,
    *,
    static: bool = False,
    threads: int = 1,
    side: int = SIDE,
) -> list[bytes]:
    """The payload of every tile, in the order of `tiles`. Any number of threads gives the same."""

    def one(tile: Tile) -> bytes:
        return codec.encode(tile.of(coefficients), tile, network, static=static)

    places = tiles(layout, side)
    return list(in_order(one, places, min(threads, len(places))))


def decode(
    payloads: Sequence[bytes],
    layout: Layout,
    network: Network,
    *,
    static: bool = False,
    threads: int = 1,
    side: int = SIDE,
    lost: Collection[int] = (),
) -> tuple[Coefficients, ...]:
    """What `encode` was given. Raises FormatError at some damage, or at another count of tiles.

    lost: tiles, by their numbers, whose coefficients are to be zeros.
    """
    places = tiles(layout, side)
    if len(places) != len(payloads):
        raise FormatError(f"JPEG coefficients: {len(payloads)} tiles, not {len(places)}")
    whole = tuple(np.zeros(shape, np.int16) for shape in layout.shapes)

    def one(coded: tuple[Tile, bytes]) -> tuple[Coefficients, ...]:
        return codec.decode(coded[1], coded[0], network, static=static)

    sound = [at for at in range(len(places)) if at not in lost]
    decoded = in_order(one, [(places[at], payloads[at]) for at in sound], min(threads, len(places)))
    for tile, found in zip([places[at] for at in sound], decoded, strict=True):
        for to, part in zip(tile.of(whole), found, strict=True):
            to[...] = part
    return whole
