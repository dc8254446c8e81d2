"""Experts: each predicts a sample's value and how far off it will be, and so any bit's probability.

A centre and a scale make a logistic distribution. The probability that a sample lies in the upper
half of an interval, given that it is in the interval, is an input of the mixer. The scale is the
mean error that this expert had where nearby errors were as large as here.

A component has four centres: two fitted predictions and two fixed ones. A fit is a linear
prediction from a pixel's neighbours and its earlier components, all less a local mean. Every row
keeps the weighted sums x x' and x y of its pixels, and of all rows above: a pixel n columns away
counts lam**n, n rows away mu**n. The normal equations are solved anew for every pixel. All
arithmetic is element by element in a stated order (FORMAT.md), so it rounds alike everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import (
    DISTRIBUTION_ONE,
    DISTRIBUTION_STEPS,
    Integers64,
    distribution_table,
)

EXPERTS = 4
CENTRE_UNIT = 16  # centres and errors are in 16ths of a level
ENERGIES = 64
EARLIER_ERRORS = np.array([8, 32, 128])  # steps of the error of the component before
SCALES = ENERGIES * (len(EARLIER_ERRORS) + 1)
SEEN_MAX = 400  # errors after which the mean is a running one
FLOOR = 32  # in 2**26ths: what no half of an interval falls below


def energy(errors: Integers64) -> Integers64:
    """0 to 63, four steps to each doubling of the errors [6, n] of W, N, NW, NE, WW, NN."""
    total = (errors.sum(axis=0) + errors[0] + errors[1]) // 2 + 4
    found: Integers64 = np.searchsorted(energy_steps(), total, side="right")
    return found


def energy_steps() -> Integers64:
    """The totals at which the energies 1 ... 63 begin: (4 + m) 2**e for m = 1, ... 3, 0, ..."""
    step = np.arange(1, ENERGIES)
    steps: Integers64 = (4 + step % 4) << (step // 4)
    return steps


@dataclass(frozen=True)
class Scales:
    """Sums of absolute errors and their numbers: [EXPERTS, SCALES]."""

    total: Integers64
    seen: Integers64

    def scale(self, context: Integers64) -> Integers64:
        """Three quarters of the mean error, at least 3 sixteenths of a level: [EXPERTS, n]."""
        mean: Integers64 = 3 * self.total[:, context] // (4 * self.seen[:, context])
        return np.maximum(mean, 3)

    def learn(self, context: Integers64, errors: Integers64) -> None:
        """A wave's errors [EXPERTS, n] in the contexts [n]."""
        for expert in range(EXPERTS):
            np.add.at(self.total[expert], context, errors[expert])
            np.add.at(self.seen[expert], context, 1)
        while (many := self.seen[:, context] > SEEN_MAX).any():
            halved = np.unique(context[many.any(axis=0)])
            self.total[:, halved] >>= 1
            self.seen[:, halved] >>= 1


