"""Lossless codecs that are programs of their own: measured if they are on the path.

Commands as their own help texts and WangXuan95/Image-Compression-Benchmark (RunBenchmark.py) give
them. Times are of whole processes, reading and writing files included; peak memory is theirs.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.codecs.contenders import Contender, Refused, Samples
from bench.codecs.subjects import Subject

LIMIT_SECONDS = 3600


@dataclass(frozen=True)
class Program:
    """IN, OUT and THREADS in the commands stand for files and a number."""

    name: str
    encode: Sequence[str]
    decode: Sequence[str]
    packed_suffix: str
    threaded: bool = False


PROGRAMS = {
    "cjxl": Program(
        "JPEG XL effort 10 (cjxl)",
        ("cjxl", "IN", "OUT", "-d", "0", "-e", "10", "--num_threads=THREADS", "--quiet"),
        ("djxl", "IN", "OUT", "--num_threads=THREADS", "--quiet"),
        ".jxl",
        threaded=True,
    ),
    "flif": Program(
        "FLIF", ("flif", "-e", "-E100", "IN", "OUT"), ("flif", "-d", "IN", "OUT"), ".flif"
    ),
    "gralic": Program(
        "GraLIC", ("gralic111d", "c", "OUT", "IN"), ("gralic111d", "d", "IN", "OUT"), ".gralic"
    ),
    "emma": Program("EMMA", ("emma_c", "IN", "OUT"), ("emma_d", "IN", "OUT"), ".emma"),
    "paq8px": Program(
        "paq8px", ("paq8px", "-8", "IN", "OUT"), ("paq8px", "-d", "IN", "OUT"), ".paq8px"
    ),
}


def installed() -> dict[str, Contender]:
    """Those whose two programs are on the path, by short name."""
    return {
        short: contender(program)
        for short, program in PROGRAMS.items()
        if shutil.which(program.encode[0]) and shutil.which(program.decode[0])
    }


def contender(program: Program) -> Contender:
    """A program as a codec of 8-bit RGB."""
    peaks = [0.0]

    def run(command: Sequence[str], source: bytes, names: tuple[str, str], threads: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / names[0], Path(folder) / names[1]
            given.write_bytes(source)
            words = {"IN": str(given), "OUT": str(made)}
            line = [words.get(w, w.replace("THREADS", str(threads))) for w in command]
            peaks[0] = _run(line)
            return made.read_bytes()

    def encode(samples: Samples, threads: int) -> bytes:
        names = ("image.ppm", "image" + program.packed_suffix)
        return run(program.encode, _ppm(samples), names, threads)

    def decode(data: bytes, threads: int) -> Samples:
        names = ("image" + program.packed_suffix, "back.ppm")
        return _from_ppm(run(program.decode, data, names, threads))

    return Contender(
        program.name,
        " ".join(program.encode),
        _version(program.encode[0]),
        _prepare,
        encode,
        decode,
        program.threaded,
        lambda: peaks[0],
    )


def _prepare(subject: Subject) -> Samples:
    if subject.samples.dtype != np.uint8 or subject.samples.shape[2] != 3:
        raise Refused("given 8-bit RGB only here")
    return subject.samples


def _run(command: Sequence[str]) -> float:
    """Peak MiB of the process. Raises RuntimeError with its last words if it fails."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
        )
        alarm = threading.Timer(LIMIT_SECONDS, process.kill)
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            last = words.read()[-200:].decode(errors="replace").strip()
            raise RuntimeError(f"{command[0]}: exit {process.returncode}: {last}")
    return usage.ru_maxrss / 1024


def _version(program: str) -> str:
    """The program's first line about itself, for those that have one, and where it lies."""
    path = shutil.which(program)
    assert path is not None
    try:
        # in an empty folder: a program that knows no --version may take it for a file to write
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [os.path.abspath(path), "--version"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=10,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
        lines = (done.stdout or done.stderr).strip().splitlines()
    except (OSError, subprocess.TimeoutExpired):
        lines = []
    return f"{lines[0][:80] if lines else 'unknown version'} ({path})"


def _ppm(samples: Samples) -> bytes:
    height, width, _ = samples.shape
    return b"P6\n%d %d\n255\n" % (width, height) + samples.tobytes()


def _from_ppm(data: bytes) -> Samples:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
