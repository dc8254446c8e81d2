"""Arrays in files of strangers: .npy files and the pickles of CIFAR-10.

What a file claims is compared with what it holds before memory is taken for it, and nothing in it
is run. numpy's own readers do neither: `np.load` takes memory for any shape that a header names.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ncml_codec.atomic_files import translated
from ncml_codec.errors import InputError


def npy(stream: IO[bytes], size: int, name: str) -> npt.NDArray[Any]:
    """The array of numbers of an .npy file of `size` bytes. Raises InputError."""
    with translated(f"{name} (.npy)"):
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, by_columns, kind = readers[np.lib.format.read_magic(stream)](stream)
        if kind.kind not in "iuf" or any(type(side) is not int or side < 0 for side in shape):
            raise InputError(f"{name}: {kind} {shape}, not an array of numbers")
        count = math.prod(shape) * kind.itemsize
        if count > size:
            raise InputError(f"{name}: {kind} {shape} takes {count} bytes, the file has {size}")
        array = np.frombuffer(stream.read(count), kind)
        return array.reshape(shape, order="F" if by_columns else "C")


def whole_numbers(found: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A row of numbers [count] as int64. Raises ValueError for what is not whole, or no row."""
    if found.ndim != 1 or found.dtype.kind not in "iuf" or (found != np.floor(found)).any():
        raise ValueError("numbers that are not whole numbers")
    return found.astype(np.int64)


def unpickled(data: bytes) -> Any:
    """What a pickle of plain containers holds; a numpy array of uint8 is a `PickledArray`.

    Runs no code of the file's. Raises UnpicklingError, and nearly anything else that pickle raises.
    """
    allowed = set(_INSTRUCTIONS.split())
    for count, (instruction, value, _) in enumerate(pickletools.genops(data)):
        if instruction.name not in allowed:
            raise pickle.UnpicklingError(f"the instruction {instruction.name} is not allowed")
        if instruction.name.endswith("BINPUT") and int(value or 0) > count:
            raise pickle.UnpicklingError(f"the place {value} is beyond what was stored")
    return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()


class PickledArray:
    """Stands for a numpy array; only the bytes of one of uint8 are kept."""

    def __init__(self, *_: object) -> None:
        self.data = b""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, _, kind, _, data = state
        if not (isinstance(kind, _PickledType) and kind.name in ("u1", b"u1")):
            raise pickle.UnpicklingError("an array that is not of uint8")
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array without its bytes")
        self.data = data


# Of pickle's instructions those that batches need. The others can ask for memory that no byte of
# the file stands for (BYTEARRAY8), or for objects by number or by name (EXT1, PERSID, INST).
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET NONE NEWTRUE NEWFALSE
    BININT BININT1 BININT2 LONG1 SHORT_BINSTRING BINSTRING SHORT_BINBYTES BINBYTES
    SHORT_BINUNICODE BINUNICODE EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 GLOBAL STACK_GLOBAL REDUCE BUILD
"""


class _PlainUnpickler(pickle.Unpickler):
    """Builds plain containers, and of a numpy array a `PickledArray`; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): _PickledType,
            ("numpy.core.multiarray", "_reconstruct"): PickledArray,
            ("numpy._core.multiarray", "_reconstruct"): PickledArray,
            ("_codecs", "encode"): _latin_1,  # how Python 3 writes bytes in its old protocols
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed")
        return known[module, name]


class _PickledType:
    """Stands for a numpy type; only its name is kept."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and the like, which bytes do not have."""


def _latin_1(text: object, codec: object) -> bytes:
    if not (isinstance(text, str) and codec in ("latin1", b"latin1")):
        raise pickle.UnpicklingError("a text that does not stand for bytes")
    return text.encode("latin-1")
