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

import numpy as np
import numpy.typing as npt

from ncml_codec.network import Integers, Tables
from ncml_codec.tables import (
    SYMBOLS,
    TOTAL,
    Doubles,
    Mixtures,
    group_masses,
    level_masses,
    low_counts,
    mass_counts,
)

FACTOR_LIMIT = 2.0**12  # a factor is no more than this, and no less than its inverse
OPEN_MASS = 1 << 14  # groups of levels of less mass, of 2**24, have no factors

# What a new cell has seen and expected, in units of 2**-24: 1.5, 0.15625 and 0.375 of a sample. The
# first two and OPEN_MASS by trial on three images made of validation crops: bench/LOG.md.
PAIR_PRIOR = 3 << 23
DIFFERENCE_PRIOR = 5 << 19
TRIPLE_PRIOR = 3 << 21

_LEVELS = 256
_SPAN = 2 * _LEVELS - 1  # differences of two levels
_HASH_BITS = 14
PAIR_CELLS = _LEVELS * _LEVELS
DIFFERENCE_CELLS = _SPAN * _SPAN
TRIPLE_CELLS = _LEVELS << _HASH_BITS
_MULTIPLIER = 2654435761  # 2**32 divided by the golden ratio

Cells = npt.NDArray[np.int64]


def cell_count(mode: int) -> int:
    """How many cells a tile has in a colour mode, all stages together: 0 in mode 0."""
    return sum((DIFFERENCE_CELLS, PAIR_CELLS, TRIPLE_CELLS)[:mode])


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
        """As `tables.high_counts`."""
        return mass_counts(self.groups)

    def low_counts(self, mixture: Mixtures, high: Integers, tables: Tables) -> Integers:
        """As `tables.low_counts`, which is what closed groups have."""
        counts = low_counts(mixture, high, tables)
        chosen = self.group == high[self.row]
        counts[self.row[chosen]] = mass_counts(self.levels[chosen])
        return counts


class Stage:
    """One kind of cells.

    prior: what a new one has seen and expected, in units of 2**-24. place: of earlier samples
    [n, planes] the index of level 0's cell; those of the other levels follow it.
    """

    def __init__(self, cells: int, prior: int, place: Callable[[Integers], Cells]) -> None:
        self.prior = prior
        self.seen = np.zeros(cells, np.int32)
        self.expected = np.zeros(cells, np.int64)  # in units of 2**-24
        self.place = place

    def cells(self, masses: Masses, earlier: Integers) -> Cells:
        """Those of the levels of all open groups, [m, 16]."""
        first = self.place(earlier)[masses.row] + SYMBOLS * masses.group
        return first[:, None] + np.arange(SYMBOLS)

    def factors(self, cells: Cells) -> Doubles:
        """By how much more often these cells were seen than expected."""
        seen = self.seen[cells].astype(np.float64) * TOTAL + self.prior
        expected = (self.expected[cells] + self.prior).astype(np.float64)
        ratio: Doubles = np.clip(seen / expected, 1 / FACTOR_LIMIT, FACTOR_LIMIT)
        return ratio

    def learn(self, cells: Cells, masses: Masses, values: Integers) -> None:
        """masses: as they were before the factors; values: the samples [n]."""
        np.add.at(self.expected, cells, masses.levels.astype(np.int64))
        own = masses.group == values[masses.row] >> 4
        np.add.at(self.seen, cells[own, values[masses.row[own]] & 15], 1)


class Colours:
    """The cells of a tile. mode: the colour mode of `strength`, 1 to 3."""

    def __init__(self, mode: int) -> None:
        self.stages: list[list[Stage]] = [[], [], []]  # by plane
        if mode >= 2:
            self.stages[1].append(Stage(PAIR_CELLS, PAIR_PRIOR, _pairs))
        self.stages[2].append(Stage(DIFFERENCE_CELLS, DIFFERENCE_PRIOR, _differences))
        if mode >= 3:
            self.stages[2].append(Stage(TRIPLE_CELLS, TRIPLE_PRIOR, _triples))
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
        stages = (0, mode >= 2, (mode >= 1) + (mode >= 3))[plane]
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


def _pairs(earlier: Integers) -> Cells:
    """(red, green)."""
    return earlier[:, 0].astype(np.int64) * _LEVELS


def _differences(earlier: Integers) -> Cells:
    """(green - red, blue - green)."""
    red, green = earlier[:, 0].astype(np.int64), earlier[:, 1].astype(np.int64)
    return (green - red + _LEVELS - 1) * _SPAN + _LEVELS - 1 - green


def _triples(earlier: Integers) -> Cells:
    """(a hash of red and green, blue)."""
    red, green = earlier[:, 0].astype(np.int64), earlier[:, 1].astype(np.int64)
    hashed = ((red * _LEVELS + green) * _MULTIPLIER & 0xFFFFFFFF) >> (32 - _HASH_BITS)
    return hashed * _LEVELS
