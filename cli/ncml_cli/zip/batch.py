"""Many files: small images one to a process, large ones with all threads, messages in order.

Processes and not threads: for small images most of the time goes in Python and in the range coder,
which both hold Python's lock. Within a process, outputs go to the disk while the next image is
computed: to wait for the disk takes longer than to code a small image (bench/notebook/engines.md,
"Small images").
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_cli.report import Outcome, attempt
from ncml_cli.zip.compression import Compress
from ncml_cli.zip.decompression import Decompress, Test
from ncml_cli.zip.items import Item, in_turn
from ncml_cli.zip.jobs import SMALL, Job
from ncml_cli.zip.targets import Target
from ncml_codec.errors import NcmlError

if TYPE_CHECKING:
    from ncml_cli.zip.processes import Task

WORTH = 1 << 19  # pixels that a process must have to do, or its start takes longer
_OVERHEAD = 4096  # an image costs as much as that many pixels more
_CHUNK = 16  # files handed out at a time
_CHUNK_PIXELS = 1 << 20  # of all files of a chunk but the last


def run(
    job: Job, targets: Mapping[Path, Target], names: Mapping[str, str] | None = None
) -> Generator[Outcome, None, None]:
    """What comes of every file in order, whatever happens to the others.

    names: what the temporary file of standard input, which is always alone, stands for.
    Memory: for each process what it needs by itself, an image of at most SMALL pixels, and outputs
    of at most `items.WRITERS` such images; large images come one at a time, unless the settings say
    how many files are worked on at once: then it is so many images of any size. With a limit of
    memory files come one at a time, or the limit is shared out.
    """
    settings = job.settings
    if len(targets) == 1:
        ((source, target),) = targets.items()
        label = (names or {}).get(str(source), str(source))
        with settings.meter(label) as meter:
            found = attempt(lambda: job.start(source, target, settings.threads, meter)(), source)
        yield found
        return
    items = [_item(job, source, target) for source, target in targets.items()]
    if settings.at_once is None and settings.memory is not None:
        count = 1
    elif settings.at_once is None:
        count = workers([item.pixels or 0 for item in items if not item.alone], settings.threads)
    else:
        count = min(settings.at_once, max(1, len(items)))
    if count == 1:
        yield from in_turn(job, items, settings.threads, watched=True)
    else:
        yield from _with_processes(job, items, count)


def _item(job: Job, source: Path, target: Target) -> Item:
    if isinstance(target, NcmlError):
        return Item(source, target, 0, alone=False, existed=False)
    found = attempt(lambda: job.pixels(source), source)
    pixels = None if isinstance(found, NcmlError) else found  # to work on it will say why
    alone = (pixels is None or pixels > SMALL) and job.settings.at_once is None
    return Item(source, target, pixels, alone, os.path.lexists(target))


def workers(sizes: Sequence[int], threads: int) -> int:
    """How many processes are worth their start for images of these numbers of pixels."""
    work = sum(size + _OVERHEAD for size in sizes)
    return max(1, min(threads, len(sizes), work // WORTH))


def _with_processes(job: Job, items: Sequence[Item], count: int) -> Iterator[Outcome]:
    from ncml_cli.zip.processes import Processes

    waiting: deque[Task] = deque()
    meter = job.settings.meter(f"{len(items)} files")
    meter.expect(len(items))

    def outcomes() -> Iterator[Outcome]:
        with meter:  # the line is gone before anything is said of a file
            found = processes.outcomes(waiting.popleft())
        meter.advance(len(found))
        yield from found

    settings = job.settings
    if settings.memory is not None and isinstance(job, Compress | Decompress | Test):
        job = replace(job, settings=replace(settings, memory=settings.memory // count))
    with Processes(job, count) as processes:
        for chunk in _chunks(items):
            alone = chunk[0].alone
            # Two chunks for each process: it never waits for the one that hands them out.
            while waiting and (alone or len(waiting) >= 2 * count):
                yield from outcomes()
            if alone:
                yield from in_turn(job, chunk, job.settings.threads, watched=True)
                meter.advance(len(chunk))
            else:
                waiting.append(processes.submit(chunk))
        while waiting:
            yield from outcomes()


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
