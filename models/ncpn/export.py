"""From a trained wave NCPN to the integer network of the codec, with the proof for every layer.

Noise conditioning is evaluated at t = 0 and folded into biases. Activations get one
power-of-two unit a layer, chosen on sample images; weights one power-of-two unit an output
channel, the finest with which `sum |w| bound + |b| < 2**24` still holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.errors import ExportError, FormatError
from ncml_codec.network import (
    ACTIVATION_MAX,
    COEFFICIENT_UNIT,
    FEATURE_GAINS,
    FEATURE_MAX,
    GATE_BITS,
    INPUT_UNIT,
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
from ncml_codec.wave import block_taps, near_taps, window_taps
from ncpn.validation import Image, integer_bits
from ncpn.wave import (
    MEAN_UNIT,
    NEGATIVE_SLOPE,
    GatedBlock,
    WaveNCPN,
    apply_pointwise,
    local_reference,
    residual_features,
    window_inputs,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Integers to one float unit: of the residual stream, of each block's inside, of each head."""

    stream: int
    hidden: Sequence[int]
    heads: Sequence[int]


def best_integers(model: WaveNCPN, samples: Sequence[Image]) -> Network:
    """The integer network of a trained one, its stream's unit chosen by code length.

    samples: uint8 [height, width, 3] images that show the range of the activations. The largest
    value of the residual stream is a rare outlier: clipping it and taking a finer unit cost
    -0.01 % where the unit without clipping cost 0.17 %. Raises ExportError.
    """
    units = choose_units(model, samples)
    streams = [units.stream * factor for factor in (1, 2, 4)]
    networks = [to_integers(model, replace(units, stream=stream)) for stream in streams]
    bits = [sum(integer_bits(n, image) * image.size for image in samples) for n in networks]
    return networks[bits.index(min(bits))]


@torch.no_grad()
def to_integers(model: WaveNCPN, units: Units) -> Network:
    """The integer network of a trained one.

    Raises ExportError with the layer's name and figures if its sums cannot be kept below 2**24.
    """
    time = model.time(torch.zeros(1))
    gate_unit = units.stream
    blocks = [
        _block(index, block, time, units.stream, units.hidden[index], gate_unit)
        for index, block in enumerate(model.gated_blocks())
    ]
    network = Network(
        window=window_taps(),
        near=near_taps(),
        neighbours=block_taps(),
        k=model.config.mixtures,
        first=_layer(
            "first",
            _array(model.first.weight),
            _array(model.first.bias),
            INPUT_UNIT,
            units.stream,
            first_input_bounds(len(window_taps()), len(near_taps())),
        ),
        blocks=blocks,
        heads=[_head(model, plane, units) for plane in range(PLANES)],
        tables=make_tables(gate_unit),
    )
    try:
        check(network)
    except FormatError as error:
        raise ExportError(str(error)) from error
    return network


def proof(network: Network) -> list[tuple[str, int, int]]:
    """Every layer's name, number of inputs, and the largest sum that it can reach."""
    bounds = input_bounds(network)
    return [
        (name, layer.inputs, int(largest_sums(layer, bounds[name]).max()))
        for name, layer in named_layers(network)
    ]


def make_tables(gate_unit: int) -> Tables:
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


@torch.no_grad()
def choose_units(model: WaveNCPN, samples: Sequence[Image]) -> Units:
    """The largest powers of two that keep what the samples reach inside the clip."""
    if not samples:
        raise ExportError("no sample images: activation ranges cannot be chosen")
    stream, hidden, heads = 0.0, [0.0] * len(model.blocks), [0.0] * PLANES
    for sample in samples:
        x = torch.from_numpy(sample.copy()).permute(2, 0, 1)[None].float()
        reached = _activations(model, x)
        stream = max(stream, reached[0])
        hidden = [max(pair) for pair in zip(hidden, reached[1], strict=True)]
        heads = [max(pair) for pair in zip(heads, reached[2], strict=True)]
    return Units(_unit(stream), [_unit(h) for h in hidden], [_unit(h) for h in heads])


