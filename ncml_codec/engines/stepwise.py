"""One tile's walk through the network, wave by wave, in either direction: for any engine.

A coder is handed in: an encoder writes what the samples are, a decoder finds them. What an engine's
`survey` and `read` give is what this gives with its `walk`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ncml_codec.engines import Walk, Walker
from ncml_codec.entropy.coder import Coder
from ncml_codec.network.adaptation import STATIC, Adaptation
from ncml_codec.network.integer_network import PLANES
from ncml_codec.network.wave_order import wave_count, wave_pixels

Samples = npt.NDArray[np.uint8]


def walk_tile(
    engine: Walker,
    shape: tuple[int, ...],
    samples: Samples | None,
    coder: Coder,
    progress: Callable[[int], None] = lambda pixels: None,
    adaptation: Adaptation = STATIC,
) -> Samples:
    """Code one tile of shape [height, width, planes]; the tile.

    samples: the tile when encoding, None when decoding. progress: told the pixels just done.
    A grey tile is fed to the network as three equal planes, of which only the first is coded.
    """
    values = np.empty(shape, np.uint8) if samples is None else np.ascontiguousarray(samples)
    walk = engine.walk(shape[0], shape[1], adaptation)
    for pixels in steps(walk, values, coder, is_known=samples is not None):
        progress(pixels)
    return values


def steps(walk: Walk, values: Samples, coder: Coder, is_known: bool) -> Iterator[int]:
    """Code a tile [height, width, planes] as it is asked for; the pixels of each wave.

    values: the samples if they are known, else they are written there.
    """
    height, width, planes = values.shape
    pixels = values.reshape(height * width, planes)
    for wave in range(wave_count(height, width)):
        count = walk.begin(wave)
        if count == 0:  # odd waves of an image that is one pixel wide
            continue
        here = pixels[wave_pixels(wave, height, width)]
        for plane in range(planes):
            known = here[:, plane].astype(np.int32) if is_known else None
            high = coder.code(walk.high(plane), None if known is None else known >> 4)
            low = coder.code(walk.low(plane, high), None if known is None else known & 15)
            coded = (high << 4) | low
            if not is_known:
                here[:, plane] = coded
            walk.put(plane, coded)
        for plane in range(planes, PLANES):
            walk.put(plane, coded)
        yield count
