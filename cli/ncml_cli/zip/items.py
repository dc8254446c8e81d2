"""A file to work on, and files worked on one after the other within one process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_cli.report import Outcome, attempt
from ncml_cli.zip.jobs import SMALL, Job, Rest
from ncml_cli.zip.targets import Target
from ncml_codec.errors import NcmlError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Told = Callable[[int, Outcome], None]
WRITERS = 8  # files on their way to the disk, for each process


@dataclass(frozen=True)
class Item:
    """A file to work on. pixels: None if its beginning does not tell; alone: it gets all threads,
    and no other file is worked on meanwhile; existed: its output did before any work."""

    source: Path
    target: Target
    pixels: int | None
    alone: bool
    existed: bool

    @property
    def is_small(self) -> bool:
        return self.pixels is not None and self.pixels <= SMALL


def in_turn(
    job: Job, items: Sequence[Item], threads: int, watched: bool, told: Told | None = None
) -> Iterator[Outcome]:
    """What comes of every file, one computed after the other; small ones are written meanwhile.

    watched: a terminal shows what takes long. told: hears of every outcome as soon as there is
    one, by the number of its item, in whatever thread.
    """
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(WRITERS) as writers:
        for number, item in enumerate(items):
            while waiting and (len(waiting) >= WRITERS or not item.is_small):
                yield waiting.popleft().result()
            started = _started(job, item, threads, watched)
            waiting.append(
                _finished(writers, item, started, partial(told, number) if told else None)
            )
        while waiting:
            yield waiting.popleft().result()


def _started(job: Job, item: Item, threads: int, watched: bool) -> Rest | NcmlError:
    if not watched:
        return attempt(lambda: job.start(item.source, item.target, threads, None), item.source)
    with job.settings.meter(str(item.source)) as meter:
        return attempt(lambda: job.start(item.source, item.target, threads, meter), item.source)


def _finished(
    writers: ThreadPoolExecutor,
    item: Item,
    started: Rest | NcmlError,
    told: Callable[[Outcome], None] | None,
) -> Future[Outcome]:
    """The rest of the work on a file, done by one of the writers, or here if there can be none."""
    found: Future[Outcome] = Future()
    once = threading.Lock()

    def finish() -> None:
        if not once.acquire(blocking=False):
            return
        try:
            if isinstance(started, NcmlError):
                outcome: Outcome = started
            else:
                outcome = attempt(started, item.source)
            if told:
                told(outcome)
            found.set_result(outcome)
        except BaseException as error:
            found.set_exception(error)

    try:
        writers.submit(finish)
    except RuntimeError:  # no thread could be started; another one may do it yet
        finish()
    return found
