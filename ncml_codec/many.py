"""Many images at once, in as many processes as there are processors.

Threads would not do: the range coder holds Python's lock. A process takes about a third of a second
to start, so a few small images are sooner done one after the other.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

import numpy.typing as npt

import ncml_codec
from ncml_codec.picture import Picture, Samples

A = TypeVar("A")
B = TypeVar("B")


def compress_many(
    images: Iterable[npt.ArrayLike | Picture | str | os.PathLike[str]],
    model: str | None = None,
    level: int | None = None,
    processes: int | None = None,
) -> Iterator[bytes]:
    """`ncml_codec.compress` of each image or path, in order, as they are done.

    processes: as many as processors if None; 1 computes here. With more, a script needs its `if
    __name__ == "__main__":`, as always with multiprocessing. An error is raised when its image's
    turn comes, and ends the rest.

        >>> import numpy
        >>> images = [numpy.full((2, width), width, numpy.uint8) for width in (3, 4)]
        >>> files = list(compress_many(images, level=1, processes=1))
        >>> [array.tolist() for array in decompress_many(files, processes=1)]
        [[[3, 3, 3], [3, 3, 3]], [[4, 4, 4, 4], [4, 4, 4, 4]]]
    """
    return _each(partial(ncml_codec.compress, model=model, level=level), images, processes)


def decompress_many(
    files: Iterable[bytes | str | os.PathLike[str]],
    model: str | None = None,
    processes: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> Iterator[Samples]:
    """`ncml_codec.decompress` of each file's bytes or path, in order; see `compress_many`."""
    one = partial(ncml_codec.decompress, model=model, max_pixels=max_pixels, max_work=max_work)
    return _each(one, files, processes)


def _each(function: Callable[[A], B], items: Iterable[A], processes: int | None) -> Iterator[B]:
    count = os.cpu_count() or 1 if processes is None else processes
    work: Sequence[A] = list(items)
    if count <= 1 or len(work) <= 1:
        yield from map(function, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, len(work)), mp_context=context) as pool:
        yield from pool.map(function, work, chunksize=max(1, len(work) // (8 * count)))
