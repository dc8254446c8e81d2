"""Many images at once, in as many processes as there are processors.

Threads would not do: the range coder holds Python's lock. A process takes about a third of a second
to start, so a few small images are sooner done one after the other.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Generic, TypeVar

import numpy.typing as npt

import ncml_codec
from ncml_codec.errors import NcmlError
from ncml_codec.picture.picture import Picture, Samples

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
    turn comes, MemoryError among them; `next` goes on with the other images. An image whose process
    is killed is tried once more alone, then an NcmlError is raised for it.

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
        return map(function, work)
    return _Results(function, work, min(count, len(work)))


class _Results(Iterator[B], Generic[A, B]):
    """What the function gives for each item, in order, computed by processes.

    An exception is raised when its item's turn comes; the next call of `next` goes on. A process
    that is killed breaks the pool: then the item whose turn it is is tried again in a process of
    its own, and a new pool does the rest.
    """

    def __init__(self, function: Callable[[A], B], work: Sequence[A], count: int) -> None:
        self._function, self._work, self._count = function, work, count
        self._turn = 0
        self._found: dict[int, Future[B]] = {}
        self._pool = self._begun(count)
        self._hand_out()

    def __next__(self) -> B:
        if self._turn == len(self._work):
            self._pool.shutdown()
            raise StopIteration
        number = self._turn
        self._turn += 1
        try:
            if found := self._found.pop(number, None):
                return found.result()
        except BrokenProcessPool:
            pass
        self._pool.shutdown()
        try:
            return self._alone(number)
        finally:
            self._pool = self._begun(self._count)
            self._hand_out()

    def __del__(self) -> None:
        if pool := getattr(self, "_pool", None):
            pool.shutdown(wait=False, cancel_futures=True)

    def _alone(self, number: int) -> B:
        with self._begun(1) as pool:
            try:
                return pool.submit(self._function, self._work[number]).result()
            except BrokenProcessPool as error:
                raise NcmlError(
                    f"image {number}: a process that worked on it ended unexpectedly, perhaps for"
                    " want of memory; processes=1 takes less"
                ) from error

    def _hand_out(self) -> None:
        """Submit everything of which nothing came yet; less if the pool breaks meanwhile."""
        for number in range(self._turn, len(self._work)):
            found = self._found.get(number)
            if found and not (found.done() and isinstance(found.exception(), BrokenProcessPool)):
                continue
            try:
                self._found[number] = self._pool.submit(self._function, self._work[number])
            except BrokenProcessPool:
                return

    def _begun(self, count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
