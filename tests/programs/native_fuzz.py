"""Fuzzing of the native decoder, under the address and undefined behaviour sanitizers:

    sh tests/programs/sanitize.sh python -m tests.programs.native_fuzz --minutes 60 --keep FOLDER

Payloads are damaged sound ones or random bytes, handed straight to the native module. The laws
stand in `native_cases`. A sanitizer ends the process, so the case at work stands in the file `now`
of the folder; `--replay FILE` runs it again. Minutes are of CPU time. `tests/format/test_found.py`
runs the cases that were found.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ncml_codec.engines import _native
from tests.builders.adaptations import BODY, COLOURS, STRONGEST
from tests.builders.edits import edited
from tests.builders.pictures import GOLDEN
from tests.builders.sealing import with_checksums
from tests.programs.native_cases import (
    Case,
    Settings,
    encoded,
    engine_of,
    mixing_encoded,
    mixing_samples,
    network_of,
    plan_of,
    run_case,
)

LONGEST = 120.0  # seconds of CPU after which the system ends a process that is stuck in a case
_NETWORKS = 24  # networks at work at a time: packing one takes longer than small images
_SAID = 60.0  # seconds between reports

# How often each kind is drawn.
_KINDS = {"network": 8, "encode": 2, "mixing": 4, "coder": 2, "file": 3, "unsound": 2}


def draw(chance: random.Random, networks: list[Settings], save: Callable[[Case], None]) -> Case:
    """A case of any kind. networks: recipes to choose from.

    save: given the cases that are run to make sound payloads, before they are run.
    """
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    network = chance.choice(networks)
    engines = [[chance.randrange(60), chance.choice((1, 1, 2, 3, 4))] for _ in range(2)]
    height, width = a_size(chance)
    planes = chance.choice((1, 3, 3, 3))
    learning = chance.choice(
        (0, 0, 0, 0, *range(1, STRONGEST + 1), *range(BODY + 1, BODY + STRONGEST + 1))
    )
    colours = chance.randrange(4) if planes == 3 else 0
    settings: Settings = {
        "network": network,
        "engines": engines,
        "shape": [height, width, planes],
        "adaptation": learning + COLOURS * colours,
    }
    if kind == "network":
        return Case(kind, settings, network_payload(chance, settings, save))
    if kind == "encode":
        return Case(kind, settings, some_samples(chance, height * width * planes))
    if kind == "mixing":
        return mixing_case(chance, height, width, save)
    if kind == "file":
        seed = chance.choice(SEEDS)
        return Case(kind, {"engines": engines}, with_checksums(edited(chance, seed)))
    if kind == "unsound":
        value = [chance.randint(*chance.choice(((-10, 10), (-99999, 99999)))) for _ in range(3)]
        what = chance.choice(("tap", "taps", "k", "shape", "layers", "table", "tables", "shift"))
        settings["change"] = [what, chance.randrange(99), value]
        return Case(kind, settings, words(chance))
    rows = {
        "rows": chance.randint(1, 300),
        "width": chance.choice((2, 16, chance.randint(2, 256))),
        "seed": chance.getrandbits(32),
        "sound": chance.random() < 0.8,
    }
    return Case("coder", {"rows": rows}, words(chance))


def a_network(chance: random.Random) -> Settings:
    """The recipe of a network, for `native_cases.network_of`."""
    if chance.random() < 0.1:
        return {}
    return {
        "seed": chance.getrandbits(32),
        "width": chance.choice((1, 2, 3, 5, 8, 16, 17, 24)),
        "blocks": chance.randint(0, 3),
        "hidden": chance.choice((1, 2, 5, 8, 16, 33)),
        "k": chance.choice((1, 2, 3, 4, 10, 16)),
        "room": chance.choice((1, 1, 2, 64)),
        "extreme": chance.random() < 0.3,
        "far": chance.random() < 0.3,
    }


def a_size(chance: random.Random) -> tuple[int, int]:
    """Height and width, often thin: of one pixel, one row, one column, less than eight columns."""
    if chance.random() < 0.06:
        return chance.randint(60, 100), chance.randint(60, 140)
    small, any_side = chance.randint(1, 8), chance.randint(1, 40)
    long = chance.randint(1, 300)
    sizes = [(1, 1), (1, long), (long, 1), (any_side, small), (small, any_side)]
    return chance.choice([*sizes, (2, long), (long, 2), (any_side, any_side), (any_side, 37)])


def some_samples(chance: random.Random, count: int) -> bytes:
    """Noise, few levels (so that colours repeat), one level, or steps."""
    random_bytes = np.frombuffer(chance.randbytes(count), np.uint8)
    levels = np.frombuffer(chance.randbytes(chance.choice((1, 2, 3, 7))), np.uint8)
    steps = np.cumsum(random_bytes % 5).astype(np.uint8)
    extremes = 255 * (random_bytes & 1)
    kinds = (random_bytes, levels[random_bytes % len(levels)], steps, extremes)
    return chance.choice(kinds).astype(np.uint8).tobytes()


def words(chance: random.Random) -> bytes:
    """Words of 32 bits: none, few or many."""
    return chance.randbytes(4 * chance.choice((0, 1, 2, 3, 50, chance.randint(0, 400))))


def network_payload(
    chance: random.Random, settings: Settings, save: Callable[[Case], None]
) -> bytes:
    """A sound payload for these settings, whole, damaged or cut short; or any bytes."""
    height, width, planes = settings["shape"]
    if chance.random() < 0.4 or height * width > 4000:
        filled = bytes([chance.choice((0, 255))]) * (4 * chance.randint(0, 99))
        return chance.choice((words(chance), words(chance), filled))
    plain = some_samples(chance, height * width * planes)
    samples = np.frombuffer(plain, np.uint8).reshape(height, width, planes)
    save(Case("encode", settings, plain))
    engine = engine_of(network_of(settings["network"]), settings["engines"][0])
    return in_words(edited(chance, encoded(engine, samples, settings["adaptation"])))


def mixing_case(
    chance: random.Random, height: int, width: int, save: Callable[[Case], None]
) -> Case:
    """A plan of the mixing coder, and a payload that is sound, damaged, or of any words."""
    deepest = chance.choice((1, 8, 8, 16))
    depths = [chance.randint(0, deepest) for _ in range(chance.choice((1, 1, 2, 3, 4, 8)))]
    settings = {
        "size": [height, width],
        "depths": depths,
        "candidates": chance.random() < 0.5,
        "fitted": chance.random() < 0.5,
        "again": chance.random() < 0.3,
    }
    if chance.random() < 0.4:
        return Case("mixing", settings, words(chance))
    plain = some_samples(chance, height * width * len(depths) * 2)
    save(Case("mixing-encode", settings, plain))
    payload = mixing_encoded(plan_of(settings), mixing_samples(settings, plain))
    return Case("mixing", settings, in_words(edited(chance, payload)))


def in_words(data: bytes) -> bytes:
    return data[: len(data) // 4 * 4]


SEEDS = [path.read_bytes() for path in sorted(GOLDEN.rglob("*.ncmz")) if path.stat().st_size < 3000]


def run_round(
    seed: int, keep: Path, seconds: float, most: int = 2**62
) -> tuple[int, Counter[str], str | None]:
    """Cases until so many seconds of CPU, or so many cases, are done.

    How many they were, how many of each kind, and the traceback of one that broke a law, which is
    kept and ends the round. The same seed gives the same cases.
    """
    chance, counts, done = random.Random(seed), Counter[str](), 0
    networks = [a_network(chance) for _ in range(_NETWORKS)]
    now = keep / "now"

    def save(case: Case) -> None:
        now.write_bytes(case.to_bytes())

    started = said = time.process_time()
    try:
        while done < most and time.process_time() - started < seconds:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_PROF, LONGEST)
            if chance.random() < 0.1:
                networks[chance.randrange(_NETWORKS)] = a_network(chance)
            try:
                case = draw(chance, networks, save)
                save(case)
                counts.update(run_case(case))
            except Exception:
                data = now.read_bytes()
                (keep / f"native-{zlib.crc32(data):08x}").write_bytes(data)
                return done, counts, traceback.format_exc()
            done += 1
            if time.process_time() - said > _SAID:
                said = time.process_time()
                print(
                    f"{time.strftime('%H:%M:%S')} {report(done, said - started, counts)}",
                    flush=True,
                )
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)  # or it ends the process that goes on
    print(report(done, time.process_time() - started, counts), flush=True)
    return done, counts, None


def sanitized() -> bool:
    """Whether the address sanitizer watches this process."""
    return hasattr(ctypes.CDLL(None), "__asan_init")


def report(done: int, seconds: float, counts: Counter[str]) -> str:
    listed = "; ".join(f"{name}: {counts[name]}" for name in sorted(counts))
    return f"{done} cases in {seconds / 60:.1f} minutes of CPU: {listed}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the native decoder.")
    parser.add_argument("--minutes", type=float, default=1.0, help="of CPU time")
    parser.add_argument("--seed", type=int, default=None, help="the same cases again")
    parser.add_argument("--keep", type=Path, help="folder for the cases found")
    parser.add_argument("--replay", type=Path, help="run one case that was found, and no other")
    options = parser.parse_args()
    if options.replay:
        print(", ".join(run_case(Case.from_bytes(options.replay.read_bytes()))))
        return
    if not options.keep:
        parser.error("--keep FOLDER is needed")
    options.keep.mkdir(parents=True, exist_ok=True)
    seed = random.getrandbits(32) if options.seed is None else options.seed
    how = "under" if sanitized() else "WITHOUT"
    print(f"seed {seed}, {how} sanitizers: {_native.__file__}", flush=True)
    _, _, problem = run_round(seed, options.keep, 60 * options.minutes)
    if problem:
        print(problem)
        sys.exit(1)


if __name__ == "__main__":
    main()
