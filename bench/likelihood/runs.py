"""`python -m bench runs`: test likelihoods and curves of finished training runs, side by side."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import record
from ncml_codec.learn.data.datasets import check_labels, first, open_dataset
from ncml_codec.learn.evaluation.held_out import bits_by_image
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training import curves
from ncml_codec.learn.training.checkpoint import CONFIG, load_config, saved_step
from ncml_codec.learn.training.log import EVALUATIONS, LOG, read_rows
from ncpn import presets
from ncpn.runs import from_pretrained


def run(
    runs: Sequence[Path],
    source: str,
    limit: int | None,
    batch: int,
    device: str,
    note: str,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A record of the machine, then one by run: test bits at t = 0 of its averaged weights.

    difference: from the first run, image by image, with its standard error, which is much smaller
    than that of either mean.
    """
    images = open_dataset(source, "test", 1)
    images = images if limit is None else first(images, limit)
    records: list[dict[str, Any]] = [record.header("runs", data=source, note=note)]
    reference = None
    for path in runs:
        config = load_config(path)
        model = from_pretrained(path).to(device)
        classes = presets.classes(model)
        check_labels(images, classes)
        bits, sizes = bits_by_image(
            model, images, process_named("none"), 0.0, batch, torch.device(device), 0, classes > 0
        )
        reference = bits if reference is None else reference
        share = sizes / sizes.sum()
        last = read_rows(path / LOG)[-1]
        found = {
            "run": path.name,
            "options": config["options"],
            "process": config["process"],
            "steps": saved_step(path) or int(last["step"]),
            "wall_minutes": float(last["seconds"]) / 60,
            "images": len(bits),
            "bpd": float((share * bits).sum()),
            "standard_error": _error(bits),
            "difference": float((share * (bits - reference)).sum()),
            "difference_error": _error(bits - reference),
        }
        records.append(found)
        say(f"{path.name:12} {found['bpd']:.4f} +- {found['standard_error']:.4f}")
    return records


def keep(runs: Sequence[Path], folder: Path) -> None:
    """Copy each run's configuration and tables into a folder of its name, and draw the curves."""
    for path in runs:
        kept = folder / path.name
        kept.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, LOG, EVALUATIONS):
            if (path / name).exists():
                shutil.copyfile(path / name, kept / name)
    curves.draw(runs, folder / "curves.png")


def table(records: list[dict[str, Any]]) -> str:
    """Markdown, with the machine above."""
    head, *rows = records
    options = [json.dumps(row["options"].get("seed")) for row in rows]
    lines = [
        "# Training runs side by side",
        "",
        record.describe(head["machine"]),
        "",
        head["note"],
        "",
        f"Bits per dimension at t = 0 of the averaged weights, `{head['data']}`, the first"
        f" {rows[0]['images']:,} test images; +-: standard error over images. Difference: from"
        f" {rows[0]['run']}, image by image. Seeds of training: {', '.join(options)}.",
        "",
        "| run | preset | std(T), levels | T | p(t = 0) | steps x batch | wall minutes | test bpd"
        " | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        chosen, process = row["options"], row["process"]
        noise = process["sde"] != "none"
        lines.append(
            f"| {row['run']} | {chosen['model']} |"
            f" {format(process['noise_levels'], '.1f') if noise else ''} |"
            f" {format(process['T'], '.4g') if noise else ''} |"
            f" {chosen['clean-share'] if noise else 1} | {row['steps']} x {chosen['batch']} |"
            f" {row['wall_minutes']:.1f} | {row['bpd']:.4f} +- {row['standard_error']:.4f} |"
            f" {row['difference']:+.4f} +- {row['difference_error']:.4f} |"
        )
    return "\n".join(lines) + "\n\n![Curves](curves.png)\n"


def _error(values: torch.Tensor) -> float:
    return float(values.std(correction=0)) / math.sqrt(len(values))
