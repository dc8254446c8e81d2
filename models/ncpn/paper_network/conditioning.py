"""What a network is conditioned on besides pixels: the noise time, and optionally a class.

Gaussian Fourier features of t (Song et al. 2021, "Score-based generative modeling through
stochastic differential equations"; NCML paper, appendix A.1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncml_codec.errors import UsageError


class TimeFeatures(nn.Module):
    """Gaussian Fourier features of t, then one SiLU layer: [batch] to [batch, features]."""

    def __init__(self, features: int, time_scale: float) -> None:
        super().__init__()
        self.time_scale = time_scale
        frequencies = torch.randn(features // 2, generator=torch.Generator().manual_seed(0))
        self.frequencies = nn.Buffer(frequencies * 4.0, persistent=False)
        self.dense = nn.Linear(features, features)

    def forward(self, t: Tensor) -> Tensor:
        angle = 2 * math.pi * (t / self.time_scale)[:, None] * self.frequencies
        return F.silu(self.dense(torch.cat([torch.sin(angle), torch.cos(angle)], 1)))


class Condition(nn.Module):
    """Noise time and class as one vector for every block: [batch] to [batch, features].

    The class's vector is learned from zero and added to the time's features. Images without a
    label get nothing added, so that one network can be asked with and without.
    """

    def __init__(self, features: int, time_scale: float, classes: int) -> None:
        super().__init__()
        self.time = TimeFeatures(features, time_scale)
        self.classes = nn.Embedding(classes, features) if classes else None
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        """labels: long [batch], or None. Raises UsageError for labels if there are no classes."""
        features = self.time(t)
        if labels is None:
            return features
        if self.classes is None:
            raise UsageError("labels given to a network without classes; build it with some")
        return features + self.classes(labels)


def condition_layer(features: int, width: int) -> nn.Linear:
    """A block's projection of the condition, from zero: at first the network ignores it."""
    layer = nn.Linear(features, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
