"""What `ncmlzip` does with one file: a job. See `compression`, `decompression`; `batch` for many.

A job is what holds for all files of one call, the user's model loaded. It can be sent to another
process; what it would say to the user it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ncml_cli.report import Done, NotKept
from ncml_cli.zip.settings import Settings
from ncml_cli.zip.targets import Target
from ncml_codec.atomic_files import FileState, remove, write_atomically
from ncml_codec.decode import memory
from ncml_codec.errors import NcmlError

if TYPE_CHECKING:
    from ncml_cli.meter import Meter

SMALL = 1 << 21  # pixels up to which an image is one process's: at most a few seconds

Rest = Callable[[], Done]
T = TypeVar("T")


class Job(Protocol):
    """Work on one file after the other."""

    @property
    def settings(self) -> Settings: ...

    def pixels(self, source: Path) -> int | None:
        """The size of the image, by a look at the file's beginning; None if that does not tell."""
        ...

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        """Compute; what is left to do, which writes the output and says what was done.

        Only the output of a small image waits for that. target: from `targets.plan`; bar:
        hears of the work, if there is one. Raises NcmlError.
        """
        ...


@dataclass(frozen=True)
class Route:
    """From an input to its output. read: the input as it was read; replace: whether a file that is
    at `path` may go."""

    source: Path
    read: FileState
    path: Path
    replace: bool

    def write(self, data: bytes | Iterable[bytes]) -> FileState:
        """Write the output. Raises OutputError."""
        return write_atomically(self.path, data, replace=self.replace, like=self.read.status)

    def remove_input(
        self, written: FileState, lost: Sequence[str], facts: Mapping[str, Any]
    ) -> None:
        """Remove the input. lost: what only the input holds; if anything, it stays.

        facts: of the output, for NotKept, which is then raised.
        """
        if lost:
            raise NotKept(
                f"{self.source}: {self.path} is written, but {self.source} stays, since these would"
                f" be lost: {', '.join(lost)}; --strip lets them go",
                facts,
            )
        remove(self.source, self.read, self.path, written)


def warning(source: Path, not_kept: Sequence[str]) -> str:
    """What is said of metadata that an output does not hold."""
    return f"{source}: not kept: {', '.join(not_kept)}" if not_kept else ""


def check_size(source: Path, held: int, settings: Settings) -> None:
    """Raise BeyondLimit if so many bytes in memory are more than --memory allows."""
    about(source, lambda: memory.check(settings.memory, held))


def about(source: Path, action: Callable[[], T]) -> T:
    """The action's result; its errors name the file."""
    try:
        return action()
    except NcmlError as error:
        if str(error).startswith(f"{source}: "):
            raise
        raise type(error)(f"{source}: {error}") from error
