"""Many files: small images one to a process, large ones with all threads, messages in order.

Processes and not threads: for small images most of the time goes in Python and in the range coder,
which both hold Python's lock. Within a process, outputs go to the disk while the next image is
computed: to wait for the disk takes longer than to code a small image (bench/notebook/engines.md,
"Small images").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_cli.jobs import SMALL, Job
from ncml_cli.report import Outcome, attempt
from ncml_cli.targets import Target
from ncml_codec.errors import NcmlError

if TYPE_CHECKING:
    from concurrent.futures import Future

WORTH = 1 << 19  # pixels that a process must have to do, or its start takes longer
_OVERHEAD = 4096  # an image costs as much as that many pixels more
_WRITERS = 8  # files on their way to the disk, for each process
_CHUNK = 16  # files handed out at a time
_CHUNK_PIXELS = 1 << 20  # of all files of a chunk but the last


@dataclass(frozen=True)
class Item:
    """A file to work on. pixels: None if its beginning does not tell; alone: it gets all threads,
    and no other file is worked on meanwhile."""

    source: Path
    target: Target
    pixels: int | None
    alone: bool

    @property
    def is_small(self) -> bool:
        return self.pixels is not None and self.pixels <= SMALL


def run(job: Job, targets: Mapping[Path, Target]) -> Generator[Outcome, None, None]:
    """What comes of every file in order, whatever happens to the others.

    Memory: for each process what it needs by itself, an image of at most SMALL pixels, and outputs
    of at most _WRITERS such images; large images come one at a time, unless the settings say how
    many files are worked on at once: then it is so many images of any size.
    """
    settings = job.settings
    if len(targets) == 1:
        ((source, target),) = targets.items()
        yield attempt(lambda: job.start(source, target, settings.threads, True)())
        return
    items = [_item(job, source, target) for source, target in targets.items()]
    if settings.at_once is None:
        count = workers([item.pixels or 0 for item in items if not item.alone], settings.threads)
    else:
        count = min(settings.at_once, max(1, len(items)))
    if count == 1:
        yield from in_turn(job, items, settings.threads, bar=True)
    else:
        yield from _with_processes(job, items, count)


def _item(job: Job, source: Path, target: Target) -> Item:
    pixels = 0 if isinstance(target, NcmlError) else job.pixels(source)
    large = pixels is None or pixels > SMALL
    return Item(source, target, pixels, alone=large and job.settings.at_once is None)


def workers(sizes: Sequence[int], threads: int) -> int:
    """How many processes are worth their start for images of these numbers of pixels."""
    work = sum(size + _OVERHEAD for size in sizes)
    return max(1, min(threads, len(sizes), work // WORTH))


def in_turn(job: Job, items: Sequence[Item], threads: int, bar: bool) -> Iterator[Outcome]:
    """What comes of every file, one computed after the other; small ones are written meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[Outcome] | NcmlError] = deque()
    with ThreadPoolExecutor(_WRITERS) as writers:
        for item in items:
            while waiting and (len(waiting) >= _WRITERS or not item.is_small):
                yield _outcome(waiting.popleft())
            try:
                rest = job.start(item.source, item.target, threads, bar)
            except NcmlError as error:
                waiting.append(error)
                continue
            waiting.append(writers.submit(attempt, rest))
        while waiting:
            yield _outcome(waiting.popleft())


def _outcome(found: Future[Outcome] | NcmlError) -> Outcome:
    return found if isinstance(found, NcmlError) else found.result()


def _with_processes(job: Job, items: Sequence[Item], count: int) -> Iterator[Outcome]:
    from ncml_cli.processes import Processes

    waiting: deque[tuple[Sequence[Item], Future[list[Outcome]]]] = deque()
    with Processes(job, count) as processes:
        for chunk in _chunks(items):
            alone = chunk[0].alone
            # Two chunks for each process: it never waits for the one that hands them out.
            while waiting and (alone or len(waiting) >= 2 * count):
                yield from processes.outcomes(*waiting.popleft())
            if alone:
                yield from in_turn(job, chunk, job.settings.threads, bar=True)
            else:
                waiting.append((chunk, processes.submit(chunk)))
        for chunk, future in waiting:
            yield from processes.outcomes(chunk, future)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """All items in order, in chunks; those that are to be alone are."""
    chunk: list[Item] = []
    for item in items:
        full = len(chunk) == _CHUNK or sum(_size(one) for one in chunk) > _CHUNK_PIXELS
        if chunk and (full or item.alone):
            yield chunk
            chunk = []
        if item.alone:
            yield [item]
        else:
            chunk.append(item)
    if chunk:
        yield chunk


def _size(item: Item) -> int:
    """Pixels, for sharing out: an image that does not tell may be large."""
    return SMALL if item.pixels is None else item.pixels
