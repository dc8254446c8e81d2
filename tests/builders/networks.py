"""Random integer networks that pass the proof, unlike trained ones: they reach every clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ncml_codec.network.integer_network import (
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
    input_bounds,
    named_layers,
)
from ncml_codec.network.wave_order import Tap, block_taps, near_taps, window_taps


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


def extreme_network(seed: int, network: Network) -> Network:
    """The network with the largest weights, biases, shifts and table values that `check` accepts.

    Every output's largest sum is 2**24 - 1. Weights keep the places of the zeros that are drawn.
    """
    random = np.random.default_rng(seed)
    bounds = input_bounds(network)

    def largest(name: str, layer: Layer) -> Layer:
        most = min(WEIGHT_MAX, (SUM_LIMIT - 1) // int(bounds[name].sum()))
        weight = most * random.integers(-1, 2, layer.weight.shape)
        bias = SUM_LIMIT - 1 - np.abs(weight) @ bounds[name].astype(np.int64)
        bias *= random.choice([-1, 1], layer.outputs)
        shift = random.choice([0, 1, 12, 23, 24], layer.outputs)
        return Layer(*(part.astype(np.int32) for part in (weight, bias, shift)), layer.limit)

    layers = {name: largest(name, layer) for name, layer in named_layers(network)}
    heads = [
        Head(
            layers[f"heads.{plane}.trunk"],
            layers.get(f"heads.{plane}.earlier"),
            layers[f"heads.{plane}.out"],
        )
        for plane in range(PLANES)
    ]
    blocks = [
        Block(layers[f"blocks.{index}.taps"], layers[f"blocks.{index}.gate"])
        for index in range(len(network.blocks))
    ]
    tables = extreme_tables(seed)
    return replace(network, first=layers["first"], blocks=blocks, heads=heads, tables=tables)


def extreme_tables(seed: int) -> Tables:
    """Tables of any values that `check` accepts, often the largest and the smallest."""
    random = np.random.default_rng(seed)

    def drawn(size: int, low: int, high: int) -> Integers:
        found = random.choice([low, high, int(random.integers(low, high + 1))], size)
        return found.astype(np.int32)

    exponential = drawn(1024, 0, 2**16)
    exponential[0] = 2**16
    rises = drawn(1024, 0, 2**12)
    return Tables(
        sigmoid=drawn(2 * ACTIVATION_MAX + 1, 0, 2**GATE_BITS),
        exponential=exponential,
        scale_mantissa=drawn(577, 1, 2**13 - 1),
        scale_shift=drawn(577, 0, 31),
        logistic=np.minimum(np.cumsum([0, *rises]), 2**16).astype(np.int32),
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
