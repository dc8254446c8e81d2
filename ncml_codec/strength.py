"""How strongly a tile's network learns while it is coded: the adaptation byte of FORMAT.md.

0: not at all. 1 to 7: the heads; from one to the next they learn twice as fast. 9 to 15: the
same, and the layers before them as well.
"""

from __future__ import annotations

STATIC = 0
STRONGEST = 7
BODY = 8


def is_known(adaptation: int) -> bool:
    """Whether this is one of the values above."""
    return adaptation == STATIC or (1 <= adaptation % BODY <= STRONGEST and adaptation < 2 * BODY)


def heads_alone(adaptation: int) -> bool:
    """Whether the heads learn and nothing else: then STATIC's code length can be counted along."""
    return STATIC < adaptation <= STRONGEST


def describe(adaptation: int) -> str:
    """It in words."""
    if adaptation == STATIC:
        return "static"
    learner = "whole network" if adaptation > BODY else "heads"
    return f"{learner}, strength {adaptation % BODY}"
