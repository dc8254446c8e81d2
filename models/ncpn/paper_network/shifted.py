"""Shifted convolutions of PixelCNN++: they read only the places above, or above and to the left.

Weight normalised (Salimans & Kingma 2016), with the data-dependent initialisation of the same
paper. Source: PixelCNN++ (Salimans et al. 2017) and its published code. The causality law, for the
network's two streams at a resolution of 1 / S (place (i, j) stands for pixel (S i, S j)):

- `upper` features at (i, j) depend on pixels of rows before S i;
- `upper_left` features on pixels before (S i, S j) in raster order, row by row.

Every layer here keeps both: a filter reads its own place, those above, and, to the right,
only where the stream is `upper` or the row is above.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Window:
    """The places a filter reads around its own: `above` rows more, `left` and `right` columns."""

    above: int
    left: int
    right: int

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the filter."""
        return self.above + 1, self.left + 1 + self.right


UPPER = Window(above=1, left=1, right=1)
UPPER_LEFT = Window(above=1, left=1, right=0)
PLACE = Window(above=0, left=0, right=0)


class ShiftedConv(nn.Module):
    """A weight-normalised convolution over a window; with stride 2 it halves the resolution.

    Strided, place (i, j) reads from (2 i, 2 j) upwards and leftwards. initial_scale: the standard
    deviation of the outputs after `initialise`.
    """

    def __init__(
        self, inputs: int, outputs: int, window: Window, stride: int = 1, initial_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.window, self.stride, self.initial_scale = window, stride, initial_scale
        self.direction = nn.Parameter(0.05 * torch.randn(outputs, inputs, *window.kernel))
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        window = self.window
        padded = F.pad(x, (window.left, window.right, window.above, 0))
        return F.conv2d(padded, self.weight(), self.bias, self.stride)

    def weight(self) -> Tensor:
        """The filters, normalised: [outputs, inputs, height, width]."""
        return _normalised(self.direction, self.gain, 0)


class ShiftedUpsampling(nn.Module):
    """A weight-normalised transposed convolution of stride 2: it doubles the resolution.

    Place (i, j) writes into rows 2 i and 2 i + 1, which is later than everything it has seen.
    """

    def __init__(self, inputs: int, outputs: int, window: Window) -> None:
        super().__init__()
        self.window, self.initial_scale = window, 1.0
        self.direction = nn.Parameter(0.05 * torch.randn(inputs, outputs, *window.kernel))
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = _normalised(self.direction, self.gain, 1)
        full = F.conv_transpose2d(x, weight, self.bias, stride=2)
        # `upper` also writes one column to the left of 2 j: it has seen rows above only.
        return full[..., self.window.right :]


def concat_elu(x: Tensor) -> Tensor:
    """elu of x and of -x side by side, twice the channels (PixelCNN++)."""
    return F.elu(torch.cat([x, -x], 1))


def shift_down(x: Tensor) -> Tensor:
    """y[i, j] = x[i - 1, j], zero in the first row."""
    return F.pad(x, (0, 0, 1, 0))[..., :-1, :]


def shift_right(x: Tensor) -> Tensor:
    """y[i, j] = x[i, j - 1], zero in the first column."""
    return F.pad(x, (1, 0))[..., :-1]


@torch.no_grad()
def initialise(model: nn.Module, x: Tensor, t: Tensor) -> None:
    """Set gains and biases so that on this batch every output has mean 0 and its initial scale.

    One forward pass model(x, t) without dropout, layer by layer: each sees inputs that are already
    set. Salimans & Kingma 2016, section 3; in place, any earlier gain and bias forgotten.
    """

    def normalise(layer: nn.Module, _: tuple[Tensor, ...], y: Tensor) -> Tensor:
        assert isinstance(layer, ShiftedConv | ShiftedUpsampling)
        mean = y.mean((0, 2, 3))
        variance = y.var((0, 2, 3), correction=0)
        # The paper's code bounds the scale so too, for outputs that do not vary.
        scale = layer.initial_scale * torch.rsqrt(variance + 1e-8)
        layer.gain.mul_(scale)
        layer.bias.sub_(mean).mul_(scale)
        return (y - mean[:, None, None]) * scale[:, None, None]

    layers = [m for m in model.modules() if isinstance(m, ShiftedConv | ShiftedUpsampling)]
    hooks = [layer.register_forward_hook(normalise) for layer in layers]
    training = model.training
    model.eval()
    try:
        model(x, t)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)


def _normalised(direction: Tensor, gain: Tensor, outputs: int) -> Tensor:
    """direction with norm gain for every output; outputs: the axis of the outputs."""
    axes = [axis for axis in range(4) if axis != outputs]
    shape = [-1 if axis == outputs else 1 for axis in range(4)]
    return direction * (gain / direction.square().sum(axes).sqrt()).view(shape)
