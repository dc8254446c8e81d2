"""The training loop: one objective, one optimiser, one log, checkpoints that resume.

It knows nothing of the network beyond its forward(x, t) -> Distribution.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ncml_codec.errors import NcmlError, UsageError
from ncml_codec.learn import parallel
from ncml_codec.learn.checkpoint import (
    Snapshot,
    has_snapshot,
    load_snapshot,
    save_snapshot,
)
from ncml_codec.learn.data import CropConfig, Images
from ncml_codec.learn.log import LOG, Table
from ncml_codec.learn.noise import Process
from ncml_codec.learn.objective import Parts, ncml
from ncml_codec.learn.optimiser import Optimiser, OptimiserConfig

LOG_FIELDS = ("step", "bpd", "clean_bpd", "noisy_bpd", "level", "pixels_per_second", "seconds")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Steps or minutes end the run, whichever comes first, and set its schedule.

    The learning rates rise over `warmup` steps; then they fall as a half cosine to `rate_floor` of
    their peaks, or stay (schedule "constant"). clip: bound on the gradient's norm. average: decay
    of the exponential moving average of the weights. clean_share, importance: see
    `Process.draw_times`. accumulate: batches a step. precision: "float32" or "bf16" (autocast).
    """

    steps: int = 20_000
    minutes: float = math.inf
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: str = "cosine"
    rate_floor: float = 0.02
    warmup: int = 100
    clip: float = 0.5
    average: float = 0.999
    clean_share: float = 0.5
    importance: bool = False
    accumulate: int = 1
    precision: str = "float32"
    seed: int = 0
    log_every: int = 100
    save_minutes: float = 5.0


@dataclass(frozen=True)
class Visit:
    """What to do with the averaged network every so many steps, and at the end; dropout is off.

    look(step, network) must leave the network as it is. Its random numbers are its own: training
    goes on as if it had not been called.
    """

    every: int
    look: Callable[[int, nn.Module], None]


class Diverged(NcmlError):
    """The loss is no longer a finite number."""


def train(
    model: nn.Module,
    images: Images,
    process: Process,
    crops: CropConfig,
    config: TrainConfig,
    run: Path,
    say: Callable[[str], None] = print,
    visits: Sequence[Visit] = (),
) -> None:
    """Train `model` in place and leave checkpoints in `run`, resuming from the one found there.

    Called in every process of `parallel.joined`; the first one logs, saves and makes the visits.

    Raises UsageError if the run has already ended, Diverged at the first loss that is not finite.
    """
    model.train()
    state = _State.resumed(model, config, run) if has_snapshot(run) else _State(model, config)
    if state.share_done() >= 1:
        raise UsageError(f"{run}: finished at step {state.step}; give more steps or minutes")
    first = parallel.rank() == 0
    shown = first and sys.stderr.isatty()
    bar = tqdm(total=100, unit="%", disable=not shown, bar_format=_BAR)
    saved = logged = time.monotonic()
    logged_pixels = 0
    with bar, Table(run / LOG, LOG_FIELDS, state.step) if first else nullcontext() as log:
        while state.share_done() < 1:
            for parts in state.advance(images, process, crops):
                for name in _PARTS:
                    _average(state.running, name, float(getattr(parts, name).detach()))
            now = time.monotonic()
            if log is not None and (state.step % config.log_every == 0 or state.share_done() >= 1):
                pixels = state.pixels - logged_pixels
                line = state.report(pixels / max(now - logged, 1e-9))
                log.write(line)
                (bar.write if not bar.disable else say)(_sentence(line, state.seconds_left()))
                logged, logged_pixels = now, state.pixels
            bar.n = round(100 * min(1.0, state.share_done()), 1)
            bar.refresh()
            if first:
                state.receive(visits)
            if first and now - saved > 60 * config.save_minutes:
                save_snapshot(run, state.snapshot())
                saved = now
            state.look_at_the_clock()
    if first:
        save_snapshot(run, state.snapshot())


