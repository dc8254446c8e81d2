"""A tile's walk through the network: FORMAT.md, sections 3 to 6, in plain integers.

It goes pixel by pixel, uses no float but where section 4.4 does, and numpy only for arrays and
int64 products. The heads and how they learn, sections 4.3 and 4.4, are in `heads`; how the layers
before them learn, section 4.5, in `body`; counts by colours, section 6.1, in `colours`.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.plain_decoder.body import Body, Trace
from tests.plain_decoder.colours import Colours
from tests.plain_decoder.heads import Head, Seen, output_gradient
from tests.plain_decoder.model import IntArray, Model
from tests.plain_decoder.reading import require

# Section 3: wave order.


def decode_tile(
    payload: bytes, model: Model, height: int, width: int, planes: int, adaptation: int
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

    def __init__(self, model: Model, height: int, width: int, adaptation: int) -> None:
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


def mixture(model: Model, o: list[int], r: int, e: list[int]) -> Mixture:
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
