"""Processes killed at any moment: `python -m tests.programs.faults --kills 300`.

A process runs ncmlzip on a file and is ended by SIGKILL: first before each of its calls to the file
system in turn, and in the middle of each write; then at random moments from outside. After each
kill the law is checked: an input is as it was, or, only with --rm, moved aside or gone while its
output is whole; and an output is as it was before, or whole, never half. Then batches of many
files with --rm: `--kills 0 --batches 100` kills nothing else. What the disk itself forgets in a
power cut is not tried: for that there is fsync. `tests/cli/test_faults.py` runs a few of these.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ncml_cli.zip import decompression, items
from ncml_cli.zip.ncmlzip import main as ncmlzip
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")
TEMPORARY = ".ncml-"
ASIDE = ".aside"
_FORMATS = {"png": "PNG", "jpg": "JPEG"}
_WATCHED = {"open", "os.chmod", "os.link", "os.remove", "os.rename", "os.truncate", "os.utime"}


@dataclass(frozen=True)
class Scene:
    """A call of ncmlzip in a folder of its own.

    arguments: with `{folder}`; before: the files there; after: the output as it must become.
    streamed: whether the output is written while it is computed, as that of large images is.
    """

    name: str
    arguments: Sequence[str]
    source: str
    target: str
    before: dict[str, bytes]
    after: bytes
    streamed: bool = False

    @property
    def removes(self) -> bool:
        return "--rm" in self.arguments


SUFFIXES = ("png", "jpg")


def scenes(height: int = 24, width: int = 31, suffix: str = "png") -> list[Scene]:
    """Compressing and decompressing; with --rm, over an old output, and streamed (images only)."""
    image, packed = made(height, width, suffix=suffix)
    name_of_image = f"a.{suffix}"
    old = b"an older file"
    found = []
    for command, source, target, given, after in (
        ("compress", name_of_image, f"{name_of_image}.ncmz", image, packed),
        ("decompress", f"{name_of_image}.ncmz", name_of_image, packed, image),
    ):
        call = [command, "-m", TINY, "--threads", "1", "{folder}/" + source]
        for name, more, before in (
            ("", [], {}),
            (" --rm", ["--rm"], {}),
            (" -f", ["-f"], {target: old}),
            (" -f --rm", ["-f", "--rm"], {target: old}),
        ):
            may_stream = command == "decompress" and suffix == "png"
            for streamed in (False, True) if may_stream else (False,):
                label = command + name + (", streamed" if streamed else "")
                label += "" if suffix == "png" else f", {suffix}"
                arguments = [*call[:1], *more, *call[1:]]
                files = {source: given, **before}
                found.append(Scene(label, arguments, source, target, files, after, streamed))
    return found


def made(height: int, width: int, top: int = 90, suffix: str = "png") -> tuple[bytes, bytes]:
    """An image file, a PNG as ncmlzip writes it, and its `.ncmz` file. top: in the photograph."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = BytesIO()
        Image.fromarray(valley(top, 90, height, width)).save(out, _FORMATS[suffix])
        path = folder / f"a.{suffix}"
        path.write_bytes(out.getvalue())
        model = ("-m", TINY, "-q")
        in_child(lambda: run(["compress", *model, str(path)]))
        path.unlink()
        in_child(lambda: run(["decompress", *model, f"{path}.ncmz"]))
        return path.read_bytes(), Path(f"{path}.ncmz").read_bytes()


def lawful(scene: Scene, folder: Path) -> str:
    """What the folder looks like after a kill: `before`, `after`, `aside` or `removed`.

    Raises AssertionError if something is lost or half.
    """
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    source, target = files.pop(scene.source, None), files.pop(scene.target, None)
    aside = [name for name in files if name.endswith(ASIDE)]
    stray = [name for name in files if not (name.startswith(TEMPORARY) or name in aside)]
    assert not stray, f"{scene.name}: files of other names: {stray}"
    whole = target == scene.after
    assert whole or target == scene.before.get(scene.target), f"{scene.name}: a half output"
    if source is None:
        assert scene.removes, f"{scene.name}: the input is gone"
        assert whole, f"{scene.name}: the input is gone, and the output is not there"
        if not aside:
            return "removed"
        assert [files[name] for name in aside] == [scene.before[scene.source]]
        assert aside[0].startswith(f".{scene.source}.ncml-")
        return "aside"
    assert source == scene.before[scene.source], f"{scene.name}: the input is changed"
    return "after" if whole else "before"


