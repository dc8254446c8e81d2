"""The native engine: the network and its distributions in C++ with vector instructions and threads.

The sources are in `native/`; the module is built when the package is installed, if there is a
compiler. It checks again all that the safety of memory rests on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from ncml_codec.engines import _native
from ncml_codec.entropy.coder import NO_STREAM, words_of
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.network.adaptation import STATIC, Adaptation, Learns
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers, Network, named_layers, table_names

INSTRUCTION_SETS = tuple(_native.instruction_sets())  # of this processor, fastest first
ISA_VARIABLE = "NCML_NATIVE_ISA"  # of the environment: one of them, instead of the fastest
_PIXELS = 1 << 12  # decoded at a time, and the wave begun: an interrupt waits for them


def engine(network: Network, threads: int = 1) -> NativeEngine:
    """The engine for a network that has passed `integer_network.check`."""
    return NativeEngine(network, threads, os.environ.get(ISA_VARIABLE) or INSTRUCTION_SETS[0])


class NativeEngine:
    """A network packed for an instruction set.

    threads: over the pixels of a wave, for each walk. Raises UsageError for an instruction set that
    is not here, and for a network beyond the sizes that native code takes.
    """

    name = "native"

    def __init__(self, network: Network, threads: int, isa: str) -> None:
        if isa not in INSTRUCTION_SETS:
            raise UsageError(f"instruction set {isa!r}: not one of {', '.join(INSTRUCTION_SETS)}")
        self.threads, self.isa = threads, isa
        self.packed = _packed(network, isa)

    def __str__(self) -> str:
        return f"native ({self.isa}, {self.threads} thread{'s' if self.threads > 1 else ''})"

    def walk(self, height: int, width: int, adaptation: Adaptation = STATIC) -> _native.Walk:
        return _native.Walk(self.packed, height, width, self.threads, *_numbers(adaptation))

    def read(
        self,
        payload: bytes | memoryview,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
    ) -> Iterator[int]:
        """See `engines.Engine`: coder and network in native code, some waves at a time."""
        decoder = _native.RangeDecoder(words_of(payload))
        walk = self.walk(samples.shape[0], samples.shape[1], adaptation)
        while pixels := walk.read(decoder, samples, _PIXELS):
            yield pixels
        if pixels is None:
            raise FormatError(NO_STREAM)

    def survey(
        self,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
        others: Collection[Adaptation] = (),
    ) -> NativeSurvey:
        """See `engines.Engine`: the next wave is computed while the caller codes one."""
        return NativeSurvey(self, samples, adaptation, others)

    def code_length(self, samples: npt.NDArray[np.uint8]) -> float:
        """See `engines.Engine`."""
        return _native.code_length(self.packed, np.ascontiguousarray(samples))


class NativeSurvey:
    """See `engines.Survey`."""

    def __init__(
        self,
        engine: NativeEngine,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation,
        others: Collection[Adaptation],
    ) -> None:
        alike = [other for other in others if other.learning == adaptation.learning]
        self._modes = {other: other.colour_mode for other in alike}
        self._static = len(alike) < len(others)
        self._survey = _native.Survey(
            engine.packed,
            np.ascontiguousarray(samples),
            engine.threads,
            *_numbers(adaptation),
            self._static,
            bool(self._modes),
        )

    def __iter__(self) -> Iterator[tuple[Weights, Integers]]:
        return self._survey

    @property
    def code_lengths(self) -> Mapping[Adaptation, float]:
        bits = self._survey.mode_bits
        found = {other: bits[mode] for other, mode in self._modes.items()}
        return found | {STATIC: self._survey.static_bits} if self._static else found


def _numbers(adaptation: Adaptation) -> tuple[bool, int, int]:
    """As native code is told it."""
    body = adaptation.learns == Learns.NETWORK
    return body, adaptation.strength, adaptation.colour_mode


# Packing takes as long as coding 300 pixels, so images that follow each other share it.
@functools.lru_cache(maxsize=8)
def _packed(network: Network, isa: str) -> _native.Engine:
    tables = network.tables
    try:
        return _native.Engine(
            isa,
            list(network.window),
            list(network.near),
            list(network.neighbours),
            network.k,
            [(layer.weight, layer.bias, layer.shift) for _, layer in named_layers(network)],
            [getattr(tables, name) for name in table_names()],
        )
    except ValueError as error:
        raise UsageError(f"{error}; the numpy engine may take it") from error
