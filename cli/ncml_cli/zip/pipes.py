"""Standard input and output as files: what comes in is kept in a temporary file while it is worked
on, what goes out is whole and checked before its first byte does.

So a pipe costs disk (TMPDIR) and not memory, and a damaged file gives no output at all.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ncml_cli.report import Done, Outcome, ReaderGone, attempt, leave_stdout
from ncml_codec.errors import OutputError, UsageError

_PIECE = 1 << 20


@dataclass(frozen=True)
class Pipes:
    """The files that stand for standard input and output; empty names where neither is used."""

    source: Path
    target: Path

    @property
    def names(self) -> dict[str, str]:
        """What the files are called when one speaks of them."""
        return {str(self.source): "(stdin)", str(self.target): "(stdout)"}


@contextmanager
def opened(reading: bool, suffix: str, asked: bool) -> Iterator[Pipes]:
    """Files for the length of a call, gone after it.

    reading: copy standard input into its file. suffix: of the file for standard output. asked:
    whether standard input was named; if not and it is empty, raises UsageError. Raises OutputError
    where there is no room.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="ncmlzip-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(Path(tempfile.gettempdir()), error) from error
    with folder:
        pipes = Pipes(Path(folder.name, "input"), Path(folder.name, "output" + suffix))
        if reading:
            _copy_in(pipes.source)
            if not asked and pipes.source.stat().st_size == 0:
                raise UsageError("no files are named, and standard input is empty")
        yield pipes


def refuse_terminal() -> None:
    """Raise UsageError if standard output is a terminal or closed: no place for a file."""
    if sys.stdout is None or sys.stdout.closed:
        raise UsageError("standard output is closed; name the output with -o")
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and what would go there is no text;"
            " redirect it with > or |, or name the output with -o"
        )


def delivered(outcomes: Iterable[Outcome], target: Path) -> Generator[Outcome, None, None]:
    """The outcomes; the file behind a good one goes to standard output first."""
    for outcome in outcomes:
        yield attempt(partial(_copy_out, target, outcome)) if isinstance(outcome, Done) else outcome


def _copy_in(source: Path) -> None:
    try:
        with source.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, _PIECE)
    except OSError as error:
        raise _no_room(source.parent, error) from error


def _copy_out(target: Path, outcome: Done) -> Done:
    try:
        with target.open("rb") as file:
            for piece in iter(partial(file.read, _PIECE), b""):
                _write_whole(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        leave_stdout()
        raise ReaderGone("") from error
    except OSError as error:
        leave_stdout()
        raise OutputError(f"standard output: {error.strerror}") from error
    return outcome


def _write_whole(piece: bytes) -> None:
    """To standard output, which writes a part without an error where it has no buffer (python -u,
    PYTHONUNBUFFERED): at a full disk, or if the reader goes away."""
    left = memoryview(piece)
    while left:
        written = sys.stdout.buffer.write(left)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        left = left[written:]


def _no_room(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder}: cannot hold what comes through a pipe: {error.strerror};"
        " set TMPDIR to a folder with room"
    )
