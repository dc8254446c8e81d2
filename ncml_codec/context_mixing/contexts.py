"""The contexts of the mixing coder: what each of its counters looks at, and where it lies.

A context is a chain of items, numbers known to encoder and decoder; their hash and the place in the
tree of decisions choose a counter. The lists were chosen by measurement
(bench/notebook/context-mixing.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.context_mixing.neighbours import TAPS, Hashes, fold_rows

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
