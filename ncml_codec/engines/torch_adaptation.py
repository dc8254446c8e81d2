"""Heads that learn from the image, in torch: what `adaptation` specifies, in other words.

The layers before them are in `torch_body`, made of the same `Matrix`; the gradient by the outputs
comes from `torch_mixture`. A bias is here the weight of an input that is 1: one such input for each
phase before the hidden layer, one before the outputs. So a head is two or three matrices under one
rule. Tensors have an axis of images in front; each image has parameters of its own.

Sums are float64 products of whole numbers below 2**53, exact in any order. All else in float64 is
one operation at a time, each rounded on its own: no addcmul, addcdiv, lerp or `alpha`, which may
fuse two. Nor is a tensor divided by a Python number: CUDA multiplies by the reciprocal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncml_codec.adaptation import (
    EPSILON,
    FIRST_DECAY,
    GRADIENT_MAX,
    OUT_BIAS,
    PHASES,
    SECOND_DECAY,
    TRUNK_BIAS,
)
from ncml_codec.network import (
    ACTIVATION_MAX,
    FEATURE_MAX,
    LEAK_SHIFT,
    SUM_LIMIT,
    WEIGHT_MAX,
    Head,
    Layer,
)

_INNER_BITS = 20  # that the gradient by a hidden value may have, before it is limited
_LOGIT_BITS, _MEAN_BITS, _SCALE_BITS, _COEFFICIENT_BITS = 6, 9, 6, 8  # FORMAT.md, section 4.4


class LearningHead:
    """One plane's head for several images at once. Its tensors stay; `learn` changes them in place.

    k: mixture components; strength: 1 to `strength.STRONGEST`.
    """

    def __init__(
        self, head: Head, k: int, strength: int, images: int, device: torch.device
    ) -> None:
        place = Place(images, device, 2.0 ** (strength - 10))
        self.trunk = Matrix(head.trunk, ACTIVATION_MAX, [TRUNK_BIAS] * PHASES, place)
        self.out = Matrix(head.out, ACTIVATION_MAX, [OUT_BIAS], place)
        self.earlier = None
        if head.earlier is not None:
            self.earlier = Matrix(head.earlier, FEATURE_MAX, [], place)

        unit = torch.full((head.out.outputs,), _COEFFICIENT_BITS)
        unit[:k], unit[k : 2 * k], unit[2 * k : 3 * k] = _LOGIT_BITS, _MEAN_BITS, _SCALE_BITS
        unit += torch.from_numpy(head.out.shift.astype(np.int64))
        self._cut = (unit - unit.min() + 1).to(device)[:, None]
        largest = int(self._back()[0].abs().sum(0).max()) * GRADIENT_MAX
        self._drop = max(0, largest.bit_length() - _INNER_BITS)
        self.gradient_bits = int(unit.min()) - 1 - self._drop  # log2 of what `learn` returns to 1
        self._phase_numbers = torch.arange(PHASES, device=device)
        self._clock = Clock(device)

    def outputs(self, trunk: Tensor, features: Tensor | None, phases: Tensor) -> Tensor:
        """What the head puts out, int32 [image, n, outputs].

        trunk: [image, n, width]; features: of the earlier planes, [image, n, 3 c]; phases: [n], of
        the wave's pixels, 0 to 3. All whole numbers. `learn` learns from the last call.
        """
        ones = (phases[:, None] == self._phase_numbers).double()
        self._inputs = torch.cat([trunk.double(), ones.expand(len(trunk), -1, -1)], 2)
        self._column = phases[0] & 1
        z = self.trunk(self._inputs)
        if self.earlier is not None:
            assert features is not None, "only the first plane has no earlier ones"
            self._features = features.double()
            limit = ACTIVATION_MAX
            z = (z + self.earlier(self._features)).clamp(-limit, limit)
        self._negative = z < 0
        active = torch.where(self._negative, z >> LEAK_SHIFT, z).double()
        self._active = torch.cat([active, torch.ones_like(active[:, :, :1])], 2)
        return self.out(self._active).int()

    def learn(self, gradient: Tensor, pixels: Tensor) -> Tensor:
        """Take a step down `gradients` [image, n, outputs]; zeros for what is not a pixel.

        Returns the gradient by the hidden layer, whole numbers, float64 [image, n, hidden].
        pixels: how many there are in each image, float64 [].
        """
        inner = torch.matmul(gradient, self._back().double()).long()
        inner = (inner + (1 << self._drop >> 1)) >> self._drop
        inner = inner.clamp(-GRADIENT_MAX, GRADIENT_MAX)
        inner = torch.where(self._negative, inner >> LEAK_SHIFT, inner).double()

        pace = self._clock.advance(pixels)
        self.out.step(outer(gradient, self._active), pace)
        if self.earlier is not None:
            self.earlier.step(outer(inner, self._features), pace)
        weights = self._phase_numbers.new_zeros(self._inputs.shape[2] - PHASES, dtype=torch.bool)
        still = torch.cat([weights, (self._phase_numbers & 1) != self._column])
        self.trunk.step(outer(inner, self._inputs), pace, still)
        return inner

    def _back(self) -> Tensor:
        """The output weights in the gradient's one unit, [image, outputs, hidden]."""
        return rounded_shift(self.out.weights(), self._cut)


