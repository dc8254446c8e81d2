"""Random integer networks that pass the proof, unlike trained ones: they reach every clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ncml_codec.network import (
    ACTIVATION_MAX,
    FEATURE_GAINS,
    FEATURE_MAX,
    GATE_BITS,
    OUTPUT_MAX,
    PLANES,
    SUM_LIMIT,
    WEIGHT_MAX,
    Block,
    Head,
    Integers,
    Layer,
    Network,
    Tables,
    first_input_bounds,
)
from ncml_codec.wave import Tap, block_taps, near_taps, window_taps


def random_network(
    seed: int,
    width: int = 6,
    blocks: int = 2,
    hidden: int = 5,
    k: int = 3,
    window: Sequence[Tap] = tuple(window_taps()),
    near: Sequence[Tap] = tuple(near_taps()),
    neighbours: Sequence[Tap] = tuple(block_taps()),
    room: int = 1,
) -> Network:
    """A sound network whose layers use the range up to 2**24, most with coarse outputs.

    room: weights are so many times smaller, so that they can grow when they learn.
    """
    random = np.random.default_rng(seed)
    features = len(FEATURE_GAINS)

    def layer(outputs: int, bounds: Integers, limit: int = ACTIVATION_MAX) -> Layer:
        drawn = _layer(random, outputs, bounds, limit)
        return replace(drawn, weight=drawn.weight // room)

    def inner(count: int, bound: int = ACTIVATION_MAX) -> Integers:
        return np.full(count, bound, np.int32)

    return Network(
        window=window,
        near=near,
        neighbours=neighbours,
        k=k,
        first=layer(width, first_input_bounds(len(window), len(near))),
        blocks=[
            Block(layer(width, inner(width * len(neighbours))), layer(2 * width, inner(width)))
            for _ in range(blocks)
        ],
        heads=[
            Head(
                layer(hidden, inner(width)),
                layer(hidden, inner(plane * features, FEATURE_MAX)) if plane else None,
                layer(3 * k + plane, inner(hidden), OUTPUT_MAX),
            )
            for plane in range(PLANES)
        ],
        tables=exact_tables(),
    )


def exact_tables(gate_unit: float = 64.0) -> Tables:
    """The tables of FORMAT.md, section 7, computed here once more."""
    gate = np.arange(-ACTIVATION_MAX, ACTIVATION_MAX + 1) / gate_unit
    inverse = 128 * np.exp(-(np.arange(577) / 64 - 4))
    shift = 12 - np.floor(np.log2(inverse)).astype(np.int32)
    mantissa = np.minimum(np.rint(inverse * 2.0**shift), 2**13 - 1)
    return Tables(
        sigmoid=np.rint(2**GATE_BITS / (1 + np.exp(-gate))).astype(np.int32),
        exponential=np.rint(2**16 * np.exp(-np.arange(1024) / 64)).astype(np.int32),
        scale_mantissa=mantissa.astype(np.int32),
        scale_shift=shift,
        logistic=np.rint(2**16 / (1 + np.exp(-(np.arange(1025) / 32 - 16)))).astype(np.int32),
    )


def _layer(random: np.random.Generator, outputs: int, bounds: Integers, limit: int) -> Layer:
    bias = random.integers(-(2**18), 2**18, outputs)
    room = SUM_LIMIT - 1 - np.abs(bias)
    scale = room / np.abs(bounds).sum()
    weight = random.integers(-WEIGHT_MAX, WEIGHT_MAX + 1, (outputs, len(bounds)))
    weight = np.trunc(weight * np.minimum(scale / WEIGHT_MAX, 1)[:, None]).astype(np.int32)
    shift = random.integers(6, 13, outputs)
    return Layer(weight, bias.astype(np.int32), shift.astype(np.int32), limit)
