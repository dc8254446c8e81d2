"""Memory that runs out anywhere: `python -m tests.programs.memory_faults`.

A process runs ncmlzip on a file. Once for each line of the package that calls into C (numpy, zlib,
the native module), a MemoryError is raised in place of the call. Then the process runs with less
and less address space, so that real allocations fail, in native code too. The law: the process ends
with 0 and the right output, or with 1 and a message, without a traceback; the input stays, and no
output is half-written. `tests/cli/test_memory_faults.py` runs some of these.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

import ncml_codec
from ncml_cli.zip.ncmlzip import main as ncmlzip
from tests.builders.pictures import valley
from tests.programs.faults import TEMPORARY, TINY

PACKAGE = str(Path(ncml_codec.__file__).parent) + os.sep
_STEP, _ENOUGH = 1 << 19, 12 << 20  # bytes of address space: between tries, and in the last one
# Raised in place of these, it would be raised again where the first was handled.
_NO_ALLOCATIONS = {"exc_info", "close", "unlink", "release", "acquire", "__exit__", "setprofile"}

Place = tuple[str, int]  # a file of the package, and a line


@dataclass(frozen=True)
class Scene:
    """A call on one file. arguments: with `{folder}`; after: the right output."""

    name: str
    arguments: Sequence[str]
    source: str
    target: str
    given: bytes
    after: bytes


FORMATS = ("png", "ppm", "bmp", "tiff", "webp", "16-bit png", "jpeg")


def scenes(height: int = 24, width: int = 31, formats: Sequence[str] = FORMATS) -> list[Scene]:
    """Compressing images of these formats, and decompressing each to its own format."""
    found = []
    image = Image.fromarray(valley(90, 90, height, width))
    for suffix, options in (
        ("png", {"exif": b"Exif\0\0II*\0", "icc_profile": b"profile"}),
        ("ppm", {}),
        ("bmp", {}),
        ("tiff", {"compression": "tiff_lzw"}),
        ("webp", {"lossless": True}),
        ("jpeg", {}),
    ):
        if suffix not in formats:
            continue
        out = io.BytesIO()
        image.save(out, **options, format=suffix)
        found += _both_ways(f"a.{suffix}", out.getvalue())
    if "16-bit png" in formats:
        out = io.BytesIO()
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        Image.fromarray(257 * grey).save(out, "PNG")
        found += _both_ways("deep.png", out.getvalue())
    return found


def _both_ways(source: str, data: bytes) -> list[Scene]:
    """Compressing, and decompressing what came of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = source + ".ncmz"
        (folder / source).write_bytes(data)
        options = ["-m", TINY, "--threads", "1"]
        assert _in_child(lambda: _run(["compress", *options, f"{name}/{source}"]))[0] == 0
        packed = (folder / target).read_bytes()
        (folder / source).unlink()
        assert _in_child(lambda: _run(["decompress", *options, f"{name}/{target}"]))[0] == 0
        restored = (folder / source).read_bytes()
    return [
        Scene(
            f"compress {source}",
            ["compress", *options, "{folder}/" + source],
            source,
            target,
            data,
            packed,
        ),
        Scene(
            f"decompress {target}",
            ["decompress", *options, "{folder}/" + target],
            target,
            source,
            packed,
            restored,
        ),
    ]


def places(scene: Scene) -> list[Place]:
    """The lines of the package that call into C while the scene runs, in order."""
    read, write = os.pipe()

    def work() -> None:
        found: dict[Place, None] = {}
        sys.setprofile(lambda frame, event, what: _note(found, frame, event, what))
        try:
            with _folder(scene) as folder:
                _run([argument.format(folder=folder) for argument in scene.arguments])
        finally:
            sys.setprofile(None)
            with os.fdopen(write, "w") as file:
                file.write("\n".join(f"{line} {path}" for path, line in found))

    child = os.fork()
    if child == 0:
        os.close(read)
        _quiet(work)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    assert os.waitpid(child, 0)[1] == 0, f"{scene.name}: failed without a fault"
    split = (line.split(" ", 1) for line in text.splitlines())
    return [(path, int(line)) for line, path in split]


