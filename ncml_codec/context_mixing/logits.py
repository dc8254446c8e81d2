"""Tables of the mixing coder: probabilities to log-odds and back, and the logistic distribution.

A probability is an integer p from 1 to 65535, in 65536ths, always of the bit being 1. A logit is
256 times its natural log-odds. The tables are rounded from float64: no entry comes nearer to a
tie than a thousand times the error of any mathematical library (tested), so every machine makes
the same integers; their CRC-32 stand in FORMAT.md.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Integers64 = npt.NDArray[np.int64]

HALF = 32768  # the probability 1/2
ONE = 65536
LOGIT_UNIT = 256
LOGIT_MAX = 2815  # 11 nats: a little less than what the rarest probability, 1/65536, needs
STRETCH_SHIFT = 4  # probabilities are looked up in steps of 16

# The logistic distribution function on -16 ... 16 in steps of 1/32, as 2**26ths.
DISTRIBUTION_ONE = 1 << 26
DISTRIBUTION_STEPS = 1024


def stretch(probability: Integers64) -> Integers64:
    """The logit of each probability, to the middle of its 4096th: -2307 to 2307."""
    found: Integers64 = stretch_table()[probability >> STRETCH_SHIFT]
    return found


def squash(logit: Integers64) -> Integers64:
    """The probability of each logit within +-LOGIT_MAX."""
    found: Integers64 = squash_table()[logit + LOGIT_MAX]
    return found


@functools.cache
def stretch_table() -> Integers64:
    """Logits of (i + 1/2) / 4096 for i = 0 ... 4095."""
    return rounded(stretch_values())


@functools.cache
def squash_table() -> Integers64:
    """Probabilities of the logits -LOGIT_MAX ... LOGIT_MAX, in 65536ths."""
    return rounded(squash_values())


@functools.cache
def distribution_table() -> Integers64:
    """The distribution function at -16, -16 + 1/32, ..., 16, in 2**26ths; 0 and 1 at its ends."""
    table = rounded(distribution_values())
    table[0], table[-1] = 0, DISTRIBUTION_ONE
    return table


def stretch_values() -> npt.NDArray[np.float64]:
    odd = np.arange(4096) * 2.0 + 1.0
    return LOGIT_UNIT * np.log(odd / (8192.0 - odd))


def squash_values() -> npt.NDArray[np.float64]:
    return ONE / (1.0 + np.exp(-np.arange(-LOGIT_MAX, LOGIT_MAX + 1) / LOGIT_UNIT))


def distribution_values() -> npt.NDArray[np.float64]:
    steps = np.arange(DISTRIBUTION_STEPS + 1) / 32.0 - 16.0
    return DISTRIBUTION_ONE / (1.0 + np.exp(-steps))


def rounded(values: npt.NDArray[np.float64]) -> Integers64:
    """To the nearest integer."""
    return np.floor(values + 0.5).astype(np.int64)
