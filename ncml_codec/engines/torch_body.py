"""The layers before the heads, as they learn along with them, in torch.

What `adaptive_body` specifies, in other words: a bias is the weight of an input that is 1, the
three hidden layers of the heads are one layer on the way back, and whole numbers are int64 but
in products. The rules of `torch_adaptation` for float64 hold here, too. FORMAT.md, section 4.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ncml_codec.adaptation import GRADIENT_MAX, TRUNK_BIAS
from ncml_codec.adaptive_body import BODY_RATE, SLOPE_REACH
from ncml_codec.engines.torch_adaptation import (
    Clock,
    LearningHead,
    Matrix,
    Pace,
    Place,
    outer,
    rounded_shift,
)
from ncml_codec.network import (
    ACTIVATION_MAX,
    GATE_BITS,
    LEAK_SHIFT,
    Block,
    Network,
    first_input_bounds,
)

_BACK_BITS = 24  # that a gradient may have, by the model's own weights, before it is limited
_LARGEST_SUM = 2**30
_LARGEST_CUT = 30


class LearningBody:
    """The first layer and the blocks, for several images at once. In each wave: `first`, `block`
    for each block, and `learn` once the heads have.

    heads: of the same images; strength: theirs, 1 to `strength.STRONGEST`.
    """

    def __init__(
        self,
        network: Network,
        heads: Sequence[LearningHead],
        strength: int,
        images: int,
        device: torch.device,
    ) -> None:
        place = Place(images, device, 2.0 ** (strength - 10) * BODY_RATE)
        bounds = first_input_bounds(len(network.window), len(network.near))
        self.stem = Matrix(network.first, bounds, [TRUNK_BIAS], place)
        own = None
        if (0, 0) in network.neighbours:
            start = list(network.neighbours).index((0, 0)) * network.width
            own = slice(start, start + network.width)
        sigmoid = torch.from_numpy(network.tables.sigmoid.astype(np.int64)).to(device)
        self.blocks = [LearningBlock(block, own, sigmoid, place) for block in network.blocks]
        self._trunks = [head.trunk for head in heads]
        bits = torch.cat([head.trunk.shift + head.gradient_bits for head in heads])
        self._from_heads = _WayBack(self._trunks, bits)
        self._clock = Clock(device)

    def first(self, inputs: Tensor) -> Tensor:
        """x of FORMAT.md, section 4.2, int64 [image, n, width]; inputs: [image, n, inputs].

        The heads' weights of this moment are those of the way back.
        """
        self._rounded_trunks = self._from_heads.rounded()
        self._inputs = _with_one(inputs)
        self._last = self.stem(self._inputs)
        return self._last

    def block(self, index: int, neighbours: Tensor, x: Tensor) -> Tensor:
        """x after a block; neighbours: all taps' features side by side, [image, n, ...]."""
        self._last = self.blocks[index](neighbours, x)
        return self._last

    def learn(self, inner: Sequence[Tensor], pixels: Tensor) -> None:
        """Take a step down what the heads' `learn` has returned, of planes 0, 1, ... as coded.

        pixels: how many there are in each image, float64 [].
        """
        pace = self._clock.advance(pixels)
        gathered = torch.cat(list(inner), 2)
        weights = self._rounded_trunks[:, : gathered.shape[2]]
        gradient = _back(gathered, weights, self._from_heads.down)
        gradient = _leaked(gradient, self._last)
        for block in reversed(self.blocks):
            gradient = block.learn(gradient, pace)
        self.stem.step(outer(gradient.double(), self._inputs), pace)


