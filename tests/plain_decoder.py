"""A plain decoder of `.ncmz` files: FORMAT.md, section by section, in plain integers.

Written from FORMAT.md alone; it shares no code with the program, so that where the two differ, the
program, the page or this file has a bug. It goes pixel by pixel, uses no float anywhere, and
numpy only for arrays and int64 products. It is not fast and does not encode.
"""

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Offset = tuple[int, int]

MAX_PIXELS = 2**20  # Section 8 leaves the limit to the decoder; this one is slow.
MAX_CONTENT_BYTES = 2**28  # Section 2's limit for metadata, used for models too.


class Refused(ValueError):
    """The file or model is not one that FORMAT.md allows, or none of the models fits."""


@dataclass(frozen=True)
class Decoded:
    """An image: uint8 `samples` [height, width, planes] and its metadata records, `IDAT` too."""

    samples: NDArray[np.uint8]
    chunks: list[tuple[bytes, bytes]]


def decode(data: bytes, models: Sequence[bytes]) -> Decoded:
    """The image in the `.ncmz` file `data`, by that one of the `.ncpn` files which it names.

    Raises Refused if the file, or any of the models, is not as FORMAT.md says.
    """
    known = {model.identity: model for model in map(read_model, models)}
    file = read_container(data)
    if file.identity not in known:
        raise Refused(f"model {file.identity.hex()} is not among the {len(known)} given")
    samples = np.zeros((file.height, file.width, file.planes), dtype=np.uint8)
    corners = (
        (top, left)
        for top in range(0, file.height, file.side)
        for left in range(0, file.width, file.side)
    )
    for (top, left), (payload, checksum) in zip(corners, file.tiles, strict=True):
        tile = samples[top : top + file.side, left : left + file.side]
        tile[:] = decode_tile(
            payload, tile.shape[0], tile.shape[1], file.planes, known[file.identity]
        )
        if zlib.crc32(tile.tobytes()) != checksum:
            raise Refused(
                f"tile at row {top}, column {left}: its samples do not match their CRC-32"
            )
    return Decoded(samples, file.chunks)


# Section 1: the file.


class Reader:
    """Bytes taken from the front, never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        have = len(self.data) - self.at
        if count > have:
            raise Refused(f"{what}: needs {count} bytes at offset {self.at}, there are {have}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def varint(self, what: str) -> int:
        value = 0
        for place in range(5):
            byte = self.take(1, what)[0]
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                if byte == 0 and place > 0:
                    raise Refused(f"{what}: its varint ends in a zero byte")
                return value
        raise Refused(f"{what}: its varint is longer than five bytes")

    def check_crc(self, content: bytes, what: str) -> None:
        if self.u32(f"CRC-32 of the {what}") != zlib.crc32(content):
            raise Refused(f"{what}: does not match its CRC-32")

    def check_end(self, what: str) -> None:
        if self.at != len(self.data):
            raise Refused(f"{what}: {len(self.data) - self.at} bytes too many")


@dataclass(frozen=True)
class Container:
    """What a file says of itself; `tiles` are payloads, each with the CRC-32 of its samples."""

    identity: bytes
    height: int
    width: int
    planes: int
    side: int
    chunks: list[tuple[bytes, bytes]]
    tiles: list[tuple[bytes, int]]


def read_container(data: bytes) -> Container:
    """The parts of a file, checked but for the samples' checksums."""
    file = Reader(data)
    if file.take(4, "magic") != b"\x89NCZ":
        raise Refused("the file does not begin with the magic of .ncmz")
    version, kind, adaptation, exponent = file.take(4, "header")
    if version != 1 or kind > 3 or adaptation != 0 or not 5 <= exponent <= 14:
        raise Refused(
            f"version {version}, kind {kind}, adaptation {adaptation}, tile exponent {exponent}: "
            "must be 1, 0 to 3, 0, 5 to 14"
        )
    identity = file.take(8, "model identity")
    width, height = file.varint("width"), file.varint("height")
    if not (1 <= width < 2**24 and 1 <= height < 2**24):
        raise Refused(f"width {width}, height {height}: must be 1 to 2^24 - 1")
    section_length = file.varint("length of the metadata") if kind & 2 else 0
    tile_count = -(-width >> exponent) * -(-height >> exponent)
    lengths = [file.varint(f"length of payload {index}") for index in range(tile_count)]
    file.check_crc(data[: file.at], "header")
    if width * height > MAX_PIXELS:
        raise Refused(f"{width} x {height} pixels are more than {MAX_PIXELS}")

    section = file.take(section_length, "metadata")
    if kind & 2:
        file.check_crc(section, "metadata")
    tiles = []
    for index, length in enumerate(lengths):
        payload = file.take(length, f"payload {index}")
        file.check_crc(payload, f"payload {index}")
        tiles.append((payload, file.u32(f"CRC-32 of the samples of tile {index}")))
    file.check_end("file")
    chunks = read_chunks(section) if kind & 2 else []
    return Container(identity, height, width, 3 if kind & 1 else 1, 2**exponent, chunks, tiles)


