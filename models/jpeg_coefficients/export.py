"""From trained networks to the codec's integers, with the proof for every layer.

Activations get one unit a channel, from how far they reach on sample blocks; weights one power of
two an output, the finest that ten bits and the proof of sums allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jpeg_coefficients.blocks import Batch
from jpeg_coefficients.network import NEAR, UNIT, PlaneNetwork, ends, leaky, linear_mask
from jpeg_coefficients.training import CoefficientNetwork
from ncml_codec.coefficients.network import (
    ACTIVATION_MAX,
    INPUT_MAX,
    LAST,
    LEAK_SHIFT,
    LINEAR_BITS,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOGARITHMS,
    OUTPUT_MAX,
    PARAMETER_UNIT,
    SUM_LIMIT,
    Integers,
    Layer,
    Network,
    Tables,
    check,
    first_bounds,
    largest_sums,
    layers,
)
from ncml_codec.coefficients.network import PlaneNetwork as IntegerPlane
from ncml_codec.coefficients.planes import NEIGHBOURS
from ncml_codec.errors import ExportError, FormatError

Floats = npt.NDArray[np.float64]

# bench/notebook/jpeg.md, "Integers", has the figures of both.
_WEIGHT_MAX = 511
_HEADROOM = 3.0  # beyond what sample blocks reach
_UNIT_MAX = 1024.0
_ROUNDED_DOWN = (2**LEAK_SHIFT - 1) / 2 ** (LEAK_SHIFT + 1)
_STEPS_UNIT = 128.0  # of log2(step) / 4, which is L(step - 1) = 32 log2(step)


@torch.no_grad()
def to_integers(model: CoefficientNetwork, luma: Batch, chroma: Batch) -> Network:
    """The integer network; sample blocks of both kinds show how far activations reach.

    Raises ExportError with the layer's name if its sums cannot be kept below 2**31.
    """
    network = Network(_plane(model.luma, luma), _plane(model.chroma, chroma), make_tables())
    try:
        check(network)
    except FormatError as error:
        raise ExportError(str(error)) from error
    return network


def proof(network: Network) -> list[tuple[str, int, int]]:
    """Every layer's name, number of inputs, and the largest sum that it can reach."""
    return [
        (f"{name}.{part}", layer.inputs, int(largest_sums(layer, bounds).max()))
        for name, plane in (("luma", network.luma), ("chroma", network.chroma))
        for part, layer, bounds in layers(plane)
    ]


def make_tables() -> Tables:
    """The integer functions."""
    count = int((LOG_SCALE_MAX - LOG_SCALE_MIN) * PARAMETER_UNIT) + 1
    inverse = 128 * np.exp(-(np.arange(count) / PARAMETER_UNIT + LOG_SCALE_MIN))
    shift = np.floor(12.99 - np.log2(inverse)).astype(np.int32)
    return Tables(
        logarithm=_rounded(UNIT / 2 * np.log2(1 + np.arange(LOGARITHMS))),
        exponential=_rounded(2**16 * np.exp(-np.arange(1024) / PARAMETER_UNIT)),
        scale_mantissa=_rounded(inverse * 2.0**shift),
        scale_shift=shift,
        logistic=_rounded(2**16 / (1 + np.exp(-(np.arange(1025) / 32 - 16)))),
    )


@dataclass(frozen=True)
class _Units:
    """Integers to one float unit of each channel.

    lost_*: what the integer leaky ReLU takes from each on average, in float units: v >> 3 rounds
    down, which is 7/16 of an integer for each negative value. Biases give it back.
    """

    first: Floats
    second: Floats
    heads: Floats  # [63, hidden]
    dc: Floats
    lost_first: Floats
    lost_second: Floats
    lost_heads: Floats
    lost_dc: Floats


def _units(network: PlaneNetwork, batch: Batch) -> _Units:
    features = network.features(batch)
    h, g = network.trunk(features, ends(features.own))
    ac = network.ac(leaky(g), features.before, LAST)
    # What lies behind a block's end is never computed.
    known = (torch.arange(1, LAST + 1) <= ends(features.own)[:, None])[..., None]
    dc = network.dc(features, leaky(g))
    units = [_unit(activations) for activations in (h, g, ac * known, dc)]
    count = known.sum(0).clamp(min=1)
    negative = [(x < 0).float().mean(0) for x in (h, g)]
    negative += [((ac < 0) & known).sum(0) / count, (dc < 0).float().mean(0)]
    lost = [_ROUNDED_DOWN * _array(n) / u for n, u in zip(negative, units, strict=True)]
    return _Units(*units, *lost)


def _unit(activations: Tensor) -> Floats:
    reach = activations.abs().amax(0).double().numpy()
    return np.minimum(ACTIVATION_MAX / np.maximum(_HEADROOM * reach, 1e-6), _UNIT_MAX)


