"""Which file each input becomes, decided before any work is done, and the care that inputs get."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

from ncml_cli.report import Skipped
from ncml_cli.zip.inputs import JPEG
from ncml_codec.errors import InputError, NcmlError, NotEnoughMemory, OutputError, UsageError

if TYPE_CHECKING:
    from ncml_codec.decode.region import Region

SUFFIX = ".ncmz"

Target = Path | NcmlError  # of an input; or why it has none
Place = str | tuple[int, int]  # of a file: its real path; or its device and inode


@dataclass(frozen=True)
class Where:
    """Where outputs go, as given. folder: may be new, in one that exists. mirror: below `folder`,
    under the path of the input in the folder that was named, or else as it was given."""

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
        if os.path.lexists(self.folder) or not self.folder.parent.is_dir():
            raise UsageError(f"{self.folder}: no such folder, and it cannot be made there")


def plan(
    inputs: Mapping[Path, NcmlError | None],
    where: Where,
    rename: Callable[[Path], str],
    also_read: Iterable[Path] = (),
    roots: Mapping[Path, Path] = MappingProxyType({}),
) -> dict[Path, Target]:
    """The output of every input, or why it has none.

    rename: the name of an input's output; its NcmlError stands for that input alone. also_read:
    further files that the call reads, such as its model. roots: see `inputs.Inputs`. Raises
    UsageError for what cannot be meant, such as two inputs with the same output, or an output that
    is another input.
    """
    where.check(len(inputs))
    targets: dict[Path, Target] = {}
    for source, problem in inputs.items():
        try:
            targets[source] = problem or _target(source, where, rename, roots.get(source))
        except NcmlError as error:
            targets[source] = error
    files = [(source, target) for source, target in targets.items() if isinstance(target, Path)]
    if clash := _first_clash([target for _, target in files]):
        (one, shared), (other, _) = (files[index] for index in clash)
        raise UsageError(f"{one} and {other} would both become {shared}")
    for source, target in targets.items():
        if where.skip_existing and isinstance(target, Path) and os.path.lexists(target):
            targets[source] = Skipped(f"{source}: skipped, {target} exists")
    return _without_inputs(targets, also_read)


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Raise UsageError if an output is an input, or if two outputs are one file.

    outputs: None stands for one that is not asked for. inputs: a folder stands for itself and for
    all files in it.
    """
    named = [output for output in outputs if output is not None]
    if clash := _first_clash(named):
        one, other = (named[index] for index in clash)
        raise UsageError(f"{one} and {other}: two outputs of this call are one file")
    places = {place: output for output in named for place in _places(output)}
    for path in (file for given in inputs for file in _files_of(given)):
        for place in _places(path):
            if place in places:
                raise UsageError(f"{places[place]}: is an input of this call, too ({path})")


def compressed_name(source: Path, force: bool) -> str:
    """The name with the suffix. Raises Skipped if it has it already, unless that is forced."""
    if source.name.endswith(SUFFIX) and not force:
        raise Skipped(f"{source}: ends in {SUFFIX} already, left as it is; -f compresses it")
    return source.name + SUFFIX


def restored_name(source: Path, suffix: str | None = None, part: Region | None = None) -> str:
    """The name of the output, for which the file's first bytes are read.

    As `image_name`; a JPEG file that is asked for whole gets `.jpg`, if it has no such suffix.
    """
    if not source.name.endswith(SUFFIX) or source.name == SUFFIX:
        raise UsageError(f"{source}: does not end in {SUFFIX}; name the output with -o")
    name = Path(source.name.removesuffix(SUFFIX))
    if not holds_jpeg(source):
        return image_name(source, suffix, part)
    is_named = name.suffix.lower() in JPEG
    if suffix is None and part is None:
        return name.name if is_named else f"{name.name}.jpg"
    stem = name.stem if is_named else name.name
    return stem + (f"-{part}" if part else "") + (suffix or ".png")


def image_name(source: Path, suffix: str | None = None, part: Region | None = None) -> str:
    """The name without `.ncmz`; with `suffix`, in place of an image format's, if one is given.

    A name without the suffix of a format that can be written gets `.png`, see `names_no_format`.
    part: of the image, which stands before the suffix, so that it is not taken for the whole.
    """
    name = Path(source.name.removesuffix(SUFFIX))
    stem, own = (name.name, ".png") if names_no_format(source) else (name.stem, name.suffix)
    return stem + (f"-{part}" if part else "") + (suffix or own)


