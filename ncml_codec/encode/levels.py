"""Levels of compression, 1 to 9: the models, what an encoder tries for every tile, and keeps.

bench/README.md has their sizes and times.

A decoder knows nothing of levels: a tile says how its network learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ncml_codec.errors import UsageError
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC, Adaptation, heads_learn, network_learns
from ncml_codec.network.model_file import Model

DEFAULT = 5

_FAST, _PHOTO, _MAX = ("fast", "fast-cid22"), ("photo", "photo-cid22"), ("max",)

# A payload is at most a word shorter than its code length. A code length so much above a payload is
# that of a larger one, whatever the last digits of a sum of logarithms.
_SURE, _SURE_BITS = 1.001, 64


@dataclass(frozen=True)
class Level:
    """adaptations: all of them are tried on the whole tile, and the smallest result is kept.

    So are STATIC, and the colour modes where an image may gain by them, unless their code lengths,
    counted along with another one, are surely larger (`Trials`). models: released ones, of which
    `orientation_search` chooses, unless the user names one. second: how photographs are coded once
    more, by each of its models, if the user names none, to keep the smallest file.
    """

    adaptations: tuple[Adaptation, ...]
    models: tuple[str, ...] = _PHOTO
    second: Level | None = None


# The best single strengths on validation images: bench/notebook/learning.md, "Strength".
_HEADS, _WHOLE = heads_learn(3), network_learns(3)
_TWO_TO_FOUR = (heads_learn(2), _HEADS, heads_learn(4))
_UP_TO_FIVE = (STATIC, heads_learn(1), *_TWO_TO_FOUR, heads_learn(5))

LEVELS = {
    1: Level((STATIC,), _FAST),
    2: Level((_HEADS,), _FAST),
    # 3 and 4 keep the small network, which is the quicker one to decode.
    3: Level(_TWO_TO_FOUR, _FAST),
    4: Level(_UP_TO_FIVE, _FAST),
    5: Level((_HEADS,)),
    6: Level(_TWO_TO_FOUR),
    7: Level(_UP_TO_FIVE),
    8: Level((_WHOLE, _HEADS)),  # never larger than 5: of one image in dozens the body loses track
    9: Level(
        (STATIC, _HEADS, network_learns(2), _WHOLE, network_learns(4)),
        second=Level((heads_learn(1), heads_learn(2), _HEADS), _MAX),
    ),
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
    the first way and all are tried in the second, and the level with its adaptations.

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

    def __init__(self, candidates: Sequence[Adaptation]) -> None:
        self._left = list(candidates)
        self._tried: list[tuple[int, Adaptation, bytes]] = []
        self._bits: dict[Adaptation, float] = {}

    def next(self) -> Adaptation | None:
        """The adaptation to try, or None once the smallest is found."""
        for adaptation in self._left:
            if adaptation not in self._bits:
                return adaptation
        if not self._left:
            return None
        bits, adaptation = min((self._bits[each], each) for each in self._left)
        return adaptation if bits < _SURE * 8 * min(self._tried)[0] + _SURE_BITS else None

    def unknown(self, adaptation: Adaptation) -> list[Adaptation]:
        """Those whose code lengths may be counted along with this one, and are not known."""
        others = adaptation.counted_along()
        return [each for each in others if each in self._left and each not in self._bits]

    def take(
        self, adaptation: Adaptation, payload: bytes, code_lengths: Mapping[Adaptation, float]
    ) -> None:
        """code_lengths: of others, in bits."""
        self._left.remove(adaptation)
        self._bits |= code_lengths
        self._tried.append((len(payload), adaptation, payload))

    def smallest(self) -> tuple[Adaptation, bytes]:
        """Its adaptation and payload."""
        _, adaptation, payload = min(self._tried)
        return adaptation, payload


def candidates(learning: Sequence[Adaptation], modes: Sequence[int]) -> list[Adaptation]:
    """The adaptations that are tried: each of `learning` in all colour modes, and STATIC."""
    found = [each.with_colours(mode) for each in learning for mode in modes]
    return found if STATIC in found else [*found, STATIC]
