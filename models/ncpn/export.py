"""From a trained wave NCPN to the integer network of the codec, with the proof for every layer.

Noise conditioning is evaluated at t = 0 and folded into biases. Activations get one unit a channel,
chosen on sample images, which the weights before and after it take in; weights one power-of-two
unit an output channel, the finest with which `sum |w| bound + |b| < 2**24` still holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

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
from ncml_codec.wave import block_taps, near_taps, window_taps
from ncpn.validation import Image, integer_bits
from ncpn.wave import (
    MEAN_UNIT,
    NEGATIVE_SLOPE,
    WaveNCPN,
    apply_pointwise,
    local_reference,
    residual_features,
    window_inputs,
)

Floats = npt.NDArray[np.float64]

# What trained weights may reach; the rest is what layers may grow by as they learn from an image.
BODY_SUMS, HEAD_SUMS = SUM_LIMIT * 3 // 4, SUM_LIMIT // 2
_FINER = (1.0, 1.25, 1.5, 2.0)  # what `best_integers` tries
GATE_UNIT = 128.0  # +-16 in float units: the sigmoid is within 2**-22 of 0 and 1 there


@dataclass(frozen=True)
class Units:
    """Integers to one float unit, for every channel.

    stream: [width], of the residual stream; hidden: [inner width] of each block's inside; heads:
    [hidden] of each head.
    """

    stream: Floats
    hidden: Sequence[Floats]
    heads: Sequence[Floats]


@dataclass(frozen=True)
class Activations:
    """What sample images showed of each layer of activations, by channel.

    Names: stream.B before block B and stream.N after the last, gate.B (the part that is added to
    the stream), hidden.B, head.P. reach: largest absolute values; negative: shares below zero.
    """

    reach: Mapping[str, Floats]
    negative: Mapping[str, Floats]


def best_integers(model: WaveNCPN, samples: Sequence[Image]) -> Network:
    """The integer network of a trained one, its units chosen by code length.

    samples: uint8 [height, width, 3] images that show the range of the activations. Their largest
    values are rare outliers: finer units that clip those are tried, and kept if they code the
    samples in fewer bits (bench/LOG.md, "Quantisation"). Raises ExportError.
    """
    seen = observe(model, samples)
    units = choose_units(seen)
    best, fewest = None, math.inf
    for stream, inside in product(_FINER, _FINER):
        network = to_integers(model, _finer(units, stream, inside), seen)
        bits = sum(integer_bits(network, image) * image.size for image in samples)
        if bits < fewest:
            best, fewest = network, bits
    assert best is not None
    return best


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
            _array(first.weight),
            _array(first.bias),
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


def choose_units(seen: Activations) -> Units:
    """For each channel, the finest that keeps what was seen inside the clip."""

    def all_of(kind: str) -> list[Floats]:
        return [reach for name, reach in seen.reach.items() if name.startswith(kind)]

    return Units(
        _units(np.max([*all_of("stream"), *all_of("gate")], axis=0)),
        [_units(reach) for reach in all_of("hidden")],
        [_units(reach) for reach in all_of("head")],
    )


@torch.no_grad()
def observe(model: WaveNCPN, samples: Sequence[Image]) -> Activations:
    """Run the float network over sample images. Raises ExportError if there are none."""
    if not samples:
        raise ExportError("no sample images: activation ranges cannot be chosen")
    reach: dict[str, Floats] = {}
    negative: dict[str, Floats] = {}
    for sample in samples:
        x = torch.from_numpy(sample.copy()).permute(2, 0, 1)[None].float()
        for name, values in _activations(model, x):
            largest = _array(values.abs().amax(dim=(0, 2, 3)))
            below = _array((values < 0).double().mean(dim=(0, 2, 3))) / len(samples)
            reach[name] = np.maximum(reach.get(name, largest), largest)
            negative[name] = negative.get(name, 0.0) + below
    return Activations(reach, negative)


def _activations(model: WaveNCPN, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every layer of activations by its name in `Activations`, before its leaky ReLU."""
    planes = x - 128.0
    reference = local_reference(planes)
    time = model.time(torch.zeros(1))
    h = apply_pointwise(model.first, window_inputs(planes, reference))
    yield "stream.0", h
    for index, block in enumerate(model.gated_blocks()):
        inner = block.inner(F.leaky_relu(h, NEGATIVE_SLOPE), time)
        gates = apply_pointwise(block.gate, F.leaky_relu(inner, NEGATIVE_SLOPE))
        yield f"hidden.{index}", inner
        yield f"gate.{index}", gates[:, : h.shape[1]]
        h = block.combine(h, gates)
        yield f"stream.{index + 1}", h
    earlier = residual_features(planes - reference)
    for plane, head in enumerate(model.plane_heads()):
        z = apply_pointwise(head.trunk, F.leaky_relu(h, NEGATIVE_SLOPE))
        if head.earlier is not None:
            z = z + apply_pointwise(head.earlier, earlier[:, : len(FEATURE_GAINS) * plane])
        yield f"head.{plane}", z


