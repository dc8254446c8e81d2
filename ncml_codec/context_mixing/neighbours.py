"""What a pixel of the mixing coder sees: its neighbours of earlier waves, and hashes of them.

A neighbour that is not there, or not yet, is replaced by a nearby one that is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.network.wave_order import SKEW, Tap

Hashes = npt.NDArray[np.uint32]

# By name: rows up are N, columns left W; N2W is two rows up and one column left.
TAPS: dict[str, Tap] = {
    "W": (0, -1),
    "N": (-1, 0),
    "NW": (-1, -1),
    "NE": (-1, 1),
    "WW": (0, -2),
    "NN": (-2, 0),
    "NNE": (-2, 1),
    "NWW": (-1, -2),
    "NNW": (-2, -1),
    "WWW": (0, -3),
    "NNN": (-3, 0),
    "NNEE": (-2, 2),
    "NNEEE": (-2, 3),
    "NNNE": (-3, 1),
    "NNNW": (-3, -1),
}
_OFFSETS = np.array(list(TAPS.values()), np.int64)[:, :, None]


def places(rows: Integers64, columns: Integers64, height: int, width: int) -> Integers64:
    """Indices into the image by rows, [taps, n], of the pixels that stand for each neighbour.

    The neighbour's row is limited to the image, then its column to the last one of that row in an
    earlier wave, and to the image. In the pixel's own row there may be none: then the first pixel
    of the row above stands for it, and where there is none, height * width, the outside.
    """
    row = np.maximum(rows + _OFFSETS[:, 0], 0)
    up = rows - row
    column = np.minimum(columns + _OFFSETS[:, 1], columns + SKEW * up - 1)
    column = np.minimum(column, width - 1)
    before = column < 0
    place = row * width + np.maximum(column, 0)
    above = np.where(rows > 0, (rows - 1) * width, height * width)
    return np.where(before & (up == 0), above, place)


def fold(left: Hashes, right: Hashes | np.uint32) -> Hashes:
    """A hash of two 32-bit numbers, element by element."""
    mixed = (left + right + np.uint32(0x7F4A7C15)) * np.uint32(0x9E3779B1)
    return mixed ^ (mixed >> np.uint32(15))


def fold_rows(items: Hashes, chains: Integers64, starts: Integers64) -> Hashes:
    """The hash of each chain of items: [chains, n].

    items: [items, n]. chains: [chains, longest], indices of items, padded with -1 at the end, the
    longest chain first. starts: [chains], what each chain's hash begins with.
    """
    hashes = np.broadcast_to(starts.astype(np.uint32)[:, None], (len(chains), items.shape[1]))
    hashes = hashes.copy()
    for step in chains.T:
        active = int((step >= 0).sum())
        hashes[:active] = fold(hashes[:active], items[step[:active]])
    return hashes
