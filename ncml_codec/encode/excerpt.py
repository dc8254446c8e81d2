"""A few parts of an image, read once from top to bottom, on which all decisions are taken.

Rows of a file that is not in memory are cheap in order only, so nothing else looks at the image
before it is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ncml_codec.picture.picture import Picture, Samples, Source

_EIGHTHS, _ROWS = (1, 3, 5), 32  # of the height: where bands begin, and how many rows they have
# Side of the squares, and their number each way: bench/notebook/orientation-and-model-choice.md.
_SIDE, _ACROSS = 48, 3
Span = tuple[int, int]  # the first row, and the one after the last


@dataclass(frozen=True)
class Excerpt:
    """bands: some rows, [rows, width, planes], from top to bottom. squares: [side, side, planes],
    spread over the image; of a small image the whole, as one part."""

    bands: Sequence[Samples]
    squares: Sequence[Samples]

    @cached_property
    def picture(self) -> Picture:
        """The bands below each other, as an image of their own."""
        return Picture(np.concatenate(self.bands))


def of(picture: Source) -> Excerpt:
    """The excerpt of an 8-bit grey or RGB image."""
    height, width = picture.height, picture.width
    bands = [_band(height, eighth) for eighth in _EIGHTHS]
    if height * width <= (_SIDE * _ACROSS) ** 2:
        whole = picture.rows(0, height).copy()
        return Excerpt([whole[top:stop] for top, stop in bands], [whole])
    tops = _places(height)
    rows = _Rows(picture, [*bands, *((top, min(top + _SIDE, height)) for top in tops)])
    squares = [
        rows.of(top, min(top + _SIDE, height))[:, left : left + _SIDE]
        for top in tops
        for left in _places(width)
    ]
    return Excerpt([rows.of(*band) for band in bands], squares)


class _Rows:
    """The rows of some spans, each read once, in order."""

    def __init__(self, picture: Source, spans: Sequence[Span]) -> None:
        joined: list[Span] = []
        for top, stop in sorted(spans):
            if joined and top <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((top, stop))
        self._held = [(top, picture.rows(top, stop).copy()) for top, stop in joined]

    def of(self, top: int, stop: int) -> Samples:
        begin, rows = next(
            (begin, rows) for begin, rows in self._held if begin <= top < begin + len(rows)
        )
        return rows[top - begin : stop - begin]


def _band(height: int, eighth: int) -> Span:
    top = max(0, min(height * eighth // 8, height - _ROWS))
    return top, min(top + _ROWS, height)


def _places(size: int) -> list[int]:
    """Where squares begin along a side: in the middle of as many equal stretches."""
    most = max(size - _SIDE, 0)
    centres = (2 * part + 1 for part in range(_ACROSS))
    return [min(max(size * c // (2 * _ACROSS) - _SIDE // 2, 0), most) for c in centres]