def _note(found: dict[Place, None], frame: FrameType, event: str, what: Any) -> None:
    if _allocates(event, what) and frame.f_code.co_filename.startswith(PACKAGE):
        found[frame.f_code.co_filename, frame.f_lineno] = None


def _allocates(event: str, what: Any) -> bool:
    return event == "c_call" and getattr(what, "__name__", "") not in _NO_ALLOCATIONS


def fail_at(scene: Scene, place: Place) -> str:
    """What came of the scene with a MemoryError in place of the first call at this line."""
    path, line = place

    def profile(frame: FrameType, event: str, what: Any) -> None:
        here = frame.f_lineno == line and frame.f_code.co_filename == path
        if here and _allocates(event, what):
            raise MemoryError  # which ends the profile, too

    return lawful(scene, lambda: sys.setprofile(profile), f"{Path(path).name}:{line}")


def fail_beyond(scene: Scene, room: int, small: Scene) -> str:
    """What came of the scene with so many bytes of address space more than the program's own.

    small: run before the limit, so that modules that are loaded late do not take all the room.
    """

    def limit() -> None:
        threading.stack_size(1 << 18)  # or the first thread that begins takes all the room
        with _folder(small) as folder:
            command, *rest = (argument.format(folder=folder) for argument in small.arguments)
            ncmlzip([command, "--quiet", *rest], standalone_mode=False)
        with open("/proc/self/statm") as file:
            most = int(file.read().split()[0]) * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return lawful(scene, limit, f"{room >> 10} KiB of room")


def lawful(scene: Scene, before: Callable[[], object], said: str) -> str:
    """What came of the scene, run in a process after `before`: done or refused.

    Raises AssertionError if it ends otherwise, or leaves anything half.
    """
    with _folder(scene) as folder:

        def work() -> None:
            arguments = [argument.format(folder=folder) for argument in scene.arguments]
            before()
            _run(arguments)

        code, text = _in_child(work)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        about = f"{scene.name}, {said}: exit {code}, {text}"
        assert "Traceback" not in text, about
        assert files.pop(scene.source, None) == scene.given, about
        target = files.pop(scene.target, None)
        assert not [name for name in files if not name.startswith(TEMPORARY)], about
        if code == 0:
            assert target == scene.after, about
            return "done"
        assert code == 1, about
        assert target in (None, scene.after), about
        assert text.startswith(("ncmlzip: ", "error: ")), about
        return "refused"


@contextmanager
def _folder(scene: Scene) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / scene.source).write_bytes(scene.given)
        yield Path(name)


def _run(arguments: Sequence[str]) -> None:
    ncmlzip(list(arguments))


def _in_child(action: Callable[[], None]) -> tuple[int, str]:
    """The exit code of a forked process that does the action, or minus the signal that ended it,
    and what it wrote to stderr."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            _quiet(action)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def _quiet(action: Callable[[], None]) -> None:
    """The action without standard output, and the end of this process."""
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # pytest has put others there
        action()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.setprofile(None)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stderr.flush()
        os._exit(status)


def run_all(every: int = 1) -> Counter[str]:
    """What came of each `every`-th fault of all scenes."""
    total: Counter[str] = Counter()
    for number, (small, larger) in enumerate(zip(scenes(), scenes(300, 400), strict=True)):
        found = Counter(fail_at(small, place) for place in places(small)[number % every :: every])
        print(f"{small.name}: MemoryError at every call: {dict(found)}", flush=True)
        rooms = range(number % every * _STEP, _ENOUGH, every * _STEP)
        beyond = Counter(fail_beyond(larger, room, small) for room in rooms)
        print(f"{larger.name}: little address space: {dict(beyond)}", flush=True)
        total += found + beyond
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Take memory away from ncmlzip.")
    parser.add_argument("--every", type=int, default=1, help="only each so manieth fault")
    options = parser.parse_args()
    total = run_all(options.every)
    print(f"nothing lost, no traceback in {sum(total.values())} failures of memory: {dict(total)}")


if __name__ == "__main__":
    main()
