"""Training with what integers will take from activations below zero, see `leak`.

Of what integers cost the leaky ReLU takes four fifths, and that alone is simulated; the rest is
left to `export` and `calibration` (bench/LOG.md, "Quantisation").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ncml_codec.errors import UsageError
from ncpn import presets
from ncpn.activations import Floats, choose_units, finer, observe
from ncpn.network import NCPN
from ncpn.validation import Image
from ncpn.wave import WaveNCPN

_FINER = 1.25  # than what clips nothing: about what `calibration` ends up with


def round_leaks(network: NCPN, run: Path, samples: Sequence[Image]) -> None:
    """Let a wave network be trained with the leaky ReLU of integers.

    run: of a network of the same shape; in which units, its activations on sample images tell,
    uint8 [height, width, 3]. Raises UsageError for any other network, and as
    `presets.from_pretrained`.
    """
    shown = presets.from_pretrained(run)
    if not (isinstance(network, WaveNCPN) and isinstance(shown, WaveNCPN)):
        raise UsageError(f"{run}: only wave networks are rounded")
    if _shape(network) != _shape(shown):
        raise UsageError(f"{run}: its network is of another shape")
    device = network.first.weight.device

    def by_channel(values: Floats) -> Tensor:
        return torch.from_numpy(values).float()[:, None, None].to(device)

    units = finer(choose_units(observe(shown, samples)), _FINER, _FINER)
    network.unit = by_channel(units.stream)
    for block, inside in zip(network.gated_blocks(), units.hidden, strict=True):
        block.unit, block.inner_unit = network.unit, by_channel(inside)
    for head, inside in zip(network.plane_heads(), units.heads, strict=True):
        head.unit = by_channel(inside)


def _shape(network: WaveNCPN) -> tuple[int, int, int]:
    config = network.config
    return config.width, config.blocks, config.head_width
