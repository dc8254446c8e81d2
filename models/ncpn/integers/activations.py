"""What the activations of a trained wave NCPN reach, and the integers that stand for them.

Every channel gets a unit of its own, chosen on sample images; `export` puts units into weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncml_codec.errors import ExportError
from ncml_codec.network.integer_network import ACTIVATION_MAX, FEATURE_GAINS
from ncpn.integers.validation import Image
from ncpn.wave_network.leak import leaky
from ncpn.wave_network.wave import (
    WaveNCPN,
    apply_pointwise,
    local_reference,
    residual_features,
    window_inputs,
)

Floats = npt.NDArray[np.float64]

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
            largest = to_array(values.abs().amax(dim=(0, 2, 3)))
            below = to_array((values < 0).double().mean(dim=(0, 2, 3))) / len(samples)
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
        inner = block.inner(leaky(h), time)
        gates = apply_pointwise(block.gate, leaky(inner))
        yield f"hidden.{index}", inner
        yield f"gate.{index}", gates[:, : h.shape[1]]
        h = block.combine(h, gates)
        yield f"stream.{index + 1}", h
    earlier = residual_features(planes - reference)
    for plane, head in enumerate(model.plane_heads()):
        z = apply_pointwise(head.trunk, leaky(h))
        if head.earlier is not None:
            z = z + apply_pointwise(head.earlier, earlier[:, : len(FEATURE_GAINS) * plane])
        yield f"head.{plane}", z


def finer(units: Units, stream: float, inside: float) -> Units:
    return Units(
        units.stream * stream,
        [values * inside for values in units.hidden],
        [values * inside for values in units.heads],
    )


def _units(reach: Floats) -> Floats:
    """From 1 to 1024: a channel that is silent on the samples may speak up elsewhere."""
    return np.asarray(np.clip(ACTIVATION_MAX / np.maximum(reach, 1e-6), 1, 1024))


def to_array(x: Tensor) -> Floats:
    return x.detach().double().numpy()
