"""The card of a run: README.md in its folder, made from what is recorded there.

For whoever finds the folder, on a disk or on a model hub: what it holds, how it came about, what it
reached, how to load it.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from ncml_codec.atomic_files import write_atomically
from ncml_codec.learn.training.checkpoint import load_config
from ncml_codec.learn.training.log import EVALUATIONS, LOG, read_rows

CARD, CURVES = "README.md", "curves.png"
UNKNOWN_LICENSE = "to be filled in by whoever publishes"

_PROCESSES = {
    "none": "plain maximum likelihood (no noise)",
    "ve": "NCML with the variance exploding process",
    "vp": "NCML with the variance preserving process",
    "subvp": "NCML with the sub-VP process",
}


def write_card(run: Path, network: str, data: str, device: str, license: str | None) -> None:
    """Write README.md from config.json and the tables. Raises InputError if they are not there.

    network, data: their sizes in words; device: what it trained on.
    """
    log = read_rows(run / LOG, ("pixels_per_second", "seconds", "clean_bpd"))
    tested = (run / EVALUATIONS).exists()
    needed = ("bpd", "standard_error", "images")
    evaluations = read_rows(run / EVALUATIONS, needed) if tested else []
    config = load_config(run)
    text = card(run.name, config, network, data, device, license, log, evaluations)
    if (run / CURVES).exists():
        text += f"\n![Bits per dimension by step]({CURVES})\n"
    write_atomically(run / CARD, text.encode(), replace=True)


def card(
    name: str,
    config: Mapping[str, Any],
    network: str,
    data: str,
    device: str,
    license: str | None,
    log: Sequence[Mapping[str, str]],
    evaluations: Sequence[Mapping[str, str]],
) -> str:
    """The card's text. log, evaluations: rows of the run's tables."""
    options, process, crops = config["options"], config["process"], config["crops"]
    sources = ", ".join(options["data"])
    facts = {
        "preset": f"{options['model']}: {network}",
        "training data": f"{sources}: {data}",
        "batch": f"{_batch(options, crops)}, seed {options['seed']}",
        "objective": _PROCESSES[process["sde"]],
    }
    if process["sde"] != "none":
        facts["noise"] = (
            f"T = {process['T']:g}, standard deviation at T {process['noise_levels']:.2f} grey"
            f" levels; t = 0 with probability {options['clean-share']:g}"
        )
    facts |= _outcome(log, device)
    if evaluations:
        last = evaluations[-1]
        facts["held-out images"] = (
            f"{float(last['bpd']):.4f} +- {float(last['standard_error']):.4f} bits per dimension"
            f" at t = 0 over {int(float(last['images']))} images of {options['test-data']},"
            f" averaged weights, step {last['step']}"
        )
    versions = f"Python {platform.python_version()}"
    for package in ("ncml-codec", "torch"):
        versions += f", {package} {metadata.version(package)}"
    facts["made with"] = versions
    table = "".join(f"| {key} | {value} |\n" for key, value in facts.items())
    return (
        f"---\nlibrary_name: ncml-codec\n{f'license: {license}' if license else 'tags: [ncml]'}\n"
        f"---\n\n# {name}\n\nAn autoregressive network of images, trained by `ncml-train`"
        f" ({facts['objective']}). `config.json` holds every option.\n\n| | |\n|---|---|\n{table}\n"
        f"License: {license or UNKNOWN_LICENSE}\n\n```python\nfrom ncpn import runs\n"
        f'model = runs.from_pretrained("{name}")  # model(x, t): the distribution of every pixel\n'
        "```\n"
    )


def _batch(options: Mapping[str, Any], crops: Mapping[str, Any]) -> str:
    text = f"{crops['batch']} crops of at most {crops['crop']} x {crops['crop']} pixels"
    if share := crops.get("augment", 0):
        text += f", {100 * share:g} % of them altered (--augment)"
    return text + (f", {n} batches a step" if (n := options.get("accumulate", 1)) > 1 else "")


def _outcome(log: Sequence[Mapping[str, str]], device: str) -> dict[str, str]:
    if not log:
        return {"state": f"started, nothing logged yet, on {device}"}
    last = log[-1]
    speed = median(float(row["pixels_per_second"]) for row in log)
    return {
        "trained": f"{last['step']} steps, {float(last['seconds']) / 60:.1f} minutes on {device},"
        f" median {speed / 1e3:.1f} thousand pixels a second",
        "training crops": f"{float(last['clean_bpd']):.4f} bits per dimension at t = 0"
        " (running mean, weights of the moment)",
    }
