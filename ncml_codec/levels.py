"""Levels of compression, 1 to 9: the model, and what an encoder tries for every tile.

README.md has their prices.

A decoder knows nothing of levels: a tile says how its network learns.
"""

from __future__ import annotations

from dataclasses import dataclass

from ncml_codec.errors import UsageError
from ncml_codec.strength import BODY, STATIC

DEFAULT = 5


@dataclass(frozen=True)
class Level:
    """strengths: all of them are tried on the whole tile, and the smallest result is kept.

    Where STATIC is not among them it is tried as well, unless its code length, counted along with
    the first one, is surely larger (`codec`). model: the released one that is used unless the user
    names another.
    """

    strengths: tuple[int, ...]
    model: str = "photo"


_HEADS, _WHOLE = 3, BODY + 3  # the best single strengths on validation images, bench/LOG.md
_FAST = "fast"

LEVELS = {
    1: Level((STATIC,), _FAST),
    2: Level((_HEADS,), _FAST),
    3: Level((_HEADS,), _FAST),
    4: Level((_HEADS,)),
    5: Level((_HEADS,)),
    6: Level((2, 3, 4)),
    7: Level((STATIC, 1, 2, 3, 4, 5)),
    8: Level((_WHOLE,)),
    9: Level((STATIC, 3, BODY + 2, BODY + 3, BODY + 4)),
}


def at(level: int) -> Level:
    """The level of this number. Raises UsageError for one that does not exist."""
    if level not in LEVELS:
        raise UsageError(f"level {level!r}: not one of 1 to 9")
    return LEVELS[level]
