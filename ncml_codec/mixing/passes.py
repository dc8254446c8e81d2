"""A pass of the mixing coder over an image: a walk gives probabilities, a coder codes by them."""

from __future__ import annotations

import numpy as np

from ncml_codec.coder import Coder
from ncml_codec.mixing.logits import Integers64
from ncml_codec.mixing.walk import Plan, Walk
from ncml_codec.tables import Weights


def code(plan: Plan, samples: Integers64 | None, coder: Coder, engine: str) -> Integers64:
    walk = Walk(plan, samples)
    decisions = walk.decisions()
    try:
        probability, truth = next(decisions)
        while True:
            symbols = None if truth is None else truth.astype(np.int32)
            bits = coder.code(weights(probability), symbols).astype(np.int64)
            probability, truth = decisions.send(bits)
    except StopIteration:
        return walk.samples


def weights(probability: Integers64) -> Weights:
    """The coder's weights [n, 2] of bits that are 1 with these probabilities, in 65536ths."""
    ones = probability << 8
    return np.stack([(1 << 24) - ones - 1, ones - 1], axis=1).astype(np.float32)
