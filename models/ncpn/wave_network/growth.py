"""A wave NCPN that begins as a smaller one: what a short budget needs to train a large network.

The smaller network's weights stand in the corner of the larger one's; new channels are read by new
channels only, and new blocks add nothing, so at first the larger network computes what the smaller
one does. After Chen et al. 2016, "Net2Net: accelerating learning via knowledge transfer", but with
random new features instead of copies, which need no noise to become different.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncml_codec.errors import UsageError
from ncpn.wave_network.wave import GatedBlock, PlaneHead, WaveConfig, WaveNCPN

_SPREAD = 0.1  # by which the log-scales of a component's two halves differ: equal ones stay equal
_SIZES = ("width", "blocks", "head_width", "mixtures")


@torch.no_grad()
def grow(network: WaveNCPN, smaller: WaveNCPN) -> None:
    """Make an untrained `network` compute what `smaller` does, in place.

    With as many mixture components exactly so; else components are split in two that nearly
    coincide. Raises UsageError unless every size of `network` is at least the other's.
    """
    for size in _SIZES:
        here, there = getattr(network.config, size), getattr(smaller.config, size)
        if here < there:
            raise UsageError(f"{size} {here} is smaller than the {there} of the run to grow from")
    if network.config.time_features != smaller.config.time_features:
        raise UsageError("networks of different time_features cannot grow into one another")
    _widen(network.first, smaller.first)
    network.time.load_state_dict(smaller.time.state_dict())
    old_blocks = smaller.gated_blocks()
    for index, block in enumerate(network.gated_blocks()):
        if index < len(old_blocks):
            _grow_block(block, old_blocks[index])
        else:
            block.gate.weight[: network.config.width] = 0
    for head, old in zip(network.plane_heads(), smaller.plane_heads(), strict=True):
        _grow_head(head, old, network.config, smaller.config)


def _grow_block(block: GatedBlock, old: GatedBlock) -> None:
    width, narrow = block.taps.out_features, old.taps.out_features
    _corner(block.taps.weight.view(width, -1, width), old.taps.weight.view(narrow, -1, narrow))
    block.taps.bias[:narrow] = old.taps.bias
    _corner(block.gate.weight.view(2, width, width), old.gate.weight.view(2, narrow, narrow), 1)
    block.gate.bias.view(2, width)[:, :narrow] = old.gate.bias.view(2, narrow)
    for name, parameter in block.time.named_parameters():
        found = dict(old.time.named_parameters())[name]
        parameter[tuple(slice(size) for size in found.shape)] = found


def _grow_head(head: PlaneHead, old: PlaneHead, config: WaveConfig, small: WaveConfig) -> None:
    _widen(head.trunk, old.trunk)
    if head.earlier is not None and old.earlier is not None:
        head.earlier.weight[: small.head_width] = old.earlier.weight
    k, few = config.mixtures, small.mixtures
    source = [component % few for component in range(k)]
    halves = torch.tensor([source.count(component) for component in source]).log()
    sign = torch.tensor([1.0 if component < few else -1.0 for component in range(k)])
    spread = _SPREAD * sign * (halves > 0)
    rows = [part * few + component for part in range(3) for component in source]
    rows += range(3 * few, old.out.out_features)
    head.out.weight[:, : small.head_width] = old.out.weight[rows]
    head.out.weight[:, small.head_width :] = 0
    head.out.bias.copy_(old.out.bias[rows])
    head.out.bias[:k] -= halves
    head.out.bias[2 * k : 3 * k] += spread


def _widen(layer: nn.Linear, old: nn.Linear) -> None:
    _corner(layer.weight, old.weight)
    layer.bias[: old.out_features] = old.bias


def _corner(weight: Tensor, old: Tensor, axis: int = 0) -> None:
    """Put `old` into the corner; its outputs (axis) read no other inputs (the last axis)."""
    rows = weight.narrow(axis, 0, old.shape[axis])
    rows.zero_()
    rows[..., : old.shape[-1]] = old
