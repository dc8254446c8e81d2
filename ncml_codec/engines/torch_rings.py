"""Where a wave's pixels are, and what earlier waves have left for them, for images of one size.

A wave's pixels are a frame of rows. A fixed frame has as many as the longest wave, so that every
wave is the same work on tensors of the same shapes; else it has as many as the wave. Rows of a
frame beyond the wave hold zeros in the rings and nonsense elsewhere, which nothing reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.network import FEATURE_GAINS, FEATURE_MAX, INPUT_UNIT, PLANES, Network
from ncml_codec.wave import Tap, lag, wave_count, wave_rows

_WEST, _NORTH, _NORTH_EAST = (0, -1), (-1, 0), (-1, 1)


class Frame:
    """Of the wave it was last moved to.

    height, width, longest: of the images and their longest wave, in pixels; pixels: of the wave;
    rows: of the frame; number, first, stop: the wave's number, its first row and one past its last
    one, int64 [] on the device, always the same tensors.
    """

    def __init__(self, height: int, width: int, fixed: bool, device: torch.device) -> None:
        self.height, self.width, self._fixed = height, width, fixed
        spans = [wave_rows(wave, height, width) for wave in range(wave_count(height, width))]
        self.longest = max(stop - first for first, stop in spans)
        self.rows = self.pixels = self.longest
        clocks = [(wave, first, stop) for wave, (first, stop) in enumerate(spans)]
        self._clocks = torch.tensor(clocks, dtype=torch.int64, device=device)
        self._clock = self._clocks[0].clone()
        self.number, self.first, self.stop = self._clock.unbind()

    def move(self, wave: int) -> int:
        """To a wave. The number of its pixels; if that is 0 the frame stays where it was."""
        first, stop = wave_rows(wave, self.height, self.width)
        if stop <= first:
            return 0
        self.pixels = stop - first
        self.rows = self.longest if self._fixed else self.pixels
        self._clock.copy_(self._clocks[wave])
        return self.pixels

    def image_rows(self, before: int = 0) -> Tensor:
        """The images' rows that the frame's are, and `before` more in front, int64."""
        return self.first + torch.arange(-before, self.rows, device=self._clock.device)


class Ring:
    """The last waves' values, [slot, image, row, feature]; zero outside the images."""

    def __init__(self, frame: Frame, images: int, features: int, taps: Sequence[Tap]) -> None:
        self._frame, device = frame, frame.number.device
        self.slots = max(lag(tap) for tap in taps) + 1
        # A ring's turn moves the first row of a wave by at most this; what it leaves is cleared.
        self._lead = self.slots // 2 + 1
        reach = max(abs(di) for di, _ in taps)
        self._margin = reach + self._lead
        self._stride = frame.height + frame.longest + 2 * self._margin
        places = self.slots * images * self._stride
        self._values = torch.zeros((places, features), dtype=torch.float32, device=device)
        self._lags = torch.tensor([lag(tap) for tap in taps], device=device)
        self._tap_rows = torch.tensor([di for di, _ in taps], device=device)
        self._images = torch.arange(images, device=device)

    def write(self, values: Tensor) -> None:
        """The wave's values [image, row, feature]; rows of the frame beyond the wave become 0."""
        frame = self._frame
        rows = frame.image_rows(self._lead)
        outside = (rows < frame.first) | (rows >= frame.stop)
        written = F.pad(values, (0, 0, self._lead, 0)).masked_fill(outside[:, None], 0.0)
        places = self._places(frame.number % self.slots, self._images[:, None], rows)
        self._values.index_copy_(0, places.flatten(), written.flatten(0, 1))

    def gather(self) -> Tensor:
        """The neighbours of the wave's pixels, [image, row, tap, feature]."""
        slot = (self._frame.number - self._lags) % self.slots
        rows = self._frame.image_rows()[:, None] + self._tap_rows
        return self._values[self._places(slot, self._images[:, None, None], rows)]

    def _places(self, slot: Tensor, image: Tensor, row: Tensor) -> Tensor:
        return (slot * len(self._images) + image) * self._stride + self._margin + row


class Samples:
    """The samples of all planes, and the inputs that the first layer makes of earlier ones."""

    def __init__(self, frame: Frame, images: int, network: Network) -> None:
        def places(taps: Sequence[Tap]) -> Tensor:
            return torch.tensor([seen.index(tap) for tap in taps], device=frame.number.device)

        sides = [_WEST, _NORTH, _NORTH_EAST]
        seen = [*network.window, *(tap for tap in sides if tap not in network.window)]
        # 4 (x - 128) by plane, 1 if inside
        self._ring = Ring(frame, images, PLANES + 1, seen)
        self._frame, self._window = frame, len(network.window)
        self._near, self._sides = places(network.near), places(sides)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """The first layer's inputs, float32 [image, row, input], in the order of FORMAT.md, section
        4.1, and the reference, whole numbers in float32 [image, row, plane]."""
        seen = self._ring.gather()
        sides = seen[:, :, self._sides]
        reference = self._reference(sides[..., :PLANES])
        window = seen[:, :, : self._window]
        residuals = (window[..., :PLANES] - reference[:, :, None]) * window[..., PLANES:]
        near = residuals[:, :, self._near].flatten(2)
        fine = [(near * gain).clamp(-FEATURE_MAX, FEATURE_MAX) for gain in FEATURE_GAINS[:2]]
        flags = sides[..., PLANES] * INPUT_UNIT
        self._current = torch.ones_like(sides[:, :, 0])
        return torch.cat([residuals.flatten(2), *fine, reference, flags], 2), reference

    def put(self, plane: int, quarters: Tensor) -> None:
        """4 (x - 128) of the wave's samples of a plane, [image, row]; all planes in order."""
        self._current[:, :, plane] = quarters
        if plane == PLANES - 1:
            self._ring.write(self._current)

    def _reference(self, sides: Tensor) -> Tensor:
        """2 W + N + NE of levels minus 128; at the borders what is inside stands in."""
        i = self._frame.image_rows()[:, None]
        j = self._frame.number - 2 * i
        west, north, north_east = sides.unbind(2)
        north = torch.where(i == 0, west, north)
        north_east = torch.where(i == 0, west, north_east)
        west = torch.where(j == 0, north, west)
        north_east = torch.where(j == self._frame.width - 1, north, north_east)
        return (2 * west + north + north_east) * 0.25
