"""Engines: the integer network's computation along the waves, all equal to the bit.

`native` is the fast one, and there if the package was installed with a compiler. `numpy` is the
specification and always there.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ncml_codec.errors import UsageError
from ncml_codec.network.adaptation import STATIC, Adaptation
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers, Network

_MODULES = {
    "native": "ncml_codec.engines.native_engine",
    "numpy": "ncml_codec.engines.numpy_engine",
}
NAMES = ("auto", *_MODULES)


class Walk(Protocol):
    """One image's pass through the network, wave by wave.

    For wave 0, 1, 2, ...: `begin`, then for each plane in order `high`, `low` and `put`.
    """

    def begin(self, wave: int) -> int:
        """Compute what depends on earlier waves; the number of pixels, rows ascending."""
        ...

    def high(self, plane: int) -> Weights:
        """The coder's weights of the high nibbles, [pixels, 16]: see `distribution.weights`."""
        ...

    def low(self, plane: int, high: Integers) -> Weights:
        """The weights of the low nibbles given the high ones [pixels]."""
        ...

    def put(self, plane: int, values: Integers) -> None:
        """The wave's samples of this plane, [pixels], now known."""
        ...


class Survey(Protocol):
    """A whole known image, as an encoder asks for it."""

    def __iter__(self) -> Iterator[tuple[Weights, Integers]]:
        """Every wave's weights and symbols, all planes and both stages in coding order."""
        ...

    @property
    def code_lengths(self) -> Mapping[Adaptation, float]:
        """After the last wave: what the image takes at other adaptations, in bits.

        Those of the coder's counts, as a `coder.Meter` finds them, but for the last digits: sums
        are in another order, and of some counts the rounding is left out.
        """
        ...


class Walker(Protocol):
    """What can compute wave by wave; see `stepwise`."""

    def walk(self, height: int, width: int, adaptation: Adaptation = STATIC) -> Walk:
        """Begin an image of this size."""
        ...


class Engine(Walker, Protocol):
    """A way to compute; holds what can be prepared once for a network."""

    name: str

    def __str__(self) -> str:
        """The name, and with what it computes."""
        ...

    def survey(
        self,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
        others: Collection[Adaptation] = (),
    ) -> Survey:
        """What an encoder needs for samples [height, width, planes].

        others: some of `adaptation.counted_along()`, whose code lengths are counted too.
        That takes little: colours change nothing that the network computes, and while heads alone
        learn, only they are computed twice for STATIC.
        """
        ...

    def read(
        self,
        payload: bytes | memoryview,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
    ) -> Iterator[int]:
        """Fill samples [height, width, planes] as it is asked for: the pixels found since the last
        time. Raises FormatError where the coder notices damage, which is seldom."""
        ...

    def code_length(self, samples: npt.NDArray[np.uint8]) -> float:
        """What samples [height, width, planes] take without learning, in bits: as a `coder.Meter`
        finds it, but for the last digits, and sooner than by a walk."""
        ...


def load(name: str, network: Network, threads: int = 1) -> Engine:
    """The engine called `name` for a network; `auto` is the fastest that is here.

    threads: for each walk; only the native engine has them. Raises UsageError for an unknown name,
    or for `native` where it cannot run.
    """
    module = importlib.import_module(_MODULES[chosen(name)])
    engine: Engine = module.engine(network, threads)
    return engine


def chosen(name: str) -> str:
    """The engine that `name` stands for here: itself, or what `auto` means. Raises as `load`."""
    if name not in NAMES:
        raise UsageError(f"engine {name!r}: not one of {', '.join(NAMES)}")
    missing = why_not_native() if name in ("auto", "native") else None
    if name == "native" and missing:
        raise UsageError(f"engine native: {missing}")
    if name == "auto":
        return "numpy" if missing else "native"
    return name


def why_not_native() -> str | None:
    """Why the native engine cannot run, or None if it can."""
    try:
        importlib.import_module("ncml_codec.engines._native")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            return "the package was installed without a C++17 compiler"
        return f"its module cannot be loaded: {error}"
    return None