# Section 2: metadata.


def read_chunks(section: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a metadata section, in order."""
    content = Reader(decompress(section, "metadata"))
    chunks = []
    while content.at < len(content.data):
        length, kind = content.u32("length of a record"), content.take(4, "type of a record")
        chunks.append((kind, content.take(length, f"record {kind!r}")))
    if [data for kind, data in chunks if kind == b"IDAT"] != [b""]:
        raise Refused("metadata: must have one record IDAT, and that empty")
    return chunks


def decompress(frame: bytes, what: str) -> bytes:
    """The content of one zstd frame that states its size and is followed by nothing."""
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        if size > MAX_CONTENT_BYTES:  # A size that is not stated reads as 2^64 - 1.
            raise Refused(f"{what}: its zstd frame states no size, or over {MAX_CONTENT_BYTES}")
        content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused(f"{what}: not one whole zstd frame ({error})") from error
    if len(content) != size:
        raise Refused(f"{what}: its zstd frame states {size} bytes and has {len(content)}")
    return content


# Section 3: wave order.


def decode_tile(
    payload: bytes, height: int, width: int, planes: int, model: "Model"
) -> NDArray[np.uint8]:
    """The samples [height, width, planes] of a tile."""
    network = Network(model, height, width)
    decoder = RangeDecoder(payload)
    for wave in range(width + 2 * (height - 1)):
        pixels = [(i, wave - 2 * i) for i in range(height) if 0 <= wave - 2 * i < width]
        references = [network.reference(i, j) for i, j in pixels]
        bodies = [network.body(i, j, r) for (i, j), r in zip(pixels, references, strict=True)]
        for c in range(planes):
            distributions = [
                Distribution(model, *network.head(c, i, j, r, t))
                for (i, j), r, t in zip(pixels, references, bodies, strict=True)
            ]
            highs = [decoder.symbol(high_counts(each)) for each in distributions]
            lows = [
                decoder.symbol(low_counts(each, high))
                for each, high in zip(distributions, highs, strict=True)
            ]
            for (i, j), high, low in zip(pixels, highs, lows, strict=True):
                # A grey image is computed as an RGB image with three equal planes.
                network.levels[i, j, c if planes == 3 else slice(None)] = 16 * high + low - 128
    return (network.levels[:, :, :planes] + 128).astype(np.uint8)


# Section 4: the network.


def clip(x: int, m: int) -> int:
    return min(max(x, -m), m)


def leaky(v: IntArray) -> IntArray:
    return np.maximum(v, v >> 3)


@dataclass
class Network:
    """The network at work on one tile: its `levels` so far and the `h` of pixels computed.

    levels: [height, width, plane], sample - 128. h: [block, height, width, channel].
    """

    model: "Model"
    height: int
    width: int
    levels: IntArray = field(init=False)
    h: IntArray = field(init=False)

    def __post_init__(self) -> None:
        channels = len(self.model.layers["first"].bias)
        self.levels = np.zeros((self.height, self.width, 3), dtype=np.int64)
        self.h = np.zeros((self.model.blocks, self.height, self.width, channels), dtype=np.int64)

    def inside(self, i: int, j: int) -> bool:
        return 0 <= i < self.height and 0 <= j < self.width

    def reference(self, i: int, j: int) -> IntArray:
        """r [plane] of a pixel, section 4.1."""
        outside = np.zeros(3, dtype=np.int64)
        west = self.levels[i, j - 1] if self.inside(i, j - 1) else outside
        north = self.levels[i - 1, j] if self.inside(i - 1, j) else outside
        north_east = self.levels[i - 1, j + 1] if self.inside(i - 1, j + 1) else outside
        if i == 0:
            north = north_east = west
        if j == 0:
            west = north
        if j == self.width - 1:
            north_east = north
        return 2 * west + north + north_east

    def inputs(self, i: int, j: int, r: IntArray) -> IntArray:
        """The input vector of the layer `first`, section 4.1."""
        e = {
            (di, dj): 4 * self.levels[i + di, j + dj] - r
            if self.inside(i + di, j + dj)
            else np.zeros(3, dtype=np.int64)
            for di, dj in self.model.window
        }
        coarse = [e[offset] for offset in self.model.window]
        fine = [np.clip(g * e[offset], -256, 256) for g in (4, 16) for offset in self.model.near]
        flags = [128 * self.inside(i + di, j + dj) for di, dj in ((0, -1), (-1, 0), (-1, 1))]
        return np.concatenate([*coarse, *fine, r, np.array(flags, dtype=np.int64)])

    def body(self, i: int, j: int, r: IntArray) -> IntArray:
        """t of a pixel; keeps its h for the pixels of later waves. Section 4.2."""
        layers, sigmoid = self.model.layers, self.model.sigmoid
        x = layers["first"](self.inputs(i, j, r))
        for b in range(self.model.blocks):
            self.h[b, i, j] = leaky(x)
            taps = [
                self.h[b, i + di, j + dj] if self.inside(i + di, j + dj) else np.zeros_like(x)
                for di, dj in self.model.neighbours
            ]
            u = leaky(layers[f"blocks.{b}.taps"](np.concatenate(taps)))
            a, g = np.split(layers[f"blocks.{b}.gate"](u), 2)
            x = np.clip(x + ((a * sigmoid[g + 2047] + 1024) >> 11), -2047, 2047)
        return leaky(x)

    def head(
        self, c: int, i: int, j: int, r: IntArray, t: IntArray
    ) -> tuple[list[int], int, list[int]]:
        """o of plane c, r[c], and e of the planes before c. Section 4.3."""
        layers = self.model.layers
        e = 4 * self.levels[i, j, :c] - r[:c]
        z = layers[f"heads.{c}.trunk"](t)
        if c > 0:
            f = np.clip(np.stack([4 * e, 16 * e, e], axis=1).reshape(-1), -256, 256)
            z = np.clip(z + layers[f"heads.{c}.earlier"](f), -2047, 2047)
        return layers[f"heads.{c}.out"](leaky(z)).tolist(), int(r[c]), e.tolist()


# Section 5: the distribution.


class Distribution:
    """The distribution function F of one sample, from `Network.head`'s o, r[c] and e."""

    def __init__(self, model: "Model", o: list[int], r: int, e: list[int]) -> None:
        k = model.components
        logits, means, scales, coefficients = o[:k], o[k : 2 * k], o[2 * k : 3 * k], o[3 * k :]
        raw = [model.exponential[min(max(logits) - logit, 1023)] for logit in logits]
        weights = [(each * 2**14) // sum(raw) for each in raw]
        weights[0] += 2**14 - sum(weights)
        earlier = sum(
            (clip(coefficient, 2047) * error + 8) >> 4
            for coefficient, error in zip(coefficients, e, strict=True)
        )
        self.logistic = model.logistic
        self.components = []
        for weight, mean, scale in zip(weights, means, scales, strict=True):
            index = min(max(scale, -256), 320) + 256
            mantissa, shift = model.scale_mantissa[index], model.scale_shift[index]
            self.components.append((weight, clip(mean + 16 * r + earlier, 16320), mantissa, shift))

    def at(self, v: int) -> int:
        """F(v) of the boundary v, 0 to 256; F(256) is 2^30."""
        if v in (0, 256):
            return 2**30 if v else 0
        total = 0
        for weight, mean, mantissa, shift in self.components:
            z = ((64 * v - 8224 - mean) * mantissa) >> shift
            z = min(max(z, -131072), 131071) + 131072
            q, f = z >> 8, z & 255
            low, high = self.logistic[q], self.logistic[q + 1]
            total += weight * (low + (((high - low) * f + 128) >> 8))
        return total


# Section 6: counts and the coder.


def high_counts(distribution: Distribution) -> list[int]:
    """C(0) = 0, ..., C(16) = 2^24 of the high nibbles."""
    a = [distribution.at(16 * n) for n in range(17)]
    return [(a[n] >> 6) - (a[n] >> 26) + n for n in range(17)]


def low_counts(distribution: Distribution, high: int) -> list[int]:
    """C(0) = 0, ..., C(16) = 2^24 of the low nibbles under the high nibble `high`."""
    start = distribution.at(16 * high)
    b = [distribution.at(16 * high + n) - start for n in range(17)]
    if b[16] == 0:
        return [n * 2**20 for n in range(17)]
    ratio = ((2**24 - 16) * 2**36) // b[16]
    return [((b[n] * ratio) >> 36) + n for n in range(16)] + [2**24]


class RangeDecoder:
    """The symbols of a payload, in the order in which they were coded."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) % 4:
            raise Refused(f"payload: {len(payload)} bytes are not a whole number of words")
        self.words = iter(struct.unpack(f"<{len(payload) // 4}I", payload))
        self.lower = 0
        self.range = 2**64 - 1
        self.point = next(self.words, 0) * 2**32 + next(self.words, 0)

    def symbol(self, cumulative: list[int]) -> int:
        """The next symbol, 0 to 15, given C(0) = 0 to C(16) = 2^24."""
        scale = self.range >> 24
        q = ((self.point - self.lower) % 2**64) // scale
        if q >= 2**24:
            raise Refused("payload: the range coder met a point outside its range")
        n = bisect_right(cumulative, q) - 1
        self.lower = (self.lower + scale * cumulative[n]) % 2**64
        self.range = scale * (cumulative[n + 1] - cumulative[n])
        if self.range < 2**32:
            self.lower = (self.lower * 2**32) % 2**64
            self.range *= 2**32
            self.point = (self.point * 2**32 + next(self.words, 0)) % 2**64
        return n


# Section 7: model files.


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
    window: list[Offset]
    near: list[Offset]
    neighbours: list[Offset]
    components: int
    blocks: int
    layers: dict[str, Layer]
    sigmoid: IntArray
    exponential: list[int]
    scale_mantissa: list[int]
    scale_shift: list[int]
    logistic: list[int]


def read_model(data: bytes) -> Model:
    """The model in a `.ncpn` file, after all checks of section 7."""
    if len(data) < 16 or data[:8] != b"\x89NCPN\x01\r\n":
        raise Refused("the model does not begin with the magic of .ncpn")
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Refused("the model does not match its CRC-32")
    file = Reader(data[8:-4])
    text = file.take(file.u32("length of the description"), "description")
    description = read_description(text)
    content = decompress(file.data[file.at :], "tensors")
    window, near, neighbours = (
        [(di, dj) for di, dj in description[key]] for key in ("window", "near", "neighbours")
    )

    tensors: dict[str, IntArray] = {}
    values = Reader(content)
    for name, dtype, shape in description["tensors"]:
        count = prod(shape)
        taken = values.take(count * int(dtype[-1]), name)
        tensors[name] = np.frombuffer(taken, dtype).astype(np.int64).reshape(shape)
    values.check_end("tensors")

    layers = {}
    for name in [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]:
        limit = 32767 if name.startswith("heads.") and name.endswith(".out") else 2047
        weight, bias, shift = (tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        layers[name] = Layer(weight, bias, shift, limit)
        bounds = [256 if name.endswith(".earlier") else 2047] * weight.shape[1]
        if name == "first":
            bounds = [1020] * 3 * len(window) + [256] * 6 * len(near) + [512] * 3 + [128] * 3
        if np.abs(weight).max() > 2047 or shift.min() < 0 or shift.max() > 24:
            raise Refused(f"layer {name}: a weight over 2047 or a shift outside 0 to 24")
        if (np.abs(weight) @ np.array(bounds) + np.abs(bias)).max() >= 2**24:
            raise Refused(f"layer {name}: a sum may reach 2^24")

    tables = {name: tensors[f"tables.{name}"] for name in TABLES}
    for name, (_, least, most) in TABLES.items():
        if tables[name].min() < least or tables[name].max() > most:
            raise Refused(f"table {name}: an entry is not in {least} to {most}")
    steps = np.diff(tables["logistic"])
    if tables["exponential"][0] != 2**16 or steps.min() < 0 or steps.max() > 4096:
        raise Refused("tables: exponential must begin with 2^16, logistic rise by 0 to 4096 a step")
    lists = {name: table.tolist() for name, table in tables.items() if name != "sigmoid"}
    identity = hashlib.sha256(text + content).digest()[:8]
    k, blocks = description["components"], description["blocks"]
    return Model(identity, window, near, neighbours, k, blocks, layers, tables["sigmoid"], **lists)


TABLES = {  # name: length, least entry, greatest entry
    "sigmoid": (4095, 0, 2**11),
    "exponential": (1024, 0, 2**16),
    "scale_mantissa": (577, 1, 2**13 - 1),
    "scale_shift": (577, 0, 31),
    "logistic": (1025, 0, 2**16),
}


def read_description(text: bytes) -> dict[str, Any]:
    """A model's description, exactly as section 7 writes it."""
    try:
        given = json.loads(text.decode("ascii"))
        window, near, neighbours = (
            read_offsets(given[key]) for key in ("window", "near", "neighbours")
        )
        blocks, components = whole(given["blocks"], 0), whole(given["components"], 1)
        shapes = {name: shape for name, _, shape in given["tensors"]}

        def outputs(name: str) -> int:
            return whole(shapes[f"{name}.weight"][0], 1)

        inputs = 3 * len(window) + 6 * len(near) + 6
        tensors: list[tuple[str, str, list[int]]] = []
        for name, rows, columns in layer_shapes(
            outputs, inputs, len(neighbours), blocks, components
        ):
            tensors.append((f"{name}.weight", "<i2", [rows, columns]))
            tensors.append((f"{name}.bias", "<i4", [rows]))
            tensors.append((f"{name}.shift", "<i2", [rows]))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise Refused(f"description: {type(error).__name__}: {error}") from error
    tensors += [(f"tables.{name}", "<i4", [length]) for name, (length, _, _) in TABLES.items()]
    expected: dict[str, Any] = {
        "kind": "wave-1",
        "window": window,
        "near": near,
        "neighbours": neighbours,
        "components": components,
        "blocks": blocks,
        "tensors": tensors,
    }
    if json.dumps(expected, sort_keys=True, separators=(",", ":")).encode() != text:
        raise Refused("description: keys, tensors, shapes or the writing differ from section 7")
    if components > 16 or not set(near) <= set(window):
        raise Refused(f"description: {components} components, or near not a part of window")
    if any(dj + 2 * di >= 0 for di, dj in [*window, *near, *set(neighbours) - {(0, 0)}]):
        raise Refused("description: an offset of a pixel that is not decoded before")
    return expected


def whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise Refused(f"{value!r} must be a whole number and at least {least}")
    return value


def read_offsets(pairs: Any) -> list[Offset]:
    offsets = [(whole(di, -8), whole(dj, -8)) for di, dj in pairs]
    if not offsets or max(map(max, offsets)) > 8:
        raise Refused("a list of offsets is empty or has one beyond 8")
    return offsets


def layer_shapes(
    outputs: Callable[[str], int], inputs: int, neighbours: int, blocks: int, components: int
) -> Iterator[tuple[str, int, int]]:
    """Name, outputs and inputs of every layer in order; `outputs` are those the file states."""
    channels = outputs("first")
    yield "first", channels, inputs
    for b in range(blocks):
        hidden = outputs(f"blocks.{b}.taps")
        yield f"blocks.{b}.taps", hidden, neighbours * channels
        yield f"blocks.{b}.gate", 2 * channels, hidden
    for c in range(3):
        hidden = outputs(f"heads.{c}.trunk")
        yield f"heads.{c}.trunk", hidden, channels
        if c > 0:
            yield f"heads.{c}.earlier", hidden, 3 * c
        yield f"heads.{c}.out", 3 * components + c, hidden
