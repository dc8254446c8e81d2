"""Sampling walks of the networks: each computes a step's places once, from what it has kept.

The networks' `forward` is the specification: a walk's distributions are equal to those of
`sampler.Recomputed`, but for the rounding of sums of another shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.errors import UsageError
from ncml_codec.learn.likelihood.mixture import Logistics
from ncml_codec.learn.likelihood.objective import NoiseConditional
from ncml_codec.learn.sampling.sampler import Places, Recomputed, Walk, raster_order, wave_order
from ncml_codec.network.integer_network import FEATURE_GAINS
from ncml_codec.network.wave_order import Tap, block_taps, near_taps, window_taps
from ncpn.network import NCPN
from ncpn.paper_network.pixelcnn import PixelCNN
from ncpn.paper_network.raster import RasterWalk
from ncpn.wave_network.leak import leaky
from ncpn.wave_network.wave import WaveNCPN, apply_pointwise, clamped

# What the window reaches beyond the image: rows above and below, columns to the left and right.
ABOVE, BELOW, LEFT, RIGHT = 3, 1, 5, 3


def walk(model: NCPN, canvas: Tensor, t: Tensor, labels: Tensor | None = None) -> Walk:
    """The fastest walk of a network over a canvas.

    t: noise time, [batch], equal for all; labels: long [batch], for networks with classes.
    """
    if isinstance(model, WaveNCPN):
        if labels is not None:
            raise UsageError("labels given to a wave network, which has no classes")
        return WaveWalk(model, canvas, t)
    if isinstance(model, PixelCNN):
        return RasterWalk(model, canvas, t, labels)
    raise UsageError(f"no walk is known for a {type(model).__name__}")


def recomputed(
    model: NCPN,
    canvas: Tensor,
    t: Tensor,
    labels: Tensor | None = None,
    steps: Sequence[Places] | None = None,
) -> Recomputed:
    """A walk by whole forward passes. steps: the network's own order if None."""
    steps = order(model, *canvas.shape[2:]) if steps is None else steps
    asked = asked_with(model, labels)
    return Recomputed(lambda x: asked(x, t), canvas, steps, edges=not bool(t.any()))


def order(model: NCPN, height: int, width: int) -> list[Places]:
    """The network's own order of an image's places."""
    return (wave_order if isinstance(model, WaveNCPN) else raster_order)(height, width)


def asked_with(model: NCPN, labels: Tensor | None) -> NoiseConditional:
    """The network with the images' classes, long [batch]; None: without."""
    return model if labels is None else partial(model, labels=labels)


class WaveWalk:
    """One step of a wave NCPN for each wave: every layer at the wave's pixels only.

    Keeps each block's activated inputs for all pixels, with a border of zeros, which is what its
    convolution pads with.
    """

    def __init__(self, model: WaveNCPN, canvas: Tensor, t: Tensor) -> None:
        self._model, self._canvas = model, canvas
        batch, _, height, width = canvas.shape
        self._time = model.time(t.to(canvas.dtype))
        self._inside = F.pad(torch.ones_like(canvas[:1, :1]), (LEFT, RIGHT, ABOVE, BELOW))
        self._kept = [
            canvas.new_zeros(batch, model.config.width, height + 1, width + 2)
            for _ in model.gated_blocks()
        ]

    def order(self) -> Iterator[Places]:
        device = self._canvas.device
        for rows, columns in wave_order(*self._canvas.shape[2:]):
            yield rows.to(device), columns.to(device)

    def enter(self, places: Places) -> None:
        self._places = places
        model, (rows, columns) = self._model, places
        self._reference = self._references()
        h = apply_pointwise(model.first, self._inputs())
        for block, kept in zip(model.gated_blocks(), self._kept, strict=True):
            kept[:, :, rows + 1, columns + 1] = leaky(h)[:, :, 0]
            taps = [kept[:, :, rows + 1 + di, columns + 1 + dj] for di, dj in block_taps()]
            inner = apply_pointwise(block.taps, torch.cat(taps, 1).unsqueeze(2))
            inner = inner + block.time(self._time)[:, :, None, None]
            h = block.combine(h, apply_pointwise(block.gate, leaky(inner)))
        self._features = leaky(h)

    def channel(self, index: int) -> Logistics:
        here = self._planes((0, 0))
        mixture = self._model.plane_mixture(
            index, self._features, here - self._reference, self._reference
        )
        return mixture.channel(0, here)

    def _planes(self, tap: Tap) -> Tensor:
        """Levels minus 128 of the neighbours at `tap`, 0 outside: [batch, 3, 1, n]."""
        height, width = self._canvas.shape[2:]
        rows, columns = self._places[0] + tap[0], self._places[1] + tap[1]
        found = self._canvas[:, :, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        return (found.unsqueeze(2) - 128.0) * self._is_inside(tap)

    def _is_inside(self, tap: Tap) -> Tensor:
        """1 where the neighbour at `tap` is inside the image, else 0: [1, 1, 1, n]."""
        rows, columns = self._places
        return self._inside[:, :, rows + tap[0] + ABOVE, columns + tap[1] + LEFT].unsqueeze(2)

    def _references(self) -> Tensor:
        """`wave.local_reference` at the step's places."""
        rows, columns = self._places
        west, north, north_east = (self._planes(tap) for tap in ((0, -1), (-1, 0), (-1, 1)))
        north = torch.where(rows == 0, west, north)
        north_east = torch.where(rows == 0, west, north_east)
        west = torch.where(columns == 0, north, west)
        last = columns == self._canvas.shape[3] - 1
        north_east = torch.where(last, north, north_east)
        return (2 * west + north + north_east) / 4

    def _inputs(self) -> Tensor:
        """`wave.window_inputs` at the step's places."""
        residuals = {
            tap: (self._planes(tap) - self._reference) * self._is_inside(tap)
            for tap in window_taps()
        }
        near = torch.cat([residuals[tap] for tap in near_taps()], 1)
        fine = [clamped(near, gain) for gain in FEATURE_GAINS[:2]]
        batch = len(self._canvas)
        flags = [
            32 * self._is_inside(tap).expand(batch, -1, -1, -1)
            for tap in ((0, -1), (-1, 0), (-1, 1))
        ]
        return torch.cat([*residuals.values(), *fine, self._reference, *flags], 1) / 32