class _State:
    """Everything that one step changes: weights, their average, moments, step, seconds."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.network, self.model, self.config = model, parallel.shared(model), config
        self.step, self.seconds_before, self.pixels = 0, 0.0, 0
        self.started = time.monotonic()
        self._clock = 0.0
        self.named = dict(model.named_parameters())
        self.running: dict[str, float] = {}
        self.averaged = {name: p.detach().clone() for name, p in self.named.items()}
        self.optimiser = Optimiser(self.named, config.optimiser)

    @classmethod
    def resumed(cls, model: nn.Module, config: TrainConfig, run: Path) -> _State:
        state = cls(model, config)
        snapshot = load_snapshot(run)
        state.step = int(snapshot.progress["step"])
        state.seconds_before = float(snapshot.progress["seconds"])
        state._clock = state.seconds_before
        state.running = dict(snapshot.progress["running"])
        with torch.no_grad():
            for name, parameter in state.named.items():
                parameter.copy_(snapshot.weights[name])
                state.averaged[name].copy_(snapshot.average[name])
        state.optimiser.load_moments(snapshot.moments)
        return state

    def advance(self, images: Images, process: Process, crops: CropConfig) -> list[Parts]:
        """One step of gradient descent; its randomness depends on (seed, step) alone."""
        config = self.config
        level = self.level()
        self.optimiser.zero_grad()
        parts = []
        for part in range(config.accumulate):
            parts.append(self._accumulate(images, process, crops, part))
        nn.utils.clip_grad_norm_(self.named.values(), config.clip)
        self.step += 1
        self.optimiser.step(self.step, level)
        keep = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.named.items():
                self.averaged[name].lerp_(parameter, 1 - keep)
        return parts

    def _accumulate(self, images: Images, process: Process, crops: CropConfig, part: int) -> Parts:
        """Add one batch's share to the gradients."""
        config = self.config
        device = next(iter(self.named.values())).device
        draw = (self.step * config.accumulate + part) * parallel.world() + parallel.rank()
        seed = config.seed * 1_000_003 + draw
        generator = torch.Generator(device).manual_seed(seed)
        # Dropout can only draw from torch's global generator; another seed than the noise's.
        torch.manual_seed(-1 - seed)
        batch = torch.from_numpy(images.crops(crops, config.seed, draw)).to(device)
        dtype = _PRECISIONS[config.precision]
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            parts = ncml(
                self.model,
                batch.float(),
                process,
                config.clean_share,
                generator,
                config.importance,
            )
        total = parallel.mean(float(parts.total.detach()))
        if not math.isfinite(total):
            raise Diverged(
                f"step {self.step}: the loss is {total}; the last checkpoint is sound: resume it"
                f" with smaller rates than {config.optimiser.matrix_rate:g} and"
                f" {config.optimiser.rate:g}"
            )
        (parts.total / config.accumulate).backward()
        self.pixels += batch.shape[0] * batch.shape[2] * batch.shape[3]
        return parts

    def level(self) -> float:
        """The coming step's share of the peak learning rates."""
        config = self.config
        rising = min(1.0, (self.step + 1) / max(1, config.warmup))
        if config.schedule == "constant":
            return rising
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.share_done())))
        return rising * (config.rate_floor + (1 - config.rate_floor) * cosine)

    def seconds(self) -> float:
        """Training time so far, earlier parts of a resumed run included."""
        return self.seconds_before + time.monotonic() - self.started

    def look_at_the_clock(self) -> None:
        """Take rank 0's time for this step's decisions; all processes end at the same step."""
        self._clock = parallel.agreed(self.seconds())

    def share_done(self) -> float:
        return max(self.step / self.config.steps, self._clock / 60 / self.config.minutes)

    def seconds_left(self) -> float:
        share = self.share_done()
        return math.nan if share <= 0 else self.seconds() * max(0.0, 1 / share - 1)

    def report(self, pixels_per_second: float) -> dict[str, float]:
        bits = (self.running.get(name, math.nan) for name in _PARTS)
        figures = (*bits, self.level())
        values = (self.step, *figures, pixels_per_second, self.seconds())
        return dict(zip(LOG_FIELDS, values, strict=True))

    def receive(self, visits: Sequence[Visit]) -> None:
        """Make the visits that are due after this step."""
        last = self.share_done() >= 1
        due = [visit for visit in visits if last or self.step % visit.every == 0]
        if due:
            with self.averaged_network() as network:
                for visit in due:
                    visit.look(self.step, network)

    @contextmanager
    def averaged_network(self) -> Iterator[nn.Module]:
        """The network with the averaged weights and without dropout, while the context lasts."""
        self._exchange()
        self.network.eval()
        try:
            with torch.random.fork_rng(), torch.no_grad():
                yield self.network
        finally:
            self.network.train()
            self._exchange()

    def _exchange(self) -> None:
        """Weights and averages change places."""
        for name, parameter in self.named.items():
            parameter.data, self.averaged[name] = self.averaged[name], parameter.data

    def snapshot(self) -> Snapshot:
        progress = {"step": self.step, "seconds": self.seconds(), "running": self.running}
        return Snapshot(self.named, self.averaged, self.optimiser.moments(), progress)


_PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
_PARTS = ("total", "clean", "noisy")
_BAR = "{percentage:5.1f}% |{bar}| {elapsed}"


def _average(running: dict[str, float], name: str, value: float) -> None:
    """Exponential average over about 50 steps; nan (no such images in the batch) is left out."""
    if not math.isnan(value):
        running[name] = 0.98 * running.get(name, value) + 0.02 * value


def _sentence(line: dict[str, float], seconds_left: float) -> str:
    minutes, seconds = divmod(int(seconds_left), 60)
    noisy = "" if math.isnan(line["noisy_bpd"]) else f" (t > 0: {line['noisy_bpd']:.4f})"
    return (
        f"step {int(line['step'])}  bpd {line['clean_bpd']:.4f}{noisy}"
        f"  rate x {line['level']:.3f}  {line['pixels_per_second'] / 1e3:.0f} kpixel/s"
        f"  left {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    )
