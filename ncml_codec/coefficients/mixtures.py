"""Mixtures of logistics of whole numbers, from a network's outputs, in integers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.coefficients.network import (
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    PARAMETER_UNIT,
    Integers,
    Tables,
)
from ncml_codec.context_mixing.logits import Integers64

ONE = 1 << 30
_MEAN_MAX = 1 << 22  # 1/64 of a number: beyond all numbers of 16 bits
_REACH = 1 << 17  # how far from its mean a component is not yet flat
_Z_LIMIT = 16 << 13
_LOW, _HIGH = int(LOG_SCALE_MIN * PARAMETER_UNIT), int(LOG_SCALE_MAX * PARAMETER_UNIT)


@dataclass(frozen=True)
class Mixtures:
    """Of n numbers, each [n, k].

    weight: of sum 2**14; mean: in 1/64; mantissa, shift: 128 / scale = mantissa / 2**shift.
    """

    weight: Integers64
    mean: Integers64
    mantissa: Integers64
    shift: Integers64
    logistic: Integers
    one: int = ONE

    def below(self, rows: npt.NDArray[np.intp], bounds: Integers64) -> Integers64:
        """The distribution function between bounds - 1 and bounds, of 2**30, [m]."""
        position = (bounds << 6) - PARAMETER_UNIT // 2
        z = np.clip(position[:, None] - self.mean[rows], -_REACH, _REACH) * self.mantissa[rows]
        z = np.clip(z >> self.shift[rows], -_Z_LIMIT, _Z_LIMIT - 1) + _Z_LIMIT
        table = self.logistic.astype(np.int64)
        low, high = table[z >> 8], table[(z >> 8) + 1]
        level = low + ((high - low) * (z & 255) + 128 >> 8)
        total: Integers64 = (level * self.weight[rows]).sum(axis=1)
        return total


def mixtures(outputs: Integers, mean: Integers64, tables: Tables) -> Mixtures:
    """From a head's outputs [n, 3 k]: logits, means and log-scales; mean [n] of the linear path."""
    k = outputs.shape[1] // 3
    logits, means, scales = (outputs[:, at * k : (at + 1) * k].astype(np.int64) for at in range(3))
    raw = exponentials(logits, tables)
    weight = (raw << 14) // raw.sum(axis=1, keepdims=True)
    weight[:, 0] += (1 << 14) - weight.sum(axis=1)
    scale = np.clip(scales, _LOW, _HIGH) - _LOW
    centre = np.clip(means + mean[:, None], -_MEAN_MAX, _MEAN_MAX)
    mantissa = tables.scale_mantissa[scale].astype(np.int64)
    shift = tables.scale_shift[scale].astype(np.int64)
    return Mixtures(weight, centre, mantissa, shift, tables.logistic)


def exponentials(logits: Integers64, tables: Tables) -> Integers64:
    """2**16 exp(logit - the row's largest), logits in 1/64, [n, m]."""
    below = logits.max(axis=1, keepdims=True) - logits
    last = len(tables.exponential) - 1
    found: Integers64 = tables.exponential[np.minimum(below, last)].astype(np.int64)
    return found