class LearningBlock:
    """A residual block. own: where its taps have the pixel's own features, if they do."""

    def __init__(self, block: Block, own: slice | None, sigmoid: Tensor, place: Place) -> None:
        self.taps, self.gate = (
            Matrix(layer, ACTIVATION_MAX, [TRUNK_BIAS], place) for layer in (block.taps, block.gate)
        )
        self._sigmoid = sigmoid
        self._through_gate = _WayBack([self.gate], self.gate.shift)
        self._through_taps = None
        if own is not None:
            way = _WayBack([self.taps], self.taps.shift, own)
            # Back to the unit that the gradient had, so that the two can be added.
            down = self._through_gate.unit - self._through_gate.down + way.unit
            way.down = min(max(down, 0), _LARGEST_CUT)
            self._through_taps = way

    def __call__(self, neighbours: Tensor, x: Tensor) -> Tensor:
        """x after it, int64 [image, n, width]. `learn` learns from the last call."""
        self._x, self._neighbours = x, _with_one(neighbours)
        self._inner = self.taps(self._neighbours)
        leaky = torch.maximum(self._inner, self._inner >> LEAK_SHIFT)
        self._active = _with_one(leaky)
        self._a, b = self.gate(self._active).chunk(2, 2)
        self._at = b + ACTIVATION_MAX
        share = _gated(self._a, self._sigmoid[self._at])
        return (x + share).clamp(-ACTIVATION_MAX, ACTIVATION_MAX)

    def learn(self, gradient: Tensor, pace: Pace) -> Tensor:
        """Take a step; the gradient by x before the block, int64 [image, n, width].

        gradient: by x after it, likewise.
        """
        a = _gated(gradient, self._sigmoid[self._at])
        b = _limited(_gated(gradient, self._slope()))
        gates = torch.cat([a, b], 2)
        way = self._through_gate
        inner = _leaked(_back(gates, way.rounded(), way.down), self._inner)
        before = gradient
        if self._through_taps is not None:
            own = _back(inner, self._through_taps.rounded(), self._through_taps.down)
            before = _limited(gradient + _leaked(own, self._x))
        self.gate.step(outer(gates.double(), self._active), pace)
        self.taps.step(outer(inner.double(), self._neighbours), pace)
        return before

    def _slope(self) -> Tensor:
        """How the gate's product rises with b, of 2**11."""
        above = self._sigmoid[(self._at + SLOPE_REACH).clamp(max=2 * ACTIVATION_MAX)]
        below = self._sigmoid[(self._at - SLOPE_REACH).clamp(min=0)]
        return _limited(self._a * (above - below) // (2 * SLOPE_REACH))


class _WayBack:
    """From the gradient by a layer's outputs to that by its inputs, by rounded weights.

    matrices: layers with the same inputs, which count as one; bits: of each of their outputs;
    inputs: which to go back to. unit: log2 of how many times larger the gradient gets, if it is not
    shifted down afterwards; down: that shift.
    """

    def __init__(
        self, matrices: Sequence[Matrix], bits: Tensor, inputs: slice = slice(None)
    ) -> None:
        self._matrices, self._inputs = matrices, inputs
        start = self._weights()[0]  # the same for every image, since none has learned
        reach = torch.cat([matrix.reach for matrix in matrices])
        for extra in count():
            self._cut = (bits - bits.min() + 1 + extra).clamp(max=_LARGEST_CUT)[:, None]
            if _largest(rounded_shift(start.abs() + reach, self._cut)) < _LARGEST_SUM:
                break
        self.unit = int(bits.min()) - 1 - extra
        now = _largest(rounded_shift(start, self._cut).abs())
        self.down = max(0, now.bit_length() - _BACK_BITS)

    def rounded(self) -> Tensor:
        """The weights in use with fewer bits, int64 [image, outputs, inputs]."""
        return rounded_shift(self._weights(), self._cut)

    def _weights(self) -> Tensor:
        return torch.cat([matrix.weights() for matrix in self._matrices], 1)[:, :, self._inputs]


def _largest(sizes: Tensor) -> int:
    """The largest sum of gradients times weights of these sizes, [outputs, inputs]."""
    return int(sizes.sum(0).max()) * GRADIENT_MAX


def _back(gradient: Tensor, weights: Tensor, down: int) -> Tensor:
    """The gradient by the inputs, int64 [image, n, inputs]. weights: [image, outputs, inputs]."""
    sums = torch.matmul(gradient.double(), weights.double()).long()
    return _limited((sums + (1 << down >> 1)) >> down)


def _limited(gradient: Tensor) -> Tensor:
    return gradient.clamp(-GRADIENT_MAX, GRADIENT_MAX)


def _leaked(gradient: Tensor, before: Tensor) -> Tensor:
    """Back through the leaky function, whose input was `before`."""
    return torch.where(before < 0, gradient >> LEAK_SHIFT, gradient)


def _gated(values: Tensor, gates: Tensor) -> Tensor:
    """values * gates, where 2**11 is 1, rounded; whole numbers."""
    return (values * gates + (1 << (GATE_BITS - 1))) >> GATE_BITS


def _with_one(inputs: Tensor) -> Tensor:
    """float64, and one more input that is 1."""
    doubles = inputs.double()
    return torch.cat([doubles, torch.ones_like(doubles[:, :, :1])], 2)
