"""One tile's walk through the network, in either direction, and what computes it.

A coder is handed in: an encoder writes what the samples are, a decoder finds them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ncml_codec import engines
from ncml_codec.decode import memory
from ncml_codec.engines import Engine, Surveyor
from ncml_codec.engines.thread_shares import Shares, shares
from ncml_codec.entropy.coder import Coder
from ncml_codec.format.adaptation import STATIC
from ncml_codec.format.container import (
    Header,
)
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import PLANES, Integers
from ncml_codec.network.model_file import Model
from ncml_codec.network.wave_order import wave_count, wave_pixels

TILE_EXPONENT = 11  # 2048 x 2048: a border costs nothing measurable, memory stays small
Samples = npt.NDArray[np.uint8]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Effort:
    """How to compute; no choice here changes a pixel, and `memory` alone may change a file's bytes.

    engine: see `engines.load`; threads: over tiles, and over a wave's pixels if there are fewer
    tiles; progress: told the pixels just done; memory: bytes that the process may take by the
    estimates of `memory`, None for any: what needs more has fewer threads or is refused.
    Further trials for a smaller file, see `images.encode`, are left out.
    """

    engine: str = "auto"
    threads: int = 1
    progress: Progress = lambda pixels: None
    memory: int | None = None


def walk_tile(
    engine: Engine,
    shape: tuple[int, ...],
    samples: Samples | None,
    coder: Coder,
    progress: Progress = lambda pixels: None,
    strength: int = STATIC,
) -> Samples:
    """Code one tile of shape [height, width, planes]: the walk of both directions, for any engine.

    strength: how the tile adapts, see `adaptation`.

    samples: the tile when encoding, None when decoding. Returns the tile. A grey tile is fed to
    the network as three equal planes, of which only the first is coded.
    """
    height, width, planes = shape
    if samples is not None and isinstance(engine, Surveyor):
        code_survey(engine.survey(samples, strength), planes, coder, progress)
        return samples
    values = np.empty(shape, np.uint8) if samples is None else np.ascontiguousarray(samples)
    pixels = values.reshape(height * width, planes)
    walk = engine.walk(height, width, strength)
    for wave in range(wave_count(height, width)):
        count = walk.begin(wave)
        if count == 0:  # odd waves of an image that is one pixel wide
            continue
        here = pixels[wave_pixels(wave, height, width)]
        for plane in range(planes):
            known = None if samples is None else here[:, plane].astype(np.int32)
            high = coder.code(walk.high(plane), None if known is None else known >> 4)
            low = coder.code(walk.low(plane, high), None if known is None else known & 15)
            coded = (high << 4) | low
            if samples is None:
                here[:, plane] = coded
            walk.put(plane, coded)
        for plane in range(planes, PLANES):
            walk.put(plane, coded)
        progress(count)
    return values


def code_survey(
    survey: Iterable[tuple[Weights, Integers]], planes: int, coder: Coder, progress: Progress
) -> None:
    """Hand all weights and symbols of a whole tile to the coder, wave by wave."""
    for weights, symbols in survey:
        coder.code(weights, symbols)
        progress(len(symbols) // (2 * planes))


def samples_crc(samples: Samples) -> int:
    """CRC-32 of samples, one byte each, by rows, pixels, planes."""
    return zlib.crc32(np.ascontiguousarray(samples).data)


def engine_for(
    effort: Effort, model: Model, sizes: Sequence[tuple[int, int]]
) -> tuple[Engine, int]:
    """The engine with the threads that it gets within a tile, and the tiles coded at once.

    sizes: (height, width) of every tile, in the order in which they are coded.
    """
    name = engines.chosen(effort.engine)
    share: Shares = shares(sizes, effort.threads, within=name == "native")
    return engines.load(name, model.network, share.threads), share.at_once


def within(
    effort: Effort,
    header: Header,
    model: Model,
    held: int,
    encoding: bool,
    colours: bool = False,
    banded: bool = True,
) -> Effort:
    """With as many threads as its memory allows. held: bytes besides; colours, banded: as of
    `memory.of_tiles`. Raises BeyondLimit."""

    def need(threads: int) -> int:
        return held + memory.of_tiles(header, model.network, threads, encoding, colours, banded)

    return replace(effort, threads=memory.threads_within(effort.memory, effort.threads, need))
