"""What integers cost: the float network and the integer network on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ncml_codec import engines
from ncml_codec.codec import walk_tile
from ncml_codec.coder import Meter
from ncml_codec.learn.objective import NoiseConditional, image_bits
from ncml_codec.network import Network
from ncpn.wave import WaveNCPN

Image = npt.NDArray[np.uint8]


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


def integer_bits(network: Network, image: Image, engine: str = "auto") -> float:
    """Bits per sub-pixel that the integer tables assign to an image: an ideal coder's."""
    meter = Meter()
    walk_tile(engines.load(engine, network), image.shape, image, meter)
    return meter.bits / image.size
