"""`python -m bench speed`: whole `ncmlzip` processes by engine, threads, model and image size, and
batches of small images; their table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench import record
from bench.speed import walks
from ncml_codec.network import released_models
from ncml_codec.network.model_file import identified, read_model, write_model

SIZES = {
    "32x32": (32, 32),
    "768x512": (768, 512),
    "2048x1365": (2048, 1365),
    "24MP": (6000, 4000),
    "100MP": (12500, 8000),
}
_NUMPY = 3_000_000  # pixels up to which the numpy engine is measured: it is eight times slower
_ONCE = 10_000_000  # pixels from which once is enough: the run lasts long enough to be even
_OTHER_MODELS = "768x512"  # where models beside the first are measured

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure. models: released names or wave presets, the first at all sizes; batch:
    images of 32 x 32 in one call, 0 for none."""

    photograph: Path
    sizes: Sequence[str]
    engines: Sequence[str]
    threads: Sequence[int]
    models: Sequence[str]
    batch: int
    repeats: int


def run(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Everything, one record each, the machine first."""
    records: list[dict[str, Any]] = [{"machine": record.machine(), "repeats": plan.repeats}]
    with tempfile.TemporaryDirectory() as name, _compiled(Path(name) / "bytecode"):
        folder = Path(name)
        models = {model: _model_file(model, plan.photograph, folder) for model in plan.models}
        _compile(plan, models[plan.models[0]], folder)
        records += _processes(plan, models, folder, say)
        if plan.batch:
            records += _batches(plan, models[plan.models[0]], folder, say)
        small = folder / "64x64.png"
        write_photograph(plan.photograph, small, 64, 64)
        network = read_model(models[plan.models[0]].read_bytes())
        records += walks.walks(plan.photograph, plan.threads, network, plan.repeats, say)
        records.append(dict(walks.startup(small, say)))
    return records


@contextmanager
def _compiled(folder: Path) -> Iterator[None]:
    """Modules are compiled once, into the folder, as they are where a package is installed."""
    before = dict(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("PYTHONPYCACHEPREFIX")
        os.environ.update(before)


def _compile(plan: Plan, model: Path, folder: Path) -> None:
    """Run once, untimed, what will be timed, so that its modules are compiled."""
    first, images = folder / "first.ppm", [folder / f"first{index}.png" for index in range(3)]
    for path in (first, *images):
        write_photograph(plan.photograph, path, 64, 64)
    for engine in plan.engines:
        for threads in plan.threads:
            _measure(first, engine, threads, model, repeats=1)
    common = ["-m", str(model), "-O", str(folder)]
    coded = [f"{image}.ncmz" for image in images]
    _run(_tool("compress", max(plan.threads), *common, *map(str, images)), threads=1)
    _run(_tool("decompress", max(plan.threads), *common, *coded), threads=1)


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| image | model | engine | threads | compress, s | decompress, s | kpixel/s | peak, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['size']} | {r['model']} | {r['engine']} | {r['threads']} |"
        f" {r['compress_seconds']:.2f} | {r['decompress_seconds']:.2f} |"
        f" {r['pixels'] / r['compress_seconds'] / 1e3:.0f} /"
        f" {r['pixels'] / r['decompress_seconds'] / 1e3:.0f} | {r['peak_mib']:.0f} |"
        for r in records
        if "size" in r
    ]
    batches = [r for r in records if "images" in r]
    if batches:
        lines += ["", "| images at once | threads | compress, checked, s | decompress, s |"]
        lines += ["|---|---|---|---|"]
    lines += [
        f"| {r['images']} of 32x32 | {r['threads']} | {r['compress_seconds']:.2f} |"
        f" {r['decompress_seconds']:.2f} |"
        for r in batches
    ]
    walked = [r for r in records if "isa" in r]
    if walked:
        lines += ["", "| instruction set | threads | G multiply-adds/s | share of peak |"]
        lines += ["|---|---|---|---|"]
    lines += [
        f"| {r['isa']} | {r['threads']} | {r['multiply_adds_per_second'] / 1e9:.1f} |"
        f" {r['share']:.0%} |"
        for r in walked
    ]
    start = next((r for r in records if "compress_64x64_cpu_seconds" in r), None)
    if start:
        lines += [
            "",
            f"Start-up, CPU seconds: `ncmlzip compress` of 64 x 64 pixels, checked,"
            f" {start['compress_64x64_cpu_seconds']:.2f}; `ncmlzip --help`"
            f" {start['help_cpu_seconds']:.2f}; `import ncml_codec`"
            f" {start['import_cpu_seconds']:.2f}.",
        ]
    return "\n".join(lines) + (
        "\n\nWhole processes, start-up included, without check unless stated. kpixel/s: compress /"
        " decompress. Models called wave-* have random weights, which does for speed; their files"
        " are larger than trained ones', and so is the coder's work. Modules are"
        " compiled before, as where the package is installed. Measured on"
        f" {record.describe(records[0]['machine'])}.\n"
    )


def _processes(
    plan: Plan, models: dict[str, Path], folder: Path, say: Say
) -> Iterator[dict[str, Any]]:
    first, *others = models
    for size in plan.sizes:
        image = folder / f"{size}.ppm"
        write_photograph(plan.photograph, image, *SIZES[size])
        pixels = SIZES[size][0] * SIZES[size][1]
        repeats = plan.repeats if pixels < _ONCE else 1
        for model in [first, *(others if size == _OTHER_MODELS else [])]:
            for engine in plan.engines:
                if engine == "numpy" and (pixels > _NUMPY or model != first):
                    continue
                for threads in plan.threads:
                    result = _measure(image, engine, threads, models[model], repeats)
                    yield {"size": size, "model": model, "pixels": pixels, **result}
                    say(
                        f"{size:10} {model:10} {engine:6} {threads} threads"
                        f"  compress {result['compress_seconds']:7.2f} s"
                        f"  decompress {result['decompress_seconds']:7.2f} s"
                        f"  peak {result['peak_mib']:.0f} MiB"
                    )
        image.unlink()


def _measure(image: Path, engine: str, threads: int, model: Path, repeats: int) -> dict[str, Any]:
    packed, back = image.with_suffix(".ppm.ncmz"), image.with_suffix(".back.ppm")
    common = ["-m", str(model), "--engine", engine]
    compress = _tool("compress", threads, *common, "--no-check", str(image), "-o", str(packed))
    decompress = _tool("decompress", threads, *common, str(packed), "-o", str(back))
    times: dict[str, list[float]] = {"compress": [], "decompress": []}
    peak = 0.0
    for _ in range(repeats):
        for name, command in (("compress", compress), ("decompress", decompress)):
            seconds, mib = _run(command, threads)
            times[name].append(seconds)
            peak = max(peak, mib)
    if image.read_bytes() != back.read_bytes():
        raise SystemExit(f"{image.name}: the pixels did not come back")
    found = {
        "engine": engine,
        "threads": threads,
        "bytes": packed.stat().st_size,
        "compress_seconds": median(times["compress"]),
        "decompress_seconds": median(times["decompress"]),
        "peak_mib": peak,
    }
    packed.unlink()
    back.unlink()
    return found


def _batches(plan: Plan, model: Path, folder: Path, say: Say) -> Iterator[dict[str, Any]]:
    """Many small images in one call, with their check, as a user would call it."""
    samples = _pixels(plan.photograph)
    rows, columns = samples.shape[0] // 32, samples.shape[1] // 32
    images = []
    for index in range(plan.batch):
        # Shifted by a pixel at each turn through the photograph, so that no two are equal.
        turn, at = divmod(index, (rows - 1) * (columns - 1))
        top, left = 32 * (at // (columns - 1)) + turn, 32 * (at % (columns - 1)) + turn
        images.append(folder / f"batch{index}.png")
        Image.fromarray(samples[top : top + 32, left : left + 32]).save(images[-1])
    packed, back = folder / "packed", folder / "back"
    packed.mkdir()
    back.mkdir()
    files = [str(image) for image in images]
    coded = [str(packed / f"{image.name}.ncmz") for image in images]
    for threads in plan.threads:
        times: dict[str, list[float]] = {"compress": [], "decompress": []}
        for _ in range(plan.repeats):
            for name, names, target in (("compress", files, packed), ("decompress", coded, back)):
                command = _tool(name, threads, "-m", str(model), "-O", str(target), *names)
                times[name].append(_run(command, threads=1)[0])
        for image in images:
            if not np.array_equal(_pixels(image), _pixels(back / image.name)):
                raise SystemExit(f"{image.name}: the pixels did not come back")
        found = {f"{name}_seconds": median(seconds) for name, seconds in times.items()}
        yield {"images": plan.batch, "threads": threads, **found}
        say(
            f"{plan.batch} of 32x32  {threads} threads  compress, checked,"
            f" {found['compress_seconds']:.2f} s  decompress {found['decompress_seconds']:.2f} s"
        )


def _tool(command: str, threads: int, *arguments: str) -> list[str]:
    tool = [sys.executable, "-m", "ncml_cli.zip.ncmlzip", command, "-q", "-f"]
    return [*tool, "--threads", str(threads), *arguments]


# Starts a command from a process of its own: a child's peak memory begins with that of the process
# that starts it, which here holds images, numpy and perhaps torch.
_LAUNCHER = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def _run(command: list[str], threads: int) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process (the largest, if it has others)."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, kib, code = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command[:12])}: exit {code}")
    return float(seconds), int(kib) / 1024


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _model_file(name: str, photograph: Path, folder: Path) -> Path:
    """The file of a released model, or of a wave preset with random weights."""
    target = folder / f"{name}.ncpn"
    if name in released_models.released():
        target.write_bytes(write_model(released_models.load(name).network))
        return target
    import torch

    from ncpn import presets
    from ncpn.integers import activations, export
    from ncpn.wave_network.wave import WaveNCPN

    torch.manual_seed(0)
    model = presets.build(presets.preset(name, 1.0))
    if not isinstance(model, WaveNCPN):
        raise SystemExit(f"model {name}: not a wave network, so it has no integers")
    sample = _pixels(photograph)[:64, :64]
    seen = activations.observe(model.eval(), [sample])
    network = export.to_integers(model, activations.choose_units(seen), seen)
    target.write_bytes(write_model(identified(network).network))
    return target


def write_photograph(photograph: Path, target: Path, width: int, height: int) -> None:
    """The photograph repeated, mirrored at each seam, and cut to the size.

    Where it is repeated, levels are lower by 0 or 1 by chance: what comes again exactly would be
    coded by what it was, as no photograph is.
    """
    tile = _pixels(photograph)
    block = np.concatenate([tile, tile[:, ::-1]], axis=1)
    block = np.concatenate([block, block[::-1]], axis=0)
    repeats = (-(-height // block.shape[0]), -(-width // block.shape[1]), 1)
    pixels = np.tile(block, repeats)[:height, :width]
    chance = np.random.default_rng(0).integers(0, 2, pixels.shape, np.uint8)
    chance[: tile.shape[0], : tile.shape[1]] = 0
    options: dict[str, Any] = {"lossless": True} if target.suffix == ".webp" else {}
    Image.fromarray(pixels - np.minimum(pixels, chance)).save(target, **options)
