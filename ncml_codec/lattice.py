"""Whether an image's colours lie on a lattice: a quick look before an encoder tries colour modes.

Where colours came through YCbCr or PhotoCD, many of the differences between planes that lie amid
frequent ones never occur. Whole numbers alone, so that every machine sees the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MODES = (3, 2, 1, 0)  # to be tried, the one first that is best most often

_LEVELS = 256
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
    """How many pixels have each (green - red, blue - green), between the least and the greatest of
    both and a margin; without pixels at either end of a scale, where levels were cut off and are
    on no lattice."""
    # 0 becomes 255, and 255 becomes 254.
    inside = (samples - np.uint8(1) < _LEVELS - 2).all(axis=2)
    if not inside.any():
        return np.zeros((1, 1), np.int64)
    red, green, blue = (samples[:, :, plane][inside].astype(np.int32) for plane in range(3))
    first, second = green - red, blue - green
    first -= first.min() - _REACH
    second -= second.min() - _REACH
    rows, columns = int(first.max()) + _REACH + 1, int(second.max()) + _REACH + 1
    counts = np.bincount(first * columns + second, minlength=rows * columns)
    return counts.reshape(rows, columns)


def _box(counts: Counts) -> Counts:
    """The sums over squares around each cell."""
    for _ in range(2):
        sums = np.cumsum(np.pad(counts, ((_REACH + 1, _REACH), (0, 0))), axis=0)
        counts = (sums[2 * _REACH + 1 :] - sums[: -2 * _REACH - 1]).T
    return counts