def holds_jpeg(source: Path) -> bool:
    """Whether a `.ncmz` file holds a JPEG file; False if it is not there or no file.

    Raises InputError if its first bytes cannot be read, NotEnoughMemory.
    """
    from ncml_codec.format.kept_file import is_kept

    try:
        with source.open("rb") as file:
            return is_kept(file.read(6))
    except (FileNotFoundError, IsADirectoryError):  # whoever reads it says so
        return False
    except OSError as error:
        raise InputError(f"{source}: {error.strerror or error}") from error
    except MemoryError as error:
        raise NotEnoughMemory(f"{source}: there is not enough memory to look into it") from error


def names_no_format(source: Path) -> bool:
    """Whether the name of a `.ncmz` file says no format for the image in it: it is PNG then."""
    from ncml_codec.picture.image_files import WRITABLE

    name = Path(source.name)
    return name.suffix == SUFFIX and Path(name.stem).suffix.lower() not in WRITABLE


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


def _target(source: Path, where: Where, rename: Callable[[Path], str], root: Path | None) -> Path:
    if where.output is not None:
        return where.output
    name = rename(source)
    if where.folder is None:
        return source.parent / name
    if not where.mirror:
        return where.folder / name
    if root is not None:
        return where.folder / source.parent.relative_to(root) / name
    if ".." in source.parts:
        raise UsageError(f"{source}: --mirror cannot go below {where.folder} by a path with ..")
    return where.folder / source.parent.relative_to(source.anchor) / name


def _without_inputs(
    targets: Mapping[Path, Target], also_read: Iterable[Path]
) -> dict[Path, Target]:
    """The targets, with an error for each that would replace an input nothing is done with.

    An input that is skipped may stand where an output would: nothing is written over it without -f.
    Raises UsageError for an output that is an input with an output of its own, or also read.
    """
    read = {place: path for path in also_read for place in _places(path)}
    for source, own in targets.items():
        if not isinstance(own, Skipped):
            read |= dict.fromkeys(_places(source), source)
    checked: dict[Path, Target] = {}
    for source, target in targets.items():
        checked[source] = target
        if not isinstance(target, Path):
            continue
        # An output that is its own input: `free_target` refuses that one alone.
        own_places = _places(source)
        found = [read[p] for p in _places(target) if p in read and p not in own_places]
        if found and isinstance(targets.get(found[0]), NcmlError):
            checked[source] = OutputError(f"{target}: is an input of this call, too ({found[0]})")
        elif found:
            raise UsageError(
                f"{source} would become {target}, which is an input of this call, too"
                f" ({found[0]}); name another output with -o or -O"
            )
    return checked


def _first_clash(paths: list[Path]) -> tuple[int, int] | None:
    """The indices of two paths that name one file, whether it exists or not."""
    exact: dict[Place, int] = {}
    loose: dict[str, int] = {}
    for index, path in enumerate(paths):
        for place in _places(path):
            if (other := exact.setdefault(place, index)) != index:
                return other, index
        real = os.path.realpath(path)
        folded = unicodedata.normalize("NFD", real).casefold()
        other = loose.setdefault(folded, index)
        if other != index and _are_one(os.path.realpath(paths[other]), real):
            return other, index
    return None


def _places(path: Path) -> set[Place]:
    """What tells a file: the path that links lead to and, if it exists, device and inode."""
    found: set[Place] = {os.path.realpath(path)}
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return found
    if status.st_ino:  # 0 on file systems that have none
        found.add((status.st_dev, status.st_ino))
    return found


def _are_one(one: str, other: str) -> bool:
    """Whether the file system takes two real paths for one, which differ in case or in how accents
    are written.

    It is asked by a file in a temporary folder, where the first difference is. True if it cannot
    be asked.
    """
    parts = list(zip(Path(one).parts, Path(other).parts, strict=False))
    at = next(index for index, (a, b) in enumerate(parts) if a != b)
    a, b = parts[at]
    folder = Path(*(part for part, _ in parts[:at]))
    try:
        while not folder.is_dir():
            folder = folder.parent
        with TemporaryDirectory(prefix=".ncml-", dir=folder) as asked:
            Path(asked, a).touch()
            return os.path.lexists(Path(asked, b))
    except OSError:
        return True


def _files_of(path: Path) -> Iterator[Path]:
    """The file, or the folder and all files in and below it."""
    yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def _make_folder(folder: Path, original: Path, root: Path) -> None:
    if folder == root or folder.is_dir():
        return
    _make_folder(folder.parent, original.parent, root)
    folder.mkdir(mode=stat.S_IMODE(original.stat().st_mode) | stat.S_IRWXU, exist_ok=True)
