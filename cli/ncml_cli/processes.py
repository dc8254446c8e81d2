"""Processes that each hold a job, and what comes back from them. See `batch` for who gets what."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from types import FrameType, TracebackType

from ncml_cli import interrupts
from ncml_cli.batch import Item, in_turn
from ncml_cli.jobs import Job
from ncml_cli.report import Outcome
from ncml_codec.errors import NcmlError

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Processes:
    """`count` processes for one job, until the end of a `with` block.

    The job's threads are shared out among them. At an error or an interrupt they are ended; what
    they are writing then is finished or taken back.
    """

    def __init__(self, job: Job, count: int) -> None:
        self.threads = max(1, job.settings.threads // count)
        # Not by fork: numpy and the engine have threads.
        self._pool = ProcessPoolExecutor(
            count, get_context("spawn"), initializer=_begin, initargs=(job,)
        )
        self._added = [name for name in _BLAS_THREADS if name not in os.environ]

    def __enter__(self) -> Processes:
        # numpy in the processes reads these when it is imported there.
        os.environ.update(dict.fromkeys(self._added, str(self.threads)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            for process in active_children():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        for name in self._added:
            del os.environ[name]

    def submit(self, items: Sequence[Item]) -> Future[list[Outcome]]:
        """Hand files out."""
        with _signals_held():
            return self._pool.submit(_work, items, self.threads)

    def outcomes(self, items: Sequence[Item], future: Future[list[Outcome]]) -> list[Outcome]:
        """What came of these files, waited for; errors if their process died."""
        try:
            return future.result()
        except BrokenProcessPool:
            return [
                NcmlError(
                    f"{item.source}: a process that worked on the files ended unexpectedly,"
                    " perhaps for want of memory; try --threads 1"
                )
                for item in items
            ]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes that begin here inherit that signals wait, so that none ends one of them before it
    knows what to do; ours come when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_job: Job | None = None  # of this process, if it is one of them
_working = False


def _begin(job: Job) -> None:
    global _job
    _job = job
    for one in interrupts.SIGNALS:  # from a terminal they come to all; the first process decides
        signal.signal(one, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)


def _end(number: int, frame: FrameType | None) -> None:
    if not _working:
        os._exit(interrupts.EXIT_CODE)
    interrupts.interrupt(number, frame)


def _work(items: Sequence[Item], threads: int) -> list[Outcome]:
    global _working
    assert _job is not None
    try:
        _working = True
        return list(in_turn(_job, items, threads, bar=False))
    except KeyboardInterrupt:
        # Nothing is half-written now; the pool would take the exception for a result and go on.
        os._exit(interrupts.EXIT_CODE)
    finally:
        _working = False
