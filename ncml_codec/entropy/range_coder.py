"""A range coder in plain Python: the words of constriction's, symbol by symbol.

For machines without the native module and without a wheel of constriction (64-bit ARM Linux), and
for the tests, whose independent witness of the stream it is: written from FORMAT.md, section 6.
Half a microsecond a symbol. Not for callers: `coder` chooses between this and faster ones.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers

_BITS = 24  # counts of a row sum to 2**24
_WORD = 32
_MASK = 2**64 - 1
_LEAST_RANGE = 2**32
_ONES = 2**32 - 1

Cumulative = npt.NDArray[np.int64]


class RangeEncoder:
    """Symbols to words.

    The code is a number, of which `lower` keeps the lowest 64 bits. Of the words above, those that
    a carry may still change wait: one word, and the words of all ones that follow it.
    """

    def __init__(self) -> None:
        self._words: list[int] = []
        self._lower, self._range = 0, _MASK
        self._held: int | None = None
        self._ones = 0

    def encode(self, symbols: Integers, weights: Weights) -> None:
        """One symbol [n] by each row of weights [n, m]; see `cumulative`."""
        bounds = cumulative(weights)
        rows = np.arange(len(bounds))
        starts = bounds[rows, symbols].tolist()
        stops = bounds[rows, np.asarray(symbols) + 1].tolist()
        lower, range_ = self._lower, self._range
        for start, stop in zip(starts, stops, strict=True):
            scale = range_ >> _BITS
            lower += scale * start
            range_ = scale * (stop - start)
            if lower > _MASK:
                lower &= _MASK
                self._carry()
            if range_ < _LEAST_RANGE:
                self._shift(lower >> _WORD)
                lower = lower << _WORD & _MASK
                range_ <<= _WORD
        self._lower, self._range = lower, range_

    def finish(self) -> bytes:
        """The words of everything so far, little-endian: as few as decide every symbol.

        They spell a number in [lower, lower + range), followed by zeros. The word that begins it is
        enough unless `lower + range` has the same one; then a zero word says that it ends there.
        """
        if self._range == _MASK:
            return b""
        point = self._lower + _LEAST_RANGE - 1
        end = (point >> _WORD) & _ONES
        words = [*self._words, *self._waiting(carry=point > _MASK), end]
        if ((self._lower + self._range) >> _WORD) & _ONES == end:
            words.append(0)
        return np.array(words, "<u4").tobytes()

    def _carry(self) -> None:
        """Add one to the words above `lower`: at most once to each, so none overflows."""
        *done, self._held = self._waiting(carry=True)
        self._words += done
        self._ones = 0

    def _shift(self, word: int) -> None:
        """Another word above `lower`."""
        if word == _ONES and self._held is not None:
            self._ones += 1
            return
        self._words += self._waiting(carry=False)
        self._held, self._ones = word, 0

    def _waiting(self, carry: bool) -> list[int]:
        if self._held is None:
            return []
        return [self._held + carry, *[0 if carry else _ONES] * self._ones]


class RangeDecoder:
    """Words to symbols. Past their end words are zeros."""

    def __init__(self, words: npt.NDArray[np.uint8]) -> None:
        self._words: list[int] = words.view("<u4").tolist()
        self._words.reverse()
        self._range = _MASK
        # How far the number that the words spell is above `lower`: the two matter only so.
        self._above = self._next() << _WORD | self._next()

    def decode(self, weights: Weights) -> Integers | None:
        """The symbols [n] by the rows of weights [n, m]; None at words of no stream.

        See `cumulative`.
        """
        bounds = cumulative(weights)
        width = bounds.shape[1]
        flat: list[int] = bounds.ravel().tolist()
        above, range_ = self._above, self._range
        found = []
        for first in range(0, len(flat), width):
            scale = range_ >> _BITS
            at = bisect_right(flat, above // scale, first, first + width) - 1
            if at == first + width - 1:
                return None
            above -= scale * flat[at]
            range_ = scale * (flat[at + 1] - flat[at])
            if range_ < _LEAST_RANGE:
                above = above << _WORD | self._next()
                range_ <<= _WORD
            found.append(at - first)
        self._above, self._range = above, range_
        return np.array(found, np.int32)

    def _next(self) -> int:
        return self._words.pop() if self._words else 0


def cumulative(weights: Weights) -> Cumulative:
    """C(0) = 0, ..., C(m) = 2**24 of every row of weights [n, m]: counts less one, whole numbers.

    Raises ValueError for rows that no counts of sum 2**24 give.
    """
    counts = np.asarray(weights).astype(np.int64) + 1
    bounds = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=bounds[:, 1:])
    if counts.size and ((counts < 1).any() or (bounds[:, -1] != 1 << _BITS).any()):
        raise ValueError("range coder: the counts of a row are below 1 or do not sum to 2**24")
    return bounds
