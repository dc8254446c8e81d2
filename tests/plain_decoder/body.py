"""How the layers before the heads learn in the plain decoder: FORMAT.md, section 4.5.

Written from FORMAT.md alone, like `decoder` and `heads`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tests.plain_decoder.heads import Head, IntArray, Parameters, Waves, biases, weights

if TYPE_CHECKING:
    from tests.plain_decoder.model import Model


@dataclass
class Trace:
    """What one pixel went through. inputs: of `first`; x: before each block, and after the last;
    near: the inputs of each `taps`, and y its outputs before `leaky`; v: outputs of each `gate`.
    """

    inputs: IntArray
    x: list[IntArray] = field(default_factory=list)
    near: list[IntArray] = field(default_factory=list)
    y: list[IntArray] = field(default_factory=list)
    v: list[IntArray] = field(default_factory=list)


class Body:
    """The layers `first`, `taps` and `gate` at work on one tile: the model's, until they learn."""

    def __init__(self, model: Model, heads: list[Head], strength: int) -> None:
        self.model, self.heads = model, heads
        names = [name for name in model.layers if not name.startswith("heads.")]
        self.layers = {name: model.layers[name] for name in names}
        self.learns = strength > 0
        if not self.learns:
            return
        self.waves = Waves()
        scale = 2.0 ** (strength - 12)
        self.weight: dict[str, Parameters] = {}
        self.bias: dict[str, Parameters] = {}
        for name, layer in self.layers.items():
            bounds = model.bounds(name)
            self.weight[name] = weights(layer, bounds, scale)
            self.bias[name] = biases(layer, bounds, scale, 256)
        learners = [head.learner for head in heads if head.learner is not None]
        bits = [
            head.trunk.shift + learner.least - 1 - learner.drop
            for head, learner in zip(heads, learners, strict=True)
        ]
        self.to_trunks = Way([each.trunk_weight for each in learners], np.concatenate(bits))
        self.to_gates, self.to_taps, self.taps_drops = [], [], []
        self.own: slice | None = None
        if (0, 0) in model.neighbours:
            channels, at = len(model.layers["first"].bias), model.neighbours.index((0, 0))
            self.own = slice(at * channels, (at + 1) * channels)
        for b in range(model.blocks):
            gate, taps = f"blocks.{b}.gate", f"blocks.{b}.taps"
            self.to_gates.append(Way([self.weight[gate]], self.layers[gate].shift))
            if self.own is not None:
                way = Way([self.weight[taps]], self.layers[taps].shift, self.own)
                unit = self.to_gates[b].unit - self.to_gates[b].drop + way.unit
                self.to_taps.append(way)
                self.taps_drops.append(min(max(unit, 0), 30))

    def learn(self, traces: list[Trace], planes: int) -> None:
        """Changes the layers after a wave, whose `planes` coded heads have learned."""
        weight = [
            head.coded_trunk if c < planes else head.trunk.weight
            for c, head in enumerate(self.heads)
        ]
        through = np.split(
            self.to_trunks.round(np.concatenate(weight)), np.cumsum([len(w) for w in weight])[:-1]
        )
        total = sum(self.heads[c].inner @ through[c] for c in range(planes))
        g = leak(back(total, self.to_trunks.drop), np.stack([each.x[-1] for each in traces]))
        sums: dict[str, tuple[IntArray, IntArray]] = {}
        for b in reversed(range(self.model.blocks)):
            gate, taps = f"blocks.{b}.gate", f"blocks.{b}.taps"
            x, near, y, v = (
                np.stack([getattr(each, name)[b] for each in traces])
                for name in ("x", "near", "y", "v")
            )
            ab = self.through_gate(g, v)
            way = self.to_gates[b]
            u = leak(back(ab @ way.round(self.layers[gate].weight), way.drop), y)
            sums[gate] = ab, np.maximum(y, y >> 3)
            sums[taps] = u, near
            if self.own is not None:
                rounded = self.to_taps[b].round(self.layers[taps].weight)[:, self.own]
                h = leak(back(u @ rounded, self.taps_drops[b]), x)
                g = np.clip(g + h, -32767, 32767)
        sums["first"] = g, np.stack([each.inputs for each in traces])

        pace = (len(traces), *self.waves.next())
        for name, (left, right) in sums.items():
            self.weight[name].step(left.T @ right, *pace)
            self.bias[name].step(left.sum(axis=0), *pace)
            self.layers[name] = replace(
                self.layers[name],
                weight=self.weight[name].integers(),
                bias=self.bias[name].integers(),
            )

    def through_gate(self, g: IntArray, v: IntArray) -> IntArray:
        """(A, B), from G and the outputs of `gate`."""
        sigmoid = np.array(self.model.tables["sigmoid"], dtype=np.int64)
        a, at = np.split(v, 2, axis=1)
        rise = sigmoid[np.minimum(at + 2055, 4094)] - sigmoid[np.maximum(at + 2039, 0)]
        p = np.clip((a * rise) >> 4, -32767, 32767)
        left = (g * sigmoid[at + 2047] + 1024) >> 11
        right = np.clip((g * p + 1024) >> 11, -32767, 32767)
        return np.concatenate([left, right], axis=1)


class Way:
    """The way back across matrices, whose rows stand one after the other. bits: b of each row;
    inputs: those concerned. unit: m - 1 - x; drop: r.
    """

    def __init__(
        self, matrices: list[Parameters], bits: IntArray, inputs: slice = slice(None)
    ) -> None:
        w0 = np.concatenate([each.v0 for each in matrices])
        reach = np.concatenate([each.reach for each in matrices])
        for x in range(32):
            self.cut = np.minimum(bits - bits.min() + 1 + x, 30)[:, None]
            most = self.round(np.abs(w0) + reach)[:, inputs].sum(axis=0).max()
            if int(most) * 32767 < 2**30:
                break
        self.unit = int(bits.min()) - 1 - x
        t = int(np.abs(self.round(w0)[:, inputs]).sum(axis=0).max()) * 32767
        self.drop = max(0, t.bit_length() - 24)

    def round(self, weight: IntArray) -> IntArray:
        """V."""
        rounded: IntArray = (weight + (1 << (self.cut - 1))) >> self.cut
        return rounded


def back(d: IntArray, r: int) -> IntArray:
    return np.clip((d + (1 << (r - 1) if r else 0)) >> r, -32767, 32767)


def leak(gradient: IntArray, at: IntArray) -> IntArray:
    """A gradient, back through `leaky` of `at`."""
    return np.where(at < 0, gradient >> 3, gradient)
