"""From mixture parameters to the counts that the coder takes, in integers only.

A sub-pixel v of 0 to 255 is coded in two stages of 16 symbols: its high nibble, then its low
nibble given the high one. Both need the mixture's distribution function at bin boundaries
only: 15 points and then 17. Numbers are as in FORMAT.md, "The distribution".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.network.integer_network import (
    COEFFICIENT_UNIT,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    MEAN_RANGE,
    PARAMETER_UNIT,
    Integers,
    Tables,
)

Weights = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

TOTAL_BITS = 24
TOTAL = 1 << TOTAL_BITS  # the counts of a row sum to this
SYMBOLS = 16
CUMULATIVE_ONE = 1 << 30  # 1 of the distribution function
_MEAN_LIMIT = int(MEAN_RANGE * PARAMETER_UNIT)
_LOW = int(LOG_SCALE_MIN * PARAMETER_UNIT)
_HIGH = int(LOG_SCALE_MAX * PARAMETER_UNIT)
_Z_LIMIT = 16 << 13  # the logistic table's end, in steps of 2**-13
_RECIPROCAL_BITS = 36
_RANKS: Integers = np.arange(SYMBOLS + 1, dtype=np.int32)


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of n sub-pixels, each [n, k].

    weight: of sum 2**14; mean: 1/64 grey levels from level 128; mantissa, shift: the inverse
    scale.
    """

    weight: Integers
    mean: Integers
    mantissa: Integers
    shift: Integers

    def rows(self, chosen: Integers) -> Mixtures:
        """Those of some sub-pixels."""
        parts = (self.weight, self.mean, self.mantissa, self.shift)
        return Mixtures(*(part[chosen] for part in parts))


def mixtures(
    outputs: Integers, k: int, reference: Integers, residuals: Integers, tables: Tables
) -> Mixtures:
    """The mixtures of one plane.

    outputs: [n, 3 k + c] of the plane's head; reference: [n], in quarter levels from 128;
    residuals: [n, c] of the c earlier planes, in quarter levels.
    """
    mean = outputs[:, k : 2 * k] + (reference[:, None] << 4)
    for other in range(residuals.shape[1]):
        limit = 8 * COEFFICIENT_UNIT - 1
        coefficient = np.clip(outputs[:, 3 * k + other], -limit, limit)
        mean += ((coefficient * residuals[:, other] + 8) >> 4)[:, None]
    scale = np.clip(outputs[:, 2 * k : 3 * k], _LOW, _HIGH) - _LOW
    return Mixtures(
        _weights(outputs[:, :k], tables),
        np.clip(mean, -_MEAN_LIMIT, _MEAN_LIMIT),
        tables.scale_mantissa[scale],
        tables.scale_shift[scale],
    )


def high_counts(mixture: Mixtures, tables: Tables) -> Integers:
    """Counts of the 16 high nibbles, [n, 16], each at least 1, each row of sum 2**24."""
    at = _high_boundaries(mixture, tables)
    # 2**30 to 2**24 - 16, exactly at both ends and rising in between; then one for each symbol.
    cumulative = (at >> 6) - (at >> 26) + _RANKS
    return _differences(cumulative)


def low_counts(mixture: Mixtures, high: Integers, tables: Tables) -> Integers:
    """Counts of the 16 low nibbles given each sub-pixel's high nibble [n], as `high_counts`."""
    at = _low_boundaries(mixture, high, tables)
    inside = (at - at[:, :1]).astype(np.int64)
    mass = inside[:, -1:]
    # A reciprocal once for each row; the last boundary is set, since the product may fall short.
    reciprocal = ((TOTAL - SYMBOLS) << _RECIPROCAL_BITS) // np.maximum(mass, 1)
    return _counts((inside * reciprocal) >> _RECIPROCAL_BITS, mass)


def group_masses(mixture: Mixtures, tables: Tables) -> Doubles:
    """Masses of the 16 groups of levels with one high nibble, [n, 16]: whole numbers of sum 2**24,
    some of them perhaps 0."""
    at = _high_boundaries(mixture, tables) >> 6
    return (at[:, 1:] - at[:, :-1]).astype(np.float64)


def level_masses(mixture: Mixtures, high: Integers, tables: Tables) -> Doubles:
    """Masses of the 16 levels of each sub-pixel's group high [n], [n, 16]: the parts of what
    `group_masses` gives that group."""
    at = _low_boundaries(mixture, high, tables) >> 6
    return (at[:, 1:] - at[:, :-1]).astype(np.float64)


def mass_counts(masses: Doubles) -> Integers:
    """Counts in proportion to masses [n, 16], each at least 1, each row of sum 2**24.

    masses: whole numbers, each row of sum below 2**53; rows of zeros become equal counts. The
    product is rounded once and rises with the sum, and no more than rounds to TOTAL - SYMBOLS.
    """
    sums = np.zeros((len(masses), SYMBOLS + 1))
    np.cumsum(masses, axis=1, out=sums[:, 1:])
    mass = sums[:, -1:]
    shares = np.floor(sums * ((TOTAL - SYMBOLS) / np.maximum(mass, 1)))
    return _counts(shares.astype(np.int64), mass)


def bits(counts: Integers, symbols: Integers) -> float:
    """The code length of symbols [n] by their counts [n, 16], in bits."""
    chosen = counts[np.arange(len(symbols)), symbols]
    return TOTAL_BITS * len(symbols) - float(np.log2(chosen).sum())


