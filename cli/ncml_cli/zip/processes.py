"""Processes that each hold a job, and what comes back from them. See `batch` for who gets what.

A process that is killed, as the kernel does when memory is out, costs no other file: those that it
had and did not finish are tried once more, one by one and with nothing beside them.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from ncml_cli import interrupts
from ncml_cli.report import Outcome
from ncml_cli.zip.items import Item, in_turn
from ncml_codec.errors import NcmlError

if TYPE_CHECKING:  # a process can catch what fails in the imports of these
    from ncml_cli.zip.jobs import Job

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """Files that were handed out together, and what came of them so far, by their numbers."""

    items: Sequence[Item]
    found: dict[int, Outcome] = field(default_factory=dict)


@dataclass(frozen=True)
class _Piece:
    """Files of a task for one process. again: one file, which a process did not finish."""

    task: Task
    numbers: Sequence[int]
    again: bool = False

    @property
    def items(self) -> list[Item]:
        return [self.task.items[number] for number in self.numbers]

    @property
    def left(self) -> list[int]:
        """Numbers of the files of which nothing came yet."""
        return [number for number in self.numbers if number not in self.task.found]


class Processes:
    """At most `count` processes for one job, until the end of a `with` block.

    The job's threads are shared out among them. At an error or an interrupt they are ended; what
    they are writing then is finished or taken back. Where no process can be started, the files are
    worked on here.
    """

    def __init__(self, job: Job, count: int) -> None:
        self.threads = max(1, job.settings.threads // count)
        self._job, self._most = job, count
        self._workers: list[_Worker] = []
        self._pending: deque[_Piece] = deque()
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
        for worker in self._workers:
            if kind is not None:
                worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()
        for name in self._added:
            del os.environ[name]

    def submit(self, items: Sequence[Item]) -> Task:
        """Hand files out."""
        task = Task(items)
        self._pending.append(_Piece(task, range(len(items))))
        self._hand_out()
        return task

    def outcomes(self, task: Task) -> list[Outcome]:
        """What came of the files of a task, waited for."""
        while len(task.found) < len(task.items):
            self._hand_out()
            busy = [worker for worker in self._workers if worker.piece]
            heard = wait([worker.connection for worker in busy])
            for worker in busy:
                if worker.connection in heard:
                    self._hear(worker)
        return [task.found[number] for number in range(len(task.items))]

    def _hand_out(self) -> None:
        """Give what is pending to processes that have nothing to do."""
        while self._pending:
            piece = self._pending[0]
            busy = [worker.piece for worker in self._workers if worker.piece]
            if busy and (piece.again or any(one.again for one in busy)):
                return  # with nothing beside it, so that it has all memory
            idle = [worker for worker in self._workers if not worker.piece] or self._started()
            if idle:
                self._pending.popleft()
                idle[0].piece = piece
                if not idle[0].give(piece.items):
                    self._lost(idle[0])
            elif self._workers:
                return
            else:
                self._work_here(self._pending.popleft())

    def _started(self) -> list[_Worker]:
        """A new process, if there may be one more and it can be started."""
        if len(self._workers) >= self._most:
            return []
        try:
            worker = _Worker(self.threads)
        except OSError:
            self._most = len(self._workers)
            return []
        self._workers.append(worker)
        worker.give(self._job)  # that it is lost already shows when it is given files
        return [worker]

    def _hear(self, worker: _Worker) -> None:
        """Take one message of a process."""
        assert worker.piece is not None
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._lost(worker)
            return
        if message is None:
            worker.is_ready = True
            return
        place, outcome = message
        worker.piece.task.found[worker.piece.numbers[place]] = outcome
        if not worker.piece.left:
            worker.piece = None

    def _lost(self, worker: _Worker) -> None:
        """A process has ended: what it had is tried again, or, if that was so, given up."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        piece = worker.piece
        assert piece is not None
        if not worker.is_ready:  # nor would the next one be
            self._most = len(self._workers)
            self._pending.appendleft(piece)
            return
        for number in reversed(piece.left):
            item = piece.task.items[number]
            if piece.again or _is_written(item):
                piece.task.found[number] = _killed(item, worker.process.exitcode)
            else:
                self._pending.appendleft(_Piece(piece.task, [number], again=True))

    def _work_here(self, piece: _Piece) -> None:
        if piece.again:  # it would end this process as well
            piece.task.found[piece.numbers[0]] = _killed(piece.items[0], None)
            return
        found = in_turn(self._job, piece.items, self.threads, watched=False)
        piece.task.found.update(zip(piece.numbers, found, strict=True))


class _Worker:
    """A process and the way to it. piece: what it works on; is_ready: it has begun to serve."""

    def __init__(self, threads: int) -> None:
        # Not by fork: numpy and the engine have threads.
        context = get_context("spawn")
        self.connection, there = context.Pipe()
        self.piece: _Piece | None = None
        self.is_ready = False
        self.process = context.Process(target=_serve, args=(there, threads), daemon=True)
        try:
            with _signals_held():
                self.process.start()
        except OSError:
            self.connection.close()
            raise
        finally:
            there.close()

    def give(self, message: object) -> bool:
        """Send it; false if the process has ended."""
        try:
            self.connection.send(message)
        except OSError:
            return False
        return True


def _is_written(item: Item) -> bool:
    """Whether a process that was killed has written the output before; it is whole, as ever."""
    if isinstance(item.target, NcmlError) or not os.path.lexists(item.target):
        return False
    return not item.existed or not os.path.lexists(item.source)


def _killed(item: Item, exit_code: int | None) -> NcmlError:
    how = "ended unexpectedly"
    if exit_code is not None and exit_code < 0:
        how = f"was ended by signal {-exit_code}"
    text = f"{item.source}: a process that worked on it {how}, perhaps for want of memory"
    if _is_written(item):
        return NcmlError(f"{text}; its output, {item.target}, is whole")
    return NcmlError(f"{text}; try -T 1")


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


_working = False  # whether this process, if it is one of them, has files


def _serve(connection: Connection, threads: int) -> None:
    """The work of a process: files that come by the connection, until it is closed.

    First a job comes, which is answered by None; then lists of files, for each of which number and
    outcome go back as soon as there is one.
    """
    global _working
    sending = threading.Lock()

    def told(number: int, outcome: Outcome) -> None:
        with sending:
            connection.send((number, outcome))

    _begin()
    try:
        job = connection.recv()
        connection.send(None)
    except Exception:  # for want of memory as a rule: the first process then does the work
        os._exit(1)
    try:
        while True:
            items = connection.recv()
            _working = True
            for _ in in_turn(job, items, threads, watched=False, told=told):
                pass
            _working = False
    except (EOFError, OSError):  # the first process has ended or wants no more
        return
    except KeyboardInterrupt:  # nothing is half-written now
        os._exit(interrupts.EXIT_CODE)
    except MemoryError:
        os._exit(1)


def _begin() -> None:
    for one in interrupts.SIGNALS:  # from a terminal they come to all; the first process decides
        signal.signal(one, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)


def _end(number: int, frame: FrameType | None) -> None:
    if not _working:
        os._exit(interrupts.EXIT_CODE)
    interrupts.interrupt(number, frame)
