"""What integers cost: the float network and the integer network on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ncml_codec import engines
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Meter
from ncml_codec.learn.likelihood.objective import NoiseConditional, image_bits
from ncml_codec.network.integer_network import Network
from ncml_codec.picture import orientation
from ncpn.wave_network.wave import WaveNCPN

Image = npt.NDArray[np.uint8]

_PART, _PARTS = 64, 2  # side of the parts of an image that are looked at, and how many each way


@dataclass(frozen=True)
class Cost:
    """Bits per sub-pixel at t = 0, over all images together."""

    floating: float
    integer: float

    @property
    def percent(self) -> float:
        """How much larger the integer network's code is."""
        return 100 * (self.integer / self.floating - 1)


def cost(model: WaveNCPN, network: Network, images: Sequence[Image]) -> Cost:
    """Both networks' code lengths on uint8 images [height, width, 3]."""
    sizes = np.array([image.size for image in images], float)
    floating = np.array([float_bits(model, image) for image in images])
    integer = np.array([integer_bits(network, image) for image in images])
    return Cost(
        float((floating * sizes).sum() / sizes.sum()), float((integer * sizes).sum() / sizes.sum())
    )


@torch.no_grad()
def float_bits(model: NoiseConditional, image: Image) -> float:
    """Bits per sub-pixel that the float network assigns to an image at t = 0."""
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return float(image_bits(model, x, torch.zeros(1)))


@torch.no_grad()
def best_turn(model: NoiseConditional, image: Image) -> int:
    """The turn of an image [height, width, 3] that the float network codes in the fewest bits at
    t = 0, by parts of it: a number of `ncml_codec.picture.orientation`."""
    height, width = (max(1, size - _PART + 1) for size in image.shape[:2])
    rows, columns = (np.linspace(0, size - 1, _PARTS).astype(int) for size in (height, width))
    parts = np.stack([image[i : i + _PART, j : j + _PART] for i in rows for j in columns])
    bits = []
    for turn in range(orientation.COUNT):
        laid = np.stack([orientation.turned(part, turn) for part in parts]).transpose(0, 3, 1, 2)
        x = torch.from_numpy(np.ascontiguousarray(laid)).float()
        bits.append(float(image_bits(model, x, torch.zeros(len(x))).mean()))
    return int(np.argmin(bits))


def integer_bits(network: Network, image: Image, engine: str = "auto") -> float:
    """Bits per sub-pixel that the integer tables assign to an image: an ideal coder's."""
    meter = Meter()
    walk_tile(engines.load(engine, network), image.shape, image, meter)
    return meter.bits / image.size
