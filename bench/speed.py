"""`python -m bench speed`: seconds and peak memory of `ncmlzip`, by engine and image size."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench import record

SIZES = {"32x32": (32, 32), "768x512": (768, 512), "2048x1365": (2048, 1365), "24MP": (6000, 4000)}


def run(
    photograph: Path,
    sizes: Sequence[str],
    engines: Sequence[str],
    threads: Sequence[int],
    model: str,
    repeats: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Time whole `ncmlzip` processes, start-up included, on one photograph, repeated or cut."""
    records: list[dict[str, Any]] = [{"machine": record.machine(), "repeats": repeats}]
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            image = Path(folder) / f"{size}.ppm"
            _write(photograph, image, *SIZES[size])
            for engine in engines:
                for count in threads:
                    result = _measure(image, engine, count, model, repeats)
                    records.append({"size": size, **result})
                    say(
                        f"{size:10} {engine:6} {count} threads"
                        f"  compress {result['compress_seconds']:7.2f} s"
                        f"  decompress {result['decompress_seconds']:7.2f} s"
                        f"  peak {result['peak_mib']:.0f} MiB"
                    )
    return records


def startup(say: Callable[[str], None]) -> dict[str, float]:
    """CPU seconds of `ncmlzip --help` and of `import ncml_codec`, medians of seven."""
    commands = {
        "help_cpu_seconds": [sys.executable, "-m", "ncml_cli.ncmlzip", "--help"],
        "import_cpu_seconds": [sys.executable, "-c", "import ncml_codec"],
    }
    found = {name: median(_cpu_seconds(line) for _ in range(7)) for name, line in commands.items()}
    say("  ".join(f"{name} {seconds:.3f}" for name, seconds in found.items()))
    return found


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = (
        "| image | engine | threads | compress, s | decompress, s | kpixel/s | peak, MiB |\n"
        "|---|---|---|---|---|---|---|"
    )
    rows = [
        f"| {r['size']} | {r['engine']} | {r['threads']} | {r['compress_seconds']:.2f} |"
        f" {r['decompress_seconds']:.2f} | {r['pixels'] / r['decompress_seconds'] / 1e3:.0f} |"
        f" {r['peak_mib']:.0f} |"
        for r in records
        if "size" in r
    ]
    return "\n".join([head, *rows]) + (
        f"\n\nWhole processes, start-up included, without check. Measured on"
        f" {record.describe(records[0]['machine'])}.\n"
    )


def _measure(image: Path, engine: str, threads: int, model: str, repeats: int) -> dict[str, Any]:
    packed, back = image.with_suffix(".ppm.ncmz"), image.with_suffix(".back.ppm")
    tool = [sys.executable, "-m", "ncml_cli.ncmlzip"]
    common = ["-q", "-f", "-m", model, "--engine", engine, "--threads", str(threads)]
    compress = [*tool, "compress", *common, "--no-check", str(image), "-o", str(packed)]
    decompress = [*tool, "decompress", *common, str(packed), "-o", str(back)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    times: dict[str, list[float]] = {"compress": [], "decompress": []}
    peak = 0.0
    for _ in range(repeats):
        for name, command in (("compress", compress), ("decompress", decompress)):
            seconds, mib = _run(command, environment)
            times[name].append(seconds)
            peak = max(peak, mib)
    with Image.open(image) as one, Image.open(back) as other:
        if not np.array_equal(np.asarray(one), np.asarray(other)):
            raise SystemExit(f"{image.name}: the pixels did not come back")
        pixels = one.width * one.height
    return {
        "engine": engine,
        "threads": threads,
        "model": model,
        "pixels": pixels,
        "bytes": packed.stat().st_size,
        "compress_seconds": median(times["compress"]),
        "decompress_seconds": median(times["decompress"]),
        "peak_mib": peak,
    }


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write(photograph: Path, target: Path, width: int, height: int) -> None:
    """The photograph repeated, mirrored at each seam, and cut to the size."""
    with Image.open(photograph) as image:
        tile = np.asarray(image.convert("RGB"))
    block = np.concatenate([tile, tile[:, ::-1]], axis=1)
    block = np.concatenate([block, block[::-1]], axis=0)
    repeats = (-(-height // block.shape[0]), -(-width // block.shape[1]), 1)
    Image.fromarray(np.tile(block, repeats)[:height, :width]).save(target)