def _finer(units: Units, stream: float, inside: float) -> Units:
    return Units(
        units.stream * stream,
        [values * inside for values in units.hidden],
        [values * inside for values in units.heads],
    )


def _block(model: WaveNCPN, index: int, units: Units, seen: Activations) -> Block:
    block, hidden = model.gated_blocks()[index], units.hidden[index]
    time = block.time(model.time(torch.zeros(1)))[0]
    taps = len(block_taps())
    lost_outside = np.tile(_lost(seen, f"stream.{index}", units.stream), taps)
    lost_inside = _lost(seen, f"hidden.{index}", hidden)
    weight, gate = _array(block.taps.weight), _array(block.gate.weight)
    return Block(
        _layer(
            f"blocks.{index}.taps",
            weight,
            _array(block.taps.bias + time) + weight @ lost_outside,
            np.tile(units.stream, taps),
            hidden,
            np.full(weight.shape[1], ACTIVATION_MAX),
        ),
        _layer(
            f"blocks.{index}.gate",
            gate,
            _array(block.gate.bias) + gate @ lost_inside,
            hidden,
            np.concatenate([units.stream, np.full(len(units.stream), GATE_UNIT)]),
            np.full(gate.shape[1], ACTIVATION_MAX),
        ),
    )


def _head(model: WaveNCPN, plane: int, units: Units, seen: Activations) -> Head:
    k, unit = model.config.mixtures, units.heads[plane]
    head = model.plane_heads()[plane]
    trunk, out = _array(head.trunk.weight), _array(head.out.weight)
    earlier = None
    if head.earlier is not None:
        weight = _array(head.earlier.weight)
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
            _array(head.trunk.bias) + trunk @ lost_before,
            units.stream,
            unit,
            np.full(trunk.shape[1], ACTIVATION_MAX),
            largest_sum=HEAD_SUMS,
        ),
        earlier,
        _layer(
            f"heads.{plane}.out",
            out,
            _array(head.out.bias) + out @ lost_inside,
            unit,
            np.repeat(
                [PARAMETER_UNIT, PARAMETER_UNIT * MEAN_UNIT, PARAMETER_UNIT, COEFFICIENT_UNIT],
                [k, k, k, plane],
            ),
            np.full(out.shape[1], ACTIVATION_MAX),
            OUTPUT_MAX,
            HEAD_SUMS,
        ),
    )


def _lost(seen: Activations, name: str, unit: Floats) -> Floats:
    """What the integer leaky ReLU takes from each channel on average, in float units.

    v >> 3 rounds down: 7/16 of an integer for each negative value. Biases give it back; that
    halved what integers cost (bench/LOG.md, "Quantisation").
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


def _units(reach: Floats) -> Floats:
    """From 1 to 1024: a channel that is silent on the samples may speak up elsewhere."""
    return np.asarray(np.clip(ACTIVATION_MAX / np.maximum(reach, 1e-6), 1, 1024))


def _array(x: Tensor) -> Floats:
    return x.detach().double().numpy()


def _rounded(x: Floats) -> Integers:
    return np.rint(x).astype(np.int32)
