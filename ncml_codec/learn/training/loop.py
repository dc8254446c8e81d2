"""The training loop: one objective, one optimiser, one log, checkpoints that resume.

It knows nothing of the network beyond its forward(x, t) -> Distribution.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from ncml_codec.errors import UsageError
from ncml_codec.learn.data.crops import CropConfig, Images
from ncml_codec.learn.likelihood.processes import Process
from ncml_codec.learn.training import parallel
from ncml_codec.learn.training.checkpoint import has_snapshot, save_snapshot, saved_progress
from ncml_codec.learn.training.log import LOG, Board, Table
from ncml_codec.learn.training.state import Diverged as Diverged
from ncml_codec.learn.training.state import State
from ncml_codec.learn.training.state import TrainConfig as TrainConfig

LOG_FIELDS = ("step", "bpd", "clean_bpd", "noisy_bpd", "level", "pixels_per_second", "seconds")


@dataclass(frozen=True)
class Visit:
    """What to do with the averaged network every so many steps, and at the end; dropout is off.

    look(step, network) must leave the network as it is. Its random numbers are its own: training
    goes on as if it had not been called. Other processes wait meanwhile, NCCL's ten minutes at
    most.
    """

    every: int
    look: Callable[[int, nn.Module], None]


@dataclass(frozen=True)
class Change:
    """What changes for the rest of a run as soon as a share of it, 0 to 1, is done.

    look(network, images): what the averaged network says, as JSON; checkpoints keep it by `name`.
    begin(images, found): makes the change and returns the images to train on from now on. It is
    called with what `look` returned, and again when a run that has it resumes.
    """

    name: str
    share: float
    look: Callable[[nn.Module, Images], Any]
    begin: Callable[[Images, Any], Images]


def check_unfinished(run: Path, config: TrainConfig) -> None:
    """Raises UsageError if the checkpoint of `run` is the end of what `config` asks for."""
    progress = saved_progress(run)
    if config.share(progress["step"], progress["seconds"]) >= 1:
        raise UsageError(f"{run}: finished at step {progress['step']}; give more steps or minutes")


def train(
    model: nn.Module,
    images: Images,
    process: Process,
    crops: CropConfig,
    config: TrainConfig,
    run: Path,
    say: Callable[[str], None] = print,
    visits: Sequence[Visit] = (),
    saved: Callable[[int], None] = lambda step: None,
    board: Board | None = None,
    changes: Sequence[Change] = (),
) -> None:
    """Train `model` in place and leave checkpoints in `run`, resuming from the one found there.

    Called in every process of `parallel.joined`; the first one logs, saves and makes the visits.
    saved(step) is called after each checkpoint.

    Raises UsageError if the run has already ended, Diverged at the first loss or gradient that is
    not finite.
    """
    model.train()
    if has_snapshot(run):
        check_unfinished(run, config)
        state = State.resumed(model, config, run)
    else:
        state = State(model, config)
    for change in changes:
        if change.name in state.found:
            images = change.begin(images, state.found[change.name])
    first = parallel.rank() == 0
    shown = first and sys.stderr.isatty()
    bar = tqdm(total=100, unit="%", disable=not shown, bar_format=_BAR)
    last_save = last_line = time.monotonic()
    pixels = 0
    with bar, Table(run / LOG, LOG_FIELDS, state.step, board) if first else nullcontext() as log:
        while state.share_done() < 1:
            for change in changes:
                if change.name not in state.found and state.share_done() >= change.share:
                    images = _changed(state, images, change)
                    say(f"step {state.step}: {change.name} from the averaged network")
            for parts in state.advance(images, process, crops):
                for name in _PARTS:
                    _average(state.running, name, float(getattr(parts, name).detach()))
            state.look_at_the_clock()
            if log is None:
                continue
            now, done = time.monotonic(), state.share_done() >= 1
            if state.step % config.log_every == 0 or done:
                line = _line(state, (state.pixels - pixels) / max(now - last_line, 1e-9))
                log.write(line)
                (bar.write if not bar.disable else say)(_sentence(line, state.seconds_left()))
                last_line, pixels = now, state.pixels
            bar.n = round(100 * min(1.0, state.share_done()), 1)
            bar.refresh()
            _receive(state, [v for v in visits if state.step % v.every == 0 or done])
            if done or now - last_save > 60 * config.save_minutes:
                save_snapshot(run, state.snapshot())
                saved(state.step)
                last_save = now


def _changed(state: State, images: Images, change: Change) -> Images:
    with state.averaged_network() as network:
        state.found[change.name] = parallel.of_the_first(change.look(network, images))
    return change.begin(images, state.found[change.name])


def _receive(state: State, visits: Sequence[Visit]) -> None:
    if visits:
        with state.averaged_network() as network:
            for visit in visits:
                visit.look(state.step, network)


_PARTS = ("total", "clean", "noisy")
_BAR = "{percentage:5.1f}% |{bar}| {elapsed}"


def _average(running: dict[str, float], name: str, value: float) -> None:
    """Exponential average over about 50 steps; nan (no such images in the batch) is left out."""
    if not math.isnan(value):
        running[name] = 0.98 * running.get(name, value) + 0.02 * value


def _line(state: State, pixels_per_second: float) -> dict[str, float]:
    bits = (state.running.get(name, math.nan) for name in _PARTS)
    values = (state.step, *bits, state.level(), pixels_per_second, state.seconds())
    return dict(zip(LOG_FIELDS, values, strict=True))


def _sentence(line: dict[str, float], seconds_left: float) -> str:
    minutes, seconds = divmod(int(seconds_left), 60)
    noisy = "" if math.isnan(line["noisy_bpd"]) else f" (t > 0: {line['noisy_bpd']:.4f})"
    return (
        f"step {int(line['step'])}  bpd {line['clean_bpd']:.4f}{noisy}"
        f"  rate x {line['level']:.3f}  {line['pixels_per_second'] / 1e3:.0f} kpixel/s"
        f"  left {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    )
