"""Training curves: the log files of one or more runs as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ncml_codec.errors import InputError
from ncml_codec.learn.log import LOG, read_rows

_STYLES = ("-", "--", ":", "-.")  # told apart in black and white


def draw(runs: Sequence[Path], out: Path) -> None:
    """Write a PNG: bits per dimension at t = 0, and at t > 0 where there was noise, by step.

    Raises InputError for a run without a log.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    lowest, highest = math.inf, -math.inf
    for index, run in enumerate(runs):
        steps, clean, noisy = read_log(run)
        colour = f"C{index % 10}"
        style = _STYLES[index % len(_STYLES)]
        axes.plot(steps, clean, style, color=colour, label=f"{run.name}, t = 0")
        if not all(math.isnan(value) for value in noisy):
            axes.plot(steps, noisy, style, color=colour, alpha=0.4, label=f"{run.name}, t > 0")
        settled = [v for v in clean[len(clean) // 20 :] + noisy[len(noisy) // 20 :] if v == v]
        lowest, highest = min([lowest, *settled]), max([highest, *settled])
    if lowest < highest:
        margin = 0.05 * (highest - lowest)
        axes.set_ylim(lowest - margin, highest + margin)
    axes.set_xlabel("step")
    axes.set_ylabel("bits per dimension (running mean of training crops)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=130)


def read_log(run: Path) -> tuple[list[int], list[float], list[float]]:
    """Steps, bits at t = 0 and bits at t > 0 (nan where there are none) of a run's log.csv."""
    path = run / LOG
    rows = read_rows(path)
    try:
        steps = [int(row["step"]) for row in rows]
        clean = [float(row["clean_bpd"]) for row in rows]
        noisy = [float(row["noisy_bpd"]) for row in rows]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a training log: {error}") from error
    if not rows:
        raise InputError(f"{path}: the log is empty")
    return steps, clean, noisy
