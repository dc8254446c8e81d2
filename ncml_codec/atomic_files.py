"""Files read by one descriptor, written whole or not at all, and removed only if unchanged.

A file is written to a temporary file in the same folder, fsynced, then moved. Before it is removed
it is moved aside, so that nobody replaces it between the comparison and the removal.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ncml_codec.errors import InputError, NcmlError, OutputError

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_NAME_BYTES = 100  # of a name that is kept in the name of a file that was moved aside


@dataclass(frozen=True)
class FileState:
    """What a file was when it was read or written, to recognise it later.

    status: from its descriptor. sha256: of all its bytes; None if it was read in parts.
    """

    status: os.stat_result
    sha256: bytes | None

    @property
    def size(self) -> int:
        return self.status.st_size


class InputFile:
    """A file that is read by one descriptor, whatever becomes of its name meanwhile.

    file: at any position; status: as it was opened. It is closed at the end of a `with` block or
    with the last reference. Raises InputError, also for a pipe or a device.
    """

    def __init__(self, path: Path) -> None:
        check_is_file(path)
        self.path = path
        self._sha256: bytes | None = None
        try:
            self.file: io.BufferedReader = path.open("rb")
        except FileNotFoundError as error:
            raise InputError(f"{path}: {_reason(error)}{_left_aside(path)}") from error
        except OSError as error:
            raise InputError(f"{path}: {_reason(error)}") from error
        self.status = os.fstat(self.file.fileno())

    def __enter__(self) -> InputFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.file.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            self.file.close()

    @property
    def state(self) -> FileState:
        """The file as it was opened, with its hash if all of it was read; see `remove`."""
        return FileState(self.status, self._sha256)

    def read(self, at_most: int | None = None) -> bytes:
        """All bytes. Raises InputError, also if the file was written into meanwhile, and for more
        than `at_most` bytes, of which nothing is read."""
        size = self.status.st_size
        if at_most is not None and size > at_most:
            raise InputError(f"{self.path}: {size} bytes, more than the {at_most} that it may have")
        try:
            self.file.seek(0)
            # `read` makes room for all that it is asked for, before it reads.
            wanted = -1 if at_most is None else min(at_most, size + 1)
            data = self.file.read(wanted)
        except OSError as error:
            raise InputError(f"{self.path}: {_reason(error)}") from error
        self.check_unchanged()
        self._sha256 = hashlib.sha256(data).digest()
        return data

    def check_unchanged(self) -> None:
        """Raise InputError if the file was written into since it was opened."""
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns):
            raise InputError(f"{self.path}: was written into while it was read; try again")


def read_file(path: Path, at_most: int | None = None) -> bytes:
    """The file's bytes. Raises InputError, also for a pipe or a device, which may never end, and
    for a file of more than `at_most` bytes, of which nothing is read."""
    with InputFile(path) as file:
        return file.read(at_most)


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


def write_atomically(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    replace: bool,
    like: os.stat_result | None = None,
) -> FileState:
    """Write `data` to `path` so that at every moment `path` is the old file, none, or the new one.

    data: whole, or in parts, which are asked for one after the other; an error of theirs leaves
    everything as it was. replace: whether an existing file may go; if not, it is also not
    overwritten when it appears while we write. like: permissions and times that the new file gets.
    A symbolic link is followed. Raises OutputError; leaves no temporary file, after an interrupt
    neither.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: {_not_a_file(target)}")
    # The name is known before the file is there, so that no interrupt finds the one without the
    # other. Nobody else's file has it: 64 random bits.
    temporary = target.parent / f".ncml-{os.urandom(8).hex()}.tmp"
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                file.write(part)
                digest.update(part)
            file.flush()
            os.chmod(temporary, stat.S_IMODE(like.st_mode) & 0o777 if like else _mode(target))
            if like:
                os.utime(temporary, ns=(like.st_atime_ns, like.st_mtime_ns))
            os.fsync(file.fileno())
            written = os.fstat(file.fileno())
        if replace:
            os.replace(temporary, target)
        else:
            _move_to_new_name(temporary, target)
        _sync_folder(target.parent)
        return FileState(written, digest.digest())
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already; -f replaces it") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def is_what_was_written(path: Path, written: FileState) -> bool:
    """Whether the path still names the file that was written, and it holds the same bytes.

    Raises InputError if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            now = os.fstat(file.fileno())
            return _inode(now) == _inode(written.status) and _digest(file) == written.sha256
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def remove(path: Path, state: FileState, output: Path, written: FileState) -> None:
    """Remove the file that was read, and no other, once its output is on the disk.

    state: of the file when it was read; output: read back and compared with `written`. Where
    either differs the file stays. The file is moved aside within its folder, to
    `.NAME.ncml-HEX.aside`, compared there and then removed. So a process that is killed leaves the
    file under one of these two names, or its checked output. Raises InputError and OutputError.
    """
    if not is_what_was_written(output, written):
        raise OutputError(f"{output}: reads back differently or was replaced; {path} is kept")
    changed = InputError(
        f"{path}: changed since it was read, so it is kept; {output} holds it as it was read"
    )
    aside = path.parent / f"{_aside_prefix(path)}{os.urandom(8).hex()}.aside"
    try:
        before = os.stat(path)
        # A move changes the ctime, so it is compared first.
        if not _is_same(before, state):
            raise changed
        if before.st_ctime_ns != state.status.st_ctime_ns:
            # A hard link that comes or goes, as in a call that removes two names of one file,
            # changes it too. The bytes tell, if all of them are known.
            if before.st_nlink == state.status.st_nlink:
                raise changed
            if state.sha256 is None:
                raise InputError(
                    f"{path}: another name of this file (a hard link) was made or removed since it"
                    f" was read, so it may hold other bytes by now; it is kept; {output} holds it"
                    " as it was read"
                )
        try:
            os.rename(path, aside)
            if not _is_as_read(aside, state):
                raise changed
            if _inode(os.stat(output)) != _inode(written.status):
                raise OutputError(f"{output}: was replaced; {path} is kept")
            os.unlink(aside)
        except BaseException:
            _put_back(aside, path)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be removed: {_reason(error)}") from error


def _put_back(aside: Path, path: Path) -> None:
    """Give the file its name again, unless another file has it by now."""
    if not os.path.lexists(aside):  # it was not moved yet, or it is removed
        return
    try:
        _move_to_new_name(aside, path)
    except OSError as error:
        raise InputError(
            f"{path}: changed since it was read, and cannot get its name back"
            f" ({_reason(error)}); it is kept as {aside}"
        ) from error


def _aside_prefix(path: Path) -> str:
    name = path.name
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return f".{name}.ncml-"


def _left_aside(path: Path) -> str:
    """Where a missing file is, if a killed process had moved it aside."""
    pattern = glob.escape(_aside_prefix(path)) + "*.aside"
    with contextlib.suppress(OSError, ValueError):
        for found in sorted(path.parent.glob(pattern)):
            return f"; a call that was killed left it as {found}, to be renamed or deleted"
    return ""


def _is_as_read(path: Path, state: FileState) -> bool:
    """Whether the path names the file that was read, and it holds the same bytes."""
    with path.open("rb") as file:
        is_same = _is_same(os.fstat(file.fileno()), state)
        return is_same and (state.sha256 is None or _digest(file) == state.sha256)


def _is_same(now: os.stat_result, state: FileState) -> bool:
    """Whether it is the same file, with the same size and time of modification."""
    then = state.status
    changes = (now.st_size, now.st_mtime_ns), (then.st_size, then.st_mtime_ns)
    return _inode(now) == _inode(then) and changes[0] == changes[1]


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _digest(file: io.BufferedReader) -> bytes:
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.digest()


def _move_to_new_name(temporary: Path, target: Path) -> None:
    """Rename, but never onto an existing file: a hard link fails if the name is taken."""
    try:
        # A symbolic link itself is moved, not the file behind it.
        os.link(temporary, target, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(temporary, target)
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
