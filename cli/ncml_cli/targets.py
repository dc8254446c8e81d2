"""Which file each input becomes, decided before any work is done, and the care that inputs get."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ncml_codec.errors import InputError, NcmlError, OutputError, UsageError
from ncml_codec.files import Written, is_what_was_written

SUFFIX = ".ncmz"


def plan(
    files: Sequence[Path], output: Path | None, folder: Path | None, rename: Callable[[str], str]
) -> dict[Path, Path | NcmlError]:
    """The output of every input, or why it has none. Raises UsageError for what cannot be meant."""
    if output is not None and folder is not None:
        raise UsageError("give -o or -O, not both")
    if output is not None and len(files) > 1:
        raise UsageError(f"-o names one output, but there are {len(files)} inputs; use -O")
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    targets: dict[Path, Path | NcmlError] = {}
    for source in files:
        if output is not None:
            targets[source] = output
            continue
        try:
            targets[source] = (folder or source.parent) / rename(source.name)
        except UsageError as error:
            targets[source] = error
    taken: dict[Path, Path] = {}
    for source, target in targets.items():
        if isinstance(target, Path) and taken.setdefault(target, source) != source:
            raise UsageError(f"{taken[target]} and {source} would both become {target}")
    return targets


def restored_name(name: str) -> str:
    if not name.endswith(SUFFIX) or name == SUFFIX:
        raise UsageError(f"{name}: does not end in {SUFFIX}; name the output with -o")
    return name.removesuffix(SUFFIX)


def free_target(source: Path, target: Path | NcmlError, force: bool) -> Path:
    """The target, if it may be written: decided before any work is done."""
    if isinstance(target, NcmlError):
        raise target
    if os.path.lexists(target):
        if target.exists() and source.exists() and target.samefile(source):
            raise OutputError(f"{target}: is the input itself")
        if not force:
            raise OutputError(f"{target}: exists already; -f replaces it")
    return target


def remove_input(source: Path, target: Path, written: Written) -> None:
    """Remove the input, once the output read back from the disk is what was written."""
    if not is_what_was_written(target, written):
        raise OutputError(f"{target}: reads back differently; {source} is kept")
    try:
        source.unlink()
    except OSError as error:
        raise InputError(f"{source}: cannot be removed: {error.strerror}") from error
