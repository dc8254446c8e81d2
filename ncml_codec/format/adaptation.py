"""How a tile adapts to its image while it is coded: the adaptation byte of FORMAT.md.

The low four bits say how strongly the network learns. 0: not at all. 1 to 7: the heads; from one to
the next they learn twice as fast. 9 to 15: the same, and the layers before them as well. Times
COLOURS, the colour mode is added to that, 0 to 3: which cells correct the levels of green and blue,
see `colour_counts`.
"""

from __future__ import annotations

STATIC = 0
STRONGEST = 7
BODY = 8
COLOURS = 16

_PLANES = 3  # of tiles that have colours
_CELLS = ("", "differences", "pairs and differences", "pairs, differences and triples")


def is_known(adaptation: int, planes: int) -> bool:
    """Whether this is one of the values above. planes: of the tile; grey ones have no colours."""
    strength, mode = learning(adaptation), colour_mode(adaptation)
    strong = strength == STATIC or 1 <= strength % BODY <= STRONGEST
    return strong and 0 <= mode < len(_CELLS) and (mode == 0 or planes == _PLANES)


def learning(adaptation: int) -> int:
    """How the network learns: the value without its colour mode, 0 to 15."""
    return adaptation % COLOURS


def colour_mode(adaptation: int) -> int:
    """The colour mode, 0 to 3 where `is_known`."""
    return adaptation // COLOURS


def heads_alone(adaptation: int) -> bool:
    """Whether the heads learn and nothing else in the network."""
    return STATIC < learning(adaptation) <= STRONGEST


def counted_along(adaptation: int) -> list[int]:
    """Other adaptations whose code length an encoder at this one can count for little more: those
    with the same learning and fewer cells, and STATIC if the body does not learn."""
    strength, mode = learning(adaptation), colour_mode(adaptation)
    others = [strength + COLOURS * fewer for fewer in range(mode)]
    return [*others, STATIC] if heads_alone(strength) else others


def describe(adaptation: int) -> str:
    """It in words."""
    strength, cells = learning(adaptation), _CELLS[colour_mode(adaptation)]
    learner = "whole network" if strength > BODY else "heads"
    how = "static" if strength == STATIC else f"{learner}, strength {strength % BODY}"
    return f"{how}, colours by {cells}" if cells else how
