"""Heads that learn from the image: after each wave both sides know it and take the same step.

The gradient of a wave's code length by the heads' outputs is computed element by element in IEEE
double precision (+, -, *, /, sqrt and floor, each rounded on its own), then rounded to
integers; its sums over pixels are sums of integers, so their order is free. The optimiser is Adam
(Kingma and Ba 2015), element by element in double precision. Weights in use are whole numbers and
stay so near to the model's that every sum remains below 2**24. FORMAT.md, "Adaptation"; the
choices are measured in bench/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.network import (
    ACTIVATION_MAX,
    FEATURE_MAX,
    LEAK_SHIFT,
    SUM_LIMIT,
    WEIGHT_MAX,
    Head,
    Integers,
    Layer,
    Tables,
)
from ncml_codec.tables import Mixtures, bins

Doubles = npt.NDArray[np.float64]

STATIC = 0
STRONGEST = 7  # strength a > 0 moves weights at most by about 2**(a - 10) of their size a wave
PHASES = 4  # of a pixel: (row mod 2) * 2 + column mod 2, each with its own bias of the hidden layer
FIRST_DECAY, SECOND_DECAY = 3 / 4, 63 / 64
EPSILON = 16.0
TRUNK_BIAS, OUT_BIAS = 256.0, 128.0  # the input that a bias counts as, when its rate is chosen
GRADIENT_UNIT, GRADIENT_MAX = 512.0, 32767
LEAST_MASS = 64  # of 2**30, added to what the mixture gives the sample
# log2 of the integers to one unit of logits, means (8 grey levels), log-scales, coefficients.
_UNIT_BITS = (6, 9, 6, 8)


class AdaptiveHead:
    """One plane's head and the optimiser's state. strength: 1 to STRONGEST."""

    def __init__(self, head: Head, k: int, strength: int) -> None:
        self.trunk, self.earlier, self.out = head.trunk, head.earlier, head.out
        self.steps = Schedule(2.0 ** (strength - 10))
        hidden, outputs = head.trunk.outputs, head.out.outputs
        trunk_rates, out_rates = (self.steps.rates(layer) for layer in (head.trunk, head.out))
        self.trunk_weight = Adapted(
            head.trunk.weight, trunk_rates, _weight_room(head.trunk, ACTIVATION_MAX)
        )
        self.trunk_bias = Adapted(
            np.repeat(head.trunk.bias[:, None], PHASES, axis=1),
            trunk_rates * TRUNK_BIAS,
            _room(head.trunk, ACTIVATION_MAX) // 2,
        )
        self.out_weight = Adapted(
            head.out.weight, out_rates, _weight_room(head.out, ACTIVATION_MAX)
        )
        self.out_bias = Adapted(
            head.out.bias[:, None], out_rates * OUT_BIAS, _room(head.out, ACTIVATION_MAX) // 2
        )
        if head.earlier is not None:
            self.earlier_weight = Adapted(
                head.earlier.weight,
                self.steps.rates(head.earlier),
                _weight_room(head.earlier, FEATURE_MAX),
            )
        bits = np.repeat(_UNIT_BITS, [k, k, k, outputs - 3 * k]) + head.out.shift
        self.back_shift = (bits - bits.min() + 1)[:, None]
        largest = np.abs(self._backward()).sum(axis=0).max() * GRADIENT_MAX
        self.hidden_shift = max(0, int(largest).bit_length() - 20)
        self.hidden = hidden

    def outputs(self, trunk: Doubles, features: Doubles | None, phases: Integers) -> Integers:
        """o of FORMAT.md, section 4.3, [n, outputs]. phases: [n]."""
        self.inputs, self.features, self.phases = trunk, features, phases
        sums = trunk @ self.trunk_weight.used.T + self.trunk_bias.used.T[phases]
        z = _shifted(sums, self.trunk)
        if self.earlier is not None and features is not None:
            z += _shifted(features @ self.earlier_weight.used.T + self.earlier.bias, self.earlier)
            np.clip(z, -ACTIVATION_MAX, ACTIVATION_MAX, out=z)
        self.z = z
        self.active = np.maximum(z, np.floor(z / 2**LEAK_SHIFT))
        sums = self.active @ self.out_weight.used.T + self.out_bias.used.T
        return _shifted(sums, self.out).astype(np.int32)

    def learn(self, gradient: Doubles) -> None:
        """Take a step. gradient: whole numbers [n, outputs] of `gradients`, for the last outputs."""
        count, back = len(gradient), gradient @ self._backward()
        half = 2.0 ** (self.hidden_shift - 1) if self.hidden_shift else 0.0
        inner = np.floor((back + half) * 2.0**-self.hidden_shift)
        np.clip(inner, -GRADIENT_MAX, GRADIENT_MAX, out=inner)
        inner = np.where(self.z < 0, np.floor(inner / 2**LEAK_SHIFT), inner)
        self.steps.advance()
        self.out_weight.step(gradient.T @ self.active, count, self.steps)
        self.out_bias.step(gradient.sum(axis=0)[:, None], count, self.steps)
        self.trunk_weight.step(inner.T @ self.inputs, count, self.steps)
        if self.earlier is not None:
            assert self.features is not None
            self.earlier_weight.step(inner.T @ self.features, count, self.steps)
        here = self.phases[0] & 1
        sums = np.stack(
            [inner[self.phases == phase].sum(axis=0) for phase in (here, here + 2)], axis=1
        )
        self.trunk_bias.step(sums, count, self.steps, slice(here, None, 2))

    def _backward(self) -> Doubles:
        """The output weights as the gradient sees them, in one unit: [outputs, hidden]."""
        half = 1 << (self.back_shift - 1)
        whole: Doubles = ((self.out_weight.used.astype(np.int64) + half) >> self.back_shift).astype(
            np.float64
        )
        return whole


class Schedule:
    """Bias correction of Adam's averages after each step, and the rates of a layer's rows."""

    def __init__(self, rate: float) -> None:
        self.rate, self._first, self._second = rate, 1.0, 1.0

    def advance(self) -> None:
        self._first *= FIRST_DECAY
        self._second *= SECOND_DECAY
        self.first, self.second = 1.0 / (1.0 - self._first), 1.0 / (1.0 - self._second)

    def rates(self, layer: Layer) -> Doubles:
        """Each row's step: the rate times the mean size of its weights, [outputs, 1]."""
        sizes = np.abs(layer.weight).sum(axis=1, keepdims=True).astype(np.float64)
        return self.rate * sizes / layer.inputs


