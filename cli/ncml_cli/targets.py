"""Which file each input becomes, decided before any work is done, and the care that inputs get."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_codec.errors import InputError, NcmlError, OutputError, UsageError
from ncml_codec.files import Written, is_what_was_written

if TYPE_CHECKING:
    from ncml_codec.region import Region

SUFFIX = ".ncmz"

Target = Path | NcmlError  # of an input; or why it has none


class Skipped(NcmlError):
    """A file that is left alone on purpose: said, but no failure."""

    exit_code = 0


@dataclass(frozen=True)
class Where:
    """Where outputs go, as given. mirror: below `folder`, which may be new, under the path of the
    input."""

    output: Path | None = None
    folder: Path | None = None
    mirror: bool = False
    skip_existing: bool = False

    def check(self, inputs: int) -> None:
        """Raise UsageError for what cannot be meant."""
        if self.output is not None and self.folder is not None:
            raise UsageError("give -o or -O, not both")
        if self.output is not None and inputs > 1:
            raise UsageError(f"-o names one output, but there are {inputs} inputs; use -O")
        if self.mirror and self.folder is None:
            raise UsageError("--mirror is for -O: name the folder to mirror into")
        if self.folder is None or self.folder.is_dir():
            return
        if not self.mirror or os.path.lexists(self.folder) or not self.folder.parent.is_dir():
            raise UsageError(f"{self.folder}: no such folder; make it first")


def plan(
    inputs: Mapping[Path, NcmlError | None], where: Where, rename: Callable[[Path], str]
) -> dict[Path, Target]:
    """The output of every input, or why it has none.

    rename: the name of an input's output; its NcmlError stands for that input alone. Raises
    UsageError for what cannot be meant, two inputs with the same output among it.
    """
    where.check(len(inputs))
    targets: dict[Path, Target] = {}
    for source, problem in inputs.items():
        try:
            targets[source] = problem or _target(source, where, rename)
        except NcmlError as error:
            targets[source] = error
    _refuse_shared(targets)
    for source, target in targets.items():
        if where.skip_existing and isinstance(target, Path) and os.path.lexists(target):
            targets[source] = Skipped(f"{source}: skipped, {target} exists")
    return targets


def compressed_name(source: Path, force: bool) -> str:
    """The name with the suffix. Raises Skipped if it has it already, unless that is forced."""
    if source.name.endswith(SUFFIX) and not force:
        raise Skipped(f"{source}: ends in {SUFFIX} already, left as it is; -f compresses it")
    return source.name + SUFFIX


def restored_name(source: Path, suffix: str | None = None, part: Region | None = None) -> str:
    """The name without `.ncmz`; with `suffix`, in place of an image format's, if one is given.

    part: of the image, which stands before the suffix, so that it is not taken for the whole.
    """
    from ncml_codec.pixels import WRITABLE

    if not source.name.endswith(SUFFIX) or source.name == SUFFIX:
        raise UsageError(f"{source}: does not end in {SUFFIX}; name the output with -o")
    name = Path(source.name.removesuffix(SUFFIX))
    if suffix is None and part is None:
        return name.name
    known = name.suffix.lower() in WRITABLE
    named = f"-{part}" if part else ""
    return (name.stem if known else name.name) + named + (suffix or (name.suffix if known else ""))


def make_folders(targets: Mapping[Path, Target], folder: Path) -> dict[Path, Target]:
    """Make `folder`, and those of mirrored outputs below it, as open as the inputs' own."""
    made: dict[Path, Target] = {}
    for source, target in targets.items():
        try:
            if isinstance(target, Path):
                folder.mkdir(exist_ok=True)
                _make_folder(target.parent, source.parent, folder)
            made[source] = target
        except OSError as error:
            made[source] = OutputError(f"{error.filename}: cannot be made: {error.strerror}")
    return made


def free_target(source: Path, target: Target, force: bool) -> Path:
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


def _target(source: Path, where: Where, rename: Callable[[Path], str]) -> Path:
    if where.output is not None:
        return where.output
    name = rename(source)
    if where.folder is None:
        return source.parent / name
    if not where.mirror:
        return where.folder / name
    if ".." in source.parts:
        raise UsageError(f"{source}: --mirror cannot go below {where.folder} by a path with ..")
    return where.folder / source.parent.relative_to(source.anchor) / name


def _refuse_shared(targets: Mapping[Path, Target]) -> None:
    """Raise UsageError if two inputs have the same output, by whatever path."""
    folders: dict[Path, str] = {}
    taken: dict[tuple[str, str], Path] = {}
    for source, target in targets.items():
        if not isinstance(target, Path):
            continue
        if target.parent not in folders:
            folders[target.parent] = os.path.realpath(target.parent)
        other = taken.setdefault((folders[target.parent], target.name), source)
        if other != source:
            raise UsageError(f"{other} and {source} would both become {target}")


def _make_folder(folder: Path, original: Path, root: Path) -> None:
    if folder == root or folder.is_dir():
        return
    _make_folder(folder.parent, original.parent, root)
    folder.mkdir(mode=stat.S_IMODE(original.stat().st_mode) | stat.S_IRWXU, exist_ok=True)
