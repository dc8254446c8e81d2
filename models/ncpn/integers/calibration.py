"""The integer network that codes sample images in the fewest bits: units tried, layers fitted.

`export` rounds each weight on its own. Here every layer in turn is fitted by least squares to the
float network's outputs, from the integers that it will be given: so it makes up for what these lost
to rounding, to `v >> 3` and to clips. Then its weights are rounded one input after the other, and
the weights of the inputs to come take over what each rounding does to the outputs: Frantar et al.
2022, "GPTQ", after Hassibi and Stork 1992, "Second order derivatives for network pruning".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    INPUT_UNIT,
    WEIGHT_MAX,
    Block,
    Head,
    Integers,
    Layer,
    Network,
    check,
    input_bounds,
)
from ncpn.integers import integer_network
from ncpn.integers.activations import (
    GATE_UNIT,
    Floats,
    Units,
    choose_units,
    finer,
    observe,
    to_array,
)
from ncpn.integers.export import BODY_SUMS, HEAD_SUMS, output_units, to_integers
from ncpn.integers.validation import Image, integer_bits
from ncpn.wave_network.leak import leaky
from ncpn.wave_network.wave import (
    WaveNCPN,
    apply_pointwise,
    local_reference,
    neighbourhood,
    residual_features,
    window_inputs,
)

Tensors = list[Tensor]  # of every sample [1, channel, height, width]
Look = Callable[[Tensor], Tensor]

_FINER = (1.0, 1.25, 1.5, 2.0)  # units to try
_FITTED = 64  # images to fit to, for memory's sake: 41 of 192 x 192 took 8.1 GiB with `max`
_SMOOTH = 2.0  # grey levels of residual that every pixel has; bench/notebook/integers.md
_RIDGE = 1e-5  # of an input's own power: keeps weights that the samples do not determine


def best_integers(model: WaveNCPN, samples: Sequence[Image]) -> Network:
    """The integer network of a trained one, units and weights chosen on sample images.

    samples: uint8 [height, width, 3] images that show the range of the activations. Their largest
    values are rare outliers: finer units that clip those are tried, and kept if they code the
    samples in fewer bits; and so are fitted layers (bench/notebook/integers.md,
    "Layers fitted to what their inputs lost"). Raises ExportError.
    """
    seen = observe(model, samples)
    first = choose_units(seen)
    best, fewest, chosen = None, math.inf, first
    for stream, inside in product(_FINER, _FINER):
        units = finer(first, stream, inside)
        network = to_integers(model, units, seen)
        bits = _bits(network, samples)
        if bits < fewest:
            best, fewest, chosen = network, bits, units
    assert best is not None
    fitted = fit(model, best, chosen, samples[:_FITTED])
    return fitted if _bits(fitted, samples) < fewest else best


@torch.no_grad()
def fit(model: WaveNCPN, network: Network, units: Units, samples: Sequence[Image]) -> Network:
    """The network with its layers fitted to what `model` computes of the samples.

    network: of `to_integers`, with these units.
    """
    allowed = input_bounds(network)

    def fitted(
        name: str, layer: Layer, inputs: Tensors, look: Look, targets: Tensors, unit: Floats
    ) -> tuple[Layer, Tensors]:
        """Of integer inputs, looked at so, and float targets: the layer, and its outputs."""
        by_channel = torch.from_numpy(unit).float()[:, None, None]
        pairs = (
            (look(x), y * by_channel, weight)
            for x, y, weight in zip(inputs, targets, weights, strict=True)
        )
        most = HEAD_SUMS if name.startswith("heads") else BODY_SUMS
        better = fit_layer(layer, allowed[name], most, pairs)
        return better, [integer_network.apply(better, look(x)) for x in inputs]

    time = model.time(torch.zeros(1))
    planes = [torch.from_numpy(s.copy()).permute(2, 0, 1)[None].float() - 128 for s in samples]
    references = [local_reference(x) for x in planes]
    windows = [window_inputs(x, r) for x, r in zip(planes, references, strict=True)]
    weights = [_importance(x - r) for x, r in zip(planes, references, strict=True)]
    h = [apply_pointwise(model.first, x) for x in windows]
    shown = [x * INPUT_UNIT for x in windows]
    first, stream = fitted("first", network.first, shown, _itself, h, units.stream)
    del windows, shown
    sigmoid = torch.from_numpy(network.tables.sigmoid).float()
    blocks = []
    for index, (block, old) in enumerate(zip(model.gated_blocks(), network.blocks, strict=True)):
        inner = [block.inner(leaky(x), time) for x in h]
        gates = [apply_pointwise(block.gate, leaky(x)) for x in inner]
        h = [block.combine(x, g) for x, g in zip(h, gates, strict=True)]
        name, unit = f"blocks.{index}", units.hidden[index]
        taps, hidden = fitted(f"{name}.taps", old.taps, stream, _leaky_neighbours, inner, unit)
        unit = np.concatenate([units.stream, np.full_like(units.stream, GATE_UNIT)])
        gate, found = fitted(f"{name}.gate", old.gate, hidden, integer_network.leaky, gates, unit)
        stream = [integer_network.gated(x, g, sigmoid) for x, g in zip(stream, found, strict=True)]
        blocks.append(Block(taps, gate))
    heads = []
    for plane, (head, before) in enumerate(zip(model.plane_heads(), network.heads, strict=True)):
        name, unit = f"heads.{plane}", units.heads[plane]
        z = [apply_pointwise(head.trunk, leaky(x)) for x in h]
        trunk, active = fitted(
            f"{name}.trunk", before.trunk, stream, integer_network.leaky, z, unit
        )
        earlier = None
        if head.earlier is not None and before.earlier is not None:
            features = [
                residual_features((x - r)[:, :plane])
                for x, r in zip(planes, references, strict=True)
            ]
            added = [apply_pointwise(head.earlier, f) for f in features]
            shown = [f * INPUT_UNIT for f in features]
            earlier, more = fitted(f"{name}.earlier", before.earlier, shown, _itself, added, unit)
            z = [x + y for x, y in zip(z, added, strict=True)]
            active = [
                (x + y).clamp(-ACTIVATION_MAX, ACTIVATION_MAX)
                for x, y in zip(active, more, strict=True)
            ]
        outputs = [apply_pointwise(head.out, leaky(x)) for x in z]
        unit = output_units(network.k, plane)
        out, _ = fitted(f"{name}.out", before.out, active, integer_network.leaky, outputs, unit)
        heads.append(Head(trunk, earlier, out))
    result = replace(network, first=first, blocks=blocks, heads=heads)
    check(result)
    return result


def fit_layer(
    layer: Layer,
    bounds: Integers,
    largest_sum: int,
    samples: Iterable[tuple[Tensor, Tensor, Tensor]],
) -> Layer:
    """The integer layer near `layer` whose outputs are closest to targets, in squares.

    bounds: of the inputs; no sum becomes larger than `largest_sum`. samples: integer inputs
    [1, inputs, height, width]; targets [1, outputs, height, width], in integers of the outputs; and
    what each pixel counts [1, 1, height, width].
    """
    size = layer.inputs + 1  # the bias is one more weight, the last
    power, cross = np.zeros((size, size)), np.zeros((size, layer.outputs))
    for inputs, targets, importance in samples:
        a = F.pad(inputs, (0, 0, 0, 0, 0, 1), value=1.0).flatten(2)[0].double()
        b = a * importance.flatten().double()
        power += to_array(b @ a.T)
        cross += to_array(b @ targets.flatten(2)[0].T.double())
    half = np.where(layer.shift > 0, 2.0 ** (layer.shift - 1), 0.0)
    given = np.concatenate([layer.weight, (layer.bias - half)[:, None]], 1)
    given = given * 2.0 ** -layer.shift[:, None].astype(float)
    sure = power + np.diag(_RIDGE * np.diag(power) + 1e-9 * np.diag(power).mean())
    wanted = given + np.linalg.solve(sure, cross - power @ given.T).T
    # With sure = R R^T, R an upper triangle, the inverse of R is the one that is wanted.
    spread = np.linalg.inv(np.linalg.cholesky(sure[::-1, ::-1])[::-1, ::-1])
    shift = layer.shift.copy()
    while True:
        rounded = round_in_turn(wanted * 2.0 ** shift[:, None], spread)
        half = np.where(shift > 0, 2.0 ** (shift - 1), 0.0)
        weight, bias = rounded[:, :-1], rounded[:, -1] + half
        sums = np.abs(weight) @ bounds + np.abs(bias)
        coarser = (sums >= largest_sum) | (np.abs(weight).max(axis=1) > WEIGHT_MAX)
        if not coarser.any():
            return Layer(weight.astype(np.int32), bias.astype(np.int32), shift, layer.limit)
        if (shift[coarser] == 0).any():
            return layer
        shift = shift - coarser


def round_in_turn(weights: Floats, spread: Floats) -> Floats:
    """Whole numbers for weights [outputs, inputs], column by column from the first.

    What a column loses is spread over those after it by `spread` [inputs, inputs], the upper
    triangle U of the inverse of the inputs' second moments, U^T U, so that the outputs' error in
    squares stays the least for the columns already rounded.
    """
    left = weights.copy()
    for column in range(left.shape[1]):
        rounded = np.rint(left[:, column])
        lost = (left[:, column] - rounded) / spread[column, column]
        left[:, column] = rounded
        left[:, column + 1 :] -= np.outer(lost, spread[column, column + 1 :])
    return left


def _importance(residual: Tensor) -> Tensor:
    """What each pixel counts: the same error costs the more bits the narrower its distribution is.

    residual: [1, 3, height, width], in grey levels from the reference. An error of a mean costs
    (error / scale)**2, and the scale goes as the residuals nearby.
    """
    nearby = F.avg_pool2d(residual.abs().mean(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    return (nearby + _SMOOTH) ** -2


def _bits(network: Network, samples: Sequence[Image]) -> float:
    return sum(integer_bits(network, image) * image.size for image in samples)


def _leaky_neighbours(x: Tensor) -> Tensor:
    return neighbourhood(integer_network.leaky(x))


def _itself(x: Tensor) -> Tensor:
    return x
