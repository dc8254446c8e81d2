"""How the mixing coder codes an image: what the payload's header says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """An image's size, bits of each component, what is used.

    depths: bits of each component's samples, 0 to 16. candidates: whole pixels are guessed first.
    fitted: experts use least squares.
    """

    height: int
    width: int
    depths: tuple[int, ...]
    candidates: bool
    fitted: bool