class Adapted:
    """A matrix of parameters: in double precision, and as the whole numbers in use.

    rates, room: [rows, 1], a step and how far values may go from where they start.
    """

    def __init__(self, start: Integers, rates: Doubles, room: Integers) -> None:
        self.values = start.astype(np.float64)
        self.used, self.rates = self.values.copy(), rates
        self.low, self.high = self.values - room, self.values + room
        self.first, self.second = np.zeros_like(self.values), np.zeros_like(self.values)

    def step(
        self, sums: Doubles, count: int, steps: Schedule, columns: slice = slice(None)
    ) -> None:
        """One step of Adam on these columns. sums: of the gradient over `count` pixels."""
        gradient = sums / count
        first, second, values = (
            array[:, columns] for array in (self.first, self.second, self.values)
        )
        first *= FIRST_DECAY
        first += gradient * (1 - FIRST_DECAY)
        second *= SECOND_DECAY
        second += gradient * gradient * (1 - SECOND_DECAY)
        values -= self.rates * steps.first * first / (np.sqrt(second * steps.second) + EPSILON)
        np.clip(values, self.low[:, columns], self.high[:, columns], out=values)
        self.used[:, columns] = np.floor(values + 0.5)


@dataclass(frozen=True)
class Coded:
    """What the gradient needs to know of a plane's coded samples.

    values: [n], 0 to 255; log_scales: [n, k], outputs before they are limited; residuals: [n, c],
    of the c earlier planes, in quarter levels.
    """

    values: Integers
    log_scales: Integers
    residuals: Integers


def gradients(mixture: Mixtures, coded: Coded, tables: Tables) -> Doubles:
    """-d ln P / d o in units of 1 / 512, whole numbers up to +-32767, [n, 3 k + c].

    By logits, means (a unit is 8 grey levels), log-scales and coefficients, each in float units.
    """
    at, level = bins(mixture, coded.values, tables)
    weight = mixture.weight.astype(np.float64)
    mass = weight * (level[1] - level[0])
    inverse = 1.0 / (_ordered_sum(mass) + LEAST_MASS)
    slope = level * (65536 - level)
    share = weight * inverse[:, None]
    logit = weight * 2.0**-14 - mass * inverse[:, None]
    mean = share * (slope[1] - slope[0]) * mixture.mantissa * 2.0 ** (-20.0 - mixture.shift)
    scale = share * (at[1] * slope[1] - at[0] * slope[0]) * 2.0**-29
    low, high = coded.log_scales <= -256, coded.log_scales >= 320
    scale[(low & (scale > 0)) | (high & (scale < 0))] = 0
    centre = _ordered_sum(mean)
    linear = centre[:, None] * coded.residuals * 2.0**-5
    all_of_them = np.concatenate([logit, mean, scale, linear], axis=1) * GRADIENT_UNIT
    whole: Doubles = np.floor(np.clip(all_of_them, -GRADIENT_MAX, GRADIENT_MAX) + 0.5)
    return whole


def _ordered_sum(terms: Doubles) -> Doubles:
    """Sum over components, first to last: the order matters to the last bit."""
    total = terms[:, 0].copy()
    for component in range(1, terms.shape[1]):
        total += terms[:, component]
    return total


def _room(layer: Layer, bound: int) -> npt.NDArray[np.int64]:
    """How much more every output's sum may become, [outputs, 1], see `network.check`."""
    sums = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * bound + np.abs(layer.bias)
    return (SUM_LIMIT - 1 - sums)[:, None]


def _weight_room(layer: Layer, bound: int) -> npt.NDArray[np.int64]:
    """How far every weight of a row may go if all of them do, and half of the room is left."""
    largest = np.abs(layer.weight).max(axis=1, keepdims=True)
    return np.minimum(_room(layer, bound) // (2 * bound * layer.inputs), WEIGHT_MAX - largest)


def _shifted(sums: Doubles, layer: Layer) -> Doubles:
    """clip(sums >> shift), whole numbers."""
    shifted: Doubles = np.floor(sums * np.ldexp(1.0, -layer.shift))
    return np.clip(shifted, -layer.limit, layer.limit)
