"""How a tile adapts to its image while it is coded: what learns, how fast, and what counts colours.

In a file it is one byte, see `format.tiles`. FORMAT.md, section 9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

STRONGEST = 7

_CELLS = ("", "differences", "pairs and differences", "pairs, differences and triples")
COLOUR_MODES = range(len(_CELLS))


class Learns(IntEnum):
    """Which weights move after each wave; NETWORK: those of the heads, too."""

    NOTHING = 0
    HEADS = 1
    NETWORK = 2


@dataclass(frozen=True, order=True)
class Adaptation:
    """colour_mode: which cells correct the levels of green and blue, 0 (none) to 3, see
    `colour_counts`. strength: 0 if nothing learns, else 1 to STRONGEST; each step doubles the rate.

    Of two that give equally many bytes, encoders keep the lower one. Raises ValueError.
    """

    colour_mode: int = 0
    learns: Learns = Learns.NOTHING
    strength: int = 0

    def __post_init__(self) -> None:
        known = self.learns == Learns.NOTHING if self.strength == 0 else self.learns > 0
        if not known or not 0 <= self.strength <= STRONGEST or self.colour_mode not in COLOUR_MODES:
            raise ValueError(f"no adaptation: {self.learns!r}, {self.strength}, {self.colour_mode}")

    def __str__(self) -> str:
        learner = "whole network" if self.learns == Learns.NETWORK else "heads"
        how = f"{learner}, strength {self.strength}" if self.learns else "static"
        cells = _CELLS[self.colour_mode]
        return f"{how}, colours by {cells}" if cells else how

    @property
    def learning(self) -> Adaptation:
        """The same without colours."""
        return replace(self, colour_mode=0)

    def with_colours(self, mode: int) -> Adaptation:
        """The same with this colour mode."""
        return replace(self, colour_mode=mode)

    def counted_along(self) -> list[Adaptation]:
        """Others whose code length costs an encoder little to count while it codes with this one:
        those with the same learning and fewer cells, and STATIC if the heads alone learn."""
        others = [self.with_colours(mode) for mode in range(self.colour_mode)]
        return [*others, STATIC] if self.learns == Learns.HEADS else others


STATIC = Adaptation()


def heads_learn(strength: int) -> Adaptation:
    """The heads learn, and colours are not counted."""
    return Adaptation(0, Learns.HEADS, strength)


def network_learns(strength: int) -> Adaptation:
    """The whole network learns, and colours are not counted."""
    return Adaptation(0, Learns.NETWORK, strength)
