"""Levels of compression, 1 to 9: the model, what an encoder tries for every tile, and keeps.

README.md has their prices.

A decoder knows nothing of levels: a tile says how its network learns.
"""

from __future__ import annotations

from dataclasses import dataclass

from ncml_codec.errors import UsageError
from ncml_codec.strength import BODY, STATIC

DEFAULT = 5

# A payload is at most a word shorter than its code length. A code length so much above a payload is
# that of a larger one, whatever the last digits of a sum of logarithms.
_SURE, _SURE_BITS = 1.001, 64


@dataclass(frozen=True)
class Level:
    """strengths: all of them are tried on the whole tile, and the smallest result is kept.

    Where STATIC is not among them it is tried as well, unless its code length, counted along with
    the first one, is surely larger (`Trials`). model: the released one that is used unless the user
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


class Trials:
    """What a tile takes at the strengths that were tried.

    static_bits: no more than its code length at STATIC; 0 as long as nothing is known of it.
    """

    def __init__(self) -> None:
        self._tried: list[tuple[int, int, bytes]] = []
        self.static_bits = 0.0

    def take(self, strength: int, payload: bytes) -> None:
        self._tried.append((len(payload), strength, payload))

    def needs_static(self) -> bool:
        """Whether STATIC was not tried and may be smaller than all that was."""
        if any(strength == STATIC for _, strength, _ in self._tried):
            return False
        return self.static_bits < _SURE * 8 * min(self._tried)[0] + _SURE_BITS

    def smallest(self) -> tuple[int, bytes]:
        """Its strength and payload."""
        _, strength, payload = min(self._tried)
        return strength, payload
