"""The integer network in torch: whole numbers in float32, gradients as if nothing were rounded.

Straight-through gradients: Bengio et al. 2013, "Estimating or Propagating Gradients Through
Stochastic Neurons". Values are those of the codec's engines up to the heads' outputs; the mixture
that these make, and its masses, are of real numbers, not of tables.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ncml_codec.learn.likelihood.mixture import Mixture
from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    GATE_BITS,
    INPUT_UNIT,
    LEAK_SHIFT,
    PLANES,
    Block,
    Head,
    Integers,
    Layer,
    Network,
    check,
    named_layers,
)
from ncpn.integers.activations import GATE_UNIT
from ncpn.integers.export import output_units
from ncpn.wave_network.leak import NEGATIVE_SLOPE
from ncpn.wave_network.wave import (
    local_reference,
    mixture_of,
    neighbourhood,
    residual_features,
    side_by_side,
    window_inputs,
)


class BiasNetwork(nn.Module):
    """An integer network whose biases may be trained; its weights stay.

    biases: in whole numbers of each layer's outputs, [outputs] by name, with the half that rounds
    sums to the nearest. Those of `earlier` would only add to `trunk`'s and stay as well.
    """

    sigmoid: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.biases = nn.ParameterDict(
            {
                _key(name): nn.Parameter(_shifted_bias(layer))
                for name, layer in named_layers(network)
                if not name.endswith("earlier")
            }
        )
        self.register_buffer("sigmoid", torch.from_numpy(network.tables.sigmoid).float())

    def forward(self, x: Tensor) -> Mixture:
        """The distribution of every sub-pixel, as `WaveNCPN.forward` at t = 0."""
        planes = x - 128.0
        reference = local_reference(planes)
        residual = planes - reference
        network = self.network
        h = self._layer("first", network.first, window_inputs(planes, reference) * INPUT_UNIT)
        for index, block in enumerate(network.blocks):
            inner = self._layer(f"blocks.{index}.taps", block.taps, neighbourhood(leaky(h)))
            h = gated(
                h, self._layer(f"blocks.{index}.gate", block.gate, leaky(inner)), self.sigmoid
            )
        features = leaky(h)
        parts = []
        for plane, head in enumerate(network.heads):
            z = self._layer(f"heads.{plane}.trunk", head.trunk, features)
            if head.earlier is not None:
                before = residual_features(residual[:, :plane]) * INPUT_UNIT
                z = (z + apply(head.earlier, before)).clamp(-head.trunk.limit, head.trunk.limit)
            units = torch.from_numpy(output_units(network.k, plane)).float()[:, None, None]
            o = self._layer(f"heads.{plane}.out", head.out, leaky(z)) / units.to(x.device)
            own = reference[:, plane : plane + 1]
            parts.append(mixture_of(o, network.k, residual[:, :plane], own))
        return side_by_side(parts)

    def trained(self) -> Network:
        """The network with these biases. Raises FormatError if a sum could become too large."""
        done = {name: self._with_bias(name, layer) for name, layer in named_layers(self.network)}
        result = replace(
            self.network,
            first=done["first"],
            blocks=[
                Block(done[f"blocks.{index}.taps"], done[f"blocks.{index}.gate"])
                for index in range(len(self.network.blocks))
            ],
            heads=[
                Head(
                    done[f"heads.{plane}.trunk"],
                    done.get(f"heads.{plane}.earlier"),
                    done[f"heads.{plane}.out"],
                )
                for plane in range(PLANES)
            ],
        )
        check(result)
        return result

    def _layer(self, name: str, layer: Layer, inputs: Tensor) -> Tensor:
        return apply(layer, inputs, self.biases[_key(name)])

    def _with_bias(self, name: str, layer: Layer) -> Layer:
        if _key(name) not in self.biases:
            return layer
        bias = self.biases[_key(name)].detach().double().cpu().numpy() * 2.0**layer.shift
        return replace(layer, bias=np.rint(bias).astype(np.int32))


def apply(layer: Layer, inputs: Tensor, bias: Tensor | None = None) -> Tensor:
    """A layer's whole numbers [batch, outputs, height, width]; with its own bias, exact.

    bias: another one, in whole numbers of the outputs.
    """
    weight = torch.from_numpy(layer.weight).float() * 2.0 ** -_column(layer.shift)
    bias = _shifted_bias(layer).to(inputs.device) if bias is None else bias
    batch, _, height, width = inputs.shape
    weight = weight.to(inputs.device).expand(batch, -1, -1)
    sums = torch.baddbmm(bias[None, :, None], weight, inputs.flatten(2))
    return floor(sums.unflatten(2, (height, width))).clamp(-layer.limit, layer.limit)


def gated(stream: Tensor, gates: Tensor, sigmoid: Tensor) -> Tensor:
    """x + (a sigmoid(b) + 1/2), clipped. gates: a, then b; sigmoid: its table."""
    a, b = gates.chunk(2, 1)
    share = _LookUp.apply(b, sigmoid)
    added = floor((a * share + 2 ** (GATE_BITS - 1)) * 2.0**-GATE_BITS)
    return (stream + added).clamp(-ACTIVATION_MAX, ACTIVATION_MAX)


def leaky(x: Tensor) -> Tensor:
    """max(v, v >> 3)."""
    return _Leaky.apply(x)


def floor(x: Tensor) -> Tensor:
    """Rounded down."""
    return _Floor.apply(x)


def _key(name: str) -> str:
    return name.replace(".", "_")  # torch allows no dots


def _column(shift: Integers) -> Tensor:
    return torch.from_numpy(shift).float()[:, None]


def _shifted_bias(layer: Layer) -> Tensor:
    return torch.from_numpy(layer.bias * 2.0 ** -layer.shift.astype(float)).float()


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return torch.maximum(x, torch.floor(x * 2.0**-LEAK_SHIFT))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return torch.where(x < 0, gradients[0] * NEGATIVE_SLOPE, gradients[0])


class _LookUp(torch.autograd.Function):
    """The sigmoid's table at whole b, and the sigmoid's slope."""

    @staticmethod
    def forward(context: Any, b: Tensor, table: Tensor) -> Tensor:
        share = table[(b + ACTIVATION_MAX).long()]
        context.save_for_backward(share)
        return share

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (share,) = context.saved_tensors
        return gradients[0] * share * (1 - share * 2.0**-GATE_BITS) / GATE_UNIT, None
