"""The entropy coder: a range coder fed with integer counts only. FORMAT.md, section 6.

Three write and read the same words: constriction's, the native module's, and plain Python's, which
is always here (`range_coder`). The first of them that is here does the work, but for the native
engine, which decodes with the native module's (`engines.Engine.read`). This is the one module
that touches constriction, which has no wheel for 64-bit ARM Linux. Facts about it, each of them
measured: weights `count - 1` with counts summing to 2**24 make the `perfect=False` categorical
model exact (its scale is exactly 1), the same for float32 and float64 rows; Fortran-ordered rows
are misread in silence; damaged words decode without error or raise AssertionError. So rows are made
contiguous here, and checksums are checked by the callers.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ncml_codec.entropy import range_coder
from ncml_codec.errors import FormatError
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers

NO_STREAM = "payload: its words are not a stream of this coder"


class Coder(Protocol):
    """One walk for both directions: the encoder is told the symbols, the decoder finds them."""

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        """Code one symbol by each row of weights [n, m]; the symbols [n], whole numbers below m.

        weights: counts less one, each row of sum 2**24 - m, as of `distribution.weights`, where m
        is 16. symbols: None when decoding.
        """
        ...


class Encoder:
    """Symbols to words."""

    def __init__(self) -> None:
        _, encoder, _ = next(implementations())
        self._encoder = encoder()

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self._encoder.encode(np.ascontiguousarray(symbols, np.int32), _rows(weights))
        return symbols

    def finish(self) -> bytes:
        """The words of everything coded so far, 32 bits each, little-endian."""
        words: bytes = self._encoder.finish()
        return words


class Decoder:
    """Words to symbols. Raises FormatError where the coder notices damage, which is seldom."""

    def __init__(self, payload: bytes | memoryview) -> None:
        _, _, decoder = next(implementations())
        self._decoder = decoder(words_of(payload))

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        decoded: Integers | None = self._decoder.decode(_rows(weights))
        if decoded is None:
            raise FormatError(NO_STREAM)
        return decoded


def words_of(payload: bytes | memoryview) -> npt.NDArray[np.uint8]:
    """A payload for a decoder. Raises FormatError if it is not made of words of 32 bits."""
    if len(payload) % 4:
        raise FormatError(f"payload of {len(payload)} bytes: not a whole number of words")
    return np.frombuffer(payload, np.uint8)


class Meter:
    """No coder: adds up the ideal code length of the symbols, to compare with real files."""

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        chosen = np.take_along_axis(weights, symbols[:, None], axis=1).astype(np.float64) + 1
        self.bits += 24.0 * len(symbols) - float(np.log2(chosen).sum())
        return symbols


def implementations() -> Iterator[tuple[str, type[Any], type[Any]]]:
    """Name, encoder and decoder of every implementation that is here, the one that is used first.

    Encoders have `encode(symbols, weights)` and `finish()`, decoders take the words as bytes and
    have `decode(weights)`, which gives None at words of no stream. Plain Python's comes last.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("constriction")
        yield "constriction", _ConstrictionEncoder, _ConstrictionDecoder
    with contextlib.suppress(ImportError):
        native = importlib.import_module("ncml_codec.engines._native")
        yield "native", native.RangeEncoder, native.RangeDecoder
    yield "python", range_coder.RangeEncoder, range_coder.RangeDecoder


class _ConstrictionEncoder:
    def __init__(self) -> None:
        import constriction

        self._encoder = constriction.stream.queue.RangeEncoder()
        self._model = constriction.stream.model.Categorical(perfect=False)

    def encode(self, symbols: Integers, weights: Weights) -> None:
        self._encoder.encode(symbols, self._model, weights)

    def finish(self) -> bytes:
        words: npt.NDArray[np.uint32] = self._encoder.get_compressed()
        return words.astype("<u4").tobytes()


class _ConstrictionDecoder:
    def __init__(self, words: npt.NDArray[np.uint8]) -> None:
        import constriction

        self._decoder = constriction.stream.queue.RangeDecoder(words.view("<u4").astype(np.uint32))
        self._model = constriction.stream.model.Categorical(perfect=False)

    def decode(self, weights: Weights) -> Integers | None:
        try:
            symbols: Integers = self._decoder.decode(self._model, weights)
        except AssertionError:
            return None
        return symbols


def _rows(weights: Weights) -> Weights:
    return np.ascontiguousarray(weights, dtype=np.float32)
