"""The paper's NCPN: PixelCNN++ with causal axial attention and noise conditioning.

Order: pixels row by row, then red, green, blue. Backbone: PixelCNN++ (Salimans et al. 2017): two
streams, `upper` and `upper_left` (see `ncpn.paper_network.shifted`), through three resolutions down
and up again, gated residual blocks with concat-ELU, each block on the way up joined to its mirror
image on the way down. The NCML paper (appendix A.1) adds axial attention after each residual block
of either stream, and Gaussian Fourier features of the noise time in each block.

Where the paper is silent: the time's projection is added to a block's hidden layer, where Song et
al. 2021 add it, and starts at zero; the width of the time's features is what brings the network to
the paper's 73 M parameters; for attention see `ncpn.paper_network.attention`. This network is for
likelihoods and samples; the codec's is `ncpn.wave_network.wave`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncml_codec.errors import UsageError
from ncml_codec.learn.likelihood.mixture import CENTRE, JointMixture
from ncpn.network import NCPN
from ncpn.paper_network.attention import AxialAttention
from ncpn.paper_network.conditioning import Condition, condition_layer
from ncpn.paper_network.shifted import (
    PLACE,
    UPPER,
    UPPER_LEFT,
    ShiftedConv,
    ShiftedUpsampling,
    Window,
    concat_elu,
    shift_down,
    shift_right,
)

PLANES = 3
RESOLUTIONS = 3
GATE_SCALE = 0.1  # initial scale of what a residual block adds, PixelCNN++
# Bounds on the logarithm of a logistic's scale, in units of 127.5 levels. The lower one is
# PixelCNN++'s; without an upper one a large step at the start gave scales with gradients of nan.
LOG_SCALE_MIN, LOG_SCALE_MAX = -7.0, 7.0


@dataclass(frozen=True)
class PixelCNNConfig:
    """Shape of a paper NCPN; `presets` names the usual ones, the defaults are the paper's.

    blocks: residual blocks a resolution; features: of noise time and class; classes: 0 for
    none; dropout: inside residual blocks (paper: 0.25 on CIFAR-10, else 0); time_scale: noise
    times are divided by it before the Fourier features (the process's T).
    """

    width: int = 160
    blocks: int = 5
    heads: int = 8
    mixtures: int = 10
    features: int = 576
    classes: int = 0
    dropout: float = 0.25
    time_scale: float = 1.0


class Streams(NamedTuple):
    """Features of both streams at one resolution, each [batch, feature, height, width]."""

    upper: Tensor
    upper_left: Tensor


class PixelCNN(NCPN):
    """The distribution of every pixel from the pixels before it in raster order."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.condition = Condition(config.features, config.time_scale, config.classes)
        self.first = FirstLayer(width)
        # One list of blocks a resolution, finest first. On the way up one block more mirrors what
        # the finer resolution handed down.
        last = RESOLUTIONS - 1
        self.down = nn.ModuleList([_blocks(config, config.blocks, 0) for _ in range(RESOLUTIONS)])
        self.up = nn.ModuleList(
            [_blocks(config, config.blocks + (level < last), 1) for level in range(RESOLUTIONS)]
        )
        self.halvings = nn.ModuleList([halving(width) for _ in range(last)])
        self.doublings = nn.ModuleList([doubling(width) for _ in range(last)])
        self.out = ShiftedConv(width, (1 + 3 * PLANES) * config.mixtures, PLACE)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> JointMixture:
        """The distribution of every pixel.

        x: float [batch, 3, height, width], grey levels 0 to 255 (beyond, if noisy), RGB; height
        and width multiples of 4, else UsageError. t: float [batch], noise time; 0 for clean
        images. labels: long [batch], the class of each image; None for no conditioning.
        """
        divisor = 2 ** (RESOLUTIONS - 1)
        if x.shape[2] % divisor or x.shape[3] % divisor:
            raise UsageError(
                f"image of {x.shape[3]} x {x.shape[2]} pixels: width and height must be multiples"
                f" of {divisor} for this network; crop or pad it"
            )
        condition = self.condition(t.to(x.dtype), labels)
        passed = [self.first(x / CENTRE - 1)]
        for level in range(RESOLUTIONS):
            if level:
                passed.append(self.halvings[level - 1](passed[-1]))
            for block in self.down[level].children():
                passed.append(self.through(block, passed[-1], condition))
        streams = passed.pop()
        for level in reversed(range(RESOLUTIONS)):
            for block in self.up[level].children():
                streams = self.through(block, streams, condition, passed.pop())
            if level:
                streams = self.doublings[level - 1](streams)
        return self.mixture(self.out(F.elu(streams.upper_left)))

    def mixture(self, outputs: Tensor) -> JointMixture:
        """From the head's outputs, [batch, ...], which are in units of 127.5 levels."""
        k = self.config.mixtures
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        rest = outputs[:, k:].unflatten(1, (3, PLANES, k))
        means, log_scales, coefficients = rest.unbind(1)
        return JointMixture(
            outputs[:, :k],
            CENTRE + CENTRE * means,
            log_scales.clamp(LOG_SCALE_MIN, LOG_SCALE_MAX) + math.log(CENTRE),
            torch.tanh(coefficients),
        )


def _blocks(config: PixelCNNConfig, count: int, mirrors: int) -> nn.ModuleList:
    return nn.ModuleList([TwoStreamBlock(config, mirrors) for _ in range(count)])


class FirstLayer(nn.Module):
    """Both streams from the image, shifted so that no place sees its own pixel.

    x: [batch, 3, height, width] in units of 127.5; a channel of ones tells it from the padding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.upper = ShiftedConv(PLANES + 1, width, UPPER)
        self.above = ShiftedConv(PLANES + 1, width, Window(above=0, left=1, right=1))
        self.left = ShiftedConv(PLANES + 1, width, Window(above=1, left=0, right=0))

    def forward(self, x: Tensor) -> Streams:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        upper_left = shift_down(self.above(x)) + shift_right(self.left(x))
        return Streams(shift_down(self.upper(x)), upper_left)


class TwoStreamBlock(nn.Module):
    """A gated residual block and axial attention on either stream.

    `upper_left` also reads `upper`. mirrors: how many streams of earlier layers both read besides.
    """

    def __init__(self, config: PixelCNNConfig, mirrors: int) -> None:
        super().__init__()
        self.upper = GatedBlock(config, UPPER, mirrors)
        self.upper_attention = AxialAttention(config.width, config.heads, rows_causal=False)
        self.upper_left = GatedBlock(config, UPPER_LEFT, 1 + mirrors)
        self.upper_left_attention = AxialAttention(config.width, config.heads, rows_causal=True)

    def forward(self, streams: Streams, condition: Tensor, *mirrors: Streams) -> Streams:
        upper = self.upper(streams.upper, condition, *(mirror.upper for mirror in mirrors))
        upper = self.upper_attention(upper)
        others = (upper, *(mirror.upper_left for mirror in mirrors))
        upper_left = self.upper_left(streams.upper_left, condition, *others)
        return Streams(upper, self.upper_left_attention(upper_left))


class GatedBlock(nn.Module):
    """x + a * sigmoid(b), with (a, b) from two shifted convolutions, the condition and others."""

    def __init__(self, config: PixelCNNConfig, window: Window, others: int) -> None:
        super().__init__()
        width = config.width
        self.inner = ShiftedConv(2 * width, width, window)
        self.others = ShiftedConv(2 * others * width, width, PLACE) if others else None
        self.condition = condition_layer(config.features, width)
        self.dropout = nn.Dropout(config.dropout)
        self.gate = ShiftedConv(2 * width, 2 * width, window, initial_scale=GATE_SCALE)

    def forward(self, x: Tensor, condition: Tensor, *others: Tensor) -> Tensor:
        h = self.inner(concat_elu(x)) + self.condition(condition)[:, :, None, None]
        if self.others is not None:
            h = h + self.others(concat_elu(torch.cat(others, 1)))
        a, b = self.gate(self.dropout(concat_elu(h))).chunk(2, 1)
        return x + a * torch.sigmoid(b)


class Resampling(nn.Module):
    """Both streams at another resolution, each by a layer of its own."""

    def __init__(self, upper: nn.Module, upper_left: nn.Module) -> None:
        super().__init__()
        self.upper, self.upper_left = upper, upper_left

    def forward(self, streams: Streams) -> Streams:
        return Streams(self.upper(streams.upper), self.upper_left(streams.upper_left))


def halving(width: int) -> Resampling:
    """To half the resolution."""
    layers = (ShiftedConv(width, width, window, stride=2) for window in (UPPER, UPPER_LEFT))
    return Resampling(*layers)


def doubling(width: int) -> Resampling:
    """To twice the resolution."""
    layers = (ShiftedUpsampling(width, width, window) for window in (UPPER, UPPER_LEFT))
    return Resampling(*layers)
