"""The entropy coder: constriction's range coder (queue), fed with integer counts only.

The one module that touches constriction. Facts behind it, each of them measured: weights
`count - 1` with counts summing to 2**24 make the `perfect=False` categorical model exact (its
scale is exactly 1), the same for float32 and float64 rows; Fortran-ordered rows are misread in
silence; damaged words decode without error or raise AssertionError. So rows are made contiguous
here, and checksums are checked by the callers.
"""

from __future__ import annotations

from typing import Protocol

import constriction
import numpy as np
import numpy.typing as npt

from ncml_codec.errors import FormatError
from ncml_codec.network import Integers
from ncml_codec.tables import Weights

_MODEL = constriction.stream.model.Categorical(perfect=False)


class Coder(Protocol):
    """One walk for both directions: the encoder is told the symbols, the decoder finds them."""

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        """Code one symbol by each row of weights [n, 16]; the symbols [n], whole numbers below 16.

        weights: of `tables.weights`, each row of sum 2**24 - 16. symbols: None when decoding.
        """
        ...


class Encoder:
    """Symbols to words."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self._encoder.encode(np.ascontiguousarray(symbols, np.int32), _MODEL, _rows(weights))
        return symbols

    def finish(self) -> bytes:
        """The words of everything coded so far, 32 bits each, little-endian."""
        words: npt.NDArray[np.uint32] = self._encoder.get_compressed()
        return words.astype("<u4").tobytes()


class Decoder:
    """Words to symbols. Raises FormatError where constriction notices damage, which is seldom."""

    def __init__(self, payload: bytes | memoryview) -> None:
        if len(payload) % 4:
            raise FormatError(f"payload of {len(payload)} bytes: not a whole number of words")
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        try:
            decoded: Integers = self._decoder.decode(_MODEL, _rows(weights))
        except AssertionError as error:
            raise FormatError("payload: its words are not a stream of this coder") from error
        return decoded


class Meter:
    """No coder: adds up the ideal code length of the symbols, to compare with real files."""

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        chosen = np.take_along_axis(weights, symbols[:, None], axis=1).astype(np.float64) + 1
        self.bits += 24.0 * len(symbols) - float(np.log2(chosen).sum())
        return symbols


def _rows(weights: Weights) -> Weights:
    return np.ascontiguousarray(weights, dtype=np.float32)
