"""Levels of compression, 1 to 9: the models, what an encoder tries for every tile, and keeps.

bench/README.md has their sizes and times.

A decoder knows nothing of levels: a tile says how its network learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ncml_codec.errors import UsageError
from ncml_codec.format import adaptation as strength
from ncml_codec.format.adaptation import BODY, STATIC
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model

DEFAULT = 5

_FAST, _PHOTO, _MAX = ("fast", "fast-cid22"), ("photo", "photo-cid22"), ("max",)

# A payload is at most a word shorter than its code length. A code length so much above a payload is
# that of a larger one, whatever the last digits of a sum of logarithms.
_SURE, _SURE_BITS = 1.001, 64


@dataclass(frozen=True)
class Level:
    """strengths: all of them are tried on the whole tile, and the smallest result is kept.

    So are STATIC, and the colour modes where an image may gain by them, unless their code lengths,
    counted along with another one, are surely larger (`Trials`). models: released ones, of which
    `orientation_search` chooses, unless the user names one. second: how photographs are coded once
    more, by each of its models, if the user names none, to keep the smallest file.
    """

    strengths: tuple[int, ...]
    models: tuple[str, ...] = _PHOTO
    second: Level | None = None


# The best single strengths on validation images: bench/notebook/learning.md, "Strength".
_HEADS, _WHOLE = 3, BODY + 3

LEVELS = {
    1: Level((STATIC,), _FAST),
    2: Level((_HEADS,), _FAST),
    # 3 and 4 keep the small network, which is the quicker one to decode.
    3: Level((2, 3, 4), _FAST),
    4: Level((STATIC, 1, 2, 3, 4, 5), _FAST),
    5: Level((_HEADS,)),
    6: Level((2, 3, 4)),
    7: Level((STATIC, 1, 2, 3, 4, 5)),
    8: Level((_WHOLE, _HEADS)),  # never larger than 5: of one image in dozens the body loses track
    9: Level((STATIC, 3, BODY + 2, BODY + 3, BODY + 4), second=Level((1, 2, 3), _MAX)),
}


def at(level: int | Level) -> Level:
    """The level of this number, or the one given. Raises UsageError for one that does not exist."""
    if isinstance(level, Level):
        return level
    if level not in LEVELS:
        raise UsageError(f"level {level!r}: not one of 1 to 9")
    return LEVELS[level]


def of_level(level: int, model: Model | None = None) -> list[tuple[list[Model], Level]]:
    """What photographs are coded with at a level, to keep the smallest file: the model given, or
    the level's own, in one or two ways. For each way its models, of which a search chooses one in
    the first way and all are tried in the second, and the level with the strengths.

    Raises UsageError for a level that does not exist.
    """
    first = at(level)
    if model is not None:
        return [([model], first)]
    both = [first] if first.second is None else [first, first.second]
    return [([released_models.load(name) for name in each.models], each) for each in both]


def models() -> set[str]:
    """Names of the models that levels use."""
    ways = [way for level in LEVELS.values() for way in (level, level.second) if way]
    return {name for way in ways for name in way.models}


class Trials:
    """What a tile takes at the adaptations that were tried, and what is known of the others.

    candidates: those that may be kept, the likeliest first.
    """

    def __init__(self, candidates: Sequence[int]) -> None:
        self._left = list(candidates)
        self._tried: list[tuple[int, int, bytes]] = []
        self._bits: dict[int, float] = {}

    def next(self) -> int | None:
        """The adaptation to try, or None once the smallest is found."""
        for adaptation in self._left:
            if adaptation not in self._bits:
                return adaptation
        if not self._left:
            return None
        bits, adaptation = min((self._bits[each], each) for each in self._left)
        return adaptation if bits < _SURE * 8 * min(self._tried)[0] + _SURE_BITS else None

    def unknown(self, adaptation: int) -> list[int]:
        """Those whose code lengths may be counted along with this one, and are not known."""
        others = strength.counted_along(adaptation)
        return [each for each in others if each in self._left and each not in self._bits]

    def take(self, adaptation: int, payload: bytes, code_lengths: Mapping[int, float]) -> None:
        """code_lengths: of others, in bits."""
        self._left.remove(adaptation)
        self._bits |= code_lengths
        self._tried.append((len(payload), adaptation, payload))

    def smallest(self) -> tuple[int, bytes]:
        """Its adaptation and payload."""
        _, adaptation, payload = min(self._tried)
        return adaptation, payload


def candidates(strengths: Sequence[int], modes: Sequence[int]) -> list[int]:
    """The adaptations that are tried: all strengths in all colour modes, and STATIC."""
    found = [each + strength.COLOURS * mode for each in strengths for mode in modes]
    return found if STATIC in found else [*found, STATIC]