@dataclass(frozen=True)
class Pace:
    """Of one step, all float64 []: pixels, and the corrections of Adam's two averages."""

    pixels: Tensor
    first: Tensor
    second: Tensor


class Clock:
    """Counts steps."""

    def __init__(self, device: torch.device) -> None:
        self._decays = _doubles([FIRST_DECAY, SECOND_DECAY], device)
        self._powers = torch.ones_like(self._decays)

    def advance(self, pixels: Tensor) -> Pace:
        """The next step's pace. pixels: float64 []."""
        self._powers *= self._decays
        one = torch.ones_like(self._powers)
        return Pace(pixels, *(one / (one - self._powers)).unbind())


@dataclass(frozen=True)
class Place:
    """How many images, on which device, at which rate."""

    images: int
    device: torch.device
    rate: float


class Matrix:
    """A layer that learns. ones: for each input that is 1 and stands for a bias, how large an
    input its rate takes it for; without any, the layer's own bias is added and stays.

    bounds: of the inputs' absolute values, [inputs] or one for all. values: [image, outputs, inputs
    and ones], float64; used: the whole numbers in use, likewise. reach: how far the weights of each
    output go from the model's, int64 [outputs, 1].
    """

    def __init__(
        self,
        layer: Layer,
        bounds: npt.NDArray[np.integer] | int,
        ones: Sequence[float],
        place: Place,
    ) -> None:
        def tensor(values: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(values).to(place.device)

        weight, bias = layer.weight.astype(np.int64), layer.bias.astype(np.int64)[:, None]
        sizes, limits = np.abs(weight), np.broadcast_to(bounds, layer.inputs).astype(np.int64)
        size = sizes.sum(axis=1, keepdims=True)
        room = SUM_LIMIT - 1 - (sizes @ limits[:, None] + np.abs(bias))
        reach = np.minimum(
            room // (2 * limits.sum()), WEIGHT_MAX - sizes.max(axis=1, keepdims=True)
        )
        self.inputs, self.reach = layer.inputs, tensor(reach)
        reach = np.hstack([reach] * layer.inputs + [room // 2 for _ in ones])
        gains = np.concatenate([np.ones(layer.inputs), np.array(ones)])
        start = tensor(np.hstack([weight, *[bias for _ in ones]])).double()
        self._low, self._high = start - tensor(reach), start + tensor(reach)
        self._rates = tensor(place.rate * size.astype(np.float64) / layer.inputs * gains)
        self._bias = tensor(np.zeros_like(bias[:, 0]) if ones else bias[:, 0])
        self.shift, self._limit = tensor(layer.shift.astype(np.int64)), layer.limit
        self.values = start.repeat(place.images, 1, 1)
        self._mean = torch.zeros_like(self.values)
        self._square = torch.zeros_like(self.values)
        self.used = self.values.clone()

    def __call__(self, inputs: Tensor) -> Tensor:
        """clip((inputs @ used + bias) >> shift), int64 [image, n, outputs]."""
        sums = torch.matmul(inputs, self.used.mT).long() + self._bias
        return (sums >> self.shift).clamp(-self._limit, self._limit)

    def weights(self) -> Tensor:
        """Those in use, without the ones', int64 [image, outputs, inputs]."""
        return self.used[:, :, : self.inputs].long()

    def step(self, sums: Tensor, pace: Pace, still: Tensor | None = None) -> None:
        """One step of Adam. sums: over the pixels, as `used`; still: columns that take none."""
        gradient = sums / pace.pixels
        mean = self._mean * FIRST_DECAY + gradient * (1 - FIRST_DECAY)
        square = self._square * SECOND_DECAY + (gradient * gradient) * (1 - SECOND_DECAY)
        move = (self._rates * pace.first) * mean
        move = move / (_square_root(square * pace.second) + EPSILON)
        values = torch.clamp(self.values - move, self._low, self._high)
        if still is not None:
            mean = torch.where(still, self._mean, mean)
            square = torch.where(still, self._square, square)
            values = torch.where(still, self.values, values)
        self._mean.copy_(mean)
        self._square.copy_(square)
        self.values.copy_(values)
        self.used.copy_((values + 0.5).floor())


def outer(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Sums over pixels of gradient times input, [image, outputs, inputs]."""
    return torch.matmul(gradient.mT, inputs)


def rounded_shift(whole: Tensor, shifts: Tensor) -> Tensor:
    """(whole + half) >> shifts, int64; shifts at least 1."""
    return (whole + (1 << (shifts - 1))) >> shifts


def _square_root(values: Tensor) -> Tensor:
    """Correctly rounded: on the CPU torch may take MKL's, which errs in the last bit."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sqrt(values.numpy()))
    return values.sqrt()


def _doubles(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=device)
