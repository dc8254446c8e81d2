"""The contexts of the mixing coder: a pixel's neighbours, hashes of them, and chosen counters.

A context is a chain of items, numbers known to encoder and decoder. Its hash and the place in the
tree of decisions choose a counter. The lists were chosen by measurement
(bench/notebook/context-mixing.md). A neighbour that is not there, or not yet, is replaced by a
nearby one that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


SIX = ("W", "N", "NW", "NE", "WW", "NN")
TWELVE = (*SIX, "NNE", "NWW", "NNW", "WWW", "NNN", "NNEE")

# Items by row: the hashes of the neighbours' pixels, then these.
EXTRA = (
    "six",  # hash of SIX
    "twelve",  # hash of TWELVE
    "current",  # hash of this pixel's earlier components
    "before",  # its last component: the high 6 bits of 8 or more
    "gradient",  # W + N - NW of this component: the high 8 bits
    "joint",  # the third expert's centre
    "equal",  # which neighbours are equal
    "sources",  # which candidates are equal
    "first",  # hash of the first candidate
)
ITEMS = {name: row for row, name in enumerate((*TAPS, *EXTRA))}

COMPONENT = (
    ("current", "W", "N", "NE", "NW"),
    ("current", "W", "N"),
    ("current", "W", "WW"),
    ("current", "N", "NE"),
    ("current", "W"),
    ("current", "N"),
    ("current", "six"),
    ("current", "twelve"),
    ("current", "joint"),
    ("gradient", "before"),
    ("current",),
    (),  # where the first expert's centre lies in the interval
)
RELATIVE = COMPONENT.index(())
CORRECTED = COMPONENT.index(("current", "N"))  # chooses the map of the second correction

CANDIDATE = (
    ("W", "N", "NE", "NW"),
    ("twelve", "NNNE", "NNNW", "NNEEE"),
    ("W", "N", "NE"),
    ("W", "WW", "WWW"),
    ("N", "NN", "NNN"),
    ("W", "N"),
    ("sources", "equal"),
    ("first", "sources"),
    ("six",),
    ("twelve",),
    ("equal",),
    ("sources",),
)
CONTEXTS = len(COMPONENT)
SLOT_BITS_MIN, SLOT_BITS_MAX = 10, 20  # of each context; 12 * 2**20 counters in all at most


@dataclass(frozen=True)
class Chains:
    """Lists of items as rows of ITEMS: [contexts, longest], -1 after the end."""

    rows: Integers64

    def hashes(self, items: Hashes, stage: int) -> Hashes:
        """[contexts, n] of the items [ITEMS, n]; stage: 0, candidates; 1 + c, component c."""
        starts = 1 + np.arange(CONTEXTS) + CONTEXTS * stage
        return fold_rows(items, self.rows, starts)


def chains(lists: Sequence[Sequence[str]]) -> Chains:
    """Of names; the longest list first."""
    longest = len(lists[0])
    rows = [[ITEMS[name] for name in names] + [-1] * (longest - len(names)) for names in lists]
    return Chains(np.array(rows, np.int64))


def slot_bits(pixels: int, components: int) -> int:
    """Each context's counters are 2 to this power: six for each sample of the image, in limits."""
    wanted = (6 * pixels * components - 1).bit_length()
    return min(max(wanted, SLOT_BITS_MIN), SLOT_BITS_MAX)
