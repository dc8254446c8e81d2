"""Which files a call is about: its arguments, the folders and lists among them, standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ncml_codec.atomic_files import read_file
from ncml_codec.errors import InputError, NcmlError, UsageError

PIPE = Path("-")  # standard input or output
# What `compress -r` takes from a folder. A file that is named is looked into whatever its name.
JPEG = frozenset((".jpg", ".jpeg", ".jpe", ".jfif"))
IMAGES = JPEG | {".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}

_COMPRESSED = ".ncmz"
_NAMES = {".tif": "TIFF", ".heif": "HEIC", ".jp2": "JPEG 2000", ".jxl": "JPEG XL"}
_MOST_KINDS = 8  # that a message names


class Inputs(dict[Path, NcmlError | None]):
    """Every file, with the reason why it cannot be worked on, if there is one.

    left_out: how many files of folders were not taken, by their suffixes. roots: the folder that
    was named, of each file that was found in one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left_out: Counter[str] = Counter()
        self.roots: dict[Path, Path] = {}


def find(
    given: Sequence[Path], recursive: bool, names: Path | None, suffixes: Collection[str]
) -> Inputs:
    """Every file once, in order, with the reason why it cannot be worked on, if there is one.

    names: a list of further files, see `read_names`; recursive: folders stand for the files in and
    below them that end in one of `suffixes`. PIPE stands for standard input, which it also is if
    nothing is given. Raises UsageError, and InputError if the list cannot be read.
    """
    if PIPE in given or (not given and names is None):
        return _standard_input(given, names)
    files = [*given, *(read_names(names) if names else [])]
    found = Inputs()
    for path in files:
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            found.setdefault(path, None)  # whoever reads it says so
            continue
        if stat.S_ISREG(mode):
            found.setdefault(path, None)
        elif not stat.S_ISDIR(mode):
            found[path] = InputError(f"{path}: is a device or a pipe; read it as -, with < or |")
        elif recursive:
            for inside, problem in _below(path, suffixes, found.left_out):
                found.setdefault(inside, problem)
                found.roots.setdefault(inside, path)
        else:
            found[path] = InputError(f"{path}: is a folder; -r takes the files in it")
    return found


def read_names(path: Path) -> list[Path]:
    """The names in a list, of any bytes: separated by NUL if it holds one, else one a line.

    path: PIPE is standard input. Raises InputError and UsageError.
    """
    if path == PIPE:
        refuse_terminal("--files-from")
        data = sys.stdin.buffer.read()
    else:
        data = read_file(path)
    separator = b"\0" if b"\0" in data else b"\n"
    return [file_named(os.fsdecode(name)) for name in data.split(separator) if name]


def file_named(name: str) -> Path:
    """The path of a file that may itself be called -, which PIPE is not."""
    return Path(name) if Path(name) != PIPE else Path.cwd() / name


def refuse_terminal(what: str) -> None:
    """Raise UsageError if standard input is a terminal or closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError(f"{what}: standard input is closed")
    if sys.stdin.isatty():
        raise UsageError(f"{what}: standard input is a terminal; name files, or use < or |")


def _standard_input(given: Sequence[Path], names: Path | None) -> Inputs:
    if len(given) > 1 or names is not None:
        raise UsageError("- (standard input) must be the only input")
    refuse_terminal("no files are named" if not given else "-")
    found = Inputs()
    found[PIPE] = None
    return found


def left_out(inputs: Inputs, suffixes: Collection[str]) -> str:
    """How many files of folders were not taken, and why, by kind; empty if all were.

    suffixes: as for `find`.
    """
    counts, parts = Counter[str](), []
    for suffix, count in inputs.left_out.items():
        if suffix != _COMPRESSED:
            counts[_NAMES.get(suffix) or suffix[1:].upper() or "without suffix"] += count
    if counts:
        named = [f"{count} {name}" for name, count in counts.most_common(_MOST_KINDS)]
        rest = counts.total() - sum(count for _, count in counts.most_common(_MOST_KINDS))
        named += [f"{rest} others"] if rest else []
        why = f"not {_COMPRESSED}" if _COMPRESSED in suffixes else "not handled"
        parts.append(f"{', '.join(named)}: {why}")
    if done := inputs.left_out[_COMPRESSED]:
        parts.append(f"{done} NCMZ: compressed already")
    return f"left out: {'; '.join(parts)}" if parts else ""


def _below(
    folder: Path, suffixes: Collection[str], others: Counter[str]
) -> Iterator[tuple[Path, NcmlError | None]]:
    """Files in and below a folder, sorted; links to files are taken, those to folders are not.

    others: counts the files that are not taken, by their suffixes.
    """
    problems: list[OSError] = []
    for root, folders, names in os.walk(folder, onerror=problems.append):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() not in suffixes:
                others[path.suffix.lower()] += 1
                continue
            try:
                is_device = path.exists() and not path.is_file()
            except OSError:  # whoever reads it says so
                is_device = False
            problem = InputError(f"{path}: is a device or a pipe; left out") if is_device else None
            yield path, problem
    for error in problems:
        path = Path(error.filename)
        yield path, InputError(f"{path}: cannot be listed: {error.strerror}")
