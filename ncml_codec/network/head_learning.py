"""Heads that learn from the image: after each wave both sides know it and take the same step.

The gradient of a wave's code length by the heads' outputs is computed element by element in IEEE
double precision (+, -, *, /, sqrt and floor, each rounded on its own), then rounded to
integers; its sums over pixels are sums of integers, so their order is free. The optimiser is Adam
(Kingma and Ba 2015), element by element in double precision. Weights in use are whole numbers and
stay so near to the model's that every sum remains below 2**24. FORMAT.md, "Adaptation"; the
choices are measured in bench/notebook/learning.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.network.distribution import Mixtures, bins
from ncml_codec.network.integer_network import (
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

Doubles = npt.NDArray[np.float64]

PHASES = 4  # of a pixel: (row mod 2) * 2 + column mod 2, each with its own bias of the hidden layer
FIRST_DECAY, SECOND_DECAY = 3 / 4, 63 / 64
EPSILON = 64.0
TRUNK_BIAS, OUT_BIAS = 256.0, 128.0  # the input that a bias counts as, when its rate is chosen
GRADIENT_UNIT, GRADIENT_MAX = 512.0, 32767
LEAST_MASS = 64  # of 2**30, added to what the mixture gives the sample
# log2 of the integers to one unit of logits, means (8 grey levels), log-scales, coefficients.
_UNIT_BITS = (6, 9, 6, 8)


class AdaptiveHead:
    """One plane's head and the optimiser's state.

    strength: 1 to STRONGEST; weights move by about 2**(strength - 10) of their size a wave.
    """

    def __init__(self, head: Head, k: int, strength: int) -> None:
        self.trunk, self.earlier, self.out = head.trunk, head.earlier, head.out
        self.steps = Schedule(2.0 ** (strength - 10))
        hidden, outputs = head.trunk.outputs, head.out.outputs
        full = np.full(max(head.trunk.inputs, hidden), ACTIVATION_MAX)
        self.trunk_weight, self.trunk_bias = weights_and_biases(
            head.trunk, full[: head.trunk.inputs], self.steps, copies=PHASES
        )
        self.out_weight, self.out_bias = weights_and_biases(
            head.out, full[:hidden], self.steps, OUT_BIAS
        )
        if head.earlier is not None:
            features = np.full(head.earlier.inputs, FEATURE_MAX)
            self.earlier_weight, _ = weights_and_biases(head.earlier, features, self.steps)
        bits = np.repeat(_UNIT_BITS, [k, k, k, outputs - 3 * k]) + head.out.shift
        self.back_shift = (bits - bits.min() + 1)[:, None]
        largest = np.abs(self._backward()).sum(axis=0).max() * GRADIENT_MAX
        self.hidden_shift = max(0, int(largest).bit_length() - 20)
        self.gradient_bits = int(bits.min()) - 1 - self.hidden_shift  # log2 of the unit of `inner`

    def outputs(self, trunk: Doubles, features: Doubles | None, phases: Integers) -> Integers:
        """o of FORMAT.md, section 4.3, [n, outputs]. phases: [n]."""
        self.inputs, self.features, self.phases = trunk, features, phases
        sums = trunk @ self.trunk_weight.used.T + self.trunk_bias.used.T[phases]
        z = shifted(sums, self.trunk)
        if self.earlier is not None and features is not None:
            z += shifted(features @ self.earlier_weight.used.T + self.earlier.bias, self.earlier)
            np.clip(z, -ACTIVATION_MAX, ACTIVATION_MAX, out=z)
        self.z = z
        self.active = np.maximum(z, np.floor(z / 2**LEAK_SHIFT))
        sums = self.active @ self.out_weight.used.T + self.out_bias.used.T
        return shifted(sums, self.out).astype(np.int32)

    def learn(self, gradient: Doubles) -> None:
        """Take a step. gradient: of `gradients`, [n, outputs], for the last outputs."""
        count, back = len(gradient), gradient @ self._backward()
        half = 2.0 ** (self.hidden_shift - 1) if self.hidden_shift else 0.0
        inner = np.floor((back + half) * 2.0**-self.hidden_shift)
        np.clip(inner, -GRADIENT_MAX, GRADIENT_MAX, out=inner)
        inner = np.where(self.z < 0, np.floor(inner / 2**LEAK_SHIFT), inner)
        self.inner: Doubles = inner
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
        return rounded_shift(self.out_weight.used, self.back_shift)


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
        rates: Doubles = self.rate * sizes / layer.inputs
        return rates


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


def weights_and_biases(
    layer: Layer,
    bounds: npt.NDArray[np.integer],
    steps: Schedule,
    as_input: float = TRUNK_BIAS,
    copies: int = 1,
) -> tuple[Adapted, Adapted]:
    """A layer's weights, and `copies` columns of its biases, with their rates and rooms.

    bounds: [inputs], of the inputs' absolute values. Half of what the sums of
    `integer_network.check` may still grow by is for all weights together, half for the bias.
    """
    weights = np.abs(layer.weight.astype(np.int64))
    sums = weights @ bounds.astype(np.int64) + np.abs(layer.bias)
    room = (SUM_LIMIT - 1 - sums)[:, None]
    reach = np.minimum(
        room // (2 * int(bounds.sum())), WEIGHT_MAX - weights.max(axis=1, keepdims=True)
    )
    rates = steps.rates(layer)
    biases = np.repeat(layer.bias[:, None], copies, axis=1)
    return Adapted(layer.weight, rates, reach), Adapted(biases, rates * as_input, room // 2)


def rounded_shift(values: Doubles, shifts: npt.NDArray[np.integer]) -> Doubles:
    """(values + half) >> shifts, of whole numbers; shifts at least 1."""
    whole = values.astype(np.int64)
    rounded: Doubles = ((whole + (np.int64(1) << (shifts - 1))) >> shifts).astype(np.float64)
    return rounded


def shifted(sums: Doubles, layer: Layer) -> Doubles:
    """clip(sums >> shift), whole numbers."""
    shifted: Doubles = np.floor(sums * np.ldexp(1.0, -layer.shift))
    return np.clip(shifted, -layer.limit, layer.limit)
