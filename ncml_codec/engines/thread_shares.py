"""How threads are shared out between an image's tiles and within them, and tiles kept in order.

Nothing here knows what a tile's work is; no choice made here changes a byte.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ncml_codec.network.wave_order import wave_count

if TYPE_CHECKING:
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")

# What one thread does alone in a tile: the coder, and waiting. bench/notebook/engines.md,
# "Range coder": two threads encode an image in 0.57 and decode it in 0.53 of the time of one.
_SERIAL = 0.1
_PIXELS_A_THREAD = 32  # of a wave: with fewer, waking a thread costs more than it does
_SIMULATED = 8  # tiles a thread, beyond which sharing between tiles is always even enough


@dataclass(frozen=True)
class Shares:
    """Tiles coded at once, and the threads of each."""

    at_once: int
    threads: int


def shares(sizes: Sequence[tuple[int, int]], threads: int, within: bool) -> Shares:
    """The quickest way to share `threads` out, by a simple estimate.

    sizes: (height, width) of every tile, in the order in which they are coded. within: whether the
    engine can use several threads in one tile.
    """
    if not within or len(sizes) > _SIMULATED * threads:
        return Shares(min(threads, len(sizes)), 1)
    counts = sorted({threads // each for each in range(1, threads + 1)}, reverse=True)
    choices = [Shares(count, threads // count) for count in counts if count <= len(sizes)]
    best = min(choices, key=lambda choice: _makespan(sizes, choice))
    useful = max(_useful(size, best.threads) for size in sizes)
    return Shares(best.at_once, useful)


def in_order(function: Callable[[A], B], items: Iterable[A], at_once: int) -> Iterator[B]:
    """The function's results in order, `at_once` of them computed at a time.

    At most one item more than that is taken from `items` before its turn, so that what it holds
    stays bounded. The first error ends everything.
    """
    if at_once <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # most images do without

    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _makespan(sizes: Sequence[tuple[int, int]], choice: Shares) -> float:
    """When the last tile ends, in pixels of one thread, if each begins as soon as it may."""
    ends = [0.0] * choice.at_once
    for size in sizes:
        parallel = (1 - _SERIAL) / _useful(size, choice.threads)
        heapq.heapreplace(ends, ends[0] + size[0] * size[1] * (_SERIAL + parallel))
    return max(ends)


def _useful(size: tuple[int, int], threads: int) -> int:
    """As many of the threads as have enough pixels in the tile's mean wave."""
    mean = size[0] * size[1] // wave_count(*size)
    return max(1, min(threads, mean // _PIXELS_A_THREAD))
