"""`python -m bench training`: speed of training steps by preset, beside the device's peak.

A step is all of it: loading, forward, backward, optimiser, average. Operations are those of the
matrix products and convolutions of forward and backward as torch's counter has them, attention's
masked halves included, two for each multiply-add, and none of the optimiser's; the peak is the best
of some large matrix products in the same run. On one CPU thread seconds are of
CPU time, so that other programs do not count, though their use of caches and memory does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import record
from ncml_codec.learn.data.crops import CropConfig, FolderImages, Images
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.likelihood.objective import ncml
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training.memory import keep_freed_memory
from ncml_codec.learn.training.state import State, TrainConfig
from ncpn import presets

# Crops a step, and their side: what one CPU core does in seconds, and what fills a large GPU.
CPU_BATCHES = {"paper": 1, "base": 2, "small": 4, "tiny": 4}
GPU_BATCHES = {"paper": 64, "base": 128, "small": 256, "tiny": 256}
WAVE_BATCH, GPU_WAVE_BATCH = 4, 256
PAPER_SIDE, WAVE_SIDE = 32, 64
PEAK_SIDE = 2048

Clock = Callable[[], float]


def run(
    names: list[str], device: str, precision: str, steps: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One record of the machine, then one by preset; its first step is not timed."""
    keep_freed_memory()  # as ncml-train does
    chosen = torch.device(device)
    cpu_time = chosen.type == "cpu" and torch.get_num_threads() == 1
    clock: Clock = time.process_time if cpu_time else _synchronised(chosen)
    records: list[dict[str, Any]] = [
        {
            **record.header("training"),
            "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "precision": precision,
            "steps": steps,
            "seconds_are": "CPU time" if cpu_time else "wall time",
        }
    ]
    for name in names:
        found = _measure(name, chosen, precision, steps, clock)
        records.append(found)
        say(
            f"{name:12} {found['pixels_per_second']:12,.0f} pixels a second"
            f"  {found['gflops']:8.1f} of {found['peak_gflops']:.1f} Gflop/s"
        )
    return records


def _measure(
    name: str, device: torch.device, precision: str, steps: int, clock: Clock
) -> dict[str, Any]:
    wave = name.startswith("wave")
    gpu = device.type == "cuda"
    paper_batches = GPU_BATCHES if gpu else CPU_BATCHES
    batch = (GPU_WAVE_BATCH if gpu else WAVE_BATCH) if wave else paper_batches[name]
    crops = CropConfig(WAVE_SIDE if wave else PAPER_SIDE, batch)
    images = _images(wave)
    process = process_named("vp")
    torch.manual_seed(0)
    model = presets.build(presets.preset(name, process.horizon)).to(device)
    first = torch.from_numpy(images.crops(crops, 0, 0)).to(device).float()
    presets.initialise(model, first, torch.zeros(batch, device=device))
    model.train()
    state = State(model, TrainConfig(precision=precision))
    state.advance(images, process, crops)
    seconds = []
    for _ in range(steps):
        started = clock()
        state.advance(images, process, crops)
        seconds.append(clock() - started)
    step = median(seconds)
    loading = _loading_seconds(images, crops)
    # As plain products: the counter does not know the fused attention of CPUs.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        ncml(model, first, process, 0.5, torch.Generator(device).manual_seed(0)).total.backward()
    flops = counter.get_total_flops()
    peak = peak_gflops(device, precision, clock)
    pixels = batch * crops.crop**2
    return {
        "preset": name,
        "parameters": presets.parameter_count(model),
        "batch": batch,
        "side": crops.crop,
        "step_seconds": step,
        "images_per_second": batch / step,
        "pixels_per_second": pixels / step,
        "flops_per_pixel": flops / pixels,
        "gflops": flops / step / 1e9,
        "peak_gflops": peak,
        "loader_pixels_per_second": pixels / loading,
    }


def peak_gflops(device: torch.device, precision: str, clock: Clock) -> float:
    """The best of five products of 2048 x 2048 matrices (8192 on a GPU), in 1e9 operations a s."""
    side = 4 * PEAK_SIDE if device.type == "cuda" else PEAK_SIDE
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        started = clock()
        torch.mm(a, a)
        best = min(best, clock() - started)
    return 2 * side**3 / best / 1e9


def table(records: list[dict[str, Any]]) -> str:
    """Markdown, with the machine above."""
    head, *rows = records
    lines = [
        "# Speed of training",
        "",
        record.describe(head["machine"]),
        "",
        f"{head['device']}, {head['threads']} thread(s), {head['precision']}, VP, t = 0 with"
        f" probability 0.5; medians of {head['steps']} steps; seconds are {head['seconds_are']}."
        " Operations: matrix products and convolutions of forward and backward, two for each"
        " multiply-add; peak: the best of some large matrix products, measured after each preset."
        " Loader: the same batches without the model.",
        "",
        "| preset | parameters | batch | images/s | thousand pixels/s | Mflop a pixel"
        " | Gflop/s | peak | share of peak | loader alone, thousand pixels/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['preset']} | {row['parameters']:,} | {row['batch']} of {row['side']} x"
            f" {row['side']} | {row['images_per_second']:.2f} |"
            f" {row['pixels_per_second'] / 1e3:.1f} | {row['flops_per_pixel'] / 1e6:.2f} |"
            f" {row['gflops']:.1f} | {row['peak_gflops']:.0f} |"
            f" {100 * row['gflops'] / row['peak_gflops']:.0f} % |"
            f" {row['loader_pixels_per_second'] / 1e3:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def _images(wave: bool) -> Images:
    """Noise of the shapes that training data have: speed does not depend on what they show."""
    random = np.random.default_rng(0)
    if wave:
        return FolderImages([random.integers(0, 256, (512, 512, 3), np.uint8)] * 8, [])
    return ArrayImages(random.integers(0, 256, (10_000, 3, PAPER_SIDE, PAPER_SIDE), np.uint8))


def _loading_seconds(images: Images, crops: CropConfig) -> float:
    """Median CPU seconds of one batch, without the model."""
    seconds = []
    for step in range(20):
        started = time.process_time()
        images.labelled(crops, 1, step)
        seconds.append(time.process_time() - started)
    return median(seconds)


def _synchronised(device: torch.device) -> Clock:
    """Wall seconds; on a GPU once it has done what it was given."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock
