"""What a network sees of a plane, in integers: neighbours of blocks, and the planes before.

A plane is one component's coefficients [rows, columns, 64] in zigzag order. Block (i, j) belongs to
wave j + 2 i, as pixels do elsewhere (`ncml_codec.network.wave_order`), so the blocks of a wave do
not depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ncml_codec.network.wave_order import wave_rows

Integers = npt.NDArray[np.int32]
PlaneQuantisation = npt.NDArray[np.uint16]  # [components, 64], zigzag order

# Blocks of earlier waves that a network reads: W, N, NW, NE, WW, NN.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
NEAR = 2  # of these are read whole
BORDER = 2
DEQUANTISED_MAX = 2047
CHROMA = (1, 2)  # components that see the first one


class Shapes(Protocol):
    """What must be known before coefficients are: a `ncml_codec.jpeg.Layout`, or a tile's part."""

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """[rows, columns, 64] of each component's blocks."""
        ...

    @property
    def quantisation(self) -> PlaneQuantisation:
        """The steps of each component."""
        ...


@dataclass(frozen=True)
class Seen:
    """What is known of the n blocks of a wave before they are coded.

    neighbours: [n, 6, 64], quantised; DC is a difference from `level`, and 0 where there is no
    block. known: [n, 6], 0 or 1. level: [n], the mean of W's and N's DC, rounded down, or the one
    that is there, or 0. cross, other: [n, 2, 64] and [n, 64], zeros unless the plane is chroma; see
    `Plane`.
    """

    neighbours: Integers
    known: Integers
    level: Integers
    cross: Integers
    other: Integers


class Plane:
    """A plane as far as it is known; blocks are added wave by wave.

    steps: [64], quantisation steps. cross: [rows, columns, 2, 64], of `co_located`; other: the
    second plane's coefficients, for the third one; zeros if None.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        steps: Integers,
        cross: Integers | None = None,
        other: npt.NDArray[np.int16] | None = None,
    ) -> None:
        self.rows, self.columns = shape[:2]
        self.steps, self.cross, self.other = steps, cross, other
        padded = (self.rows + BORDER, self.columns + 2 * BORDER)
        self.blocks = np.zeros((*padded, 64), np.int32)
        self.inside = np.zeros(padded, np.int32)
        self.inside[BORDER:, BORDER:-BORDER] = 1

    def wave(self, number: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of a wave's blocks, from the top down."""
        first, stop = wave_rows(number, self.rows, self.columns)
        rows = np.arange(first, stop)
        return rows, number - 2 * rows

    def seen(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Seen:
        """What is known of these blocks."""
        down, across = np.array(NEIGHBOURS).T
        at = rows[:, None] + BORDER + down, columns[:, None] + BORDER + across
        neighbours, known = self.blocks[at], self.inside[at]
        dc = neighbours[..., 0] * known
        level = (dc[:, 0] + dc[:, 1]) // np.maximum(known[:, 0] + known[:, 1], 1)
        neighbours[..., 0] = (dc - level[:, None]) * known
        none = np.zeros((len(rows), 2, 64), np.int32)
        cross = none if self.cross is None else self.cross[rows, columns]
        other = none[:, 0] if self.other is None else self.other[rows, columns].astype(np.int32)
        return Seen(neighbours, known, level, cross, other)

    def add(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], blocks: Integers
    ) -> None:
        """The coefficients of blocks, [n, 64]."""
        self.blocks[rows + BORDER, columns + BORDER] = blocks

    def coefficients(self) -> npt.NDArray[np.int16]:
        """All blocks, as `ncml_codec.jpeg.Jpeg` has them."""
        own = self.blocks[BORDER:, BORDER:-BORDER]
        return np.ascontiguousarray(own, dtype=np.int16)


def plane_of(layout: Shapes, index: int, before: list[npt.NDArray[np.int16]]) -> Plane:
    """An empty plane of a component; before: the coefficients of those before it."""
    shape = layout.shapes[index]
    steps = steps_of(layout, index)
    if index not in CHROMA:
        return Plane(shape, steps)
    cross = co_located(before[0], steps_of(layout, 0), shape[0], shape[1])
    same = index == 2 and before[1].shape == shape
    return Plane(shape, steps, cross, before[1] if same else None)


def steps_of(layout: Shapes, index: int) -> Integers:
    """A component's quantisation steps, [64], at least 1."""
    steps: Integers = np.maximum(layout.quantisation[index].astype(np.int32), 1)
    return steps


def co_located(first: npt.NDArray[np.int16], steps: Integers, rows: int, columns: int) -> Integers:
    """What another plane of rows x columns blocks sees of the first, [rows, columns, 2, 64].

    Means over the first plane's blocks at the same place, rounded down, of dequantised coefficients
    and of their magnitudes, at most 2047.
    """
    down = max(1, (2 * first.shape[0] + rows) // (2 * rows))
    across = max(1, (2 * first.shape[1] + columns) // (2 * columns))
    total = np.zeros((rows, columns, 2, 64), np.int32)
    for u in range(down):
        for v in range(across):
            row = np.minimum(np.arange(rows) * down + u, first.shape[0] - 1)
            column = np.minimum(np.arange(columns) * across + v, first.shape[1] - 1)
            part = dequantised(first[row[:, None], column].astype(np.int32), steps)
            total += np.stack([part, np.abs(part)], axis=2)
    mean: Integers = total // (down * across)
    return mean


def dequantised(values: Integers, steps: Integers) -> Integers:
    """values * steps, within +-DEQUANTISED_MAX. |values| below 2**17, steps below 2**16."""
    limit = DEQUANTISED_MAX // steps + 1  # keeps products within 32 bits
    inside = np.clip(values, -limit, limit)
    whole: Integers = np.clip(inside * steps, -DEQUANTISED_MAX, DEQUANTISED_MAX)
    return whole
