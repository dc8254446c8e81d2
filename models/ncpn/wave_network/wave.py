"""The wave NCPN: a noise conditional pixel network that computes all pixels of a wave at once.

Pixel (i, j) belongs to wave s = j + 2 i. Every layer reads only strictly earlier waves and
its own position, so the pixels of one wave do not depend on each other, and nothing
depends on a pixel that is decoded later: the causality law. Backbone: gated residual blocks as in
PixelCNN++ (Salimans et al. 2017) with one stream (no blind spot in this order), and noise
conditioning by Gaussian Fourier features of t (Song et al. 2021; NCML paper, section 4).

All units are chosen for the integer network of `ncpn.integers.export`: inputs are whole multiples
of 1/128 on the grid of 8-bit images, so float and integer network see the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncml_codec.learn.likelihood.mixture import Mixture
from ncml_codec.network.integer_network import (
    FEATURE_GAINS,
    INPUT_UNIT,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    MEAN_RANGE,
)
from ncml_codec.network.wave_order import block_taps, near_taps, window_taps
from ncpn.network import NCPN
from ncpn.paper_network.conditioning import TimeFeatures, condition_layer
from ncpn.wave_network.leak import leaky

PLANES = 3  # red, green, blue, coded in this order
MEAN_UNIT = 8.0  # grey levels for one unit of a mean output, so that outputs stay near 1


@dataclass(frozen=True)
class WaveConfig:
    """Shape of a wave NCPN; `presets` names the usual ones.

    time_scale: noise times are divided by it before the Fourier features (the process's T).
    """

    width: int = 48
    blocks: int = 5
    head_width: int = 48
    mixtures: int = 4
    time_features: int = 32
    time_scale: float = 1.0


class WaveNCPN(NCPN):
    """Mixture parameters of every sub-pixel from the sub-pixels before it in wave order."""

    unit: Tensor | None  # of the residual stream, see `leak.leaky`

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        self.config = config
        inputs = input_size(PLANES)
        width, hidden, k = config.width, config.head_width, config.mixtures
        self.first = _linear(inputs, width)
        self.time = TimeFeatures(config.time_features, config.time_scale)
        self.blocks = nn.ModuleList(
            [GatedBlock(width, config.time_features) for _ in range(config.blocks)]
        )
        self.heads = nn.ModuleList([PlaneHead(width, hidden, k, plane) for plane in range(PLANES)])
        self.register_buffer("unit", None, persistent=False)

    def gated_blocks(self) -> list[GatedBlock]:
        """The residual blocks in order."""
        return [block for block in self.blocks if isinstance(block, GatedBlock)]

    def plane_heads(self) -> list[PlaneHead]:
        """The heads in coding order of their planes."""
        return [head for head in self.heads if isinstance(head, PlaneHead)]

    def forward(self, x: Tensor, t: Tensor) -> Mixture:
        """The distribution of every sub-pixel.

        x: float [batch, 3, height, width], grey levels 0 to 255 (beyond, if noisy), RGB.
        t: float [batch], noise time; 0 for clean images.
        Returns a `Mixture` of float32 [batch, 3, k, height, width]; plane c of pixel p depends on
        the pixels of earlier waves and on the planes of p before c.
        """
        planes = x - 128.0
        reference = local_reference(planes)
        h = apply_pointwise(self.first, window_inputs(planes, reference))
        time = self.time(t.to(x.dtype))
        for block in self.gated_blocks():
            h = self.through(block, h, time)
        return self._heads(leaky(h, self.unit), planes - reference, reference)

    def _heads(self, h: Tensor, residual: Tensor, reference: Tensor) -> Mixture:
        return side_by_side(
            [self.plane_mixture(plane, h, residual, reference) for plane in range(PLANES)]
        )

    def plane_mixture(self, plane: int, h: Tensor, residual: Tensor, reference: Tensor) -> Mixture:
        """One plane's parameters, each [batch, 1, k, ...], from activated features h.

        residual: planes minus reference, of which only those before `plane` are looked at.
        """
        o = self.plane_heads()[plane](h, residual_features(residual[:, :plane]))
        o = o.to(torch.promote_types(o.dtype, torch.float32))  # autocast may have made it shorter
        return mixture_of(
            o, self.config.mixtures, residual[:, :plane], reference[:, plane : plane + 1]
        )


def mixture_of(o: Tensor, k: int, residual: Tensor, reference: Tensor) -> Mixture:
    """One plane's parameters, each [batch, 1, k, ...], from its head's outputs o in units of 1.

    residual: planes minus reference of the planes before it; reference: its own, [batch, 1, ...].
    """
    mean = reference + o[:, k : 2 * k] * MEAN_UNIT
    for other in range(residual.shape[1]):
        mean = mean + o[:, 3 * k + other, None] * residual[:, other, None]
    mean = mean.clamp(-MEAN_RANGE, MEAN_RANGE) + 128.0
    log_scale = o[:, 2 * k : 3 * k].clamp(LOG_SCALE_MIN, LOG_SCALE_MAX)
    return Mixture(o[:, None, :k], mean[:, None], log_scale[:, None])


def side_by_side(planes: Sequence[Mixture]) -> Mixture:
    """All planes' parameters from those of each."""
    parts = zip(*((m.logits, m.means, m.log_scales) for m in planes), strict=True)
    return Mixture(*(torch.cat(part, 1) for part in parts))


class GatedBlock(nn.Module):
    """x + a * sigmoid(b), with (a, b) from a wave-causal layer of five taps and a pointwise one.

    taps.weight: [width, 5 * width], tap by tap in the order of `wave.block_taps`.
    """

    unit: Tensor | None  # of x, and of the hidden layer, see `leak.leaky`
    inner_unit: Tensor | None

    def __init__(self, width: int, time_features: int) -> None:
        super().__init__()
        self.taps = _linear(width * len(block_taps()), width)
        self.time = condition_layer(time_features, width)
        self.gate = _linear(width, 2 * width)
        nn.init.normal_(self.gate.weight, std=0.3 / math.sqrt(width))
        self.register_buffer("unit", None, persistent=False)
        self.register_buffer("inner_unit", None, persistent=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.inner(leaky(x, self.unit), time)
        return self.combine(x, apply_pointwise(self.gate, leaky(inner, self.inner_unit)))

    def inner(self, h: Tensor, time: Tensor) -> Tensor:
        """The hidden layer before its activation, from the neighbours' h and the noise time."""
        width = h.shape[1]
        taps = dict(zip(block_taps(), self.taps.weight.split(width, dim=1), strict=True))
        nothing = torch.zeros_like(self.taps.weight[:, :width])
        square = [taps.get((di, dj), nothing) for di in (-1, 0) for dj in (-1, 0, 1)]
        kernel = torch.stack(square, -1).unflatten(-1, (2, 3))
        out = F.conv2d(F.pad(h, (1, 1, 1, 0)), kernel, self.taps.bias)
        return out + self.time(time)[:, :, None, None]

    @staticmethod
    def combine(x: Tensor, gates: Tensor) -> Tensor:
        """x + a * sigmoid(b); gates: a and b side by side."""
        a, b = gates.chunk(2, 1)
        return x + a * torch.sigmoid(b)


class PlaneHead(nn.Module):
    """One plane's mixture: k logits, k means, k log-scales, one coefficient by earlier plane."""

    unit: Tensor | None  # of the hidden layer, see `leak.leaky`

    def __init__(self, width: int, hidden: int, mixtures: int, plane: int) -> None:
        super().__init__()
        self.trunk = _linear(width, hidden)
        features = plane * len(FEATURE_GAINS)
        self.earlier = _linear(features, hidden, bias=False) if plane else None
        self.out = _linear(hidden, 3 * mixtures + plane)
        nn.init.normal_(self.out.weight, std=0.02)
        with torch.no_grad():
            self.out.bias[2 * mixtures : 3 * mixtures] = 1.0
        self.register_buffer("unit", None, persistent=False)

    def forward(self, h: Tensor, earlier: Tensor) -> Tensor:
        """h: [batch, width, ...]; earlier: `residual_features` of the planes before this one."""
        z = apply_pointwise(self.trunk, h)
        if self.earlier is not None:
            z = z + apply_pointwise(self.earlier, earlier)
        return apply_pointwise(self.out, leaky(z, self.unit))


def local_reference(planes: Tensor) -> Tensor:
    """(2 W + N + NE) / 4 of every sub-pixel, the level that inputs are taken relative to.

    planes: [batch, plane, height, width], levels minus 128. Outside the image N stands for W and
    NE, W stands for N (first row), and 0 for all of them at the first pixel.
    """
    west, north, north_east = (_shift(planes, di, dj) for di, dj in ((0, -1), (-1, 0), (-1, 1)))
    north[:, :, :1] = west[:, :, :1]
    north_east[:, :, :1] = west[:, :, :1]
    west[:, :, :, :1] = north[:, :, :, :1]
    north_east[:, :, :, -1:] = north[:, :, :, -1:]
    return (2 * west + north + north_east) / 4


def window_inputs(planes: Tensor, reference: Tensor) -> Tensor:
    """Inputs of the first layer, [batch, input_size(planes), height, width], in units of 1.

    Per tap of the window, the planes minus the reference, / 32; per near tap the same, finer and
    clamped; the reference / 32; and whether W, N and NE are inside the image. Taps outside count
    as equal to the reference.
    """
    inside = torch.ones_like(planes[:1, :1])
    residuals = {
        tap: (_shift(planes, *tap) - reference) * _shift(inside, *tap) for tap in window_taps()
    }
    flags = [
        _shift(inside, *tap).expand(planes.shape[0], -1, -1, -1)
        for tap in ((0, -1), (-1, 0), (-1, 1))
    ]
    near = torch.cat([residuals[tap] for tap in near_taps()], 1)
    fine = [clamped(near, gain) for gain in FEATURE_GAINS[:2]]
    return torch.cat([*residuals.values(), *fine, reference, *(32 * f for f in flags)], 1) / 32


def neighbourhood(h: Tensor) -> Tensor:
    """[batch, taps * features, height, width]: features at every pixel's block taps, in order."""
    return torch.cat([_shift(h, *tap) for tap in block_taps()], 1)


def residual_features(residual: Tensor) -> Tensor:
    """Clamped at several scales, what a head sees of earlier planes: [batch, 3 gains * plane, ...].

    Plane by plane, in each the gains of FEATURE_GAINS in order.
    """
    parts = torch.stack([clamped(residual, gain) for gain in FEATURE_GAINS], 2)
    return parts.flatten(1, 2) / 32


def input_size(planes: int) -> int:
    """Number of inputs of the first layer, see `window_inputs`."""
    return planes * (len(window_taps()) + 2 * len(near_taps()) + 1) + 3


def clamped(residual: Tensor, gain: int) -> Tensor:
    """In levels of 32 to a unit: 4 * residual * gain as an integer, clamped to +-256, / 4."""
    limit = 2 * INPUT_UNIT
    return (residual * (4 * gain)).clamp(-limit, limit) / 4


def _shift(x: Tensor, di: int, dj: int) -> Tensor:
    """y[i, j] = x[i + di, j + dj], zero outside."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (max(-dj, 0), max(dj, 0), max(-di, 0), max(di, 0)))
    top, left = max(di, 0), max(dj, 0)
    return padded[..., top : top + height, left : left + width]


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def apply_pointwise(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer at every pixel of [batch, features, height, width].

    A batched matrix product: on one CPU thread torch's 1 x 1 convolution is 15 % slower.
    """
    batch, _, height, width = x.shape
    weight = layer.weight.expand(batch, -1, -1)
    flat = x.flatten(2)
    if layer.bias is None:
        y = torch.bmm(weight, flat)
    else:
        y = torch.baddbmm(layer.bias[None, :, None], weight, flat)
    return y.unflatten(2, (height, width))