def kill_at_every_call(scene: Scene) -> Counter[str]:
    """What was found after each kill, and `temporary` for every temporary file that was left."""
    found: Counter[str] = Counter()
    for number in range(1, 1000):
        with folder_of(scene) as folder:
            status = in_child(lambda n=number, f=folder: counted_run(scene, f, n, end_now))
            found[lawful(scene, folder)] += 1
            found["temporary"] += sum(p.name.startswith(TEMPORARY) for p in folder.iterdir())
            if os.WIFEXITED(status):
                assert status == 0, f"{scene.name}: failed without a kill"
                assert lawful(scene, folder) == ("removed" if scene.removes else "after")
                return found
            assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError(f"{scene.name}: no end of calls")


def kill_at_random(scene: Scene, seconds: float) -> str:
    """What was found after a kill within so many seconds of the beginning."""
    with folder_of(scene) as folder:
        child = os.fork()
        if child == 0:
            run_and_exit(lambda: run_scene(scene, folder))
        time.sleep(random.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return lawful(scene, folder)


def end_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted_run(scene: Scene, folder: Path, number: int, action: Callable[[], None]) -> None:
    """Run the scene, with the action before its `number`-th call that changes or opens a file of
    the folder; the middle of a write counts as a call."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            action()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _WATCHED and str(folder) in str(arguments[0]):
            count()

    class Halves:
        """A file whose writes stop in the middle."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            half = len(data) // 2
            for part in (data[:half], data[half:]):
                self.file.write(part)
                self.file.flush()
                count()
            return len(data)

        def __enter__(self) -> Halves:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    fdopen, fsync = os.fdopen, os.fsync
    os.fdopen = lambda *arguments, **options: Halves(fdopen(*arguments, **options))

    def counted_fsync(handle: int) -> None:
        count()
        fsync(handle)

    os.fsync = counted_fsync
    sys.addaudithook(hook)
    run_scene(scene, folder)


def run_scene(scene: Scene, folder: Path) -> None:
    if scene.streamed:
        decompression.SMALL = items.SMALL = 0
    run([argument.format(folder=folder) for argument in scene.arguments])


def run(arguments: Sequence[str]) -> None:
    ncmlzip(list(arguments), standalone_mode=False)


def run_and_exit(action: Callable[[], None]) -> None:
    """In a forked process: the action with no output, and the end of the process."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        action()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(status)


def in_child(action: Callable[[], None]) -> int:
    """The wait status of a forked process that does the action."""
    child = os.fork()
    if child == 0:
        run_and_exit(action)
    return os.waitpid(child, 0)[1]


@contextmanager
def folder_of(scene: Scene) -> Iterator[Path]:
    """A folder with the scene's files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in scene.before.items():
            (folder / file).write_bytes(data)
        yield folder


@dataclass(frozen=True)
class Batch:
    """A call with --rm on many files in several processes. files: by name, what is there before and
    the output's name and bytes."""

    command: str
    files: dict[str, tuple[bytes, str, bytes]]

    def begin(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own on the files, which are written into the folder."""
        for name, (data, _, _) in self.files.items():
            (folder / name).write_bytes(data)
        paths = [str(folder / name) for name in self.files]
        call = [self.command, "--rm", "-m", TINY, "--threads", "2", *paths]
        script = "from ncml_cli.zip.ncmlzip import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", script, *call],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def found(self, folder: Path) -> Counter[str]:
        """What each file is after a kill: `before`, `after`, `aside` or `removed`.

        Raises AssertionError if something is lost, half or of another name.
        """
        there = {path.name: path.read_bytes() for path in folder.iterdir()}
        found: Counter[str] = Counter()
        for name, (data, target, after) in self.files.items():
            source, output = there.pop(name, None), there.pop(target, None)
            aside = [other for other in there if other.startswith(f".{name}{TEMPORARY}")]
            assert output in (None, after), f"{target}: a half output"
            assert source in (None, data), f"{name} is changed"
            assert output or source, f"{name} is lost"
            assert len(aside) <= (source is None), f"{name}: {aside}"
            assert all(there.pop(other) == data for other in aside), f"{aside} is changed"
            state = "after" if output else "before"
            found["aside" if aside else state if source else "removed"] += 1
        assert all(name.startswith(TEMPORARY) for name in there), f"other names: {sorted(there)}"
        return found


def batches(count: int) -> list[Batch]:
    """Compressing and decompressing so many files: three different PNG images, and a JPEG."""
    suffixes = ("png", "jpg", "png", "png")
    images = [made(96, 128, 40 * at, suffix) for at, suffix in enumerate(suffixes)]
    names = [f"{index}.{suffixes[index % 4]}" for index in range(count)]
    pairs = [(name, *images[index % 4]) for index, name in enumerate(names)]
    return [
        Batch("compress", {name: (image, f"{name}.ncmz", coded) for name, image, coded in pairs}),
        Batch("decompress", {f"{name}.ncmz": (coded, name, image) for name, image, coded in pairs}),
    ]


def seconds_of(batch: Batch) -> float:
    """How long the batch takes that nobody kills."""
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        process = batch.begin(Path(name))
        process.communicate()
        assert process.returncode == 0
        assert batch.found(Path(name)) == Counter(removed=len(batch.files))
        return time.monotonic() - started


def kill_batch(batch: Batch, seconds: float, everyone: bool) -> Counter[str]:
    """What was found after a kill within so many seconds, of the first process or of all.

    All processes must end, too, within 20 seconds.
    """
    with tempfile.TemporaryDirectory() as name:
        # All processes hold the pipe: it ends with the last of them.
        process = batch.begin(Path(name))
        time.sleep(random.uniform(0, seconds))
        if everyone:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate(timeout=20)
        return batch.found(Path(name))


def killed_batches(count: int) -> Counter[str]:
    """What was found for every file of so many batches, each killed at a random moment."""
    found: Counter[str] = Counter()
    tried = [(batch, seconds_of(batch)) for batch in batches(60)]
    for number in range(count):
        batch, seconds = tried[number % 2]
        found += kill_batch(batch, seconds, everyone=number % 4 < 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill ncmlzip, and see that nothing is lost.")
    parser.add_argument("--kills", type=int, default=100, help="at random moments, in all")
    parser.add_argument("--batches", type=int, default=4, help="of many files, killed at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    if options.batches:
        print(
            f"batches killed at random: {dict(killed_batches(options.batches))} files", flush=True
        )
    if not options.kills:
        return
    total: Counter[str] = Counter()
    for scene in (scene for suffix in SUFFIXES for scene in scenes(suffix=suffix)):
        found = kill_at_every_call(scene)
        total += found
        print(f"{scene.name}: killed before every call: {dict(found)}", flush=True)
    larger = [scene for suffix in SUFFIXES for scene in scenes(120, 160, suffix)]
    times = {}
    for scene in larger:
        with folder_of(scene) as folder:
            started = time.monotonic()
            in_child(lambda s=scene, f=folder: run_scene(s, f))
            times[scene.name] = time.monotonic() - started
    at_random: Counter[str] = Counter()
    for number in range(options.kills):
        scene = larger[number % len(larger)]
        at_random[kill_at_random(scene, 1.2 * times[scene.name])] += 1
    print(f"killed at random: {dict(at_random)}", flush=True)
    # The last run of each scene ended by itself.
    killed = sum(total.values()) - total["temporary"] - len(larger)
    print(f"nothing lost in {killed} + {options.kills} kills")


if __name__ == "__main__":
    main()
