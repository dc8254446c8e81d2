"""Blocks of JPEG planes in one flat array, with the neighbours that a network may read.

A plane is one component's coefficients. Planes lie one behind the other with a border of empty
blocks, so that a neighbour is a block at a fixed distance. Coefficients are in zigzag order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncml_codec.jpeg import Jpeg

# Blocks of earlier waves (wave = column + 2 row) that a network reads: W, N, NW, NE, WW, NN.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
BORDER = 2  # empty blocks above, to the left and to the right

Plane = npt.NDArray[np.int16]  # [rows, columns, 64]


@dataclass(frozen=True)
class Batch:
    """n blocks of one kind of plane.

    own: [n, 64], quantised. steps: [n, 64], quantisation steps. neighbours: [n, 6, 64], quantised,
    zeros where there is none; known: [n, 6], whether there is one. cross: [n, 2, 64], means of the
    dequantised coefficients of the first plane's blocks at this place, and of their magnitudes;
    other: [n, 64], the second plane's block, for the third plane; zeros otherwise. third: [n].
    All float32.
    """

    own: Tensor
    steps: Tensor
    neighbours: Tensor
    known: Tensor
    cross: Tensor
    other: Tensor
    third: Tensor

    def __len__(self) -> int:
        return len(self.own)


class Blocks:
    """All blocks of some planes. luma: first planes; otherwise second and third planes."""

    def __init__(self, files: Iterable[Jpeg], luma: bool) -> None:
        self.luma = luma
        parts: list[Plane] = [np.zeros((1, 64), np.int16)]
        cross: list[npt.NDArray[np.int16]] = [np.zeros((1, 2, 64), np.int16)]
        own, strides, steps, planes, others, thirds = [], [0], [np.ones(64)], [], [], []
        inside = [np.zeros(1, bool)]
        total = 1
        for file in files:
            before = 0
            for index, plane in enumerate(file.coefficients[:3]):
                if (index == 0) != luma:
                    continue
                rows, columns, _ = plane.shape
                padded, mask = _bordered(plane)
                places = total + np.flatnonzero(mask)
                stride = columns + 2 * BORDER
                parts.append(padded)
                inside.append(mask)
                own.append(places)
                planes.append(np.full(len(places), len(strides)))
                third = index == 2 and file.coefficients[1].shape == plane.shape
                others.append(before + places - total if third else np.zeros(len(places), int))
                thirds.append(np.full(len(places), index == 2))
                strides.append(stride)
                steps.append(file.layout.quantisation[index].astype(float))
                if not luma:
                    first = file.coefficients[0], file.layout.quantisation[0]
                    both = co_located(*first, rows, columns)
                    cross.append(_bordered(both.reshape(rows, columns, 128))[0].reshape(-1, 2, 64))
                before, total = total, total + len(padded)
        self.coefficients = torch.from_numpy(np.concatenate(parts))
        self.inside = torch.from_numpy(np.concatenate(inside))
        self.cross = torch.from_numpy(np.concatenate(cross)) if not luma else None
        self.places = torch.from_numpy(np.concatenate(own))
        self.planes = torch.from_numpy(np.concatenate(planes))
        self.others = torch.from_numpy(np.concatenate(others))
        self.thirds = torch.from_numpy(np.concatenate(thirds))
        self.strides = torch.tensor(strides)
        self.steps = torch.from_numpy(np.stack(steps)).float()

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, chosen: Tensor) -> Batch:
        """The blocks of these numbers, [n], in order of planes, row by row."""
        places, planes = self.places[chosen], self.planes[chosen]
        stride = self.strides[planes][:, None]
        rows, columns = torch.tensor(NEIGHBOURS).unbind(1)
        around = places[:, None] + rows * stride + columns
        cross = torch.zeros(len(chosen), 2, 64)
        other = torch.zeros(len(chosen), 64)
        if self.cross is not None:
            cross = self.cross[places].float()
            other = self.coefficients[self.others[chosen]].float()
        return Batch(
            self.coefficients[places].float(),
            self.steps[planes],
            self.coefficients[around].float(),
            self.inside[around].float(),
            cross,
            other,
            self.thirds[chosen].float(),
        )


def co_located(
    first: Plane, steps: npt.NDArray[np.uint16], rows: int, columns: int
) -> npt.NDArray[np.int16]:
    """What another plane of rows x columns blocks sees of the first, [rows, columns, 2, 64].

    Means over the first plane's blocks at the same place, rounded down, of dequantised coefficients
    and of their magnitudes, at most 2047.
    """
    down, across = (
        max(1, round(a / b)) for a, b in zip(first.shape, (rows, columns), strict=False)
    )
    dequantised = np.clip(first.astype(np.int32) * steps.astype(np.int32), -2047, 2047)
    total = np.zeros((rows, columns, 2, 64), np.int32)
    for u in range(down):
        for v in range(across):
            row = np.minimum(np.arange(rows) * down + u, first.shape[0] - 1)
            column = np.minimum(np.arange(columns) * across + v, first.shape[1] - 1)
            part = dequantised[row[:, None], column]
            total += np.stack([part, np.abs(part)], axis=2)
    return (total // (down * across)).astype(np.int16)


def _bordered(plane: Plane) -> tuple[Plane, npt.NDArray[np.bool_]]:
    """The plane's blocks and its border's, [count, ...], and which of them are the plane's."""
    sides = ((BORDER, 0), (BORDER, BORDER))
    padded = np.pad(plane, (*sides, (0, 0)))
    mask = np.pad(np.ones(plane.shape[:2], bool), sides)
    return padded.reshape(-1, plane.shape[2]), mask.ravel()
