"""The engine in torch: integers in int32 tensors, only the matrix products in floats.

It states the same computation as `numpy_engine` in other words (shifts of integers, not `floor` of
floats), so that the two check each other; and images of one size walk together (`torch_walk`).
Weights come back as numpy arrays, since the coder works on the CPU.
"""

from __future__ import annotations

from ncml_codec.engines import torch_device
from ncml_codec.engines.torch_device import Device
from ncml_codec.engines.torch_layers import StaticBody, StaticHead
from ncml_codec.engines.torch_mixture import Distribution
from ncml_codec.engines.torch_walk import BatchWalk
from ncml_codec.network import Integers, Network
from ncml_codec.strength import STATIC
from ncml_codec.tables import Weights


def engine(network: Network, threads: int = 1) -> TorchEngine:
    """The engine for a network that has passed `network.check`, on the CPU. threads: not used."""
    del threads
    return on_device(network, "cpu")


def on_device(network: Network, device: str) -> TorchEngine:
    """The engine on a device of `torch_device.DEVICES`. Raises UsageError."""
    return TorchEngine(network, torch_device.chosen(device))


class TorchEngine:
    """A network's layers and tables on a device. Images of one size walk together, or one alone."""

    name = "torch"

    def __init__(self, network: Network, place: Device) -> None:
        self.network, self.place = network, place
        self.body = StaticBody(network, place.device)
        self.heads = [StaticHead(head, place.device) for head in network.heads]
        self.distribution = Distribution(network, place.device)

    def __str__(self) -> str:
        return f"torch ({self.place})"

    def walk(self, height: int, width: int, strength: int = STATIC) -> TorchWalk:
        return TorchWalk(self.walk_together(1, height, width, strength))

    def walk_together(
        self, count: int, height: int, width: int, strength: int = STATIC
    ) -> BatchWalk:
        """Begin `count` images of this size; strength: how each of them adapts, see `strength`."""
        return BatchWalk(self, count, height, width, strength)


class TorchWalk:
    """One image; see `engines.Walk`."""

    def __init__(self, batch: BatchWalk) -> None:
        self.batch = batch

    def begin(self, wave: int) -> int:
        return self.batch.begin(wave)

    def high(self, plane: int) -> Weights:
        weights: Weights = self.batch.high(plane)[0]
        return weights

    def low(self, plane: int, high: Integers) -> Weights:
        weights: Weights = self.batch.low(plane, high[None])[0]
        return weights

    def put(self, plane: int, values: Integers) -> None:
        self.batch.put(plane, values[None])
