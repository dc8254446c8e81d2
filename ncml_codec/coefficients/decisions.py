"""Numbers as binary decisions: what a distribution says of each, and what the file has taught.

A decision has a probability of `true` in 65536ths, from the masses of two sets of values. Its
log-odds are corrected by what the decisions before have taught: a factor and a bias for each
coefficient and node of the tree.

The tree of a number v: is it 0? is it below 0? Then u = |v| - 1: is it below 1, 2, 4, 8, ...? At
last the bits of u below its highest one, from high to low. A number that cannot be 0 lacks the
first decision.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import (
    LOGIT_MAX,
    LOGIT_UNIT,
    ONE,
    Integers64,
    squash,
    stretch,
)
from ncml_codec.entropy.coder import Coder
from ncml_codec.errors import FormatError

Flags = npt.NDArray[np.bool_]

LEAST = 8  # the least probability, in 65536ths
DOUBLINGS = 17  # u is below 2**16
NODES = 32
_ZERO, _NEGATIVE, _BELOW, _BITS = 0, 1, 2, 2 + DOUBLINGS
_SHALLOW = 4  # of u below 2**4 each place has a bias of its own, as far as there are NODES

# Learning: a bias is moved by the surprise of its decisions divided by their variance so far; a
# factor likewise, both weighed by the log-odds. Chosen in bench/notebook/jpeg.md.
PRIOR, MEMORY = 4, 255  # variance that a new bias has seen, the sum of p (1 - p), and at most
GAIN_PRIOR, GAIN_MEMORY = 20, 1000  # the same of factors, times the squares of the log-odds
_GAIN_BITS = 16
_LEAST_GAIN, _MOST_GAIN = -45875, 65536  # the factor is from 0.3 to 2
_FRACTION = 8  # bits of a bias below a logit's unit
_BIAS_MAX = 4 * LOGIT_UNIT << _FRACTION


class Distribution(Protocol):
    """Of n numbers."""

    @property
    def one(self) -> int:
        """All mass; at most 2**30."""
        ...

    def below(self, rows: npt.NDArray[np.intp], bounds: Integers64) -> Integers64:
        """The mass below each bound [m], of the numbers of these rows [m]."""
        ...


class Corrections:
    """What decisions have taught about `places`, which are coefficients, or one for choices.

    Of each place and node a factor on the log-odds and a bias. static: nothing is learned.
    """

    def __init__(self, places: int, nodes: int = NODES) -> None:
        self.nodes = nodes
        cells = 1 + places * nodes  # the first one is of nodes without a correction
        self.bias = np.zeros(cells, np.int64)  # in 2**-8 of a logit's unit
        self.variance = np.full(cells, PRIOR << 16, np.int64)  # in 2**-16
        self.gain = np.zeros(cells, np.int64)  # the factor less 1, in 2**-16
        self.spread = np.full(cells, GAIN_PRIOR << 16, np.int64)  # in 2**-16
        self.static = False

    def cells(self, place: int, nodes: Integers64) -> Integers64:
        """Where nodes [m] stand in the arrays."""
        return np.where(nodes < self.nodes, 1 + place * self.nodes + nodes, 0)

    def corrected(self, logit: Integers64, cells: Integers64) -> Integers64:
        """Log-odds with what has been learned, [m]."""
        scaled = logit + (logit * self.gain[cells] >> _GAIN_BITS)
        found: Integers64 = scaled + (self.bias[cells] >> _FRACTION)
        return np.clip(found, -LOGIT_MAX, LOGIT_MAX)

    def learn(
        self, cells: Integers64, logit: Integers64, probability: Integers64, found: Flags
    ) -> None:
        """From a round's decisions, each [m].

        logit: before it was corrected; probability: after; found: the outcomes.
        """
        touched, which = np.unique(cells, return_inverse=True)

        def total(values: Integers64) -> Integers64:
            sums = np.zeros(len(touched), np.int64)
            np.add.at(sums, which, values)
            return sums

        surprise = found * ONE - probability
        seen = probability * (ONE - probability) >> 16
        variance = self.variance[touched] + total(seen)
        bias = self.bias[touched] + (total(surprise) << _FRACTION + 8) // variance
        spread = self.spread[touched] + total(seen * logit * logit >> 16)
        gain = self.gain[touched] + (total(surprise * logit) << 8) // spread
        self.bias[touched] = np.clip(bias, -_BIAS_MAX, _BIAS_MAX)
        self.variance[touched] = np.minimum(variance, MEMORY << 16)
        self.gain[touched] = np.clip(gain, _LEAST_GAIN, _MOST_GAIN)
        self.spread[touched] = np.minimum(spread, GAIN_MEMORY << 16)
        self.bias[0] = self.gain[0] = 0


class Round:
    """Codes decisions of one place, round by round, and learns after each."""

    def __init__(self, coder: Coder, corrections: Corrections, place: int) -> None:
        self.coder, self.corrections, self.place = coder, corrections, place

    def decide(
        self, nodes: Integers64, masses: Integers64, totals: Integers64, known: Flags | None
    ) -> Flags:
        """One decision about each of some numbers, the outcomes [m].

        nodes: in the tree. masses: of the set that `true` means, of totals. known: the outcomes,
        when encoding.
        """
        if not len(nodes):
            return np.zeros(0, bool)
        probability = np.where(totals > 0, (masses << 16) // np.maximum(totals, 1), ONE // 2)
        logit = stretch(np.clip(probability, LEAST, ONE - LEAST))
        cells = self.corrections.cells(self.place, nodes)
        probability = squash(self.corrections.corrected(logit, cells))
        probability = np.clip(probability, LEAST, ONE - LEAST)
        counts = np.stack([ONE - probability, probability], axis=1) << 8
        symbols = None if known is None else known.astype(np.int32)
        found = self.coder.code((counts - 1).astype(np.float32), symbols).astype(bool)
        if not self.corrections.static:
            self.corrections.learn(cells, logit, probability, found)
        return found


def code_numbers(
    distribution: Distribution,
    may_be_zero: Flags,
    coder: Coder,
    corrections: Corrections,
    place: int,
    known: Integers64 | None,
) -> Integers64:
    """Code n numbers; the numbers. known: when encoding. may_be_zero: [n]; others are not 0.

    Raises FormatError for numbers beyond 17 bits, which only damage decodes to.
    """
    everyone = np.arange(len(may_be_zero))
    zero = np.zeros(len(everyone), np.int64)
    low, high = distribution.below(everyone, zero), distribution.below(everyone, zero + 1)
    round_ = Round(coder, corrections, place)
    found = np.zeros(len(everyone), np.int64)
    open_rows = everyone[may_be_zero]
    is_zero = round_.decide(
        np.full(len(open_rows), _ZERO),
        (high - low)[open_rows],
        np.full(len(open_rows), distribution.one),
        None if known is None else known[open_rows] == 0,
    )
    rows = np.setdiff1d(everyone, open_rows[is_zero], assume_unique=True)
    above = distribution.one - high
    negative = round_.decide(
        np.full(len(rows), _NEGATIVE),
        low[rows],
        (low + above)[rows],
        None if known is None else known[rows] < 0,
    )
    outside = _Outside(distribution, rows, negative)
    size = None if known is None else np.abs(known[rows]) - 1
    u = _code_sizes(outside, np.where(negative, low[rows], above[rows]), round_, size)
    found[rows] = np.where(negative, -u - 1, u + 1)
    return found


class _Outside:
    """The mass of the numbers of one sign whose u is at least a bound."""

    def __init__(
        self, distribution: Distribution, rows: npt.NDArray[np.intp], negative: Flags
    ) -> None:
        self.distribution, self.rows, self.negative = distribution, rows, negative

    def of(self, chosen: npt.NDArray[np.intp], bounds: Integers64) -> Integers64:
        negative = self.negative[chosen]
        below = self.distribution.below(self.rows[chosen], np.where(negative, -bounds, bounds + 1))
        return np.where(negative, below, self.distribution.one - below)


def _code_sizes(
    outside: _Outside, mass: Integers64, round_: Round, size: Integers64 | None
) -> Integers64:
    """u of every row. mass: of all u."""
    count = len(mass)
    least, width = np.zeros(count, np.int64), np.ones(count, np.int64)
    lower, upper = mass.copy(), np.zeros(count, np.int64)  # mass from `least` on, and behind
    rows = np.arange(count)
    for doubling in range(DOUBLINGS):
        bound = 1 << doubling
        beyond = outside.of(rows, np.full(len(rows), bound))
        inside = round_.decide(
            np.full(len(rows), _BELOW + doubling),
            lower[rows] - beyond,
            lower[rows],
            None if size is None else size[rows] < bound,
        )
        upper[rows] = beyond
        rows, beyond = rows[~inside], beyond[~inside]
        if not len(rows):
            break
        lower[rows], least[rows], width[rows] = beyond, bound, bound
    else:
        raise FormatError("JPEG coefficients: a number of more than 17 bits")
    rows = np.flatnonzero(width > 1)
    while len(rows):
        width[rows] >>= 1
        middle = least[rows] + width[rows]
        beyond = outside.of(rows, middle)
        inside = round_.decide(
            _nodes_of_bits(middle, width[rows]),
            lower[rows] - beyond,
            lower[rows] - upper[rows],
            None if size is None else size[rows] < middle,
        )
        upper[rows[inside]] = beyond[inside]
        higher = rows[~inside]
        lower[higher], least[higher] = beyond[~inside], middle[~inside]
        rows = rows[width[rows] > 1]
    return least


def _nodes_of_bits(middle: Integers64, width: Integers64) -> Integers64:
    """Places of the decisions between u below `middle` and not: one each below 2**4."""
    # middle is odd times width; 3; 5, 6, 7; 9, ..., 15 are the middles of u from 2, 4 and 8 on.
    nodes = _BITS + np.where(middle < 4, 0, np.where(middle < 8, middle - 4, middle - 5))
    return np.where((middle < 1 << _SHALLOW) & (nodes < NODES), nodes, NODES)


def code_choices(
    masses: Integers64, coder: Coder, corrections: Corrections, known: Integers64 | None
) -> Integers64:
    """Code n choices among 2**levels, from their masses [n, 2**levels]; the choices.

    One decision a bit, high to low: is it in the higher half? corrections: of 2**levels nodes.
    """
    count, choices = masses.shape
    round_ = Round(coder, corrections, 0)
    levels = choices.bit_length() - 1
    sums = np.zeros((count, choices + 1), np.int64)
    np.cumsum(masses, axis=1, out=sums[:, 1:])
    found, rows = np.zeros(count, np.int64), np.arange(count)
    for level in range(levels - 1, -1, -1):
        middle, end = found + (1 << level), found + (2 << level)
        total = sums[rows, end] - sums[rows, found]
        higher = round_.decide(
            (found >> level + 1) + (1 << levels - 1 - level),
            sums[rows, end] - sums[rows, middle],
            total,
            None if known is None else known & (1 << level) > 0,
        )
        found += higher.astype(np.int64) << level
    return found
