"""A plain decoder of `.ncmz` files: FORMAT.md, section by section, in plain integers.

Written from FORMAT.md alone; it shares no code with the program, so that where the two differ, the
program, the page or this file has a bug. It goes pixel by pixel, uses no float but where section
4.4 does, and numpy only for arrays and int64 products. It is not fast and does not encode. The
heads and how they learn, sections 4.3 and 4.4, are in `heads`; how the layers before
them learn, section 4.5, in `body`; counts by colours, section 6.1, in `colours`.
"""

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from tests.plain_decoder.body import Body, Trace
from tests.plain_decoder.colours import Colours
from tests.plain_decoder.heads import Head, Seen, output_gradient

IntArray = NDArray[np.int64]

MAX_PIXELS = 2**20  # Section 8 leaves the limit to the decoder, and this one is slow.
STRENGTHS = [*range(8), *range(9, 16)]  # Those of 9 and more are of the body, too.
ADAPTATIONS = {  # By the number of planes; grey has no colour modes.
    1: STRENGTHS,
    3: [strength + 16 * mode for mode in range(4) for strength in STRENGTHS],
}
BY_TILE = 255
MAX_CONTENT_BYTES = 2**28  # Section 2's limit for metadata, used for models too.


class Refused(ValueError):
    """The file or a model is not one that FORMAT.md allows, or the file's model is not given."""


@dataclass(frozen=True)
class Decoded:
    """An image: `samples` [height, width, planes], and its metadata's records, `IDAT` too."""

    samples: NDArray[np.uint8]
    chunks: list[tuple[bytes, bytes]]


def decode(data: bytes, models: Sequence[bytes]) -> Decoded:
    """The image in the `.ncmz` file `data`, by that one of the `.ncpn` files which it names.

    Raises Refused if the file, or any of the models, is not as FORMAT.md says. Sections 1 and 8.
    """
    known = {model.identity: model for model in map(read_model, models)}
    file = Reader(data)
    require(file.take(4) == b"\x89NCZ", "the file does not begin with the magic of .ncmz")
    version, kind, adaptation, exponent = file.take(4)
    require(version == 1, f"version {version}, must be 1")
    require(kind <= 31, f"kind {kind}, must be 0 to 31")
    by_tile, planes = adaptation == BY_TILE, 3 if kind & 1 else 1
    require(by_tile or adaptation in ADAPTATIONS[planes], f"adaptation {adaptation} is reserved")
    require(5 <= exponent <= 14, f"tile exponent {exponent}, must be 5 to 14")
    identity = file.take(8)
    width, height = file.varint(), file.varint()
    require(1 <= width < 2**24 and 1 <= height < 2**24, f"{width} x {height} pixels")
    section_length = file.varint() if kind & 2 else 0
    rows, columns = -(-height >> exponent), -(-width >> exponent)
    require(rows * columns <= 2**16, f"{rows * columns} tiles, must be at most 65536")
    lengths = [file.varint() for _ in range(rows * columns)]
    file.check_crc(data[: file.at], "header")
    require(width * height <= MAX_PIXELS, f"{width} x {height} pixels are over {MAX_PIXELS}")
    require(identity in known, f"model {identity.hex()} is not among the {len(known)} given")
    rest = (section_length + 4 if kind & 2 else 0) + sum(lengths) + (8 + by_tile) * len(lengths)
    require(file.at + rest == len(data), f"{len(data)} bytes, should be {file.at + rest}")

    heights = [min(2**exponent, height - top) for top in range(0, height, 2**exponent)]
    widths = [min(2**exponent, width - left) for left in range(0, width, 2**exponent)]
    waves = sum(b + 2 * (a - 1) if kind < 16 else a + 2 * (b - 1) for a in heights for b in widths)
    short = 16 * waves > width * height and waves**2 > 729 * width * height
    require(by_tile or adaptation == 0 or not short, f"adaptation {adaptation} with short waves")

    chunks = read_chunks(file.take_checked(section_length, "metadata")) if kind & 2 else []
    samples = np.zeros((height, width, planes), dtype=np.uint8)
    side = 2**exponent
    for index, length in enumerate(lengths):
        top, left = index // columns * side, index % columns * side
        where = f"tile at row {top}, column {left}"
        payload = file.take_checked(length + by_tile, f"payload of the {where}")
        if by_tile:
            adaptation, payload = payload[0], payload[1:]
            require(
                adaptation in ADAPTATIONS[planes], f"{where}: adaptation {adaptation} is reserved"
            )
            require(adaptation == 0 or not short, f"{where}: it adapts with short waves")
        tile = samples[top : top + side, left : left + side]
        laid = tile[::-1] if kind & 4 else tile
        laid = laid[:, ::-1] if kind & 8 else laid
        laid = laid.transpose(1, 0, 2) if kind & 16 else laid
        laid[:] = decode_tile(payload, known[identity], *laid.shape, adaptation)
        file.check_crc(tile.tobytes(), where)
    return Decoded(samples, chunks)


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


