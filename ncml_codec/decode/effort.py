"""How to compute, which changes no pixel: engine, threads, memory, and who hears of the work."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ncml_codec import engines
from ncml_codec.decode import memory
from ncml_codec.engines import Engine
from ncml_codec.engines.thread_shares import Shares, shares
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network.model_file import Model

TILE_EXPONENT = 11  # 2048 x 2048: a border costs nothing measurable, memory stays small
Samples = npt.NDArray[np.uint8]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Effort:
    """How to compute; no choice here changes a pixel, and `memory` alone may change a file's bytes.

    engine: see `engines.load`. threads: over tiles, and over a wave's pixels if there are fewer
    tiles. progress: told the pixels just done; trials for a smaller file tell nothing. memory:
    bytes that the process may take by the estimates of `memory`, None for any: what needs more has
    fewer threads or is refused, and trials that need more are left out. check: called often while
    there is work; what it raises ends the work.
    """

    engine: str = "auto"
    threads: int = 1
    progress: Progress = lambda pixels: None
    memory: int | None = None
    check: Callable[[], None] = lambda: None

    def advance(self, pixels: int) -> None:
        """Tell `progress` of pixels, and `check` whether to go on."""
        self.check()
        self.progress(pixels)

    def silent(self) -> Effort:
        """The same for a trial, of which `progress` hears nothing."""
        return replace(self, progress=lambda pixels: None)


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
    layout: TileLayout,
    model: Model,
    held: int,
    encoding: bool,
    colours: bool = False,
    banded: bool = True,
) -> Effort:
    """With as many threads as its memory allows. held: bytes besides; colours, banded: as of
    `memory.of_tiles`. Raises BeyondLimit."""

    def need(threads: int) -> int:
        return held + memory.of_tiles(layout, model.network, threads, encoding, colours, banded)

    return replace(effort, threads=memory.threads_within(effort.memory, effort.threads, need))