def sample_bits(mixture: Mixtures, values: Integers, tables: Tables) -> float:
    """The code length of samples [n], 0 to 255, in bits, by the counts of both their nibbles.

    What `high_counts` and `low_counts` give each sample, from four boundaries instead of 32.
    """
    high, low = values >> 4, values & 15
    ends: Integers = np.stack([high << 4, (high + 1) << 4, values, values + 1], axis=1)
    at = _cumulative(mixture, ends, tables)
    at[ends == 0], at[ends == 256] = 0, CUMULATIVE_ONE
    above = (at[:, 1] >> 6) - (at[:, 1] >> 26) - (at[:, 0] >> 6) + (at[:, 0] >> 26) + 1
    inside = (at - at[:, :1]).astype(np.int64)
    mass = inside[:, 1]
    reciprocal = ((TOTAL - SYMBOLS) << _RECIPROCAL_BITS) // np.maximum(mass, 1)
    begin, end = ((inside[:, side] * reciprocal) >> _RECIPROCAL_BITS for side in (2, 3))
    end[low == SYMBOLS - 1] = TOTAL - SYMBOLS
    below = np.where(mass == 0, TOTAL // SYMBOLS, end - begin + 1)
    return 2.0 * TOTAL_BITS * len(values) - float(np.log2(above * below).sum())


def bins(mixture: Mixtures, values: Integers, tables: Tables) -> tuple[Doubles, Doubles]:
    """Where the samples' bins begin and end for each component, and the logistic function there.

    values: [n], 0 to 255. Both [2, n, k], whole numbers: z of FORMAT.md, section 5, from -2**17 to
    2**17 - 1; and the function, of 2**16. Bins 0 and 255 take the tails.
    """
    at: list[Integers] = []
    for boundary in (values, values + 1):
        position: Integers = (boundary[:, None] << 6) - (128 * 64 + 32) - mixture.mean
        z: Integers = (position * mixture.mantissa) >> mixture.shift
        at.append(np.clip(z, -_Z_LIMIT, _Z_LIMIT - 1) + _Z_LIMIT)
    level = [_logistic(index, tables) for index in at]
    level[0][values == 0] = 0
    level[1][values == 255] = 1 << 16
    return np.stack(at).astype(np.float64) - _Z_LIMIT, np.stack(level).astype(np.float64)


def weights(counts: Integers) -> Weights:
    """What the coder takes: counts less one, which float32 holds exactly, rows contiguous."""
    return np.ascontiguousarray(counts - 1, dtype=np.float32)


def _counts(shares: npt.NDArray[np.int64], mass: npt.NDArray[Any]) -> Integers:
    """From running sums [n, 17] of shares of TOTAL - SYMBOLS, the last of which may fall short.

    Equal ones where mass [n, 1] is 0.
    """
    cumulative = shares + _RANKS
    cumulative[:, -1] = TOTAL
    counts = _differences(cumulative)
    counts[mass[:, 0] == 0] = TOTAL // SYMBOLS
    return counts


def _differences(cumulative: npt.NDArray[np.signedinteger]) -> Integers:
    return (cumulative[:, 1:] - cumulative[:, :-1]).astype(np.int32)


def _weights(logits: Integers, tables: Tables) -> Integers:
    """Softmax: [n, k] weights of sum 2**14; what rounding leaves goes to the first."""
    below = logits.max(axis=1, keepdims=True) - logits
    raw: Integers = tables.exponential[np.minimum(below, len(tables.exponential) - 1)]
    weight: Integers = (raw << 14) // raw.sum(axis=1, keepdims=True, dtype=np.int32)
    weight[:, 0] += (1 << 14) - weight.sum(axis=1, dtype=np.int32)
    return weight


def _high_boundaries(mixture: Mixtures, tables: Tables) -> Integers:
    """The distribution function, of 2**30, at the ends of the 16 groups of levels, [n, 17]."""
    n = mixture.mean.shape[0]
    boundaries: Integers = np.arange(16, 256, 16, dtype=np.int32)
    at = np.empty((n, SYMBOLS + 1), np.int32)
    at[:, 1:-1] = _cumulative(mixture, np.repeat(boundaries[None], n, axis=0), tables)
    at[:, 0], at[:, -1] = 0, CUMULATIVE_ONE
    return at


def _low_boundaries(mixture: Mixtures, high: Integers, tables: Tables) -> Integers:
    """The same at the ends of the 16 levels of each sub-pixel's group high [n], [n, 17]."""
    at = _cumulative(mixture, (high[:, None] << 4) + _RANKS, tables)
    at[high == 0, 0] = 0
    at[high == 15, -1] = CUMULATIVE_ONE
    return at


def _cumulative(mixture: Mixtures, boundaries: npt.NDArray[np.int32], tables: Tables) -> Integers:
    """The distribution function below each boundary [n, m] of grey levels, of 2**30.

    It rises with the boundary: every step of the computation does.
    """
    position = (boundaries << 6) - (128 * 64 + 32)
    result = np.zeros(boundaries.shape, np.int32)
    for component in range(mixture.mean.shape[1]):
        column = slice(component, component + 1)
        z = position - mixture.mean[:, column]
        z *= mixture.mantissa[:, column]
        z >>= mixture.shift[:, column]
        np.clip(z, -_Z_LIMIT, _Z_LIMIT - 1, out=z)
        z += _Z_LIMIT
        level = _logistic(z, tables)
        level *= mixture.weight[:, column]
        result += level
    return result


def _logistic(z: Integers, tables: Tables) -> Integers:
    """The table's function of z + 2**17, interpolated, of 2**16."""
    index = z >> 8
    lower: Integers = tables.logistic.take(index)
    upper = tables.logistic.take(index + 1)
    upper -= lower
    upper *= z & 255
    upper += 128
    upper >>= 8
    lower += upper
    return lower
