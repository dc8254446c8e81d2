"""From a trained wave NCPN to the integer network of the codec, with the proof for every layer.

Noise conditioning is evaluated at t = 0 and folded into biases. Activations get one unit a channel,
chosen on sample images, which the weights before and after it take in; weights one power-of-two
unit an output channel, the finest with which `sum |w| bound + |b| < 2**24` still holds. Each weight
is rounded on its own; `calibration` then fits layers to what they lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ncml_codec.errors import ExportError, FormatError
from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    COEFFICIENT_UNIT,
    FEATURE_MAX,
    GATE_BITS,
    INPUT_UNIT,
    LEAK_SHIFT,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    OUTPUT_MAX,
    PARAMETER_UNIT,
    PLANES,
    SUM_LIMIT,
    WEIGHT_MAX,
    Block,
    Head,
    Integers,
    Layer,
    Network,
    Tables,
    check,
    first_input_bounds,
    input_bounds,
    largest_sums,
    named_layers,
)
from ncml_codec.network.wave_order import block_taps, near_taps, window_taps
from ncpn.integers.activations import GATE_UNIT, Activations, Floats, Units, to_array
from ncpn.wave_network.wave import MEAN_UNIT, WaveNCPN

# What trained weights may reach; the rest is what layers may grow by as they learn from an image.
BODY_SUMS, HEAD_SUMS = SUM_LIMIT * 3 // 4, SUM_LIMIT // 2


@torch.no_grad()
def to_integers(model: WaveNCPN, units: Units, seen: Activations) -> Network:
    """The integer network of a trained one.

    Raises ExportError with the layer's name and figures if its sums cannot be kept below 2**24.
    """
    window, near = window_taps(), near_taps()
    first = model.first
    network = Network(
        window=window,
        near=near,
        neighbours=block_taps(),
        k=model.config.mixtures,
        first=_layer(
            "first",
            to_array(first.weight),
            to_array(first.bias),
            INPUT_UNIT,
            units.stream,
            first_input_bounds(len(window), len(near)),
        ),
        blocks=[_block(model, index, units, seen) for index in range(len(model.gated_blocks()))],
        heads=[_head(model, plane, units, seen) for plane in range(PLANES)],
        tables=make_tables(GATE_UNIT),
    )
    try:
        check(network)
    except FormatError as error:
        raise ExportError(str(error)) from error
    return network


def output_units(k: int, plane: int) -> Floats:
    """Integers to one float unit of each output of a plane's head with k mixture components."""
    units = [PARAMETER_UNIT, PARAMETER_UNIT * MEAN_UNIT, PARAMETER_UNIT, COEFFICIENT_UNIT]
    return np.repeat(np.array(units, float), [k, k, k, plane])


def proof(network: Network) -> list[tuple[str, int, int]]:
    """Every layer's name, number of inputs, and the largest sum that it can reach."""
    bounds = input_bounds(network)
    return [
        (name, layer.inputs, int(largest_sums(layer, bounds[name]).max()))
        for name, layer in named_layers(network)
    ]


def make_tables(gate_unit: float) -> Tables:
    """The integer functions. gate_unit: integers to one unit of a gate's b."""
    gate = np.arange(-ACTIVATION_MAX, ACTIVATION_MAX + 1) / gate_unit
    steps = int((LOG_SCALE_MAX - LOG_SCALE_MIN) * PARAMETER_UNIT) + 1
    inverse = 128 * np.exp(-(np.arange(steps) / PARAMETER_UNIT + LOG_SCALE_MIN))
    shift = np.floor(12.99 - np.log2(inverse)).astype(np.int32)
    return Tables(
        sigmoid=_rounded(2**GATE_BITS / (1 + np.exp(-gate))),
        exponential=_rounded(2**16 * np.exp(-np.arange(1024) / PARAMETER_UNIT)),
        scale_mantissa=_rounded(inverse * 2.0**shift),
        scale_shift=shift,
        logistic=_rounded(2**16 / (1 + np.exp(-(np.arange(1025) / 32 - 16)))),
    )