class Reader:
    """Bytes taken from the front, never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        have = len(self.data) - self.at
        require(count <= have, f"{count} bytes needed at offset {self.at}, there are {have}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for place in range(5):
            (byte,) = self.take(1)
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                require(byte > 0 or place == 0, f"the varint before {self.at} ends in a zero")
                return value
        raise Refused(f"the varint before {self.at} is longer than five bytes")

    def check_crc(self, content: bytes, what: str) -> None:
        require(self.u32() == zlib.crc32(content), f"{what}: does not match its CRC-32")

    def take_checked(self, count: int, what: str) -> bytes:
        content = self.take(count)
        self.check_crc(content, what)
        return content


# Section 2: metadata.


def read_chunks(section: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a metadata section, in order."""
    content = Reader(decompress(section, "metadata"))
    chunks = []
    while content.at < len(content.data):
        length, kind = content.u32(), content.take(4)
        chunks.append((kind, content.take(length)))
    marks = [data for kind, data in chunks if kind == b"IDAT"]
    require(marks == [b""], "metadata: must have one record IDAT, and that empty")
    require(len(chunks) <= 2**16, f"metadata: {len(chunks)} records, must be at most 2^16")
    kinds = [kind for kind, _ in chunks]
    require(b"IHDR" not in kinds, "metadata: a record IHDR")
    require(b"IEND" not in kinds[:-1], "metadata: a record IEND that is not the last")
    require(chunks[-1] != (b"IEND", b""), "metadata: an empty record IEND")
    return chunks


def decompress(frame: bytes, what: str) -> bytes:
    """The content of one zstd frame that states its size and is followed by nothing."""
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        # A size that is not stated reads as 2^64 - 1.
        require(size <= MAX_CONTENT_BYTES, f"{what}: states no size, or over {MAX_CONTENT_BYTES}")
        content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused(f"{what}: not one whole zstd frame ({error})") from error
    require(len(content) == size, f"{what}: {len(content)} bytes, its frame states {size}")
    return content


# Section 3: wave order.