def _plane(network: PlaneNetwork, batch: Batch) -> IntegerPlane:
    config, units = network.config, _units(network, batch)
    hidden, far = config.hidden, config.far
    first, first_units = _first_weight(network)
    second_weight = _array(network.second.weight)
    second = _layer(
        "second",
        second_weight,
        _array(network.second.bias) + second_weight @ units.lost_first,
        units.first,
        units.second,
        np.full(config.first, ACTIVATION_MAX),
        spare=_array(network.end_condition),
    )
    scale = units.second * 2.0**second.shift
    own = np.concatenate([np.full(config.second, ACTIVATION_MAX), np.full(2 * LAST, INPUT_MAX)])
    own_units = np.concatenate([units.second, np.full(2 * LAST, UNIT)])
    trunk = _array(network.heads.weight).reshape(LAST, hidden, -1)
    trunk_bias = _array(network.heads.bias).reshape(LAST, hidden) + trunk @ units.lost_second
    earlier = _array(network.earlier * network.earlier_mask).reshape(2, LAST, LAST, hidden)
    heads, outs = [], []
    for k in range(LAST):
        weight = np.concatenate([trunk[k], *_signed(earlier[:, :, k].transpose(0, 2, 1))], axis=1)
        name = f"heads.{k + 1}"
        heads.append(_layer(name, weight, trunk_bias[k], own_units, units.heads[k], own))
        out, bias = _array(network.out[k]).T, _array(network.out_bias[k, 0])
        outs.append(_out(f"outs.{k + 1}", out, bias, units.heads[k], units.lost_heads[k]))
    odd_even = _array(network.dc_earlier.weight).reshape(-1, 2, LAST).transpose(1, 0, 2)
    dc_trunk = _array(network.dc_head.weight)
    dc = np.concatenate([dc_trunk, *_signed(odd_even)], axis=1)
    dc_bias = _array(network.dc_head.bias) + dc_trunk @ units.lost_second
    dc_out, dc_out_bias = _array(network.dc_out.weight), _array(network.dc_out.bias)
    end, end_bias = _array(network.end.weight), _array(network.end.bias)
    roles = len(NEIGHBOURS) + (2 if config.chroma else 0)
    linear = np.rint(_array(network.linear * linear_mask(roles)) * 2**LINEAR_BITS)
    linear[len(NEIGHBOURS) : -1, 0] = 0  # DC of other planes is not read
    return IntegerPlane(
        chroma=config.chroma,
        far=far,
        first=_layer(
            *("first", first, _array(network.first.bias), first_units, units.first),
            first_bounds(far, config.chroma),
        ),
        end=_out("end", end, end_bias, units.first, units.lost_first),
        second=second,
        end_bias=_rounded(_array(network.end_condition) * scale),
        heads=tuple(heads),
        outs=tuple(outs),
        dc_head=_layer("dc_head", dc, dc_bias, own_units, units.dc, own),
        dc_out=_out("dc_out", dc_out, dc_out_bias, units.dc, units.lost_dc),
        linear=linear.astype(np.int32),
    )


def _first_weight(network: PlaneNetwork) -> tuple[Floats, Floats]:
    """The first layer's weights in the order of the integer inputs, and these inputs' units."""
    config = network.config
    weight = _array(network.first.weight)
    at, parts, units = 0, list[Floats](), list[Floats]()

    def take(count: int) -> Floats:
        nonlocal at
        at += count
        return weight[:, at - count : at]

    def signed(roles: int, values: int) -> None:
        """Features of all roles lie one behind the other, twice; parts lie role by role."""
        both = take(2 * roles * values).reshape(-1, 2, roles, values).transpose(1, 0, 2, 3)
        positive, negative = _signed(both)
        parts.append(np.stack([positive, negative], axis=2).reshape(len(weight), -1))
        units.append(np.full(2 * roles * values, UNIT))

    for _ in range(NEAR):
        signed(1, 64)
    signed(len(NEIGHBOURS) - NEAR, config.far)
    parts.append(take(64))
    units.append(np.full(64, _STEPS_UNIT))
    parts.append(take(len(NEIGHBOURS)))
    units.append(np.full(len(NEIGHBOURS), UNIT))
    if config.chroma:
        parts.append(take(128))
        units.append(np.full(128, UNIT))
        signed(1, 64)
        parts.append(take(1))
        units.append(np.full(1, UNIT))
    assert at == weight.shape[1]
    return np.concatenate(parts, axis=1), np.concatenate(units)


def _signed(both: Floats) -> tuple[Floats, Floats]:
    """Weights of positive and negative parts, from those of logarithms with and without sign."""
    odd, even = both
    return even + odd, even - odd


def _out(name: str, weight: Floats, bias: Floats, unit_in: Floats, lost: Floats) -> Layer:
    units = np.full(len(weight), float(PARAMETER_UNIT))
    bounds = np.full(weight.shape[1], ACTIVATION_MAX)
    return _layer(name, weight, bias + weight @ lost, unit_in, units, bounds, OUTPUT_MAX)


def _layer(
    name: str,
    weight: Floats,
    bias: Floats,
    unit_in: Floats,
    unit_out: Floats,
    bounds: npt.NDArray[np.integer],
    limit: int = ACTIVATION_MAX,
    spare: Floats | None = None,
) -> Layer:
    """The finest integer layer whose sums are proved below 2**31, output by output.

    spare: [m, outputs], what else may be added to a sum.
    """
    weight = weight / unit_in
    more = np.zeros(len(weight)) if spare is None else np.abs(spare).max(axis=0)
    shift = np.full(len(weight), -1, np.int32)
    chosen_weight = np.zeros(weight.shape, np.int32)
    chosen_bias = np.zeros(len(weight), np.int32)
    for candidate in range(25):
        scale = 2.0**candidate * unit_out
        integers = np.rint(weight * scale[:, None])
        half = 2 ** (candidate - 1) if candidate else 0
        offsets = np.rint(bias * scale) + half
        sums = np.abs(integers) @ bounds + np.abs(offsets) + np.rint(more * scale) + 1
        fits = (sums < SUM_LIMIT) & (np.abs(integers).max(axis=1) <= _WEIGHT_MAX)
        shift[fits] = candidate
        chosen_weight[fits] = integers[fits]
        chosen_bias[fits] = offsets[fits]
    if (shift < 0).any():
        raise ExportError(f"{name}: output {int(np.argmin(shift))} is beyond 2**31 or 16 bits")
    return Layer(chosen_weight, chosen_bias, shift, limit)


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().double().cpu().numpy()


def _rounded(x: Floats) -> Integers:
    return np.rint(x).astype(np.int32)