def _block(model: WaveNCPN, index: int, units: Units, seen: Activations) -> Block:
    block, hidden = model.gated_blocks()[index], units.hidden[index]
    time = block.time(model.time(torch.zeros(1)))[0]
    taps = len(block_taps())
    lost_outside = np.tile(_lost(seen, f"stream.{index}", units.stream), taps)
    lost_inside = _lost(seen, f"hidden.{index}", hidden)
    weight, gate = to_array(block.taps.weight), to_array(block.gate.weight)
    return Block(
        _layer(
            f"blocks.{index}.taps",
            weight,
            to_array(block.taps.bias + time) + weight @ lost_outside,
            np.tile(units.stream, taps),
            hidden,
            np.full(weight.shape[1], ACTIVATION_MAX),
        ),
        _layer(
            f"blocks.{index}.gate",
            gate,
            to_array(block.gate.bias) + gate @ lost_inside,
            hidden,
            np.concatenate([units.stream, np.full(len(units.stream), GATE_UNIT)]),
            np.full(gate.shape[1], ACTIVATION_MAX),
        ),
    )


def _head(model: WaveNCPN, plane: int, units: Units, seen: Activations) -> Head:
    k, unit = model.config.mixtures, units.heads[plane]
    head = model.plane_heads()[plane]
    trunk, out = to_array(head.trunk.weight), to_array(head.out.weight)
    earlier = None
    if head.earlier is not None:
        weight = to_array(head.earlier.weight)
        bounds = np.full(weight.shape[1], FEATURE_MAX)
        none = np.zeros(len(weight))
        earlier = _layer(
            f"heads.{plane}.earlier",
            weight,
            none,
            INPUT_UNIT,
            unit,
            bounds,
            largest_sum=HEAD_SUMS,
        )
    lost_before = _lost(seen, f"stream.{len(model.gated_blocks())}", units.stream)
    lost_inside = _lost(seen, f"head.{plane}", unit)
    return Head(
        _layer(
            f"heads.{plane}.trunk",
            trunk,
            to_array(head.trunk.bias) + trunk @ lost_before,
            units.stream,
            unit,
            np.full(trunk.shape[1], ACTIVATION_MAX),
            largest_sum=HEAD_SUMS,
        ),
        earlier,
        _layer(
            f"heads.{plane}.out",
            out,
            to_array(head.out.bias) + out @ lost_inside,
            unit,
            output_units(k, plane),
            np.full(out.shape[1], ACTIVATION_MAX),
            OUTPUT_MAX,
            HEAD_SUMS,
        ),
    )


def _lost(seen: Activations, name: str, unit: Floats) -> Floats:
    """What the integer leaky ReLU takes from each channel on average, in float units.

    v >> 3 rounds down: 7/16 of an integer for each negative value. Biases give it back; that
    halved what integers cost (bench/notebook/integers.md, "Units").
    """
    rounding = (2**LEAK_SHIFT - 1) / 2 ** (LEAK_SHIFT + 1)
    return rounding * seen.negative[name] / unit


def _layer(
    name: str,
    weight: Floats,
    bias: Floats,
    unit_in: float | Floats,
    unit_out: float | Floats,
    bounds: npt.NDArray[np.integer],
    limit: int = ACTIVATION_MAX,
    largest_sum: int = BODY_SUMS,
) -> Layer:
    """The finest integer layer whose sums are proved below `largest_sum`, output by output.

    unit_in, unit_out: integers to one float unit of inputs and outputs, by channel or for all. With
    shift s, integer weights are w * 2**s * unit_out / unit_in.
    """
    units = np.broadcast_to(np.asarray(unit_out, float), (len(weight),))
    weight = weight / np.broadcast_to(np.asarray(unit_in, float), (weight.shape[1],))
    shift = np.full(len(weight), -1, np.int32)
    chosen_weight = np.zeros(weight.shape, np.int32)
    chosen_bias = np.zeros(len(weight), np.int32)
    for candidate in range(25):
        scale = 2.0**candidate * units
        integers = np.rint(weight * scale[:, None])
        half = 2 ** (candidate - 1) if candidate else 0
        offsets = np.rint(bias * scale) + half
        sums = np.abs(integers) @ bounds + np.abs(offsets)
        fits = (sums < largest_sum) & (np.abs(integers).max(axis=1) <= WEIGHT_MAX)
        shift[fits] = candidate
        chosen_weight[fits] = integers[fits]
        chosen_bias[fits] = offsets[fits]
    if (shift < 0).any():
        worst = int(np.argmin(shift))
        reach = np.abs(np.rint(weight * units[:, None])) @ bounds + np.abs(bias * units)
        raise ExportError(
            f"{name}: output {worst} can reach {reach[worst]:.4g} even with the coarsest weights,"
            f" which is not below 2**24 = {SUM_LIMIT}; its weights are too large (largest"
            f" {np.abs(weight[worst]).max():.3g})"
        )
    return Layer(chosen_weight, chosen_bias, shift, limit)


def _rounded(x: Floats) -> Integers:
    return np.rint(x).astype(np.int32)
