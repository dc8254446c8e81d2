"""What a tile's colours teach: factors on the masses of the levels of green and blue.

Where colours came through YCbCr or PhotoCD, the triples of a photograph lie on a sparse lattice,
which a mixture of smooth functions cannot see. So cells of colours count how often they were `seen`
and how often they were `expected`, and each level's mass is multiplied by the ratio of the two.
FORMAT.md, section 6.1. This is not a network and has no gradient: the mixtures learn as if it were
not there.

Everything is exact: both counts are integers, doubles hold whole numbers below 2**53, and their
ratios and products are rounded one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.network.distribution import (
    SYMBOLS,
    TOTAL,
    Doubles,
    Mixtures,
    group_masses,
    level_masses,
    low_counts,
    mass_counts,
)
from ncml_codec.network.integer_network import Integers, Tables

FACTOR_LIMIT = 2.0**12  # a factor is no more than this, and no less than its inverse
OPEN_MASS = 1 << 14  # groups of levels of less mass, of 2**24, have no factors

LEVELS = 256
SPAN = 2 * LEVELS - 1  # differences of two levels
_HASH_BITS = 14
_MULTIPLIER = 2654435761  # 2**32 divided by the golden ratio

Cells = npt.NDArray[np.int64]


def difference_cell(red: Any, green: Any, blue: Any) -> Any:
    """The one of (green - red, blue - green) among SPAN * SPAN, of numbers from 0 to 255: arrays or
    tensors."""
    return (green - red + LEVELS - 1) * SPAN + blue - green + LEVELS - 1


def _pairs(red: Any) -> Any:
    """(red, green)."""
    return red * LEVELS


def _differences(red: Any, green: Any) -> Any:
    """(green - red, blue - green)."""
    return difference_cell(red, green, 0)


def _triples(red: Any, green: Any) -> Any:
    """(a hash of red and green, blue)."""
    hashed = ((red * LEVELS + green) * _MULTIPLIER & 0xFFFFFFFF) >> (32 - _HASH_BITS)
    return hashed * LEVELS


@dataclass(frozen=True)
class Kind:
    """Of cells.

    plane: whose levels they weigh; mode: the least colour mode that has them; cells: how many a
    tile has; prior: what a new one has seen and expected, in units of 2**-24; place: of the samples
    of the planes before, 64-bit integers (arrays or tensors), the index of level 0's cell; those of
    the other levels follow it.
    """

    plane: int
    mode: int
    cells: int
    prior: int
    place: Callable[..., Any]


# Priors of 1.5, 0.15625 and 0.375 of a sample; the first two and OPEN_MASS by trial on three images
# made of validation crops: bench/notebook/colours.md.
KINDS = (  # in order
    Kind(1, 2, LEVELS * LEVELS, 3 << 23, _pairs),
    Kind(2, 1, SPAN * SPAN, 5 << 19, _differences),
    Kind(2, 3, LEVELS << _HASH_BITS, 3 << 21, _triples),
)


def kinds(mode: int, plane: int) -> list[Kind]:
    """Those that weigh a plane's levels in a colour mode, in order."""
    return [kind for kind in KINDS if kind.plane == plane and kind.mode <= mode]


@dataclass(frozen=True)
class Masses:
    """Of n sub-pixels: groups [n, 16], the masses of the groups of levels with one high nibble; and
    levels [m, 16], those of the levels of all m open groups, each group[m] of sub-pixel row[m].

    Whole numbers; a sub-pixel's groups have a sum of at most 2**24, after the last factor 2**36.
    """

    groups: Doubles
    levels: Doubles
    row: Integers
    group: Integers

    def high_counts(self) -> Integers:
        """As `distribution.high_counts`."""
        return mass_counts(self.groups)

    def low_counts(self, mixture: Mixtures, high: Integers, tables: Tables) -> Integers:
        """As `distribution.low_counts`, which is what closed groups have."""
        counts = low_counts(mixture, high, tables)
        chosen = self.group == high[self.row]
        counts[self.row[chosen]] = mass_counts(self.levels[chosen])
        return counts