def scales() -> Scales:
    """Begin with what the nearby errors say, as if two errors had been seen."""
    steps = np.concatenate([[4], energy_steps()])
    first = np.repeat((steps + 2) // 2, len(EARLIER_ERRORS) + 1)
    return Scales(np.tile(first, (EXPERTS, 1)), np.full((EXPERTS, SCALES), 2, np.int64))


def opinions(
    centre: Integers64, scale: Integers64, low: Integers64, width: int, top: int
) -> Integers64:
    """Probabilities [EXPERTS, n] that the sample is in the upper half of low ... low + width - 1.

    centre, scale: [EXPERTS, n]. top: one past the largest sample, a power of two like width >= 2.
    """
    at = [distribution(low + edge, centre, scale, top) for edge in (0, width // 2, width)]
    return np.minimum(((at[2] - at[1] + FLOOR) << 16) // (at[2] - at[0] + 2 * FLOOR), 65535)


def distribution(value: Integers64, centre: Integers64, scale: Integers64, top: int) -> Integers64:
    """The distribution function at the lower edge of `value`, in 2**26ths; 0 at 0, 1 at top."""
    distance = (CENTRE_UNIT * value - CENTRE_UNIT // 2 - centre) << 17
    position = distance // scale + (DISTRIBUTION_STEPS << 11)
    position = np.clip(position, 0, (DISTRIBUTION_STEPS << 12) - 1)
    table = distribution_table()
    step, share = position >> 12, position & 4095
    between = table[step] + (((table[step + 1] - table[step]) * share) >> 12)
    return np.where(value <= 0, 0, np.where(value >= top, DISTRIBUTION_ONE, between))


Doubles = npt.NDArray[np.float64]

RIDGE = 1.0  # squared levels; where nothing varies, the prediction is the local mean
PIVOT_MIN = 0.5


@dataclass(frozen=True)
class LeastSquares:
    """Sums of the rows: [sums, rows + 1], of each row, and of it and those above.

    sums: x x' by rows of its lower triangle, then x y. Column 0 stands for what is above the image,
    and stays 0; row i is column i + 1.
    """

    inputs: int
    along: float  # lam
    down: float  # mu
    row: Doubles
    above: Doubles

    def predict(self, rows: Integers64, inputs: Doubles) -> Doubles:
        """The predicted y [n] of the pixels in `rows` with inputs [inputs, n]."""
        n = self.inputs
        sums = self.row[:, rows + 1] + self.down * self.above[:, rows]
        lower = np.tril_indices(n)
        matrix = np.zeros((n, n, len(rows)))
        matrix[lower] = sums[: len(lower[0])]
        for k in range(n):
            matrix[k, k] += RIDGE
        right = sums[len(lower[0]) :].copy()
        factor = np.zeros_like(matrix)
        pivots = np.zeros((n, len(rows)))
        for k in range(n):
            pivots[k] = np.maximum(matrix[k, k], PIVOT_MIN)
            factor[k + 1 :, k] = matrix[k + 1 :, k] / pivots[k]
            for q in range(k + 1, n):
                matrix[q:, q] -= factor[q:, k] * matrix[q, k]
            right[k + 1 :] -= factor[k + 1 :, k] * right[k]
        right /= pivots
        for k in range(n - 1, 0, -1):
            right[:k] -= factor[k, :k] * right[k]
        predicted: Doubles = right[0] * inputs[0]
        for k in range(1, n):
            predicted = predicted + right[k] * inputs[k]
        return predicted

    def learn(self, rows: Integers64, inputs: Doubles, values: Doubles) -> None:
        """Add a wave's pixels: inputs [inputs, n] and what followed [n], at most one for a row."""
        first, second = np.tril_indices(self.inputs)
        new = np.concatenate([inputs[first] * inputs[second], inputs * values])
        row = self.row[:, rows + 1] * self.along + new
        self.row[:, rows + 1] = row
        self.above[:, rows + 1] = row + self.down * self.above[:, rows]


def least_squares(inputs: int, rows: int, along: float, down: float) -> LeastSquares:
    """Nothing known yet, for an image of `rows` rows."""
    sums = inputs * (inputs + 1) // 2 + inputs
    return LeastSquares(inputs, along, down, np.zeros((sums, rows + 1)), np.zeros((sums, rows + 1)))


OWN = 6  # of a component's own neighbours: W, N, NW, NE, WW, NN, the first taps
# Weights of a pixel one column and one row away, of the near and the far fit; measured in
# bench/notebook/context-mixing.md.
NEAR, FAR = (0.875, 0.625), (0.96875, 0.90625)

Seen = Callable[[int], tuple[Integers64, Integers64]]


def fits(component: int, rows: int) -> tuple[LeastSquares, LeastSquares]:
    """The two fits of a component in an image of `rows` rows."""
    n = inputs_of(component)
    return least_squares(n, rows, *NEAR), least_squares(n, rows, *FAR)


def inputs_of(component: int) -> int:
    """Six; from the second component on the one before gives three more, up to two others one."""
    return OWN + (3 if component else 0) + min(max(component - 1, 0), 2)


def local_mean(near: Integers64) -> Doubles:
    """(2 W + 2 N + NE + NW) / 6 of neighbours [at least 4, n], cut to a quarter of a level."""
    west, north, north_west, north_east = near[:4]
    quarters: Integers64 = (2 * (west + north) + north_west + north_east) * 4 // 6
    return quarters.astype(np.float64) * 0.25


def inputs(component: int, seen: Seen) -> tuple[Doubles, Doubles]:
    """The fit's inputs [inputs, n] and the component's local mean [n].

    seen: of a component, its neighbours [at least 6, n] and, if it is earlier, its samples [n].
    """
    near, _ = seen(component)
    mean = local_mean(near)
    columns = [near[:OWN] - mean]
    for other in range(component - 1, max(component - 4, -1), -1):
        near, own = seen(other)
        other_mean = local_mean(near)
        columns.append((own - other_mean)[None])
        if other == component - 1:
            columns.append(near[:2] - other_mean)
    return np.concatenate(columns), mean


def fitted_centre(predicted: Doubles, top: int) -> Integers64:
    """A prediction limited to 0 ... top - 1, in sixteenths."""
    limited = np.minimum(np.maximum(predicted, 0.0), float(top - 1))
    return np.floor(limited * CENTRE_UNIT + 0.5).astype(np.int64)


def fixed_centres(
    near: Integers64, before: tuple[Integers64, Integers64] | None, top: int
) -> tuple[Integers64, Integers64, Integers64]:
    """Centres without a fit: mean, joint and median, in sixteenths: [n] each.

    near: neighbours [at least 4, n]. before: of the component before, if there is one, its
    neighbours and samples. mean: (W + N) / 2 + (NE - NW) / 4. median: of W, N and W + N - NW.
    joint: the sample before plus how much W and N differ from theirs; the mean if there is none.
    """
    west, north, north_west, north_east = near[:4]
    mean = 8 * (west + north) + 4 * (north_east - north_west)
    low, high = np.minimum(west, north), np.maximum(west, north)
    median = CENTRE_UNIT * np.clip(west + north - north_west, low, high)
    if before is None:
        return mean, mean, median
    other, own = before
    joint = own + ((west - other[0] + north - other[1]) >> 1)
    return mean, CENTRE_UNIT * np.clip(joint, 0, top - 1), median
