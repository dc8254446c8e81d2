"""Whether an image's colours lie on a lattice: a quick look before an encoder tries colour modes.

Where colours came through YCbCr or PhotoCD, many of the differences between planes that lie amid
frequent ones never occur. Whole numbers alone, so that every machine sees the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncml_codec.network.colour_counts import LEVELS, SPAN, difference_cell

MODES = (3, 2, 1, 0)  # to be tried, the one first that is best most often
FEWER_MODES = MODES[1:]  # for tiles of fewer than _MANY pixels, where triples seldom come again

_TOGETHER = 1 << 16  # pixels at a time, for memory's sake
_MANY = 1 << 12
_REACH = 2  # around a cell
_AROUND = (2 * _REACH + 1) ** 2 - 1
_CROWDED = 2 * _AROUND  # pixels around a cell from which on it should not be empty
_FEWEST = 64  # of such cells
_EMPTY = 4  # one of so many of them is empty: bench/notebook/colours.md

Counts = npt.NDArray[np.int64]


def modes(samples: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The colour modes that an encoder should try for a tile [height, width, planes]."""
    if samples.shape[2] == 1:
        return (0,)
    counts = _histogram(samples)
    around = _box(counts) - counts
    crowded = counts[around >= _CROWDED]
    empty = int(np.count_nonzero(crowded == 0))
    if len(crowded) < _FEWEST or _EMPTY * empty < len(crowded):
        return (0,)
    return MODES if samples.shape[0] * samples.shape[1] >= _MANY else FEWER_MODES


def _histogram(samples: npt.NDArray[np.uint8]) -> Counts:
    """How many pixels have each (green - red, blue - green), between the least and the greatest of
    both and a margin; without pixels at either end of a scale, where levels were cut off and are
    on no lattice."""
    counts = np.zeros(SPAN * SPAN, np.int64)
    pixels = samples.reshape(-1, 3)
    for begin in range(0, len(pixels), _TOGETHER):
        part = pixels[begin : begin + _TOGETHER]
        # 0 becomes 255, and 255 becomes 254.
        inside = part[(part - np.uint8(1) < LEVELS - 2).all(axis=1)].astype(np.int32)
        counts += np.bincount(difference_cell(*inside.T), minlength=len(counts))
    square: Counts = counts.reshape(SPAN, SPAN)
    rows, columns = (np.flatnonzero(square.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return square[:1, :1]
    # No difference is beyond 253, so that a margin of _REACH is always there.
    return square[
        rows[0] - _REACH : rows[-1] + _REACH + 1, columns[0] - _REACH : columns[-1] + _REACH + 1
    ]


def _box(counts: Counts) -> Counts:
    """The sums over squares around each cell."""
    for _ in range(2):
        sums = np.cumsum(np.pad(counts, ((_REACH + 1, _REACH), (0, 0))), axis=0)
        counts = (sums[2 * _REACH + 1 :] - sums[: -2 * _REACH - 1]).T
    return counts
