"""Training with what integers will take from activations below zero, see `leak`.

Of what integers cost the leaky ReLU takes four fifths, and that alone is simulated; the rest is
left to `export` and `calibration` (bench/notebook/integers.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ncml_codec.atomic_files import translated
from ncml_codec.errors import InputError, UsageError
from ncpn.integers.activations import Floats, Units, choose_units, finer, observe
from ncpn.integers.validation import Image
from ncpn.network import NCPN
from ncpn.wave_network.wave import WaveNCPN

_FINER = 1.25  # than what clips nothing: about what `calibration` ends up with


def units_of(network: nn.Module, samples: Sequence[Image]) -> Units:
    """The units in which a network's activations on sample images are whole numbers.

    network: on the CPU. samples: uint8 [height, width, 3]. Raises UsageError for a network of
    another kind.
    """
    if not isinstance(network, WaveNCPN):
        raise UsageError("only wave networks are rounded")
    return finer(choose_units(observe(network, samples)), _FINER, _FINER)


def round_leaks(network: NCPN, units: Units) -> None:
    """Let a wave network be trained with the leaky ReLU of integers in these units.

    Raises UsageError for any other network, and for units of one of another shape.
    """
    if not isinstance(network, WaveNCPN):
        raise UsageError("only wave networks are rounded")
    if _shape(units) != _shape_of(network):
        raise UsageError(
            f"rounded by a network of another shape: {_shape(units)} channels of the stream, the"
            f" blocks and the heads, here {_shape_of(network)}"
        )
    device = network.first.weight.device

    def by_channel(values: Floats) -> Tensor:
        return torch.from_numpy(values).float()[:, None, None].to(device)

    network.unit = by_channel(units.stream)
    for block, inside in zip(network.gated_blocks(), units.hidden, strict=True):
        block.unit, block.inner_unit = network.unit, by_channel(inside)
    for head, inside in zip(network.plane_heads(), units.heads, strict=True):
        head.unit = by_channel(inside)


def to_json(units: Units) -> dict[str, Any]:
    """As a run keeps them, to go on with."""
    return {
        "stream": units.stream.tolist(),
        "hidden": [values.tolist() for values in units.hidden],
        "heads": [values.tolist() for values in units.heads],
    }


def from_json(kept: Mapping[str, Any]) -> Units:
    """The units that `to_json` wrote. Raises InputError for anything else."""
    with translated("the units of a run"):
        lists = [kept["stream"], *kept["hidden"], *kept["heads"]]
        arrays = [np.array(values, np.float64) for values in lists]
        if not all(values.ndim == 1 and (values > 0).all() for values in arrays):
            raise InputError("the units of a run: not lists of numbers above 0")
        return Units(arrays[0], arrays[1 : 1 + len(kept["hidden"])], arrays[-len(kept["heads"]) :])


def _shape(units: Units) -> list[int]:
    return [len(values) for values in (units.stream, *units.hidden, *units.heads)]


def _shape_of(network: WaveNCPN) -> list[int]:
    config = network.config
    return [config.width] * (1 + config.blocks) + [config.head_width] * len(network.plane_heads())
