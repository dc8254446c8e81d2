"""Minimal perturbations p_pi: images with sub-pixels moved by one level (NCML paper, eq. 5).

Only numpy, no torch: also for coding perturbed images with the codec.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncml_codec.errors import UsageError

Pixels = npt.NDArray[np.uint8]


def perturbed(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """A draw of p_pi: each sub-pixel moved by -1, 0, +1 with probabilities pi/2, 1 - pi, pi/2.

    pixels: uint8 of any shape; share: pi, 0 to 1, else UsageError. At 0 and 255, of which the
    paper says nothing, a move that would leave the range goes the other way: so every moved
    sub-pixel differs by exactly one level, and pi = 1 moves all of them.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"pi = {share}: must be at least 0 and at most 1")
    chance = random.random(pixels.shape)
    step = (chance >= 1 - share / 2).astype(np.int16) - (chance < share / 2)
    moved = pixels + step
    return np.where((moved < 0) | (moved > 255), pixels - step, moved).astype(np.uint8)
