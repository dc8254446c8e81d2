"""What the processor does in the native engine's walk, beside its peak; and the tools' start-up."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from ncml_codec import engines
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.model_file import Model


def walks(
    photograph: Path, threads: Sequence[int], model: Model, repeats: int, say: Callable[[str], None]
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

    network = model.network
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


def startup(image: Path, say: Callable[[str], None]) -> dict[str, float]:
    """CPU seconds of a compression of 64 x 64 pixels with its check, of `ncmlzip --help` and of
    `import ncml_codec`, medians of eleven."""
    tool = [sys.executable, "-m", "ncml_cli.zip.ncmlzip"]
    commands = {
        "compress_64x64_cpu_seconds": [*tool, "compress", "-q", "-f", str(image)],
        "help_cpu_seconds": [*tool, "--help"],
        "import_cpu_seconds": [sys.executable, "-c", "import ncml_codec"],
    }
    found = {name: median(_cpu_seconds(line) for _ in range(11)) for name, line in commands.items()}
    say("  ".join(f"{name} {seconds:.3f}" for name, seconds in found.items()))
    return found


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
