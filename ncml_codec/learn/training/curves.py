"""Training curves: the tables of one or more runs as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_codec.errors import InputError
from ncml_codec.learn.training.log import EVALUATIONS, LOG, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = ("-", "--", ":", "-.")  # told apart in black and white
_MARKERS = ("o", "s", "^", "D")


def draw(runs: Sequence[Path], out: Path) -> None:
    """Write a PNG: training crops' bits per dimension by step, and held-out images' beside it.

    Training: at t = 0, at t > 0 where there was noise, and, for a single run, the loss where it is
    a mixture of both. Held out: where a run has evaluations. Raises InputError for a run without
    a log.
    """
    from matplotlib.figure import Figure

    tested = [run for run in runs if (run / EVALUATIONS).exists() and read_rows(run / EVALUATIONS)]
    figure = Figure(figsize=(11 if tested else 7, 4.2), layout="constrained")
    panels = figure.subplots(1, 2 if tested else 1, squeeze=False)[0]
    _training(panels[0], runs)
    if tested:
        _held_out(panels[1], runs)
    for axes in panels:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(out, dpi=100)


def _training(axes: Axes, runs: Sequence[Path]) -> None:
    lowest, highest = math.inf, -math.inf
    for index, run in enumerate(runs):
        steps, clean, noisy, loss = _columns(run / LOG, "clean_bpd", "noisy_bpd", "bpd")
        colour, style = f"C{index % 10}", _STYLES[index % len(_STYLES)]
        axes.plot(steps, clean, style, color=colour, label=f"{run.name}, t = 0")
        if not all(math.isnan(value) for value in noisy):
            axes.plot(steps, noisy, style, color=colour, alpha=0.4, label=f"{run.name}, t > 0")
            if len(runs) == 1:
                axes.plot(steps, loss, ":", color="black", label="loss")
        settled = [v for v in clean[len(clean) // 20 :] + noisy[len(noisy) // 20 :] if v == v]
        lowest, highest = min([lowest, *settled]), max([highest, *settled])
    if lowest < highest:
        margin = 0.05 * (highest - lowest)
        axes.set_ylim(lowest - margin, highest + margin)
    axes.set_ylabel("bits per dimension (running mean of training crops)")


def _held_out(axes: Axes, runs: Sequence[Path]) -> None:
    for index, run in enumerate(runs):
        if (run / EVALUATIONS).exists():
            steps, bits, errors = _columns(run / EVALUATIONS, "bpd", "standard_error")
            colour, marker = f"C{index % 10}", _MARKERS[index % len(_MARKERS)]
            axes.errorbar(
                steps, bits, errors, color=colour, marker=marker, capsize=2, label=run.name
            )
    axes.set_ylabel("bits per dimension of held-out images, t = 0")


def _columns(path: Path, *names: str) -> list[list[float]]:
    """Columns of a table, the step first. Raises InputError if it has none of them, or no line."""
    rows = read_rows(path, names)
    if not rows:
        raise InputError(f"{path}: the log is empty")
    return [[float(row[name]) for row in rows] for name in ("step", *names)]
