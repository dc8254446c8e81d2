"""The wave NCPN's leaky ReLU; in training, if so asked, with what integers take from it.

The integer network computes max(v, v >> 3): of what is negative whole eighths are left, and of all
that integers cost this is most (bench/notebook/integers.md). A network that is trained with it
learns what loses less.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.network.integer_network import LEAK_SHIFT

NEGATIVE_SLOPE = 2.0**-LEAK_SHIFT
_MEAN_LOSS = (1 - NEGATIVE_SLOPE) / 2  # of v >> 3, in whole numbers: 7/16


def leaky(x: Tensor, unit: Tensor | None = None) -> Tensor:
    """max(x, x / 8); with units, its value in whole numbers.

    x: [batch, channel, ...]. unit: whole numbers to 1.0 by channel, [channel, 1, 1]; then v is x in
    whole numbers, and the result (v >> 3) + 7/16 where that is more than x, the 7/16 being what it
    loses on average, which a bias gives back. The gradient is as if nothing were rounded.
    """
    if unit is None:
        return F.leaky_relu(x, NEGATIVE_SLOPE)
    return _Rounded.apply(x, unit)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, unit: Tensor) -> Tensor:
        context.save_for_backward(x)
        low = x * (unit * NEGATIVE_SLOPE).to(x.dtype)
        # x is rounded to the nearest, then down: floor((x + 1/2) / 8).
        low = low.add_(NEGATIVE_SLOPE / 2).floor_().add_(_MEAN_LOSS).mul_((1 / unit).to(x.dtype))
        return torch.maximum(x, low)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        return torch.where(x < 0, gradients[0] * NEGATIVE_SLOPE, gradients[0]), None
