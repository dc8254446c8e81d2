"""Ancestral sampling: images drawn place by place, each given the earlier ones, at any noise time.

All random numbers are drawn before the first pixel, one set for every sub-pixel, so an image
is a function of them and not of the order in which a step's pixels are computed. What a network
computes at a step is its `Walk`; `Recomputed`, one whole forward pass a step, fits every network
and is what faster walks (`ncpn.bundles.walks`) are checked against. Refinement by the score: see
`ncml_codec.learn.sampling.refinement`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ncml_codec.learn.likelihood.mixture import Distribution, JointMixture, Logistics
from ncml_codec.network.wave_order import wave_count, wave_rows

CHANNELS = 3

Places = tuple[Tensor, Tensor]  # rows and columns, long [n] each
Progress = Callable[[int], None]


class Walk(Protocol):
    """A network's passage over a batch that is being drawn: earlier places are known."""

    def order(self) -> Iterator[Places]:
        """The steps. The places of one do not depend on each other."""
        ...

    def enter(self, places: Places) -> None:
        """Compute what the step's distributions need of the earlier steps' pixels."""
        ...

    def channel(self, index: int) -> Logistics:
        """The step's distributions of a channel, [batch, k, 1, n]; earlier channels are known."""
        ...


Begin = Callable[[Tensor], Walk]  # from the canvas, [batch, 3, height, width], which it reads


@dataclass(frozen=True)
class Given:
    """What of the images is known beforehand.

    values: [batch, 3, height, width] levels; mask: bool [height, width], True where they hold.
    A place is drawn given the places before it in the network's order, be they given or drawn:
    exact if the given places are the first of that order, else later ones are not looked at.
    """

    values: Tensor
    mask: Tensor


def uniforms(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random numbers for images [batch, channel, height, width]: [3, *shape], above 0, below 1."""
    numbers = torch.rand((3, *shape), generator=generator, device=generator.device)
    return numbers.clamp(2**-25, 1 - 2**-24)


@torch.no_grad()
def ancestral(
    begin: Begin,
    numbers: Tensor,
    *,
    whole: bool,
    given: Given | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    progress: Progress = lambda pixels: None,
) -> Tensor:
    """Images [batch, 3, height, width], a function of `numbers` (of `uniforms`).

    whole: True at t = 0, where sub-pixels are grey levels; at t > 0 they are real numbers, drawn
    from the density that the bins' masses stand for. bounds: draws beyond are cut to them, for what
    a network has never seen; without them the draws are exactly its own. progress: told the pixels
    just drawn.
    """
    canvas = torch.zeros(numbers.shape[1:], device=numbers.device, dtype=numbers.dtype)
    walk = begin(canvas)
    for rows, columns in walk.order():
        walk.enter((rows, columns))
        for channel in range(CHANNELS):
            drawn = walk.channel(channel).draw(
                numbers[:, :, channel, rows, columns].unsqueeze(-2), whole=whole
            )[:, 0]
            drawn = drawn.clamp(*bounds)
            if given is not None:
                known = given.values[:, channel, rows, columns]
                drawn = torch.where(given.mask[rows, columns], known, drawn)
            canvas[:, channel, rows, columns] = drawn
        progress(len(rows))
    return canvas


class Recomputed:
    """A walk by whole forward passes: exact for every network, and slow.

    model: of an image batch, its distribution; steps: the order; edges: True at t = 0.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Distribution],
        canvas: Tensor,
        steps: Sequence[Places],
        edges: bool,
    ) -> None:
        self._model, self._canvas, self._steps, self._edges = model, canvas, steps, edges

    def order(self) -> Iterator[Places]:
        return iter(self._steps)

    def enter(self, places: Places) -> None:
        self._places = places
        self._found = self._model(self._canvas).at(*places)

    def channel(self, index: int) -> Logistics:
        if index and not isinstance(self._found, JointMixture):
            self._found = self._model(self._canvas).at(*self._places)
        rows, columns = self._places
        here = self._canvas[..., rows, columns].unsqueeze(-2)
        return self._found.channel(index, here, edges=self._edges)


def wave_order(height: int, width: int) -> list[Places]:
    """All pixels wave by wave, rows ascending in each. See `ncml_codec.network.wave_order`."""
    steps = []
    for wave in range(wave_count(height, width)):
        rows = torch.arange(*wave_rows(wave, height, width))
        if len(rows):  # odd waves of an image that is one pixel wide have none
            steps.append((rows, wave - 2 * rows))
    return steps


def raster_order(height: int, width: int) -> list[Places]:
    """Pixel by pixel, row by row."""
    return [(torch.tensor([i]), torch.tensor([j])) for i in range(height) for j in range(width)]


def one_by_one(steps: Sequence[Places]) -> list[Places]:
    """The same order, every place a step of its own."""
    return [
        (rows[i : i + 1], columns[i : i + 1]) for rows, columns in steps for i in range(len(rows))
    ]
