"""Inputs that change while ncmlzip works on them.

    python -m tests.programs.changing_inputs --changes 300

Another program replaces the input by a rename, writes into it or removes it: first before each call
of ncmlzip to the file system in turn, then at random moments from outside. The law: what that
program put there is there at the end, or, only with --rm, the output holds it; the output is as it
was before, or whole; nothing else is left. `tests/cli/test_changing_inputs.py` runs some of these.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.programs.faults import (
    SUFFIXES,
    Scene,
    counted_run,
    folder_of,
    in_child,
    lawful,
    made,
    run_and_exit,
    run_scene,
    scenes,
)


@dataclass(frozen=True)
class Other:
    """What another program puts in the place of a scene's input, and the output that holds it."""

    given: bytes
    after: bytes


def replace_input(source: Path, new: Path) -> None:
    os.rename(new, source)


def write_into_input(source: Path, new: Path) -> None:
    source.write_bytes(new.read_bytes())


def remove_input(source: Path, new: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # it is moved aside or gone already
        source.unlink()


Change = Callable[[Path, Path], None]
CHANGES: tuple[Change, ...] = (replace_input, write_into_input, remove_input)


def other_of(scene: Scene, height: int, width: int) -> Other:
    suffix = scene.source.removesuffix(".ncmz").rpartition(".")[2]
    image, packed = made(height, width, 40, suffix)
    return Other(packed, image) if scene.source.endswith(".ncmz") else Other(image, packed)


def lawful_after(scene: Scene, change: Change, other: Other, folder: Path) -> str:
    """What became of what the other program put there: `kept`, `taken`, or `removed` by it.

    Raises AssertionError if it is lost or anything is half.
    """
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    source, target = files.pop(scene.source, None), files.pop(scene.target, None)
    about = f"{scene.name}, {change.__name__}"
    assert not files, f"{about}: files of other names: {list(files)}"
    assert target in (scene.before.get(scene.target), scene.after, other.after), about
    if change is remove_input:
        assert source is None, f"{about}: the input is back"
        return "removed"
    if source is None:
        assert scene.removes, f"{about}: the input is gone"
        assert target == other.after, f"{about}: lost"
        return "taken"
    assert source == other.given, f"{about}: the input is not what was put there"
    return "kept"


@contextmanager
def _folders(scene: Scene, other: Other) -> Iterator[tuple[Path, Path]]:
    """The scene's folder, and a file elsewhere with what is to be put there."""
    with folder_of(scene) as folder, tempfile.TemporaryDirectory() as name:
        new = Path(name) / "new"
        new.write_bytes(other.given)
        yield folder, new


def change_at_every_call(scene: Scene, change: Change, other: Other) -> Counter[str]:
    """What was found after a change before each call to the file system."""
    found: Counter[str] = Counter()
    for number in range(1, 1000):
        with _folders(scene, other) as (folder, new):
            happened = new.with_name("happened")

            def action(source: Path = folder / scene.source) -> None:
                happened.touch()  # noqa: B023  (done before the next turn)
                change(source, new)

            status = in_child(lambda n=number, f=folder, a=action: counted_run(scene, f, n, a))
            assert os.WIFEXITED(status), f"{scene.name}: signal {status}"
            assert os.WEXITSTATUS(status) in (0, 1, 3), f"{scene.name}: exit {status >> 8}"
            if not happened.exists():
                return found
            found[lawful_after(scene, change, other, folder)] += 1
    raise AssertionError(f"{scene.name}: no end of calls")


def change_at_random(scene: Scene, change: Change, other: Other, seconds: float) -> str:
    """What was found after a change within so many seconds of the beginning."""
    with _folders(scene, other) as (folder, new):
        child = os.fork()
        if child == 0:
            run_and_exit(lambda: run_scene(scene, folder))
        time.sleep(random.uniform(0, seconds))
        change(folder / scene.source, new)
        os.waitpid(child, 0)
        return lawful_after(scene, change, other, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Change ncmlzip's inputs while it works.")
    parser.add_argument("--changes", type=int, default=100, help="at random moments, in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    total: Counter[str] = Counter()
    for scene in (scene for suffix in SUFFIXES for scene in scenes(suffix=suffix)):
        other = other_of(scene, 24, 31)
        for change in CHANGES:
            found = change_at_every_call(scene, change, other)
            print(f"{scene.name}: {change.__name__} before every call: {dict(found)}", flush=True)
            total += found
    larger, times = [one for suffix in SUFFIXES for one in scenes(120, 160, suffix)], {}
    others = {scene.name: other_of(scene, 120, 160) for scene in larger}
    for scene in larger:
        with folder_of(scene) as folder:
            started = time.monotonic()
            in_child(lambda s=scene, f=folder: run_scene(s, f))
            times[scene.name] = time.monotonic() - started
            lawful(scene, folder)
    at_random: Counter[str] = Counter()
    for number in range(options.changes):
        scene = larger[number % len(larger)]
        change = CHANGES[number // len(larger) % len(CHANGES)]
        found_one = change_at_random(scene, change, others[scene.name], 1.2 * times[scene.name])
        at_random[found_one] += 1
    print(f"changed at random: {dict(at_random)}", flush=True)
    print(f"nothing lost in {sum(total.values())} + {options.changes} changes")


if __name__ == "__main__":
    main()
