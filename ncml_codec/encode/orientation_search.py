"""A quick look at parts of an image: in which turn it is coded, and by which of several networks.

The turn is always that of the same small network, and engines are native or else numpy, so that
whatever computes the file, its bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ncml_codec import engines
from ncml_codec.decode.tile_walk import Effort
from ncml_codec.engines import Measurer
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture.orientation import COUNT, turned
from ncml_codec.picture.picture import Samples, Source

_TURNED_BY = "fast"
_SAME_BITS = 0.5  # apart, which an engine's last digits would decide: turns of a symmetric image
# Side of the crops, and their number each way: bench/notebook/orientation-and-model-choice.md.
_SIDE, _ACROSS = 48, 3


def turn_of(picture: Source, effort: Effort | None = None) -> int:
    """The turn, of `turns`, in which parts of an 8-bit grey or RGB image take the fewest bits; of
    those that are alike the lowest.

    effort: its threads; and its progress, which hears of no pixels, may end the look.
    """
    return chosen(picture, [released_models.load(_TURNED_BY)], effort)[0]


def chosen(
    picture: Source, models: Sequence[Model], effort: Effort | None = None
) -> tuple[int, Model]:
    """The same turn, and the model with which every second part, the corners' and the middle one,
    takes the fewest bits in it; of those that are alike the first."""
    effort = effort or Effort()
    parts = _parts(picture)
    by = _measurer(released_models.load(_TURNED_BY))
    turn = _least(lambda turn: _bits(by, parts, turn), COUNT, effort)
    if len(models) == 1:
        return turn, models[0]
    measurers = [_measurer(model) for model in models]
    some = parts[::2]
    return turn, models[_least(lambda n: _bits(measurers[n], some, turn), len(models), effort)]


def _least(bits: Callable[[int], float], count: int, effort: Effort) -> int:
    """The first number below `count` with the fewest bits."""

    def one(number: int) -> float:
        effort.progress(0)
        return bits(number)

    found = list(in_order(one, range(count), min(effort.threads, count)))
    least = min(found)
    return next(number for number, bits in enumerate(found) if bits <= least + _SAME_BITS)


def _bits(engine: Measurer, parts: Sequence[Samples], turn: int) -> float:
    return sum(engine.code_length(np.ascontiguousarray(turned(part, turn))) for part in parts)


def _measurer(model: Model) -> Measurer:
    engine = engines.load("auto", model.network)
    assert isinstance(engine, Measurer)
    return engine


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
