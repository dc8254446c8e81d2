"""Adaptive probabilities: how often a bit was 1 where this counter was used.

A wave uses many counters at once, some of them several times; all read the state before the wave,
and the wave's bits are summed before the state changes, so no order matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import HALF, Integers64

HISTORY_MAX = 15  # of each bit, in a counter's history


@dataclass(frozen=True)
class Counters:
    """Probabilities [size] with the number of bits that each has seen, up to a limit.

    The probability of a counter that has seen n bits moves to the mean of the wave's t new bits by
    about t / (n + t + 1/2): the mean of all bits at first, a running one at the limit.
    """

    probability: npt.NDArray[np.uint16]
    seen: npt.NDArray[np.uint8]
    ones: npt.NDArray[np.uint16]  # of the wave, which has fewer pixels; 0 between waves
    bits: npt.NDArray[np.uint16]
    limit: int

    def update(self, where: Integers64, bits: Integers64) -> tuple[Integers64, Integers64]:
        """Learn bits, each at a counter; returns the wave's ones and zeros at each of `where`."""
        np.add.at(self.ones, where, bits.astype(np.uint16))
        np.add.at(self.bits, where, np.uint16(1))
        ones, total = self.ones[where].astype(np.int64), self.bits[where].astype(np.int64)
        # Whoever shares a counter computes the same, so writing it several times is harmless.
        p, n = self.probability[where].astype(np.int64), self.seen[where].astype(np.int64)
        change = ones * (65535 - p) - (total - ones) * p
        self.probability[where] = p + 2 * change // (2 * n + 2 * total + 1)
        self.seen[where] = np.minimum(n + total, self.limit)
        self.ones[where] = 0
        self.bits[where] = 0
        return ones, total - ones


def counters(size: int, limit: int) -> Counters:
    """Counters that have seen nothing."""
    zeros = np.zeros(size, np.uint16)
    return Counters(
        np.full(size, HALF, np.uint16), np.zeros(size, np.uint8), zeros, zeros.copy(), limit
    )


@dataclass(frozen=True)
class Histories:
    """What each of a set of counters has seen, as 16 * zeros + ones, each up to 15.

    A bit that comes alone halves what is known of the other: what is recent counts.
    """

    state: npt.NDArray[np.uint8]

    def update(self, where: Integers64, ones: Integers64, zeros: Integers64) -> None:
        """Learn the wave's ones and zeros at each of `where`; equal places have equal numbers."""
        state = self.state[where].astype(np.int64)
        known_zeros, known_ones = state >> 4, state & 15
        forget = (zeros == 0) & (known_zeros > 2)
        known_zeros = np.where(forget, (known_zeros + 2) >> 1, known_zeros)
        forget = (ones == 0) & (known_ones > 2)
        known_ones = np.where(forget, (known_ones + 2) >> 1, known_ones)
        known_zeros = np.minimum(known_zeros + zeros, HISTORY_MAX)
        known_ones = np.minimum(known_ones + ones, HISTORY_MAX)
        self.state[where] = 16 * known_zeros + known_ones


def expected_of_histories() -> npt.NDArray[np.uint16]:
    """For each history, (ones + 0.4) / (zeros + ones + 0.8) as a probability: [256]."""
    state = np.arange(256)
    zeros, ones = state >> 4, state & 15
    expected: npt.NDArray[np.uint16] = (65535 * (5 * ones + 2) // (5 * (zeros + ones) + 4)).astype(
        np.uint16
    )
    return expected
