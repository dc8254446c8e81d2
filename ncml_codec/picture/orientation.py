"""The eight ways to lay an image down, of which one may be coded in fewer bits than the others.

A network that has learned from photographs expects light from above and blur below; where it
stands in an image it is not told. What it reads of a neighbourhood is not symmetric, either.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

COUNT = 8
UPRIGHT = 0
_ROWS, _COLUMNS, _SIDES = 1, 2, 4  # what is reversed, and at last whether sides are exchanged
_NAMES = {_ROWS: "rows reversed", _COLUMNS: "columns reversed", _SIDES: "rows for columns"}


def turned(array: Array, turn: int) -> Array:
    """A view of an array [height, width, ...]: rows reversed if bit 0 of `turn` is set, then
    columns if bit 1 is, then rows exchanged for columns if bit 2 is."""
    array = array[::-1] if turn & _ROWS else array
    array = array[:, ::-1] if turn & _COLUMNS else array
    return array.swapaxes(0, 1) if turn & _SIDES else array


def restored(array: Array, turn: int) -> Array:
    """A view of what was `turned`, as it was before."""
    array = array.swapaxes(0, 1) if turn & _SIDES else array
    array = array[:, ::-1] if turn & _COLUMNS else array
    return array[::-1] if turn & _ROWS else array


def turned_sides(height: int, width: int, turn: int) -> tuple[int, int]:
    """Height and width of a `turned` array."""
    return (width, height) if turn & _SIDES else (height, width)


def describe(turn: int) -> str:
    """A turn in words: "upright", "rows reversed, rows for columns"."""
    return ", ".join(name for bit, name in _NAMES.items() if turn & bit) or "upright"
