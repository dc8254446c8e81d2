from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.wave_order import Tap

def instruction_sets() -> list[str]: ...
def peak(isa: str) -> float: ...

class Engine:
    def __init__(
        self,
        isa: str,
        window: Sequence[Tap],
        near: Sequence[Tap],
        neighbours: Sequence[Tap],
        k: int,
        layers: Sequence[tuple[Integers, Integers, Integers]],
        tables: Sequence[Integers],
    ) -> None: ...

def code_length(engine: Engine, samples: npt.NDArray[np.uint8]) -> float: ...

class Walk:
    def __init__(
        self,
        engine: Engine,
        height: int,
        width: int,
        threads: int,
        body: bool,
        strength: int,
        colour_mode: int,
    ) -> None: ...
    def begin(self, wave: int) -> int: ...
    def high(self, plane: int) -> Weights: ...
    def low(self, plane: int, high: Integers) -> Weights: ...
    def put(self, plane: int, values: Integers) -> None: ...
    def read(
        self, decoder: RangeDecoder, samples: npt.NDArray[np.uint8], pixels: int
    ) -> int | None: ...

class Survey:
    def __init__(
        self,
        engine: Engine,
        samples: npt.NDArray[np.uint8],
        threads: int,
        body: bool,
        strength: int,
        colour_mode: int,
        static: bool,
        modes: bool,
    ) -> None: ...
    @property
    def static_bits(self) -> float: ...
    @property
    def mode_bits(self) -> list[float]: ...
    def __iter__(self) -> Iterator[tuple[Weights, Integers]]: ...
    def __next__(self) -> tuple[Weights, Integers]: ...

class RangeEncoder:
    def __init__(self) -> None: ...
    def encode(self, symbols: Integers, weights: Weights) -> None: ...
    def finish(self) -> bytes: ...

class RangeDecoder:
    def __init__(self, words: npt.NDArray[np.uint8]) -> None: ...
    def decode(self, weights: Weights) -> Integers | None: ...

class Mixing:
    def __init__(
        self,
        height: int,
        width: int,
        depths: Sequence[int],
        candidates: bool,
        fitted: bool,
        slot_bits: int,
        tables: Sequence[npt.NDArray[np.int64]],
        component: Sequence[Sequence[int]],
        candidate: Sequence[Sequence[int]],
    ) -> None: ...
    def ask(self) -> Weights | None: ...
    def tell(self, bits: Integers) -> None: ...
    def survey(self, samples: npt.NDArray[np.uint16]) -> tuple[Weights, Integers] | None: ...
    def samples(self) -> npt.NDArray[np.uint16]: ...