def decode_tile(
    payload: bytes, model: "Model", height: int, width: int, planes: int, adaptation: int
) -> NDArray[np.uint8]:
    """The samples [height, width, planes] of a tile."""
    network = Network(model, height, width, adaptation % 16)
    colours = Colours(adaptation // 16)
    decoder = RangeDecoder(payload)
    for wave in range(width + 2 * (height - 1)):
        pixels = [(i, wave - 2 * i) for i in range(height) if 0 <= wave - 2 * i < width]
        for i, j in pixels:
            network.compute_body(i, j)
        for c in range(planes):
            mixtures = [network.distribution(c, i, j) for i, j in pixels]
            coloured = [
                colours.coloured(c, each.function, (network.d[pixel][:c] + 128).tolist())
                for pixel, each in zip(pixels, mixtures, strict=True)
                if colours.stages(c)
            ]
            by_colours = [each.high_counts() for each in coloured]
            highs = [
                decoder.symbol(each)
                for each in by_colours or [high_counts(each.function) for each in mixtures]
            ]
            for index, ((i, j), high) in enumerate(zip(pixels, highs, strict=True)):
                if coloured and coloured[index].is_open(high):
                    low = decoder.symbol(coloured[index].low_counts(high))
                else:
                    low = decoder.symbol(low_counts(mixtures[index].function, high))
                # A grey image is computed as an RGB image with three equal planes.
                network.d[i, j, c if planes == 3 else slice(None)] = 16 * high + low - 128
            if coloured:
                colours.learn(coloured, [int(network.d[i, j, c]) + 128 for i, j in pixels])
            if adaptation % 16:
                network.learn(c, wave, pixels, mixtures)
        if network.body.learns and pixels:
            network.body.learn([network.traces.pop(pixel) for pixel in pixels], planes)
    return (network.d[:, :, :planes] + 128).astype(np.uint8)


# Section 4: the network.


def leaky(v: IntArray) -> IntArray:
    y: IntArray = np.maximum(v, v >> 3)
    return y


class Network:
    """The network at work on one tile.

    d: sample - 128 [row, column, plane], of the pixels decoded. r: their references, likewise.
    h: [block, row, column, channel], with t as that of one block more. seen: what the head of each
    plane computed for the pixels of the wave at hand; traces: what the body did.
    """

    def __init__(self, model: "Model", height: int, width: int, adaptation: int) -> None:
        channels = len(model.layers["first"].bias)
        self.model = model
        self.height = height
        self.width = width
        self.d: IntArray = np.zeros((height, width, 3), dtype=np.int64)
        self.r: IntArray = np.zeros((height, width, 3), dtype=np.int64)
        self.h: IntArray = np.zeros((model.blocks + 1, height, width, channels), dtype=np.int64)
        self.heads = [
            Head(
                model.layers[f"heads.{c}.trunk"],
                model.layers.get(f"heads.{c}.earlier"),
                model.layers[f"heads.{c}.out"],
                model.components,
                adaptation % 8,
            )
            for c in range(3)
        ]
        self.body = Body(model, self.heads, adaptation % 8 if adaptation > 8 else 0)
        self.traces: dict[tuple[int, int], Trace] = {}
        self.seen: dict[tuple[int, int, int], Seen] = {}

    def compute_body(self, i: int, j: int) -> None:
        """Sets r and h of pixel (i, j). Sections 4.1, the reference, and 4.2."""
        west, north, north_east = (
            self.neighbour(self.d, i + di, j + dj) for di, dj in ((0, -1), (-1, 0), (-1, 1))
        )
        if i == 0:
            north = north_east = west
        if j == 0:
            west = north
        if j == self.width - 1:
            north_east = north
        self.r[i, j] = 2 * west + north + north_east

        layers, sigmoid = self.body.layers, self.model.tables["sigmoid"]
        trace = Trace(self.inputs(i, j))
        x = layers["first"](trace.inputs)
        for b in range(self.model.blocks):
            self.h[b, i, j] = leaky(x)
            near = [self.neighbour(self.h[b], i + m, j + n) for m, n in self.model.neighbours]
            y = layers[f"blocks.{b}.taps"](np.concatenate(near))
            v = layers[f"blocks.{b}.gate"](leaky(y))
            trace.x.append(x)
            trace.near.append(np.concatenate(near))
            trace.y.append(y)
            trace.v.append(v)
            a, g = np.split(v, 2)
            gate = np.array([sigmoid[each + 2047] for each in g.tolist()])
            x = np.clip(x + ((a * gate + 1024) >> 11), -2047, 2047)
        self.h[self.model.blocks, i, j] = leaky(x)
        trace.x.append(x)
        if self.body.learns:
            self.traces[i, j] = trace

    def inside(self, i: int, j: int) -> bool:
        return 0 <= i < self.height and 0 <= j < self.width

    def neighbour(self, values: IntArray, i: int, j: int) -> IntArray:
        """The vector at (i, j) of `values` [row, column, ...]; zeros outside."""
        vector: IntArray = values[i, j] if self.inside(i, j) else np.zeros_like(values[0, 0])
        return vector

    def inputs(self, i: int, j: int) -> IntArray:
        """The input vector of the layer `first`. Section 4.1."""
        r = self.r[i, j]
        e = {
            (m, n): (4 * self.neighbour(self.d, i + m, j + n) - r) * self.inside(i + m, j + n)
            for m, n in self.model.window
        }
        coarse = [e[offset] for offset in self.model.window]
        fine = [np.clip(g * e[offset], -256, 256) for g in (4, 16) for offset in self.model.near]
        flags = [128 * self.inside(i + m, j + n) for m, n in ((0, -1), (-1, 0), (-1, 1))]
        return np.concatenate([*coarse, *fine, r, flags])

    def distribution(self, c: int, i: int, j: int) -> "Mixture":
        """The distribution of plane c of pixel (i, j). Section 4.3."""
        e = self.earlier(c, i, j)
        f = [clip(g * each, 256) for each in e for g in (4, 16, 1)]
        t = self.h[self.model.blocks, i, j]
        seen = self.heads[c].compute(t, np.array(f, dtype=np.int64), i, j)
        self.seen[c, i, j] = seen
        return mixture(self.model, seen.o, int(self.r[i, j, c]), e)

    def learn(
        self, c: int, wave: int, pixels: list[tuple[int, int]], mixtures: list["Mixture"]
    ) -> None:
        """Changes the head of plane c after the samples of a wave are known. Section 4.4."""
        seen = [self.seen.pop((c, i, j)) for i, j in pixels]
        gradients = [
            output_gradient(each, known.o, self.earlier(c, i, j), int(self.d[i, j, c]) + 128)
            for (i, j), each, known in zip(pixels, mixtures, seen, strict=True)
        ]
        self.heads[c].learn(wave, seen, gradients)

    def earlier(self, c: int, i: int, j: int) -> list[int]:
        """e of the planes before plane c of pixel (i, j)."""
        e: list[int] = (4 * self.d[i, j, :c] - self.r[i, j, :c]).tolist()
        return e


# Section 5: the distribution.


def clip(x: int, m: int) -> int:
    return min(max(x, -m), m)


@dataclass(frozen=True)
class Mixture:
    """The distribution of a sample: one entry for each component, and the logistic table."""

    weight: list[int]
    mean: list[int]
    mantissa: list[int]
    shift: list[int]
    logistic: list[int]

    def function(self, v: int) -> int:
        """F, on 0 to 256."""
        if v in (0, 256):
            return 2**30 if v else 0
        return sum(w * level for w, level in zip(self.weight, self.levels(v), strict=True))

    def levels(self, v: int) -> list[int]:
        """L of each component at boundary v."""
        levels = []
        for place in self.places(v):
            z = place + 131072
            low, high = self.logistic[z >> 8], self.logistic[(z >> 8) + 1]
            levels.append(low + (((high - low) * (z & 255) + 128) >> 8))
        return levels

    def places(self, v: int) -> list[int]:
        """z of each component at boundary v, without the + 131072."""
        parts = zip(self.mean, self.mantissa, self.shift, strict=True)
        places = [((64 * v - 8224 - mean) * mantissa) >> shift for mean, mantissa, shift in parts]
        return [min(max(each, -131072), 131071) for each in places]


def mixture(model: "Model", o: list[int], r: int, e: list[int]) -> Mixture:
    """The distribution of a sample: o of its plane, its r, and e of the planes before."""
    k = model.components
    logits, means, scales, coefficients = o[:k], o[k : 2 * k], o[2 * k : 3 * k], o[3 * k :]
    raw = [model.tables["exponential"][min(max(logits) - logit, 1023)] for logit in logits]
    weight = [each * 2**14 // sum(raw) for each in raw]
    weight[0] += 2**14 - sum(weight)
    shifts = [(clip(x, 2047) * y + 8) >> 4 for x, y in zip(coefficients, e, strict=True)]
    indices = [min(max(s, -256), 320) + 256 for s in scales]
    return Mixture(
        weight=weight,
        mean=[clip(m + 16 * r + sum(shifts), 16320) for m in means],
        mantissa=[model.tables["scale_mantissa"][index] for index in indices],
        shift=[model.tables["scale_shift"][index] for index in indices],
        logistic=model.tables["logistic"],
    )


# Section 6: counts and the coder.


def high_counts(function: Callable[[int], int]) -> list[int]:
    """C(0) = 0, ..., C(16) = 2^24 of the high nibbles."""
    a = [function(16 * n) for n in range(17)]
    return [(a[n] >> 6) - (a[n] >> 26) + n for n in range(17)]


def low_counts(function: Callable[[int], int], high: int) -> list[int]:
    """C(0) = 0, ..., C(16) = 2^24 of the low nibbles, given the high nibble."""
    b = [function(16 * high + n) - function(16 * high) for n in range(17)]
    if b[16] == 0:
        return [n * 2**20 for n in range(17)]
    ratio = (2**24 - 16) * 2**36 // b[16]
    return [((b[n] * ratio) >> 36) + n for n in range(16)] + [2**24]


class RangeDecoder:
    """The symbols of a payload, in the order in which they were coded."""

    def __init__(self, payload: bytes) -> None:
        require(len(payload) % 4 == 0, f"payload: {len(payload)} bytes are not whole words")
        self.words = (word for (word,) in struct.iter_unpack("<I", payload))
        self.lower = 0
        self.range = 2**64 - 1
        self.point = next(self.words, 0) * 2**32 + next(self.words, 0)

    def symbol(self, cumulative: list[int]) -> int:
        """The next symbol, 0 to 15, given C(0) = 0, ..., C(16) = 2^24."""
        scale = self.range >> 24
        q = (self.point - self.lower) % 2**64 // scale
        require(q < 2**24, "payload: the range coder's point is outside its range")
        n = bisect_right(cumulative, q) - 1
        self.lower = (self.lower + scale * cumulative[n]) % 2**64
        self.range = scale * (cumulative[n + 1] - cumulative[n])
        if self.range < 2**32:
            self.lower = self.lower * 2**32 % 2**64
            self.range *= 2**32
            self.point = (self.point * 2**32 + next(self.words, 0)) % 2**64
        return n


# Section 7: model files.

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
    """A network and its tables; `identity` is the first 8 bytes of its SHA-256."""

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
    identity = hashlib.sha256(text + content).digest()[:8]
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
