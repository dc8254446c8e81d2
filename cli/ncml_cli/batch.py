"""Many files: small images one to a process, large ones with all threads, messages in order.

Processes and not threads: for small images most of the time goes in Python and in the range coder,
which both hold Python's lock. bench/LOG.md, "Batches and large images".
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from ncml_cli.jobs import Job, Target
from ncml_cli.report import Outcome, attempt, report
from ncml_codec.errors import NcmlError

SMALL = 1 << 21  # pixels up to which an image is one process's: at most a few seconds
IN_FLIGHT = 1 << 24  # pixels of images that are waiting or worked on: see `run`
_OVERHEAD = 4096  # an image costs as much as that many pixels more
WORTH = 1 << 19  # pixels that a process must have to do, or its start takes longer


@dataclass(frozen=True)
class _Item:
    source: Path
    target: Target
    pixels: int | None


def run(job: Job, targets: Mapping[Path, Target], files: Sequence[Path]) -> None:
    """Do every file whatever happens to the others; exit as `report.report` says.

    Memory: what a process needs, and about ten bytes for each pixel in flight, of which there are
    at most IN_FLIGHT in small images; large images come one at a time.
    """
    if len(files) == 1:
        (source,) = files
        report(files, [attempt(lambda: job(source, targets[source], job.settings.threads, True))])
        return
    items = [_Item(source, targets[source], job.pixels(source)) for source in files]
    report(files, _outcomes(job, items))


def workers(sizes: Sequence[int], threads: int) -> int:
    """How many processes are worth their start for images of these numbers of pixels."""
    work = sum(size + _OVERHEAD for size in sizes)
    return max(1, min(threads, len(sizes), work // WORTH))


def _outcomes(job: Job, items: Sequence[_Item]) -> Iterator[Outcome]:
    small = [item.pixels for item in items if _is_small(item)]
    count = workers([pixels or 0 for pixels in small], job.settings.threads)
    if count == 1:
        for item in items:
            yield _here(job, item)
        return
    threads = job.settings.threads // count
    waiting: deque[tuple[_Item, Future[Outcome]]] = deque()
    with _few_blas_threads(threads), _pool(job, count) as pool:
        for item in items:
            if not _is_small(item):
                while waiting:
                    yield _result(*waiting.popleft())
                yield _here(job, item)
                continue
            in_flight = sum(other.pixels or 0 for other, _ in waiting)
            while waiting and (
                in_flight + (item.pixels or 0) > IN_FLIGHT or len(waiting) >= 16 * count
            ):
                other, future = waiting.popleft()
                in_flight -= other.pixels or 0
                yield _result(other, future)
            waiting.append((item, pool.submit(_there, item, threads)))
        while waiting:
            yield _result(*waiting.popleft())


def _is_small(item: _Item) -> bool:
    return item.pixels is not None and item.pixels <= SMALL


def _here(job: Job, item: _Item) -> Outcome:
    return attempt(lambda: job(item.source, item.target, job.settings.threads, True))


def _result(item: _Item, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return NcmlError(
            f"{item.source}: a process that worked on the files ended unexpectedly, perhaps for"
            " want of memory; try --threads 1"
        )


@contextmanager
def _pool(job: Job, count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have the job. At an error or an interrupt each ends after its file."""
    # Not by fork: numpy and the engine have threads.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(job,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _few_blas_threads(threads: int) -> Iterator[None]:
    """Processes begun meanwhile share the processor out among them, not each take it whole."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    added = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(threads)))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


_job: Job | None = None  # of this worker process


def _begin(job: Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others


def _there(item: _Item, threads: int) -> Outcome:
    job = _job
    assert job is not None
    return attempt(lambda: job(item.source, item.target, threads, False))
