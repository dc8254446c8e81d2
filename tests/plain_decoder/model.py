"""Model files, and all that a decoder checks in them: FORMAT.md, section 7."""

import hashlib
import json
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.plain_decoder.reading import Reader, Refused, decompress, require

IntArray = NDArray[np.int64]

TABLES = {  # The length, the least entry, the greatest entry.
    "sigmoid": (4095, 0, 2**11),
    "exponential": (1024, 0, 2**16),
    "scale_mantissa": (577, 1, 2**13 - 1),
    "scale_shift": (577, 0, 31),
    "logistic": (1025, 0, 2**16),
}


@dataclass(frozen=True)
class Layer:
    """An integer layer: weight [output, input], bias and shift [output]."""

    weight: IntArray
    bias: IntArray
    shift: IntArray
    limit: int

    def __call__(self, a: IntArray) -> IntArray:
        y: IntArray = (self.weight @ a + self.bias) >> self.shift
        return np.clip(y, -self.limit, self.limit)


@dataclass(frozen=True)
class Model:
    """A network and its tables; `identity` is the first 4 bytes of its SHA-256."""

    identity: bytes
    window: list[tuple[int, int]]
    near: list[tuple[int, int]]
    neighbours: list[tuple[int, int]]
    components: int
    blocks: int
    layers: dict[str, Layer]
    tables: dict[str, list[int]]

    def bounds(self, name: str) -> IntArray:
        """The bounds of a layer's inputs. Section 7."""
        if name == "first":
            counts = [3 * len(self.window), 6 * len(self.near), 3, 3]
            return np.repeat([1020, 256, 512, 128], counts)
        inputs = self.layers[name].weight.shape[1]
        return np.full(inputs, 256 if name.endswith(".earlier") else 2047)


def read_model(data: bytes) -> Model:
    """The model in a `.ncpn` file, after all the checks of section 7."""
    require(data[:8] == b"\x89NCPN\x01\r\n", "the model does not begin with the magic of .ncpn")
    Reader(data[-4:]).check_crc(data[:-4], "model")
    file = Reader(data[8:-4])
    text = file.take(file.u32())
    description = read_description(text)
    content = decompress(file.data[file.at :], "tensors")
    values = Reader(content)
    tensors: dict[str, IntArray] = {}
    for name, kind, shape in description.pop("tensors"):
        require(prod(shape) > 0, f"tensor {name}: is empty")
        taken = values.take(prod(shape) * int(kind[-1]))
        tensors[name] = np.frombuffer(taken, kind).astype(np.int64).reshape(shape)
    require(values.at == len(content), f"tensors: {len(content)} bytes, not {values.at}")

    layers = {}
    coarse, fine = 3 * len(description["window"]), 6 * len(description["near"])
    for name in [each.removesuffix(".weight") for each in tensors if each.endswith(".weight")]:
        weight, bias, shift = (tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        bounds = np.full(weight.shape[1], 256 if name.endswith(".earlier") else 2047)
        if name == "first":
            bounds = np.repeat([1020, 256, 512, 128], [coarse, fine, 3, 3])
        check_range(name, weight, -2047, 2047)
        check_range(name, shift, 0, 24)
        check_range(name, np.abs(weight) @ bounds + np.abs(bias), 0, 2**24 - 1)
        layers[name] = Layer(weight, bias, shift, 32767 if name.endswith(".out") else 2047)

    for name, (_, least, most) in TABLES.items():
        check_range(name, tensors[f"tables.{name}"], least, most)
    check_range("first of exponential", tensors["tables.exponential"][:1], 2**16, 2**16)
    check_range("steps of logistic", np.diff(tensors["tables.logistic"]), 0, 4096)
    tables = {name: tensors[f"tables.{name}"].tolist() for name in TABLES}
    identity = hashlib.sha256(text + content).digest()[:4]
    return Model(identity, layers=layers, tables=tables, **description)


def check_range(name: str, values: IntArray, least: int, most: int) -> None:
    within = least <= values.min() and values.max() <= most
    require(within, f"{name}: {values.min()} to {values.max()}, must be {least} to {most}")


def read_description(text: bytes) -> dict[str, Any]:
    """The fields of Model that a description holds, and `tensors`: (name, type, shape)."""
    try:
        given = json.loads(text.decode("ascii"))
        window, near, neighbours = (
            [(int(di), int(dj)) for di, dj in given[key]]
            for key in ("window", "near", "neighbours")
        )
        components, blocks = int(given["components"]), int(given["blocks"])
        outputs = {name: int(shape[0]) for name, _, shape in given["tensors"]}
        channels = outputs["first.weight"]
        layers = [("first", channels, 3 * len(window) + 6 * len(near) + 6)]
        for b in range(blocks):
            hidden = outputs[f"blocks.{b}.taps.weight"]
            layers.append((f"blocks.{b}.taps", hidden, len(neighbours) * channels))
            layers.append((f"blocks.{b}.gate", 2 * channels, hidden))
        for c in range(3):
            hidden = outputs[f"heads.{c}.trunk.weight"]
            layers.append((f"heads.{c}.trunk", hidden, channels))
            layers.extend([(f"heads.{c}.earlier", hidden, 3 * c)] if c else [])
            layers.append((f"heads.{c}.out", 3 * components + c, hidden))
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise Refused(f"description: {type(error).__name__}: {error}") from error
    tensors: list[tuple[str, str, list[int]]] = []
    for name, height, width in layers:
        tensors.append((f"{name}.weight", "<i2", [height, width]))
        tensors.append((f"{name}.bias", "<i4", [height]))
        tensors.append((f"{name}.shift", "<i2", [height]))
    tensors.extend((f"tables.{name}", "<i4", [length]) for name, (length, *_) in TABLES.items())
    fields: dict[str, Any] = {"window": window, "near": near, "neighbours": neighbours}
    fields |= {"components": components, "blocks": blocks, "tensors": tensors}

    # What was understood, written as section 7 writes it, must be what the file has.
    again = json.dumps({"kind": "wave-1", **fields}, sort_keys=True, separators=(",", ":"))
    require(again.encode() == text, "description: its keys, tensors or shapes are not section 7's")
    require(1 <= components <= 16 and blocks >= 0, f"{components} components, {blocks} blocks")
    require(set(near) <= set(window), "description: near is not a part of window")
    for di, dj in [*window, *(each for each in neighbours if each != (0, 0))]:
        require(dj + 2 * di < 0, f"offset ({di}, {dj}): is not coded before")
        require(max(abs(di), abs(dj)) <= 8, f"offset ({di}, {dj}): is beyond 8")
    return fields
