"""A quick look at parts of an image: in which turn it is coded, and by which of several networks.

The turn is always that of the same small network, and engines are native or else numpy, so that
whatever computes the file, its bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ncml_codec import engines
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import excerpt
from ncml_codec.encode.excerpt import Excerpt
from ncml_codec.engines import Engine
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture.orientation import COUNT, turned
from ncml_codec.picture.picture import Samples, Source

_TURNED_BY = "fast"
_SAME_BITS = 0.5  # apart, which an engine's last digits would decide: turns of a symmetric image


def turn_of(picture: Source, effort: Effort | None = None) -> int:
    """The turn, see `orientation`, in which parts of an 8-bit grey or RGB image take the fewest
    bits; of those that are alike the lowest."""
    return chosen(excerpt.of(picture), [released_models.load(_TURNED_BY)], effort)[0]


def chosen(
    seen: Excerpt, models: Sequence[Model], effort: Effort | None = None
) -> tuple[int, Model]:
    """The turn in which the squares of an image take the fewest bits, and the model with which
    every second square, the corners' and the middle one, takes the fewest bits in it.

    Of those that are alike the first. effort: its threads; its check may end the search.
    """
    effort, parts = effort or Effort(), seen.squares
    by = _engine(released_models.load(_TURNED_BY))
    turn = _least(lambda turn: _bits(by, parts, turn), COUNT, effort)
    if len(models) == 1:
        return turn, models[0]
    by_model = [_engine(model) for model in models]
    some = parts[::2]
    return turn, models[_least(lambda n: _bits(by_model[n], some, turn), len(models), effort)]


def _least(bits: Callable[[int], float], count: int, effort: Effort) -> int:
    """The first number below `count` with the fewest bits."""

    def one(number: int) -> float:
        effort.check()
        return bits(number)

    found = list(in_order(one, range(count), min(effort.threads, count)))
    least = min(found)
    return next(number for number, bits in enumerate(found) if bits <= least + _SAME_BITS)


def _bits(engine: Engine, parts: Sequence[Samples], turn: int) -> float:
    return sum(engine.code_length(np.ascontiguousarray(turned(part, turn))) for part in parts)


def _engine(model: Model) -> Engine:
    return engines.load("auto", model.network)
