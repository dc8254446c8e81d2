"""`python -m bench speed`: seconds and peak memory of `ncmlzip`, by engine and image size, and
multiply-adds a second of the native engine's instruction sets beside their peak."""

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
from ncml_codec import engines, library
from ncml_codec.codec import walk_tile
from ncml_codec.network import Integers
from ncml_codec.tables import Weights

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


def walks(
    photograph: Path, threads: Sequence[int], model: str, repeats: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The native engine's walk of a known image without a coder, for every instruction set.

    The share is of a peak measured just before: a loop of nothing but multiply-adds in registers,
    on one thread, times the threads.
    """
    if engines.why_not_native():
        say(f"no native engine: {engines.why_not_native()}")
        return []
    from ncml_codec.engines import _native
    from ncml_codec.engines.native_engine import INSTRUCTION_SETS, NativeEngine

    network = library.load(model).network
    with Image.open(photograph) as image:
        samples = np.asarray(image.convert("RGB"))
    multiply_adds = network.multiply_adds() * samples.shape[0] * samples.shape[1]
    found = []
    for isa in INSTRUCTION_SETS:
        peak = _native.peak(isa)
        for count in threads:
            engine = NativeEngine(network, count, isa)
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                walk_tile(engine, samples.shape, samples, _NoCoder())
                times.append(time.perf_counter() - started)
            rate = multiply_adds / median(times)
            share = rate / (peak * count)
            found.append(
                {"isa": isa, "threads": count, "multiply_adds_per_second": rate, "share": share}
            )
            say(
                f"{isa:11} {count} threads {rate / 1e9:6.1f} G multiply-adds/s, {share:.0%} of peak"
            )
    return found


class _NoCoder:
    """Codes nothing, so that the walk alone is timed."""

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        return symbols


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
    walked = [r for r in records if "isa" in r]
    if walked:
        rows += [
            "",
            "| instruction set | threads | G multiply-adds/s | share of peak |",
            "|---|---|---|---|",
        ]
    rows += [
        f"| {r['isa']} | {r['threads']} | {r['multiply_adds_per_second'] / 1e9:.1f} |"
        f" {r['share']:.0%} |"
        for r in walked
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
