"""The biases of an integer network trained on images, after `calibration` has chosen its weights.

What integers lose comes again and again where an image is flat (bench/notebook/integers.md), so a
bias makes up for some of it; and biases, unlike weights, are hardly rounded at all.
"""

from __future__ import annotations

import math

import torch

from ncml_codec.learn.data.crops import CropConfig, Images
from ncml_codec.learn.likelihood.mixture import bits_per_dimension
from ncml_codec.network.integer_network import Network
from ncpn.integers.integer_network import BiasNetwork

_RATE = 0.02  # at most about so much of a whole number of a layer's outputs a step
_WARMUP = 20  # steps


def tuned(
    network: Network, images: Images, crops: CropConfig, steps: int, seed: int = 0
) -> Network:
    """The network with biases that code random crops of images in fewer bits: Adam, cosine decay.

    Raises FormatError if a sum of the network could become too large.
    """
    model = BiasNetwork(network)
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE, betas=(0.9, 0.99))
    for step in range(steps):
        for group in optimiser.param_groups:
            rise, fall = min(1.0, (step + 1) / _WARMUP), (1 + math.cos(math.pi * step / steps)) / 2
            group["lr"] = _RATE * rise * fall
        x = torch.from_numpy(images.crops(crops, seed, step)).float()
        loss = bits_per_dimension(-model(x).log_mass(x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.trained()
