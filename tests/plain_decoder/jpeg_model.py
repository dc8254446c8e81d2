"""Model files of coefficients, and all that a decoder checks in them: FORMAT.md, section 16.1."""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from tests.plain_decoder.reading import Reader, Refused, decompress, require

Matrix = list[list[int]]
SINGLE = ["first", "end", "second", "dc_head", "dc_out"]
WIDE = ["end", "outs", "dc_out"]  # The layers with the limit 32767.
TABLES = {  # The length, the least entry, the greatest entry.
    "logarithm": (2048, 0, 352),
    "exponential": (1024, 0, 2**16),
    "scale_mantissa": (641, 1, 2**13 - 1),
    "scale_shift": (641, 0, 31),
    "logistic": (1025, 0, 2**16),
}


@dataclass(frozen=True)
class Layer:
    weight: Matrix
    bias: list[int]
    shift: list[int]
    limit: int

    def __call__(self, inputs: list[int], more: list[int] | None = None) -> list[int]:
        """more: added to the sums."""
        found = [(q, a) for q, a in enumerate(inputs) if a]
        outputs = []
        for o, row in enumerate(self.weight):
            total = sum(row[q] * a for q, a in found) + self.bias[o] + (more[o] if more else 0)
            outputs.append(min(max(total >> self.shift[o], -self.limit), self.limit))
        return outputs


@dataclass(frozen=True)
class Part:
    """Luma or chroma. heads, outs: of the coefficients 1 to 63. linear: [role][input][output]."""

    far: int
    single: dict[str, Layer]
    heads: list[Layer]
    outs: list[Layer]
    end_bias: Matrix
    linear: list[Matrix]


@dataclass(frozen=True)
class Model:
    identity: bytes
    luma: Part
    chroma: Part
    tables: dict[str, list[int]]


def read_model(data: bytes) -> Model:
    """The model in a `.ncjp` file."""
    require(data[:8] == b"\x89NCJP\x01\r\n", "the model does not begin with the magic of .ncjp")
    Reader(data[-4:]).check_crc(data[:-4], "model")
    file = Reader(data[8:-4])
    text = file.take(file.u32())
    far, tensors = read_description(text)
    content = decompress(file.data[file.at :], "tensors")
    require(len(content) <= 2**25, f"tensors: {len(content)} bytes")
    values = Reader(content)
    found: dict[str, Any] = {}
    for name, kind, shape in tensors:
        count = prod(shape)
        taken = values.take(count * int(kind[-1]))
        found[name] = nested(
            struct.unpack(f"<{count}{'h' if kind == '<i2' else 'i'}", taken), shape
        )
    require(values.at == len(content), f"tensors: {len(content)} bytes, not {values.at}")
    tables = {name: found[f"tables.{name}"] for name in TABLES}
    for name, (_, least, most) in TABLES.items():
        require(all(least <= v <= most for v in tables[name]), f"table {name}: out of range")
    logistic = tables["logistic"]
    require(tables["exponential"][0] == 2**16, "table exponential: begins otherwise")
    require(logistic == sorted(logistic), "table logistic: falls")
    identity = hashlib.sha256(text + content).digest()[:4]
    luma, chroma = read_part(found, "luma", far[0]), read_part(found, "chroma", far[1])
    return Model(identity, luma, chroma, tables)


def nested(values: tuple[int, ...], shape: list[int]) -> Any:
    """Values as lists of lists, row-major."""
    if len(shape) == 1:
        return list(values)
    step = len(values) // shape[0]
    return [nested(values[at : at + step], shape[1:]) for at in range(0, len(values), step)]


