"""The model's own layers in torch: whole numbers in int32, only the matrix products in float32.

`StaticBody` and `StaticHead` do what `torch_body.LearningBody` and `torch_adaptation.LearningHead`
do, but for learning. Tensors have an axis of images in front.

Products: inputs and weights are whole numbers of at most 2047, which TF32 (11 bits) holds exactly,
and sums stay below 2**24, which float32 holds exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ncml_codec.network import GATE_BITS, LEAK_SHIFT, Head, Layer, Network


class StaticBody:
    """The first layer and the blocks."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self._first = Product(network.first, device)
        self._blocks = [(Product(b.taps, device), Product(b.gate, device)) for b in network.blocks]
        sigmoid = torch.from_numpy(network.tables.sigmoid.astype("int32"))
        self._sigmoid = sigmoid.to(device)

    def first(self, inputs: Tensor) -> Tensor:
        """x of FORMAT.md, section 4.2, int32 [image, n, width]; inputs: float32."""
        return self._first(inputs)

    def block(self, index: int, neighbours: Tensor, x: Tensor) -> Tensor:
        """x after a block; neighbours: all taps' features side by side, float32."""
        taps, gate = self._blocks[index]
        a, b = gate(leaky(taps(neighbours)).float()).chunk(2, 2)
        limit = gate.limit
        share = a * self._sigmoid[b + limit] + (1 << (GATE_BITS - 1))
        return (x + (share >> GATE_BITS)).clamp(-limit, limit)


class StaticHead:
    """One plane's head."""

    def __init__(self, head: Head, device: torch.device) -> None:
        self._trunk, self._out = Product(head.trunk, device), Product(head.out, device)
        self._earlier = None if head.earlier is None else Product(head.earlier, device)

    def outputs(self, trunk: Tensor, features: Tensor | None, phases: Tensor) -> Tensor:
        """What the head puts out, int32 [image, n, outputs].

        trunk: [image, n, width]; features: of the earlier planes, [image, n, 3 c]; both whole
        numbers in float32. phases: for heads that learn.
        """
        del phases
        z = self._trunk(trunk)
        if self._earlier is not None:
            assert features is not None, "only the first plane has no earlier ones"
            limit = self._earlier.limit
            z = (z + self._earlier(features)).clamp(-limit, limit)
        return self._out(leaky(z).float())


class Product:
    """clip((inputs @ weight + bias) >> shift): float32 [..., inputs] to int32 [..., outputs]."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self._weight = torch.from_numpy(layer.weight.T.astype("float32")).to(device)
        self._bias = torch.from_numpy(layer.bias.astype("int32")).to(device)
        self._shift = torch.from_numpy(layer.shift.astype("int32")).to(device)
        self.limit = layer.limit

    def __call__(self, inputs: Tensor) -> Tensor:
        sums = torch.matmul(inputs, self._weight).int() + self._bias
        return (sums >> self._shift).clamp(-self.limit, self.limit)


def leaky(x: Tensor) -> Tensor:
    """max(v, v >> 3) of whole numbers."""
    return torch.maximum(x, x >> LEAK_SHIFT)
