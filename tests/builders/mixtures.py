"""What heads of a network give, drawn at random, and one of the mixtures that come of it."""

from __future__ import annotations

import numpy as np

from ncml_codec.network import distribution
from ncml_codec.network.integer_network import Integers


def random_outputs(
    seed: int, k: int, earlier: int, spread: int = 32767
) -> tuple[Integers, Integers, Integers]:
    """Head outputs, references and residuals of 40 sub-pixels, anywhere in their ranges."""
    random = np.random.default_rng(seed)
    outputs = random.integers(-spread, spread + 1, (40, 3 * k + earlier), np.int32)
    reference = random.integers(-512, 509, 40, np.int32)
    residuals = random.integers(-1020, 1021, (40, earlier), np.int32)
    return outputs, reference, residuals


def one_of(mixture: distribution.Mixtures, at: int) -> distribution.Mixtures:
    """The mixture of one sub-pixel."""
    parts = (mixture.weight, mixture.mean, mixture.mantissa, mixture.shift)
    return distribution.Mixtures(*(part[at : at + 1] for part in parts))
