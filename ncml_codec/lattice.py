"""Whether an image's colours lie on a lattice: a quick look before an encoder tries colour modes.

Where colours came through YCbCr or PhotoCD, many of the differences between planes that lie amid
frequent ones never occur. Whole numbers alone, so that every machine sees the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MODES = (3, 2, 1, 0)  # to be tried, the one first that is best most often

_LEVELS = 256
_SPAN = 2 * _LEVELS - 1
_REACH = 2  # around a cell
_AROUND = (2 * _REACH + 1) ** 2 - 1
_CROWDED = 2 * _AROUND  # pixels around a cell from which on it should not be empty
_FEWEST = 64  # of such cells
_EMPTY = 4  # one of so many of them is empty: bench/LOG.md, "Colours on a lattice, in all engines"

Counts = npt.NDArray[np.int64]


def modes(samples: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The colour modes that an encoder should try for a tile [height, width, planes]."""
    if samples.shape[2] == 1:
        return (0,)
    counts = _histogram(samples)
    around = _box(counts) - counts
    crowded = counts[around >= _CROWDED]
    empty = int(np.count_nonzero(crowded == 0))
    return MODES if len(crowded) >= _FEWEST and _EMPTY * empty >= len(crowded) else (0,)


def _histogram(samples: npt.NDArray[np.uint8]) -> Counts:
    """How many pixels have each (green - red, blue - green), [511, 511]; without those at either
    end of a scale, where levels were cut off and are on no lattice."""
    red, green, blue = (samples[:, :, plane].astype(np.int32) for plane in range(3))
    cells = (green - red) * _SPAN + (blue - green) + (_LEVELS - 1) * (_SPAN + 1)
    # 0 becomes 255, and 255 becomes 254.
    inside = (samples - np.uint8(1) < _LEVELS - 2).all(axis=2)
    return np.bincount(cells[inside], minlength=_SPAN * _SPAN).reshape(_SPAN, _SPAN)


def _box(counts: Counts) -> Counts:
    """The sums over squares around each cell."""
    for axis in range(2):
        edges = [(0, 0), (0, 0)]
        edges[axis] = (_REACH + 1, _REACH)
        sums = np.cumsum(np.pad(counts, edges), axis=axis)
        sums = np.moveaxis(sums, axis, 0)
        counts = np.moveaxis(sums[2 * _REACH + 1 :] - sums[: -2 * _REACH - 1], 0, axis)
    return counts
