"""The heads of the plain decoder, and how they learn: FORMAT.md, sections 4.3 and 4.4.

Written from FORMAT.md alone, like `decoder`. Integers are Python's or int64. Doubles are
Python's floats or numpy's float64 element by element, so that each operation rounds on its own;
no float is summed but where the page says in which order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tests.plain_decoder.model import Layer
    from tests.plain_decoder.network import Mixture

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What a head computed for one pixel: its phase, t, f and z of section 4.3, and outputs o."""

    phase: int
    t: IntArray
    f: IntArray
    z: IntArray
    o: list[int]


class Head:
    """The head of plane c at work on one tile; with a strength above 0 it learns.

    The layers of a static head, strength 0, are the model's throughout.
    """

    def __init__(
        self, trunk: Layer, earlier: Layer | None, out: Layer, components: int, strength: int
    ) -> None:
        self.trunk, self.earlier, self.out = trunk, earlier, out
        self.trunk_bias = [trunk.bias] * 4
        self.learner = Learner(trunk, earlier, out, components, strength) if strength else None
        self.inner: IntArray = np.zeros((0, len(trunk.bias)), dtype=np.int64)
        self.coded_trunk = trunk.weight

    def compute(self, t: IntArray, f: IntArray, i: int, j: int) -> Seen:
        """Section 4.3."""
        phase = 2 * (i % 2) + j % 2
        z = replace(self.trunk, bias=self.trunk_bias[phase])(t)
        if self.earlier is not None:
            z = np.clip(z + self.earlier(f), -2047, 2047)
        return Seen(phase, t, f, z, self.out(np.maximum(z, z >> 3)).tolist())

    def learn(self, wave: int, pixels: list[Seen], gradients: list[list[int]]) -> None:
        """Changes the layers after a wave, by G of each of its pixels. Section 4.4.

        Keeps E of the pixels as `inner`, and the weights that coded the wave as `coded_trunk`.
        """
        learner = self.learner
        if learner is None or not pixels:
            return
        self.inner = learner.step(wave, pixels, gradients, self.out.weight)
        self.coded_trunk = self.trunk.weight
        self.trunk = replace(self.trunk, weight=learner.trunk_weight.integers())
        self.trunk_bias = [each.integers() for each in learner.trunk_bias]
        self.out = replace(
            self.out, weight=learner.out_weight.integers(), bias=learner.out_bias.integers()
        )
        if self.earlier is not None and learner.earlier_weight is not None:
            self.earlier = replace(self.earlier, weight=learner.earlier_weight.integers())


class Parameters:
    """Values v that begin as v0, and the averages p and q of their gradients."""

    def __init__(self, v0: IntArray, rate: FloatArray, reach: IntArray) -> None:
        self.v0, self.reach = v0, reach
        self.v = v0.astype(np.float64)
        self.rate, self.least, self.most = rate, self.v - reach, self.v + reach
        self.p = np.zeros_like(self.v)
        self.q = np.zeros_like(self.v)

    def integers(self) -> IntArray:
        return np.floor(self.v + 0.5).astype(np.int64)

    def step(self, sums: IntArray, n: int, first: float, second: float) -> None:
        """One step by the sums over n pixels; first, second: F and S of the page."""
        g = sums.astype(np.float64) / n
        self.p = self.p * 0.75 + g * 0.25
        self.q = self.q * 0.984375 + (g * g) * 0.015625
        v = self.v - ((self.rate * first) * self.p) / (np.sqrt(self.q * second) + 64.0)
        self.v = np.minimum(np.maximum(v, self.least), self.most)


