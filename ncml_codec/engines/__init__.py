"""Engines: the integer network's computation along the waves, all equal to the bit.

`numpy` is the specification and always there. `torch` computes the same in torch and is loaded
only when it is asked for by name.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Protocol

from ncml_codec.errors import UsageError
from ncml_codec.network import Integers, Network

_MODULES = {
    "numpy": "ncml_codec.engines.numpy_engine",
    "torch": "ncml_codec.engines.torch_engine",
}
NAMES = ("auto", *_MODULES)


class Walk(Protocol):
    """One image's pass through the network, wave by wave.

    For wave 0, 1, 2, ...: `begin`, then for each plane in order `high`, `low` and `put`.
    """

    def begin(self, wave: int) -> int:
        """Compute what depends on earlier waves; the number of pixels, rows ascending."""
        ...

    def high(self, plane: int) -> Integers:
        """Counts of the high nibbles, [pixels, 16] of row sum 2**24 (see `tables`)."""
        ...

    def low(self, plane: int, high: Integers) -> Integers:
        """Counts of the low nibbles given the high ones [pixels]."""
        ...

    def put(self, plane: int, values: Integers) -> None:
        """The wave's samples of this plane, [pixels], now known."""
        ...


class Engine(Protocol):
    """A way to compute; holds what can be prepared once for a network."""

    name: str

    def walk(self, height: int, width: int) -> Walk:
        """Begin an image of this size."""
        ...


def load(name: str, network: Network) -> Engine:
    """The engine called `name` for a network; `auto` is the fastest that is here.

    Raises UsageError for an unknown name or a missing package.
    """
    if name not in NAMES:
        raise UsageError(f"engine {name!r}: not one of {', '.join(NAMES)}")
    if name == "torch" and importlib.util.find_spec("torch") is None:
        raise UsageError("engine torch: torch is not installed; pip install 'ncml-codec[train]'")
    module = importlib.import_module(_MODULES["numpy" if name == "auto" else name])
    engine: Engine = module.engine(network)
    return engine
