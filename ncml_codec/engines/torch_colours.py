"""What tiles' colours teach, for several images at once: what `colours` specifies, in other words.

Masses of all 256 levels are computed, whichever groups are open, so that every wave is the same
work; those of closed groups are 0. Tensors have an axis of images in front, and each image has
cells of its own. Whole numbers in float64, for which the rules of `torch_adaptation` hold. Not the
mixtures, nor anything that they learn. FORMAT.md, section 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ncml_codec.colours import FACTOR_LIMIT, LEVELS, OPEN_MASS, Kind, kinds
from ncml_codec.engines.torch_mixture import mass_weights
from ncml_codec.tables import TOTAL


@dataclass(frozen=True)
class Masses:
    """Of sub-pixels [image, n].

    groups: [image, n, 16], of the levels with one high nibble; levels: [image, n, 16, 16], of each
    group's, 0 if it is closed; opened: which groups are open, bool [image, n, 16].
    """

    groups: Tensor
    levels: Tensor
    opened: Tensor

    def high(self) -> Tensor:
        """The coder's weights of the high nibbles, float32 [image, n, 16]."""
        return mass_weights(self.groups)

    def low(self, high: Tensor, closed: Tensor) -> Tensor:
        """The weights of the low nibbles given the high ones [image, n]; closed: those of closed
        groups, [image, n, 16]."""
        at = high.long()[..., None]
        levels = self.levels.take_along_dim(at[..., None], -2).squeeze(-2)
        return torch.where(self.opened.gather(-1, at), mass_weights(levels), closed)


class Stage:
    """The cells of one kind, of `images` images: seen int32, expected int64, both [image, cell]."""

    def __init__(self, kind: Kind, images: int, device: torch.device) -> None:
        self.kind = kind
        self.seen = torch.zeros((images, kind.cells), dtype=torch.int32, device=device)
        self.expected = torch.zeros_like(self.seen, dtype=torch.int64)
        self._levels = torch.arange(LEVELS, device=device)

    def cells(self, earlier: Tensor) -> Tensor:
        """Those of all levels, [image, 256 n]. earlier: [image, n, plane]."""
        first: Tensor = self.kind.place(*earlier.long().unbind(-1))
        return (first[..., None] + self._levels).flatten(1)

    def factors(self, cells: Tensor) -> Tensor:
        """By how much more often these cells were seen than expected, shaped as they are."""
        seen = self.seen.gather(1, cells).double() * TOTAL + self.kind.prior
        expected = (self.expected.gather(1, cells) + self.kind.prior).double()
        return (seen / expected).clamp(1 / FACTOR_LIMIT, FACTOR_LIMIT)

    def learn(self, cells: Tensor, masses: Masses, values: Tensor, inside: Tensor) -> None:
        """masses: as they were before the factors; values: the samples [image, n]; inside: which of
        them are pixels, bool [n]."""
        learned = masses.levels.masked_fill(~inside[:, None, None], 0.0).long()
        self.expected.scatter_add_(1, cells, learned.flatten(1))
        at = values.long()[..., None]
        counted = masses.opened.gather(-1, at >> 4) & inside[:, None]
        own = cells.view(*values.shape, LEVELS).gather(-1, at)
        self.seen.scatter_add_(1, own.squeeze(-1), counted.squeeze(-1).int())


class Colours:
    """The cells of several tiles. mode: the colour mode of `strength`, 1 to 3."""

    def __init__(self, mode: int, images: int, device: torch.device) -> None:
        self.stages = [  # by plane
            [Stage(kind, images, device) for kind in kinds(mode, plane)] for plane in range(3)
        ]
        self._used: list[Masses] = []  # by stage, before its factors

    def concern(self, plane: int) -> bool:
        """Whether there are factors on this plane's levels."""
        return bool(self.stages[plane])

    def masses(self, plane: int, levels: Tensor, earlier: Tensor) -> Masses:
        """The masses of a wave's sub-pixels after all factors.

        levels: as the mixtures have them, [image, n, 16, 16]; earlier: the samples of the planes
        before, [image, n, plane].
        """
        groups = levels.sum(-1)
        opened = groups >= OPEN_MASS
        masses = Masses(groups, levels.masked_fill(~opened[..., None], 0.0), opened)
        self._used = []
        for stage in self.stages[plane]:
            if self._used:
                masses = _of_sum_one(masses)
            self._used.append(masses)
            factors = stage.factors(stage.cells(earlier)).view_as(levels)
            masses = _with_levels(masses, (masses.levels * factors).floor())
        return masses

    def learn(self, plane: int, values: Tensor, earlier: Tensor, inside: Tensor) -> None:
        """The samples [image, n] of the plane that `masses` was asked for last are known; earlier:
        as then; inside: which of them are pixels, bool [n]."""
        for stage, masses in zip(self.stages[plane], self._used, strict=True):
            stage.learn(stage.cells(earlier), masses, values, inside)


def _with_levels(masses: Masses, levels: Tensor) -> Masses:
    groups = torch.where(masses.opened, levels.sum(-1), masses.groups)
    return Masses(groups, levels, masses.opened)


def _of_sum_one(masses: Masses) -> Masses:
    """Scaled so that each sub-pixel's sum is 2**24, less what rounding down takes."""
    sums = masses.groups.sum(-1, keepdim=True)
    scale = torch.full_like(sums, TOTAL) / sums
    scaled = Masses((masses.groups * scale).floor(), masses.levels, masses.opened)
    return _with_levels(scaled, (masses.levels * scale[..., None]).floor())
