"""Experts: each predicts a sample's value and how far off it will be, and so any bit's probability.

A centre and a scale make a logistic distribution; the probability that a sample lies in the upper
half of an interval, given that it is in the interval, is an input of the mixer. The scale is the
mean error that this expert had where nearby errors were as large as here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
