from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ncml_codec.network import Integers
from ncml_codec.tables import Weights
from ncml_codec.wave import Tap

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

class Walk:
    def __init__(
        self, engine: Engine, height: int, width: int, threads: int, strength: int
    ) -> None: ...
    def begin(self, wave: int) -> int: ...
    def high(self, plane: int) -> Weights: ...
    def low(self, plane: int, high: Integers) -> Weights: ...
    def put(self, plane: int, values: Integers) -> None: ...

class Survey:
    def __init__(
        self, engine: Engine, samples: npt.NDArray[np.uint8], threads: int, strength: int
    ) -> None: ...
    def __iter__(self) -> Iterator[tuple[Weights, Integers]]: ...
    def __next__(self) -> tuple[Weights, Integers]: ...
