"""The layers before the heads, as they learn from the image along with them.

The gradient goes back from the heads through the pixel's own features; what a layer reads of
its neighbours counts as given. It is carried in integers: every layer's weights are rounded
once more for the way back, by shifts that are chosen from the model alone, such that no sum leaves
31 bits. Rates, rooms and steps are those of `adaptation`. FORMAT.md, section 4.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.network.head_learning import (
    GRADIENT_MAX,
    Adapted,
    AdaptiveHead,
    Doubles,
    Schedule,
    rounded_shift,
    shifted,
    weights_and_biases,
)
from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    GATE_BITS,
    LEAK_SHIFT,
    Integers,
    Layer,
    Network,
    first_input_bounds,
)

BODY_RATE = 2.0**-2  # of the heads' rate
SLOPE_REACH = 8  # the sigmoid's slope is taken over 2 * 8 entries of its table
_BACK_BITS = 24  # of what a layer passes back at most, at the start; beyond 16 it is clipped
_LARGEST_SUM = 2**30


class AdaptiveBody:
    """The first layer and the blocks of one image. Called in turn: `first`, `block`, `learn`."""

    def __init__(self, network: Network, heads: list[AdaptiveHead], strength: int) -> None:
        self.network, self.heads = network, heads
        self.steps = Schedule(2.0 ** (strength - 10) * BODY_RATE)
        bounds = first_input_bounds(len(network.window), len(network.near))
        self._first = _Learning(network.first, bounds, self.steps)
        self._blocks = [
            tuple(
                _Learning(layer, np.full(layer.inputs, ACTIVATION_MAX), self.steps)
                for layer in (block.taps, block.gate)
            )
            for block in network.blocks
        ]
        own = (0, 0)
        taps = list(network.neighbours)
        at = taps.index(own) * network.width if own in taps else None
        self._own = None if at is None else slice(at, at + network.width)
        self._sigmoid = network.tables.sigmoid.astype(np.float64)
        self._plan()

    def first(self, inputs: Doubles) -> Doubles:
        """x of FORMAT.md, section 4.2, from the inputs of the first layer."""
        self._traces: list[_Trace] = []
        return self._first(inputs)

    def block(self, index: int, neighbours: Doubles, x: Doubles) -> Doubles:
        """x after a block; neighbours: all taps' features side by side."""
        taps, gate = self._blocks[index]
        inner = _leaky(taps(neighbours))
        a, g = np.split(gate(inner), 2, axis=1)
        at = g.astype(np.int32) + ACTIVATION_MAX
        self._traces.append(_Trace(x, inner, a, at))
        share = np.floor((a * self._sigmoid[at] + (1 << (GATE_BITS - 1))) / 2**GATE_BITS)
        after: Doubles = x + share
        return np.clip(after, -ACTIVATION_MAX, ACTIVATION_MAX)

    def learn(self, last: Doubles, planes: int) -> None:
        """Take a step. last: x after the last block; planes: coded, whose heads have learned."""
        self.steps.advance()
        total = np.zeros_like(last)
        for plane in range(planes):
            total += self.heads[plane].inner @ self._to_trunk[plane]
        gradient = _passed(total, self._trunk_shift)
        gradient = _leaked(gradient, last)
        for index in reversed(range(len(self._blocks))):
            taps, gate = self._blocks[index]
            trace = self._traces[index]
            through = self._back[index]
            a = np.floor((gradient * self._sigmoid[trace.at] + 1024) / 2**GATE_BITS)
            g = np.floor((gradient * self._slope(trace) + 1024) / 2**GATE_BITS)
            gates = np.concatenate([a, np.clip(g, -GRADIENT_MAX, GRADIENT_MAX)], axis=1)
            inner = _passed(gates @ through.gate.of(gate), through.gate_shift)
            inner = _leaked(inner, trace.inner)
            own = None
            if self._own is not None:
                own = _passed(inner @ through.taps.of(taps)[:, self._own], through.taps_shift)
            gate.learn(gates, self.steps)
            taps.learn(inner, self.steps)
            if own is not None:
                gradient = gradient + _leaked(own, trace.x)
                np.clip(gradient, -GRADIENT_MAX, GRADIENT_MAX, out=gradient)
        self._first.learn(gradient, self.steps)

    def remember_heads(self) -> None:
        """Keep the weights of the heads' hidden layers that code the coming wave."""
        self._to_trunk = [
            rounded_shift(head.trunk_weight.used, shift)
            for head, shift in zip(self.heads, self._trunk_shifts, strict=True)
        ]

    def _slope(self, trace: _Trace) -> Doubles:
        """How the gate's product rises with g, of 2**11."""
        last = len(self._sigmoid) - 1
        above = self._sigmoid[np.minimum(trace.at + SLOPE_REACH, last)]
        below = self._sigmoid[np.maximum(trace.at - SLOPE_REACH, 0)]
        rise = np.floor(trace.a * (above - below) / (2 * SLOPE_REACH))
        return np.clip(rise, -GRADIENT_MAX, GRADIENT_MAX)

    def _plan(self) -> None:
        """Choose all shifts of the way back from the model."""
        trunks = [
            _Way(head.trunk.shift + head.gradient_bits, head.trunk_weight) for head in self.heads
        ]
        least = min(int(way.bits.min()) for way in trunks)
        extra = _extra(trunks, least)
        self._trunk_shifts = [way.shifts(least, extra) for way in trunks]
        sums = np.stack([way.largest(least, extra, room=False) for way in trunks])
        self._trunk_shift = _down(sums.sum(axis=0))
        stream = least - 1 - extra - self._trunk_shift
        self._back = [
            _Through.planned(taps, gate, stream, self._own) for taps, gate in self._blocks
        ]


