from typing import Any

import numpy as np
import numpy.typing as npt

def instruction_sets() -> list[str]: ...

class Encoder:
    def finish(self) -> bytes: ...

class Decoder:
    def __init__(self, payload: bytes) -> None: ...

class Network:
    def __init__(
        self, isa: str, luma: dict[str, Any], chroma: dict[str, Any], tables: dict[str, Any]
    ) -> None: ...
    def code(
        self,
        encoder: Encoder | None,
        decoder: Decoder | None,
        blocks: npt.NDArray[np.int16],
        steps: npt.NDArray[np.int32],
        first: npt.NDArray[np.int16] | None,
        first_steps: npt.NDArray[np.int32] | None,
        other: npt.NDArray[np.int16] | None,
        chroma: bool,
        third: bool,
        learns: bool,
    ) -> bool: ...
