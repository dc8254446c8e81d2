"""Files written whole or not at all: temporary file in the same folder, fsync, then one move."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ncml_codec.errors import InputError, OutputError


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


@dataclass(frozen=True)
class Written:
    """What was written, to compare a file with."""

    size: int
    sha256: bytes


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, replace: bool) -> Written:
    """Write `data` to `path` so that at every moment `path` is the old file, none, or the new one.

    data: whole, or in parts, which are asked for one after the other; an error of theirs leaves
    everything as it was. replace: whether an existing file may go; if not, it is also not
    overwritten when it appears while we write. A symbolic link is followed. Raises OutputError,
    and leaves no temporary file.
    """
    target = Path(os.path.realpath(path))
    temporary = None
    size, digest = 0, hashlib.sha256()
    try:
        handle, temporary = tempfile.mkstemp(prefix=".ncml-", suffix=".tmp", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                file.write(part)
                size += len(part)
                digest.update(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        if replace:
            os.replace(temporary, target)
        else:
            _move_to_new_name(temporary, target)
        temporary = None
        _sync_folder(target.parent)
        return Written(size, digest.digest())
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already; -f replaces it") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        if temporary is not None:
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


def _move_to_new_name(temporary: str, target: Path) -> None:
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