class Stage:
    """The cells of one kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.seen = np.zeros(kind.cells, np.int32)
        self.expected = np.zeros(kind.cells, np.int64)  # in units of 2**-24

    def place(self, earlier: Integers) -> Cells:
        """Where level 0's cell is, [n]. earlier: the samples of the planes before, [n, plane]."""
        found: Cells = self.kind.place(*earlier.T.astype(np.int64))
        return found

    def cells(self, masses: Masses, earlier: Integers) -> Cells:
        """Those of the levels of all open groups, [m, 16]."""
        first = self.place(earlier)[masses.row] + SYMBOLS * masses.group
        return first[:, None] + np.arange(SYMBOLS)

    def factors(self, cells: Cells) -> Doubles:
        """By how much more often these cells were seen than expected."""
        seen = self.seen[cells].astype(np.float64) * TOTAL + self.kind.prior
        expected = (self.expected[cells] + self.kind.prior).astype(np.float64)
        ratio: Doubles = np.clip(seen / expected, 1 / FACTOR_LIMIT, FACTOR_LIMIT)
        return ratio

    def learn(self, cells: Cells, masses: Masses, values: Integers) -> None:
        """masses: as they were before the factors; values: the samples [n]."""
        np.add.at(self.expected, cells, masses.levels.astype(np.int64))
        own = masses.group == values[masses.row] >> 4
        np.add.at(self.seen, cells[own, values[masses.row[own]] & 15], 1)


class Colours:
    """The cells of a tile. mode: `Adaptation.colour_mode`, 1 to 3."""

    def __init__(self, mode: int) -> None:
        self.stages = [[Stage(kind) for kind in kinds(mode, plane)] for plane in range(3)]
        self._used: list[tuple[Stage, Cells, Masses]] = []
        self._weighed: list[Masses] = []  # after each of those

    def concern(self, plane: int) -> bool:
        """Whether there are factors on this plane's levels."""
        return bool(self.stages[plane])

    def masses(self, plane: int, mixture: Mixtures, earlier: Integers, tables: Tables) -> Masses:
        """The masses of a wave's sub-pixels after all factors. earlier: samples of the planes
        before, [n, plane]."""
        masses = opened(mixture, tables)
        self._used, self._weighed = [], []
        for stage in self.stages[plane]:
            if self._used:
                masses = _of_sum_one(masses)
            cells = stage.cells(masses, earlier)
            self._used.append((stage, cells, masses))
            masses = _with_levels(masses, np.floor(masses.levels * stage.factors(cells)))
            self._weighed.append(masses)
        return masses

    def masses_in(self, mode: int, plane: int) -> Masses | None:
        """Of the sub-pixels that `masses` was asked for last, those after the factors of a lower
        mode; None if it has none on this plane."""
        stages = len(kinds(mode, plane))
        return self._weighed[stages - 1] if stages else None

    def learn(self, values: Integers) -> None:
        """The samples of the plane that `masses` was asked for last, [n], are known."""
        for stage, cells, masses in self._used:
            stage.learn(cells, masses, values)
        self._used = []


def opened(mixture: Mixtures, tables: Tables) -> Masses:
    """The masses of mixtures without factors."""
    groups = group_masses(mixture, tables)
    row, group = (index.astype(np.int32) for index in np.nonzero(groups >= OPEN_MASS))
    levels = level_masses(mixture.rows(row), group, tables)
    return Masses(groups, levels, row, group)


def _with_levels(masses: Masses, levels: Doubles) -> Masses:
    groups = masses.groups.copy()
    groups[masses.row, masses.group] = levels.sum(axis=1)
    return Masses(groups, levels, masses.row, masses.group)


def _of_sum_one(masses: Masses) -> Masses:
    """Scaled so that each sub-pixel's sum is 2**24, less what rounding down takes."""
    scale = TOTAL / masses.groups.sum(axis=1, keepdims=True)
    scaled = Masses(np.floor(masses.groups * scale), masses.levels, masses.row, masses.group)
    return _with_levels(scaled, np.floor(masses.levels * scale[masses.row]))
