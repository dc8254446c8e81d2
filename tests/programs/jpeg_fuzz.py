"""Fuzzing of native code for JPEG files, under the address and undefined behaviour sanitizers:

    sh tests/programs/sanitize.sh python -m tests.programs.jpeg_fuzz --minutes 60 --keep FOLDER

Files are drawn at random or made by Pillow, then damaged. Recipes are damaged and written with
the file's coefficients. Scans go straight to the native module, with any arguments that have
the right types. Coefficients and payloads go through random networks, some of them at the bounds
that a model may have. The laws stand in `tests/builders/jpeg_law.py` and `coefficient_cases`. A
sanitizer ends the process, so the case at work stands in the file `now` of the folder; `--replay
FILE` runs it again. Minutes are of CPU time.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import random
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.coefficients.model_file import read_model
from ncml_codec.decode import jpeg_decoder
from ncml_codec.errors import FormatError
from ncml_codec.format import directory, kept_file
from ncml_codec.jpeg import _native
from tests.builders.edits import edited
from tests.builders.jpeg_files import drawn_jpeg
from tests.builders.jpeg_law import read_alike, read_and_written, recipe_alike
from tests.builders.jpeg_scans import random_code
from tests.builders.pictures import GOLDEN, valley
from tests.builders.sealing import with_checksums
from tests.programs.coefficient_cases import draw_coefficients, run_coefficients, run_payload
from tests.programs.native_cases import Case

LONGEST = 60.0  # seconds of CPU after which the system ends a process that is stuck in a case
_BLOCKS = 5000  # of the files that a recipe may claim
_SAID = 60.0  # seconds between reports
_KINDS = {
    "sound": 1,
    "damaged": 8,
    "encoder": 6,
    "both": 1,
    "recipe": 4,
    "read": 4,
    "write": 4,
    "coefficients": 6,
    "resealed": 3,
}


def seeds() -> list[bytes]:
    """Small files by Pillow: baseline and progressive, restarts, samplings, kinds of pixels."""
    files = []
    picture = Image.fromarray(valley(50, 60, 37, 45))
    for mode in ("RGB", "L", "CMYK"):
        for subsampling in (0, 1, 2) if mode == "RGB" else (0,):
            for progressive in (False, True):
                for restart in (0, 1, 3):
                    out = io.BytesIO()
                    picture.convert(mode).save(
                        out,
                        "JPEG",
                        quality=80,
                        subsampling=subsampling,
                        progressive=progressive,
                        optimize=restart == 0,
                        restart_marker_blocks=restart,
                    )
                    files.append(out.getvalue())
    return files


KEPT = [path.read_bytes() for path in sorted((GOLDEN / "jpeg").glob("*.ncmz"))]


def draw(chance: random.Random, files: list[bytes]) -> Case:
    """A case of any kind."""
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    if kind in ("read", "write"):
        return Case(kind, _scan_arguments(chance), _coded(chance))
    if kind == "coefficients":
        return draw_coefficients(chance)
    if kind == "resealed":
        return Case(kind, {}, with_checksums(edited(chance, chance.choice(KEPT))))
    if kind == "encoder":
        return Case(kind, {}, edited(chance, edited(chance, chance.choice(files))))
    seed = chance.getrandbits(32)
    data = drawn_jpeg(random.Random(seed)).data
    if kind == "recipe":
        packed = jpeg.read(data).recipe.pack()
        return Case(kind, {"drawn": seed}, edited(chance, packed))
    return Case(kind, {}, data if kind == "sound" else edited(chance, data))


def run_case(case: Case) -> list[str]:
    """What the case was, as it is counted. Raises if it breaks a law, or ends the process."""
    if case.kind == "read":
        return [case.kind, _run_read(case.settings, case.payload)]
    if case.kind == "write":
        return [case.kind, _run_write(case.settings, case.payload)]
    if case.kind == "coefficients":
        return [case.kind, run_coefficients(case.settings)]
    if case.kind == "payload":
        return [case.kind, run_payload(case.settings, case.payload)]
    if case.kind == "resealed":
        return [case.kind, _run_resealed(case.payload)]
    if case.kind == "recipe":
        coefficients = drawn_jpeg(random.Random(case.settings["drawn"])).coefficients
        written = recipe_alike(case.payload, _BLOCKS, coefficients, ("native",))
        return [case.kind, "written" if written else "refused"]
    if case.kind == "both":
        read = read_alike(case.payload)
    else:
        read = read_and_written(case.payload, "native")
    if case.kind == "sound":
        assert read is not None, "a sound file was refused"
        return [case.kind, "came back"]
    if read is None:
        return [case.kind, "refused"]
    return [case.kind, "came back, damaged" if read.recipe.cut else "came back"]


def _run_resealed(data: bytes) -> str:
    try:
        head = directory.read_directory(data).kept
        if head is None:
            return "refused"
        model = read_model((GOLDEN / "coefficients.ncjp").read_bytes())
        file = jpeg_decoder.restore(head, data, [model], max_pixels=64 * _BLOCKS)
    except FormatError:
        return "refused"
    assert kept_file.digest_of(file) == head.digest
    return "restored"


def _coded(chance: random.Random) -> bytes:
    data = chance.randbytes(chance.choice((0, 1, 7, 100, 1000)))
    if chance.random() < 0.7:
        data = data.replace(b"\xff", b"\xff\0")
    return bytes(len(data)) if chance.random() < 0.1 else data


def _scan_arguments(chance: random.Random) -> dict[str, Any]:
    """Arguments of the native module, mostly within its bounds."""
    progressive = chance.random() < 0.6
    first, last, high, low = 0, 63, 0, 0
    if progressive:
        first = chance.choice((0, 1, chance.randint(0, 63)))
        last = chance.randint(first, 63) if first else 0
        low = chance.choice((0, 1, chance.randint(0, 13)))
        high = chance.choice((0, low + 1))
    rows, columns, interval = (
        chance.randint(1, 5),
        chance.randint(1, 5),
        chance.choice((0, 0, 1, 3)),
    )
    scan = [rows, columns, interval, progressive, first, last, high, low]
    if chance.random() < 0.05:
        scan[chance.choice((0, 1, 2, 4, 5, 6, 7))] = chance.choice((-1, 14, 64, 2**31, -(2**63)))
    parts = []
    for _ in range(1 if progressive and first else chance.randint(1, 4)):
        across, down = chance.choice(((1, 1), (chance.randint(1, 4), chance.randint(1, 4))))
        tables: list[Any] = []
        for _ in range(2):
            most = chance.choice((16, 256))
            used = {chance.randrange(most) for _ in range(chance.choice((1, 9, 60)))}
            if chance.random() < 0.5:
                used = set(range(256))
            code = random_code(used, chance)
            if chance.random() < 0.02:
                code = (edited(chance, code[0]), edited(chance, code[1]))
            tables.append(None if chance.random() < 0.02 else [code[0].hex(), code[1].hex()])
        shape = [rows * down, columns * across, 64]
        if chance.random() < 0.05:
            shape[chance.randrange(3)] = chance.randint(0, 65)
            across = chance.randint(-1, 5)
        parts.append([shape, across, down, *tables])
    blocks = [chance.randrange(50) for _ in range(chance.choice((0, 0, 3)))]
    return {
        "scan": scan,
        "parts": parts,
        "start": chance.choice((0, 0, chance.randint(-1, 20))),
        "breaks": blocks,
        "zero_runs": [[block, chance.randint(2, 9)] for block in blocks],
        "restarts": [[chance.randrange(9), chance.randbytes(chance.randrange(4)).hex()]],
        "units": chance.choice((rows * columns, chance.randint(-1, 30))),
        "limit": chance.choice((0, 10, 10**6, 10**6, 10**6)),
        "notes_max": chance.choice((0, 1, 5, 1000, 1000)),
        "seed": chance.getrandbits(32),
        "spread": chance.choice((0, 1, 9, 15)),
    }


def _arguments(settings: dict[str, Any]) -> tuple[Any, list[Any]]:
    random_numbers = np.random.default_rng(settings["seed"])
    spread, parts = settings["spread"], []
    for shape, across, down, *tables in settings["parts"]:
        blocks = random_numbers.integers(-(1 << spread), 1 << spread, shape, np.int16)
        blocks *= random_numbers.random(shape) < 0.2
        codes = [table and tuple(bytes.fromhex(digits) for digits in table) for table in tables]
        parts.append((blocks, across, down, *codes))
    return tuple(settings["scan"]), parts


_REFUSALS = (_native.Unsound, TypeError)  # TypeError: a number of more than 32 or 64 bits


def _run_read(settings: dict[str, Any], data: bytes) -> str:
    scan, parts = _arguments(settings)
    try:
        _, end, units = _native.read_scan(
            data, settings["start"], scan, parts, settings["notes_max"]
        )
    except _REFUSALS:
        return "refused"
    assert settings["start"] <= end <= len(data)
    assert 0 <= units <= scan[0] * scan[1]
    return "read" if units == scan[0] * scan[1] else "read in part"


def _run_write(settings: dict[str, Any], padding: bytes) -> str:
    scan, parts = _arguments(settings)
    restarts = [(number, bytes.fromhex(digits)) for number, digits in settings["restarts"]]
    zero_runs = [(block, runs) for block, runs in settings["zero_runs"]]
    notes = (padding, settings["breaks"], zero_runs, restarts)
    try:
        _native.write_scan(scan, parts, notes, settings["units"], settings["limit"])
    except _REFUSALS:
        return "refused"
    return "written"


def run_round(
    seed: int, keep: Path, seconds: float, most: int = 2**62
) -> tuple[int, Counter[str], str | None]:
    """Cases until so many seconds of CPU, or so many cases, are done.

    How many they were, how many of each kind, and the traceback of one that broke a law, which is
    kept and ends the round. The same seed gives the same cases.
    """
    chance, counts, done, files = random.Random(seed), Counter[str](), 0, seeds()
    now = keep / "now"
    started = said = time.process_time()
    try:
        while done < most and time.process_time() - started < seconds:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_PROF, LONGEST)
            case = draw(chance, files)
            now.write_bytes(case.to_bytes())
            try:
                counts.update([", ".join(run_case(case))])
            except Exception:
                (keep / f"jpeg-{zlib.crc32(case.to_bytes()):08x}").write_bytes(case.to_bytes())
                return done, counts, traceback.format_exc()
            done += 1
            if time.process_time() - said > _SAID:
                said = time.process_time()
                print(time.strftime("%H:%M:%S"), report(done, said - started, counts), flush=True)
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)  # or it ends the process that goes on
    print(report(done, time.process_time() - started, counts), flush=True)
    return done, counts, None


def report(done: int, seconds: float, counts: Counter[str]) -> str:
    listed = "; ".join(f"{name}: {counts[name]}" for name in sorted(counts))
    return f"{done} cases in {seconds / 60:.1f} minutes of CPU: {listed}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz native code for JPEG files.")
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
    how = "under" if hasattr(ctypes.CDLL(None), "__asan_init") else "WITHOUT"
    print(f"seed {seed}, {how} sanitizers: {_native.__file__}", flush=True)
    _, _, problem = run_round(seed, options.keep, 60 * options.minutes)
    if problem:
        print(problem)
        sys.exit(1)


if __name__ == "__main__":
    main()