class Learner:
    """The parameters of one head, and the step that each wave takes."""

    def __init__(
        self, trunk: Layer, earlier: Layer | None, out: Layer, components: int, strength: int
    ) -> None:
        scale = 2.0 ** (strength - 10)
        self.trunk_weight = weights(trunk, full(trunk, 2047), scale)
        self.trunk_bias = [biases(trunk, full(trunk, 2047), scale, 256) for _ in range(4)]
        self.earlier_weight = weights(earlier, full(earlier, 256), scale) if earlier else None
        self.out_weight = weights(out, full(out, 2047), scale)
        self.out_bias = biases(out, full(out, 2047), scale, 128)

        unit = np.full(len(out.bias), 8)
        unit[: 3 * components] = np.repeat([6, 9, 6], components)
        self.least = int((out.shift + unit).min())
        self.cut = out.shift + unit - self.least + 1
        most = int(np.abs(self.output_weights(out.weight)).sum(axis=0).max()) * 32767
        self.drop = max(0, most.bit_length() - 20)
        self.waves = Waves()

    def output_weights(self, weight: IntArray) -> IntArray:
        """V."""
        cut = self.cut[:, None]
        return (weight + (1 << (cut - 1))) >> cut

    def step(
        self, wave: int, pixels: list[Seen], gradients: list[list[int]], out_weight: IntArray
    ) -> IntArray:
        """One step of all parameters; out_weight: those that coded the wave. Returns E."""
        t, f, z = (np.stack([getattr(each, name) for each in pixels]) for name in "tfz")
        phase = np.array([each.phase for each in pixels])
        by_output = np.array(gradients, dtype=np.int64)
        inner = by_output @ self.output_weights(out_weight)
        half = 1 << (self.drop - 1) if self.drop else 0
        inner = np.clip((inner + half) >> self.drop, -32767, 32767)
        inner = np.where(z < 0, inner >> 3, inner)

        pace = (len(pixels), *self.waves.next())
        self.out_weight.step(by_output.T @ np.maximum(z, z >> 3), *pace)
        self.out_bias.step(by_output.sum(axis=0), *pace)
        self.trunk_weight.step(inner.T @ t, *pace)
        if self.earlier_weight is not None:
            self.earlier_weight.step(inner.T @ f, *pace)
        for ph in range(4):
            if ph % 2 == wave % 2:
                self.trunk_bias[ph].step(inner[phase == ph].sum(axis=0), *pace)
        return inner


class Waves:
    """How many waves there were, as f and s."""

    def __init__(self) -> None:
        self.f = self.s = 1.0

    def next(self) -> tuple[float, float]:
        """F and S of the wave after the last."""
        self.f = self.f * 0.75
        self.s = self.s * 0.984375
        return 1 / (1 - self.f), 1 / (1 - self.s)


def weights(layer: Layer, bounds: IntArray, scale: float) -> Parameters:
    """The weights of a layer as parameters. bounds: of its inputs; scale: 2^(a - 10) or such."""
    rate, room = rate_and_room(layer, bounds, scale)
    largest = np.abs(layer.weight).max(axis=1)
    reach = np.minimum(room // (2 * bounds.sum()), 2047 - largest)
    return Parameters(layer.weight, rate[:, None], reach[:, None])


def biases(layer: Layer, bounds: IntArray, scale: float, gain: int) -> Parameters:
    """The biases of a layer as parameters."""
    rate, room = rate_and_room(layer, bounds, scale)
    return Parameters(layer.bias, rate * gain, room // 2)


def rate_and_room(layer: Layer, bounds: IntArray, scale: float) -> tuple[FloatArray, IntArray]:
    """The rate and the room of each row of a layer."""
    weight = np.abs(layer.weight)
    rate = (scale * weight.sum(axis=1).astype(np.float64)) / weight.shape[1]
    return rate, 2**24 - 1 - (weight @ bounds + np.abs(layer.bias))


def full(layer: Layer, bound: int) -> IntArray:
    """The same bound for all inputs of a layer."""
    return np.full(layer.weight.shape[1], bound)


def output_gradient(mixture: Mixture, o: list[int], e: list[int], x: int) -> list[int]:
    """G of a pixel whose sample is x, by the outputs o; e: of the planes before."""
    components = range(len(mixture.weight))
    lower, upper = mixture.levels(x), mixture.levels(x + 1)
    if x == 0:
        lower = [0 for _ in components]
    if x == 255:
        upper = [65536 for _ in components]
    z0, z1 = mixture.places(x), mixture.places(x + 1)
    s0 = [each * (65536 - each) for each in lower]
    s1 = [each * (65536 - each) for each in upper]
    mass = [mixture.weight[b] * (upper[b] - lower[b]) for b in components]

    inverse = 1.0 / (sum(mass) + 64)
    logit, mean, scale = [], [], []
    for b in components:
        share = mixture.weight[b] * inverse
        logit.append(mixture.weight[b] * 2.0**-14 - mass[b] * inverse)
        unit = 2.0 ** (-20 - mixture.shift[b])
        mean.append(share * (s1[b] - s0[b]) * mixture.mantissa[b] * unit)
        by_scale = share * (z1[b] * s1[b] - z0[b] * s0[b]) * 2.0**-29
        s = o[2 * len(components) + b]
        outward = (s <= -256 and by_scale > 0) or (s >= 320 and by_scale < 0)
        scale.append(0.0 if outward else by_scale)
    centre = mean[0]
    for each in mean[1:]:
        centre += each
    g = [*logit, *mean, *scale, *(centre * each * 2.0**-5 for each in e)]
    return [math.floor(min(max(each * 512, -32767.0), 32767.0) + 0.5) for each in g]
