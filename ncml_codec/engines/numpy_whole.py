"""A known image all at once, in numpy: what it takes without learning.

The same whole numbers as along the waves, of all pixels in one product a layer; of small images
this is many times quicker. Memory goes with the pixels: some kilobytes for each.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ncml_codec.engines.numpy_layers import (
    NORTH,
    NORTH_EAST,
    WEST,
    Floats,
    Layers,
    leaky,
    residual_features,
    without_warnings,
)
from ncml_codec.network import distribution
from ncml_codec.network.integer_network import PLANES
from ncml_codec.network.wave_order import Tap


@without_warnings
def code_length(layers: Layers, samples: npt.NDArray[np.uint8]) -> float:
    """Of samples [height, width, planes], in bits; see `engines.Engine`."""
    network = layers.network
    height, width, planes = samples.shape
    levels = np.ones((height, width, PLANES + 1), np.float32)  # 4 (x - 128) by plane, 1: inside
    levels[:, :, :PLANES] = 4.0 * (samples.astype(np.float32) - 128.0)
    near = _neighbours(levels, {*network.window, WEST, NORTH, NORTH_EAST})
    reference = _reference(near, height, width)
    x = layers.first(layers.first_inputs(near, reference))
    for index in range(len(layers.blocks)):
        around = _neighbours(leaky(x).reshape(height, width, -1), network.neighbours)
        x = layers.block(index, np.concatenate([around[tap] for tap in network.neighbours], 1), x)
    trunk = leaky(x)
    values = samples.reshape(-1, planes).astype(np.int32)
    whole = reference.astype(np.int32)
    residuals = levels.reshape(-1, PLANES + 1)[:, :PLANES].astype(np.int32) - whole
    bits = 0.0
    for plane in range(planes):
        earlier = residuals[:, :plane]
        outputs = layers.head(plane, trunk, residual_features(earlier) if plane else None)
        mixture = distribution.mixtures(
            outputs, network.k, whole[:, plane], earlier, network.tables
        )
        bits += distribution.sample_bits(mixture, values[:, plane], network.tables)
    return bits


def _neighbours(values: Floats, taps: Iterable[Tap]) -> dict[Tap, Floats]:
    """By tap, every pixel's neighbour there, [pixels, features], of [height, width, features]; zero
    outside."""
    height, width, features = values.shape
    taps = list(taps)
    reach = max(max(abs(di), abs(dj)) for di, dj in taps)
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)))
    return {
        (di, dj): padded[reach + di : reach + di + height, reach + dj : reach + dj + width].reshape(
            -1, features
        )
        for di, dj in taps
    }


def _reference(near: dict[Tap, Floats], height: int, width: int) -> Floats:
    """2 W + N + NE of x - 128, [pixels, plane], at the borders as in FORMAT.md, section 4.1."""
    west, north, north_east = (
        near[tap][:, :PLANES].reshape(height, width, PLANES).copy()
        for tap in (WEST, NORTH, NORTH_EAST)
    )
    north[0] = north_east[0] = west[0]
    west[:, 0] = north[:, 0]
    north_east[:, -1] = north[:, -1]
    reference: Floats = (west + west + north + north_east) * np.float32(0.25)
    return reference.reshape(-1, PLANES)
