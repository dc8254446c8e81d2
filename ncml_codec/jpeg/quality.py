"""The quality setting that quantisation tables come from, if they are libjpeg's.

libjpeg scales the two example tables of ITU T.81, annex K, by the setting (jcparam.c,
jpeg_quality_scaling). Cameras and other encoders scale other tables.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncml_codec.jpeg.records import Quantisation

# Largest mean of |log(step / step of libjpeg)| for which a setting is named: 1 in 8 apart.
FARTHEST = 0.12

_LUMINANCE = (  # K.1, by rows
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (  # K.2
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip


def quality_estimate(quantisation: Quantisation) -> tuple[int | None, bool]:
    """The setting from 1 to 100 that comes nearest, and whether its tables are these.

    None if none comes near. The first component is compared with the table for luminance, others
    with the table for chrominance, or with the first if they share its steps.
    """
    zigzag = sorted(range(64), key=_diagonal)
    luminance, chrominance = (np.array(table)[zigzag] for table in (_LUMINANCE, _CHROMINANCE))
    first = quantisation[0]
    others = [steps for steps in quantisation[1:] if not np.array_equal(steps, first)]
    nearest: int | None = None
    least = FARTHEST
    for quality in range(1, 101):
        pairs = [(first, _scaled(luminance, quality))]
        pairs += [(steps, _scaled(chrominance, quality)) for steps in others]
        distance = float(np.mean([_distance(ours, theirs) for ours, theirs in pairs]))
        if distance < least:
            nearest, least = quality, distance
    return nearest, least == 0


def _diagonal(place: int) -> tuple[int, int]:
    """Sorts places of a block, by rows, into zigzag order."""
    row, column = divmod(place, 8)
    return row + column, row if (row + column) % 2 else column


def _scaled(table: npt.NDArray[np.int64], quality: int) -> npt.NDArray[np.int64]:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * scale + 50) // 100, 1, 255)


def _distance(ours: Quantisation, theirs: npt.NDArray[np.int64]) -> float:
    return float(np.abs(np.log(np.maximum(ours, 1) / theirs)).mean())
