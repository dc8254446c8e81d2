"""Many files: small images one to a process, large ones with all threads, messages in order.

Processes and not threads: for small images most of the time goes in Python and in the range coder,
which both hold Python's lock. bench/LOG.md, "Batches and large images".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_cli.jobs import Job, Target
from ncml_cli.report import Outcome, attempt, report

if TYPE_CHECKING:
    from concurrent.futures import Future

SMALL = 1 << 21  # pixels up to which an image is one process's: at most a few seconds
IN_FLIGHT = 1 << 24  # pixels of images that are waiting or worked on: see `run`
WORTH = 1 << 19  # pixels that a process must have to do, or its start takes longer
_OVERHEAD = 4096  # an image costs as much as that many pixels more
_WAITING = 16  # files for each process: it must never wait for the one that hands them out


@dataclass(frozen=True)
class Item:
    """A file to work on. pixels: None if its beginning does not tell."""

    source: Path
    target: Target
    pixels: int | None

    @property
    def is_small(self) -> bool:
        return self.pixels is not None and self.pixels <= SMALL


def run(job: Job, targets: Mapping[Path, Target], files: Sequence[Path]) -> None:
    """Do every file whatever happens to the others; exit as `report.report` says.

    Memory: what a process needs, and about ten bytes for each pixel in flight, of which there are
    at most IN_FLIGHT in small images; large images come one at a time.
    """
    if job.settings.device is not None:
        from ncml_cli import together

        pairs = [(source, targets[source]) for source in files]
        report(files, together.run(job, pairs, job.settings.device))
        return
    if len(files) == 1:
        report(files, [_here(job, Item(files[0], targets[files[0]], None))])
        return
    items = [Item(source, targets[source], job.pixels(source)) for source in files]
    small = [item.pixels or 0 for item in items if item.is_small]
    count = workers(small, job.settings.threads)
    if count == 1:
        report(files, (_here(job, item) for item in items))
    else:
        report(files, _with_processes(job, items, count))


def workers(sizes: Sequence[int], threads: int) -> int:
    """How many processes are worth their start for images of these numbers of pixels."""
    work = sum(size + _OVERHEAD for size in sizes)
    return max(1, min(threads, len(sizes), work // WORTH))


def _here(job: Job, item: Item) -> Outcome:
    return attempt(lambda: job(item.source, item.target, job.settings.threads, True))


def _with_processes(job: Job, items: Sequence[Item], count: int) -> Iterator[Outcome]:
    from ncml_cli.processes import Processes

    waiting: deque[tuple[Item, Future[Outcome]]] = deque()
    in_flight = 0
    with Processes(job, count) as processes:
        for item in items:
            pixels = item.pixels or 0
            while waiting and (
                not item.is_small
                or in_flight + pixels > IN_FLIGHT
                or len(waiting) >= _WAITING * count
            ):
                first, future = waiting.popleft()
                in_flight -= first.pixels or 0
                yield processes.outcome(first, future)
            if item.is_small:
                in_flight += pixels
                waiting.append((item, processes.submit(item)))
            else:
                yield _here(job, item)
        for first, future in waiting:
            yield processes.outcome(first, future)
