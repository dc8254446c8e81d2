"""The numpy engine's layers: whole numbers in float32.

Products of whole numbers with sums below 2**24 are exact (`integer_network.check` proves it),
multiplying by a power of two and `floor` are exact, so `floor(sum * 2**-shift)` is the arithmetic
shift.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from ncml_codec.network.integer_network import (
    FEATURE_GAINS,
    FEATURE_MAX,
    GATE_BITS,
    INPUT_UNIT,
    LEAK_SHIFT,
    PLANES,
    Integers,
    Layer,
    Network,
)
from ncml_codec.network.wave_order import Tap

Floats = npt.NDArray[np.float32]
P = ParamSpec("P")
R = TypeVar("R")

WEST, NORTH, NORTH_EAST = (0, -1), (-1, 0), (-1, 1)


class Layers:
    """A network's layers, each as a `Product`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.first = Product(network.first)
        self.blocks = [(Product(b.taps), Product(b.gate)) for b in network.blocks]
        self.trunks = [Product(head.trunk) for head in network.heads]
        self.earlier = [
            None if head.earlier is None else Product(head.earlier) for head in network.heads
        ]
        self.outs = [Product(head.out) for head in network.heads]
        self.sigmoid = network.tables.sigmoid.astype(np.float32)

    def first_inputs(self, slices: Mapping[Tap, Floats], reference: Floats) -> Floats:
        """Inputs of the first layer, in the order of FORMAT.md, "Inputs".

        slices: neighbours of every pixel, [pixels, 4]: 4 (x - 128) by plane, and 1 if inside.
        reference: 2 W + N + NE of x - 128, [pixels, 3].
        """
        network = self.network
        residuals: dict[Tap, Floats] = {
            tap: (slices[tap][:, :PLANES] - reference) * slices[tap][:, PLANES:]
            for tap in network.window
        }
        near = np.concatenate([residuals[tap] for tap in network.near], axis=1)
        flags = [slices[tap][:, PLANES:] for tap in (WEST, NORTH, NORTH_EAST)]
        parts: list[Floats] = [residuals[tap] for tap in network.window]
        parts += [np.clip(near * gain, -FEATURE_MAX, FEATURE_MAX) for gain in FEATURE_GAINS[:2]]
        parts += [reference, *(flag * np.float32(INPUT_UNIT) for flag in flags)]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def block(self, index: int, neighbours: Floats, x: Floats) -> Floats:
        """x after a residual block."""
        taps, gate = self.blocks[index]
        return gated(x, gate(leaky(taps(neighbours))), self.sigmoid)

    def head(self, plane: int, trunk: Floats, features: Floats | None) -> Integers:
        """The outputs of a plane's head, [n, 3 k + plane]."""
        z = self.trunks[plane](trunk)
        earlier = self.earlier[plane]
        if earlier is not None and features is not None:
            z += earlier(features)
            np.clip(z, -earlier.limit, earlier.limit, out=z)
        return self.outs[plane](leaky(z)).astype(np.int32)


class Product:
    """clip(floor((a @ weight + bias) 2**-shift)) of whole numbers in float32."""

    def __init__(self, layer: Layer) -> None:
        self.weight = np.ascontiguousarray(layer.weight.T, dtype=np.float32)
        self.bias = layer.bias.astype(np.float32)
        self.scale = np.ldexp(np.float32(1), -layer.shift).astype(np.float32)
        self.limit = np.float32(layer.limit)

    def __call__(self, inputs: Floats) -> Floats:
        out: Floats = inputs @ self.weight
        out += self.bias
        out *= self.scale
        np.floor(out, out=out)
        np.clip(out, -self.limit, self.limit, out=out)
        return out


def without_warnings(function: Callable[P, R]) -> Callable[P, R]:
    """BLAS may compute beyond a small matrix, in registers that nobody reads; numpy warns of what
    it finds there ("invalid value encountered in matmul"), which would be told to users."""

    @functools.wraps(function)
    def silent(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(invalid="ignore"):
            return function(*args, **kwargs)

    return silent


def leaky(x: Floats) -> Floats:
    out: Floats = x * np.float32(2.0**-LEAK_SHIFT)
    np.floor(out, out=out)
    np.maximum(x, out, out=out)
    return out


def gated(x: Floats, gates: Floats, sigmoid: Floats) -> Floats:
    """x + (a sigmoid(b) + 1/2), clipped; gates: [n, 2 width], a then b."""
    width = x.shape[1]
    limit = len(sigmoid) // 2
    share = sigmoid.take(gates[:, width:].astype(np.int32) + limit)
    share *= gates[:, :width]
    share += np.float32(1 << (GATE_BITS - 1))
    share *= np.float32(2.0**-GATE_BITS)
    np.floor(share, out=share)
    share += x
    np.clip(share, -limit, limit, out=share)
    return share


def residual_features(residuals: Integers) -> Floats:
    """Residuals [n, planes] at several scales, [n, 3 planes], plane by plane."""
    scaled = residuals[:, :, None] * np.array(FEATURE_GAINS, np.int32)
    clipped = np.clip(scaled, -FEATURE_MAX, FEATURE_MAX)
    return clipped.reshape(len(residuals), -1).astype(np.float32)
