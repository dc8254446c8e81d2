"""In which turn an image is coded: a quick look at parts of it, in all eight.

Always by the same small network, in the native engine or else in numpy, so that whatever computes
the file, its bytes are the same.
"""

from __future__ import annotations

import numpy as np

from ncml_codec import engines, library
from ncml_codec.codec import Effort
from ncml_codec.engines import Measurer
from ncml_codec.picture import Samples, Source
from ncml_codec.schedule import in_order
from ncml_codec.turns import COUNT, turned

_MODEL = "fast"
_SAME_BITS = 0.5  # apart: turns of a symmetric image, which an engine's last digits would decide
_SIDE, _ACROSS = 48, 3  # of the parts, and how many of them each way; bench/LOG.md, "Turns"


def chosen(picture: Source, effort: Effort | None = None) -> int:
    """The turn, of `turns`, in which parts of an 8-bit grey or RGB image take the fewest bits;
    of those that are alike the lowest.

    effort: its threads; and its progress, which hears of no pixels, may end the look.
    """
    effort = effort or Effort()
    engine = engines.load("auto", library.load(_MODEL).network)
    assert isinstance(engine, Measurer)
    parts = _parts(picture)

    def one(turn: int) -> float:
        effort.progress(0)
        return sum(engine.code_length(np.ascontiguousarray(turned(p, turn))) for p in parts)

    found = list(in_order(one, range(COUNT), min(effort.threads, COUNT)))
    least = min(found)
    return next(turn for turn, bits in enumerate(found) if bits <= least + _SAME_BITS)


def _parts(picture: Source) -> list[Samples]:
    """Squares spread over the image; a small image is one part."""
    height, width = picture.height, picture.width
    if height * width <= (_SIDE * _ACROSS) ** 2:
        return [picture.rows(0, height).copy()]
    parts = []
    for top in _places(height):
        band = picture.rows(top, min(top + _SIDE, height))
        parts += [band[:, left : left + _SIDE].copy() for left in _places(width)]
    return parts


def _places(size: int) -> list[int]:
    """Where parts begin along a side: in the middle of as many equal stretches."""
    most = max(size - _SIDE, 0)
    centres = (2 * part + 1 for part in range(_ACROSS))
    return [min(max(size * c // (2 * _ACROSS) - _SIDE // 2, 0), most) for c in centres]