def read_description(text: bytes) -> tuple[list[int], list[tuple[str, str, list[int]]]]:
    """far, and the tensors: name, type, shape."""
    tensors: list[tuple[str, str, list[int]]] = []
    try:
        given = json.loads(text.decode("ascii"))
        luma, chroma = (int(each) for each in given["far"])
        shapes = {name: [int(side) for side in shape] for name, _, shape in given["tensors"]}
        for kind, far in (("luma", luma), ("chroma", chroma)):
            w = shapes[f"{kind}.first.weight"][0]
            u = shapes[f"{kind}.second.weight"][0]
            _, y, own = shapes[f"{kind}.heads.weight"]
            own_dc = shapes[f"{kind}.dc_head.weight"][0]
            outputs = shapes[f"{kind}.dc_out.weight"][0]
            require(outputs % 3 == 0 and 3 <= outputs <= 24, f"{kind}: {outputs} outputs")
            require(1 <= far <= 64 and min(w, u, y, own_dc) > 0, f"{kind}: shapes")
            inputs = 2 * (2 * 64 + 4 * far) + 64 + 6 + (257 if kind == "chroma" else 0)
            own = u + 126
            layers = {
                "first": [w, inputs],
                "end": [64, w],
                "second": [u, w],
                "dc_head": [own_dc, own],
                "dc_out": [outputs, own_dc],
                "heads": [63, y, own],
                "outs": [63, outputs, y],
            }
            for name, shape in layers.items():
                tensors.append((f"{kind}.{name}.weight", "<i2", shape))
                tensors.append((f"{kind}.{name}.bias", "<i4", shape[:-1]))
                tensors.append((f"{kind}.{name}.shift", "<i2", shape[:-1]))
            tensors.append((f"{kind}.end_bias", "<i4", [64, u]))
            roles = 8 if kind == "chroma" else 6
            tensors.append((f"{kind}.linear", "<i4", [roles + 1, 64, 64]))
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise Refused(f"description: {type(error).__name__}: {error}") from error
    tensors.extend((f"tables.{name}", "<i4", [length]) for name, (length, *_) in TABLES.items())
    fields = {"kind": "jpeg-1", "far": [luma, chroma], "tensors": tensors}
    again = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    require(again.encode() == text, "description: not as section 16.1 writes it")
    return [luma, chroma], tensors


def read_part(found: dict[str, Any], kind: str, far: int) -> Part:
    """Luma or chroma, and the proof of its sums."""

    def stack(name: str) -> list[Layer]:
        parts = [found[f"{kind}.{name}.{part}"] for part in ("weight", "bias", "shift")]
        each = zip(*parts, strict=True) if name in ("heads", "outs") else [parts]
        return [Layer(w, b, s, 32767 if name in WIDE else 2047) for w, b, s in each]

    single = {name: stack(name)[0] for name in SINGLE}
    end_bias = found[f"{kind}.end_bias"]
    part = Part(far, single, stack("heads"), stack("outs"), end_bias, found[f"{kind}.linear"])
    bounds = [352] * (2 * (2 * 64 + 4 * far) + 64) + [64] * 6
    bounds += [2047] * 64 + [352] * 192 + [64] if kind == "chroma" else []
    check(single["first"], bounds, "first")
    check(single["end"], [2047] * len(bounds), "end")
    most = [max(map(abs, column)) for column in zip(*end_bias, strict=True)]
    check(single["second"], [2047] * len(bounds), "second", most)
    own = [2047] * len(end_bias[0]) + [352] * 126
    for head in [*part.heads, single["dc_head"]]:
        check(head, own, "a head")
    for out in [*part.outs, single["dc_out"]]:
        check(out, [2047] * len(out.weight[0]), "outputs of a head")
    for k, head in enumerate(part.heads, 1):
        for row in head.weight:
            positive, negative = row[-126:-63], row[-63:]
            require(not any(positive[k - 1 :] + negative[k - 1 :]), f"head {k}: sees too much")
    for k in range(64):
        column = [abs(row[k]) for role in part.linear for row in role]
        require(max(column) <= 32767, f"linear: a weight of {k}")
        total = sum(column)
        require(total * 2047 < 2**31, f"linear: sum of {k}")
        unknown = [a for a in range(64) if a == 0 or (a >= k > 0)]
        require(not any(part.linear[-1][a][k] for a in unknown), f"linear: {k} sees too much")
    return part


def check(layer: Layer, bounds: list[int], name: str, more: list[int] | None = None) -> None:
    for o, row in enumerate(layer.weight):
        require(max(map(abs, row)) <= 32767 and 0 <= layer.shift[o] <= 30, f"{name}: a number")
        terms: Iterator[int] = (abs(w) * bound for w, bound in zip(row, bounds, strict=False))
        total = sum(terms) + abs(layer.bias[o]) + (more[o] if more else 0)
        require(total < 2**31, f"{name}: a sum of {total}")