def _activations(model: WaveNCPN, x: Tensor) -> tuple[float, list[float], list[float]]:
    """Largest absolute values: of the stream and gates, of hidden layers, of heads."""
    planes = x - 128.0
    reference = local_reference(planes)
    time = model.time(torch.zeros(1))
    h = apply_pointwise(model.first, window_inputs(planes, reference))
    stream, hidden = _largest(h), []
    for block in model.gated_blocks():
        inner = block.inner(F.leaky_relu(h, NEGATIVE_SLOPE), time)
        hidden.append(_largest(inner))
        gates = apply_pointwise(block.gate, F.leaky_relu(inner, NEGATIVE_SLOPE))
        h = block.combine(h, gates)
        stream = max(stream, _largest(h), _largest(gates[:, : gates.shape[1] // 2]))
    earlier = residual_features(planes - reference)
    heads = []
    for plane, head in enumerate(model.plane_heads()):
        z = apply_pointwise(head.trunk, F.leaky_relu(h, NEGATIVE_SLOPE))
        reach = _largest(z)
        if head.earlier is not None:
            z = z + apply_pointwise(head.earlier, earlier[:, : len(FEATURE_GAINS) * plane])
        heads.append(max(reach, _largest(z)))
    return stream, hidden, heads


def _block(
    index: int, block: GatedBlock, time: Tensor, stream: int, hidden: int, gate: int
) -> Block:
    taps = block.taps.weight
    bias = block.taps.bias + block.time(time)[0]
    width = block.gate.weight.shape[1]
    bounds = np.full(taps.shape[1], ACTIVATION_MAX)
    out_units = np.concatenate([np.full(width, stream), np.full(width, gate)])
    return Block(
        _layer(f"blocks.{index}.taps", _array(taps), _array(bias), stream, hidden, bounds),
        _layer(
            f"blocks.{index}.gate",
            _array(block.gate.weight),
            _array(block.gate.bias),
            hidden,
            out_units,
            np.full(block.gate.weight.shape[1], ACTIVATION_MAX),
        ),
    )


def _head(model: WaveNCPN, plane: int, units: Units) -> Head:
    k, unit = model.config.mixtures, units.heads[plane]
    head = model.plane_heads()[plane]
    trunk, out = head.trunk, head.out
    earlier = None
    if head.earlier is not None:
        weight = _array(head.earlier.weight)
        none = np.zeros(len(weight))
        bounds = np.full(weight.shape[1], FEATURE_MAX)
        name = f"heads.{plane}.earlier"
        earlier = _layer(name, weight, none, INPUT_UNIT, unit, bounds)
    parameter_units = np.repeat(
        [PARAMETER_UNIT, PARAMETER_UNIT * MEAN_UNIT, PARAMETER_UNIT, COEFFICIENT_UNIT],
        [k, k, k, plane],
    )
    return Head(
        _layer(
            f"heads.{plane}.trunk",
            _array(trunk.weight),
            _array(trunk.bias),
            units.stream,
            unit,
            np.full(trunk.weight.shape[1], ACTIVATION_MAX),
        ),
        earlier,
        _layer(
            f"heads.{plane}.out",
            _array(out.weight),
            _array(out.bias),
            unit,
            parameter_units,
            np.full(out.weight.shape[1], ACTIVATION_MAX),
            OUTPUT_MAX,
        ),
    )


def _layer(
    name: str,
    weight: Floats,
    bias: Floats,
    unit_in: int,
    unit_out: int | npt.NDArray[np.floating] | npt.NDArray[np.integer],
    bounds: npt.NDArray[np.integer],
    limit: int = ACTIVATION_MAX,
) -> Layer:
    """The finest integer layer whose sums are proved below 2**24, output by output.

    With shift s, integer weights are w * 2**s * unit_out / unit_in.
    """
    ratio = np.broadcast_to(np.asarray(unit_out, float) / unit_in, (len(weight),))
    shift = np.full(len(weight), -1, np.int32)
    chosen_weight = np.zeros(weight.shape, np.int32)
    chosen_bias = np.zeros(len(weight), np.int32)
    for candidate in range(25):
        scale = 2.0**candidate * ratio
        integers = np.rint(weight * scale[:, None])
        half = 2 ** (candidate - 1) if candidate else 0
        offsets = np.rint(bias * scale * unit_in) + half
        sums = np.abs(integers) @ bounds + np.abs(offsets)
        fits = (sums < SUM_LIMIT) & (np.abs(integers).max(axis=1) <= WEIGHT_MAX)
        shift[fits] = candidate
        chosen_weight[fits] = integers[fits]
        chosen_bias[fits] = offsets[fits]
    if (shift < 0).any():
        worst = int(np.argmin(shift))
        reach = np.abs(np.rint(weight * ratio[:, None])) @ bounds + np.abs(bias * ratio * unit_in)
        raise ExportError(
            f"{name}: output {worst} can reach {reach[worst]:.4g} even with the coarsest weights,"
            f" which is not below 2**24 = {SUM_LIMIT}; its weights are too large (largest"
            f" {np.abs(weight[worst]).max():.3g})"
        )
    return Layer(chosen_weight, chosen_bias, shift, limit)


def _unit(reach: float) -> int:
    return 1 << max(0, math.floor(math.log2(ACTIVATION_MAX / max(reach, 1e-6))))


def _largest(x: Tensor) -> float:
    return float(x.abs().max())


def _array(x: Tensor) -> Floats:
    return x.detach().double().numpy()


def _rounded(x: Floats) -> Integers:
    return np.rint(x).astype(np.int32)