@dataclass(frozen=True)
class _Trace:
    """What a block has seen: x before it, its inner features, a, and where g lies in the table."""

    x: Doubles
    inner: Doubles
    a: Doubles
    at: Integers


class _Learning:
    """A layer with the optimiser's state."""

    def __init__(self, layer: Layer, bounds: npt.NDArray[np.integer], steps: Schedule) -> None:
        self.layer = layer
        self.weight, self.bias = weights_and_biases(layer, bounds, steps)

    def __call__(self, inputs: Doubles) -> Doubles:
        self.inputs = inputs
        return shifted(inputs @ self.weight.used.T + self.bias.used.T, self.layer)

    def learn(self, gradient: Doubles, steps: Schedule) -> None:
        """gradient: by the outputs, whole numbers [n, outputs]."""
        self.weight.step(gradient.T @ self.inputs, len(gradient), steps)
        self.bias.step(gradient.sum(axis=0)[:, None], len(gradient), steps)


class _Way:
    """A layer on the way back. bits: of each output, log2 of what its sums are to the gradient."""

    def __init__(self, bits: npt.NDArray[np.integer], weight: Adapted) -> None:
        self.bits, self.weight = bits.astype(np.int64), weight

    def shifts(self, least: int, extra: int) -> npt.NDArray[np.int64]:
        """[outputs, 1]."""
        shifts: npt.NDArray[np.int64] = np.minimum(self.bits - least + 1 + extra, 30)[:, None]
        return shifts

    def largest(
        self, least: int, extra: int, room: bool, inputs: slice | None = None
    ) -> npt.NDArray[np.int64]:
        """The largest sum for every input; with all the room that weights have, or at the start."""
        start = (self.weight.low + self.weight.high) / 2
        most = np.abs(start)
        shifts = self.shifts(least, extra)
        if room:
            sizes = rounded_shift(self.weight.high - start + most, shifts)
        else:
            sizes = np.abs(rounded_shift(start, shifts))
        sums: npt.NDArray[np.int64] = sizes.sum(axis=0).astype(np.int64) * GRADIENT_MAX
        return sums if inputs is None else sums[inputs]


@dataclass(frozen=True)
class _Rounded:
    """Shifts with which a layer's weights are rounded for the way back, [outputs, 1]."""

    shifts: npt.NDArray[np.int64]

    def of(self, layer: _Learning) -> Doubles:
        return rounded_shift(layer.weight.used, self.shifts)


@dataclass(frozen=True)
class _Through:
    """The way back through one block."""

    gate: _Rounded
    gate_shift: int
    taps: _Rounded
    taps_shift: int

    @classmethod
    def planned(cls, taps: _Learning, gate: _Learning, stream: int, own: slice | None) -> _Through:
        """stream: log2 of the unit of the gradient by x."""
        way = _Way(gate.layer.shift, gate.weight)
        least = int(way.bits.min())
        extra = _extra([way], least)
        gate_shift = _down(way.largest(least, extra, room=False))
        inner = stream + least - 1 - extra - gate_shift
        back = _Way(taps.layer.shift, taps.weight)
        lowest = int(back.bits.min())
        more = _extra([back], lowest, own)
        down = inner + lowest - 1 - more - stream
        return cls(
            _Rounded(way.shifts(least, extra)),
            gate_shift,
            _Rounded(back.shifts(lowest, more)),
            min(max(down, 0), 30),
        )


def _extra(ways: list[_Way], least: int, inputs: slice | None = None) -> int:
    """The fewest more bits to drop so that no sum reaches 2**30 whatever the layers learn."""
    for extra in range(30):
        sums = np.stack([way.largest(least, extra, room=True, inputs=inputs) for way in ways])
        if sums.sum(axis=0).max() < _LARGEST_SUM:
            return extra
    return 30  # every weight is 0 after such a shift


def _down(largest: npt.NDArray[np.int64]) -> int:
    return max(0, int(largest.max()).bit_length() - _BACK_BITS)


def _passed(sums: Doubles, shift: int) -> Doubles:
    """Rounded to what the next layer takes."""
    half = 2.0 ** (shift - 1) if shift else 0.0
    rounded: Doubles = np.floor((sums + half) * 2.0**-shift)
    return np.clip(rounded, -GRADIENT_MAX, GRADIENT_MAX)


def _leaked(gradient: Doubles, before: Doubles) -> Doubles:
    """Back through the leaky function, whose input (or output) was `before`."""
    return np.where(before < 0, np.floor(gradient / 2**LEAK_SHIFT), gradient)


def _leaky(x: Doubles) -> Doubles:
    leaked: Doubles = np.maximum(x, np.floor(x * 2.0**-LEAK_SHIFT))
    return leaked
