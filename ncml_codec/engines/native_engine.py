"""The native engine: the network and its distributions in C++ with vector instructions and threads.

The sources are in `native/`; the module is built when the package is installed, if there is a
compiler. It checks again all that the safety of memory rests on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ncml_codec.engines import _native, refuse_colours
from ncml_codec.errors import UsageError
from ncml_codec.network import Integers, Network, named_layers, table_names
from ncml_codec.strength import STATIC
from ncml_codec.tables import Weights

INSTRUCTION_SETS = tuple(_native.instruction_sets())  # of this processor, fastest first
ISA_VARIABLE = "NCML_NATIVE_ISA"  # of the environment: one of them, instead of the fastest


def engine(network: Network, threads: int = 1) -> NativeEngine:
    """The engine for a network that has passed `network.check`."""
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

    def walk(self, height: int, width: int, strength: int = STATIC) -> _native.Walk:
        refuse_colours(self.name, strength)
        return _native.Walk(self.packed, height, width, self.threads, strength)

    def survey(
        self, samples: npt.NDArray[np.uint8], strength: int = STATIC
    ) -> Iterator[tuple[Weights, Integers]]:
        """See `engines.Surveyor`: the next wave is computed while the caller codes one."""
        return self._survey(samples, strength, compare=False)

    def compare(self, samples: npt.NDArray[np.uint8], strength: int) -> _native.Survey:
        """See `engines.Comparer`."""
        return self._survey(samples, strength, compare=True)

    def _survey(
        self, samples: npt.NDArray[np.uint8], strength: int, compare: bool
    ) -> _native.Survey:
        refuse_colours(self.name, strength)
        known = np.ascontiguousarray(samples)
        return _native.Survey(self.packed, known, self.threads, strength, compare)


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
