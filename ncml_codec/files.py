"""Files written whole or not at all: temporary file in the same folder, fsync, then one move."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ncml_codec.errors import InputError, NcmlError, OutputError

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def read_file(path: Path, at_most: int | None = None) -> bytes:
    """The file's bytes. Raises InputError, also for a pipe or a device, which may never end, and
    for a file of more than `at_most` bytes, of which nothing is read."""
    check_is_file(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if at_most is not None and size > at_most:
                raise InputError(f"{path}: {size} bytes, more than the {at_most} that it may have")
            return file.read() if at_most is None else file.read(at_most)
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Any exception of another library's reader as InputError.

    On damaged files such readers raise nearly every kind. name: of the file, for the message.
    """
    try:
        yield
    except NcmlError:
        raise
    except Exception as error:
        raise InputError(f"{name}: cannot be read: {str(error) or repr(error)}") from error


def check_is_file(path: Path) -> None:
    """Raise InputError for a pipe or a device; what is missing or a folder shows when opened."""
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise InputError(f"{path}: is a device or a pipe, not a file")
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def status(path: Path) -> os.stat_result:
    """The file's size, times and permissions; a link is followed. Raises InputError."""
    try:
        return path.stat()
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


@dataclass(frozen=True)
class Written:
    """What was written, to compare a file with."""

    size: int
    sha256: bytes


def write_atomically(
    path: Path, data: bytes | Iterable[bytes], *, replace: bool, like: Path | None = None
) -> Written:
    """Write `data` to `path` so that at every moment `path` is the old file, none, or the new one.

    data: whole, or in parts, which are asked for one after the other; an error of theirs leaves
    everything as it was. replace: whether an existing file may go; if not, it is also not
    overwritten when it appears while we write. like: a file whose permissions and times the new
    one gets. A symbolic link is followed. Raises OutputError, and InputError if `like` is gone;
    leaves no temporary file, after an interrupt neither.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: {_not_a_file(target)}")
    original = status(like) if like else None
    # The name is known before the file is there, so that no interrupt finds the one without the
    # other. Nobody else's file has it: 64 random bits.
    temporary = target.parent / f".ncml-{os.urandom(8).hex()}.tmp"
    size, digest = 0, hashlib.sha256()
    try:
        with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                file.write(part)
                size += len(part)
                digest.update(part)
            file.flush()
            os.chmod(
                temporary, stat.S_IMODE(original.st_mode) & 0o777 if original else _mode(target)
            )
            if original:
                os.utime(temporary, ns=(original.st_atime_ns, original.st_mtime_ns))
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, target)
        else:
            _move_to_new_name(temporary, target)
        _sync_folder(target.parent)
        return Written(size, digest.digest())
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already; -f replaces it") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def is_what_was_written(path: Path, written: Written) -> bool:
    """Whether the file holds these bytes. Raises InputError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
            return file.tell() == written.size and digest.digest() == written.sha256
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def _move_to_new_name(temporary: Path, target: Path) -> None:
    """Rename, but never onto an existing file: a hard link fails if the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(str(target)) from None
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def _not_a_file(target: Path) -> str:
    if target.is_dir():
        return "is a folder; -O writes into it"
    return "is a device or a pipe, which a finished file would replace; write to it with -c"


def _mode(target: Path) -> int:
    """Permissions of the file that is replaced, or what the umask leaves of 0o666."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
