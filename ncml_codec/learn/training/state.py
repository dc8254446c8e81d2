"""What one step of training changes, and the step itself.

Not the loop around it, see `ncml_codec.learn.training.loop`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ncml_codec.atomic_files import translated
from ncml_codec.errors import NcmlError
from ncml_codec.learn.data.crops import CropConfig, Images
from ncml_codec.learn.likelihood.mixture import Distribution
from ncml_codec.learn.likelihood.objective import Parts, given, ncml
from ncml_codec.learn.likelihood.processes import Process
from ncml_codec.learn.training import parallel
from ncml_codec.learn.training.checkpoint import Snapshot, load_snapshot
from ncml_codec.learn.training.optimiser import Optimiser, OptimiserConfig
from ncml_codec.learn.training.precision import LossScale, autocast


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Steps or minutes end the run, whichever comes first, and set its schedule.

    The learning rates rise over `warmup` steps; then they fall as a half cosine to `rate_floor` of
    their peaks, or stay (schedule "constant"). clip: bound on the gradient's norm. average: decay
    of the exponential moving average of the weights. clean_share, importance: see
    `Process.draw_times`. labelled: give the network the images' classes. accumulate: batches a
    step. precision: "float32", or "bf16" or "fp16" (autocast, see `learn.precision`). compiled:
    through torch.compile, which takes a minute at the start and needs a C++ compiler on CPU.
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
    labelled: bool = False
    accumulate: int = 1
    precision: str = "float32"
    compiled: bool = False
    seed: int = 0
    log_every: int = 100
    save_minutes: float = 5.0

    def share(self, step: int, seconds: float) -> float:
        """How much of a run is done after so many steps and seconds: 1 at its end."""
        return max(step / self.steps, seconds / 60 / self.minutes)


class Diverged(NcmlError):
    """The loss or its gradient is no longer finite."""


class State:
    """Weights, their average, moments, loss scale, step and seconds of a run."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.config, self.network = config, model
        shared = parallel.shared(model)
        self.model: Callable[..., Distribution] = (
            torch.compile(shared) if config.compiled else shared
        )
        self.step, self.updates, self.pixels = 0, 0, 0
        self.running: dict[str, float] = {}
        self.found: dict[str, Any] = {}  # by the changes of `training` so far, as JSON
        self._seconds_before, self._started, self._clock = 0.0, time.monotonic(), 0.0
        self._named = dict(model.named_parameters())
        self._averaged = {name: p.detach().clone() for name, p in self._named.items()}
        self._optimiser = Optimiser(self._named, config.optimiser)
        self._device = next(iter(self._named.values())).device
        self._scale = LossScale(self._device, config.precision)

    @classmethod
    def resumed(cls, model: nn.Module, config: TrainConfig, run: Path) -> State:
        """The state that `run` was saved in. Raises InputError if it does not fit the model.

        Snapshots from before fp16 hold neither `updates`, which were as many as steps, nor `scale`;
        those from before `training.Change` hold no `found`.
        """
        state = cls(model, config)
        snapshot = load_snapshot(run, like=state.snapshot())
        progress = snapshot.progress
        state.step = int(progress["step"])
        state._clock = state._seconds_before = float(progress["seconds"])
        with translated(f"{run}: its checkpoint"), torch.no_grad():
            state.updates = int(progress.get("updates", state.step))
            state.running = {name: float(value) for name, value in progress["running"].items()}
            state.found = dict(progress.get("found", {}))
            state._scale.load_state(progress.get("scale", {}))
            for name, parameter in state._named.items():
                parameter.copy_(snapshot.weights[name])
                state._averaged[name].copy_(snapshot.average[name])
            state._optimiser.load_moments(snapshot.moments)
        return state

    def advance(self, images: Images, process: Process, crops: CropConfig) -> list[Parts]:
        """One step of gradient descent; its randomness depends on (seed, step) alone.

        Raises Diverged, the weights then being those of the step before.
        """
        config = self.config
        level = self.level()
        self._optimiser.zero_grad()
        parts = []
        for part in range(config.accumulate):
            parts.append(self._accumulate(images, process, crops, part))
        parameters = list(self._named.values())
        self._scale.unscale(parameters)
        norm = float(nn.utils.clip_grad_norm_(parameters, config.clip))
        if math.isfinite(norm):
            self.updates += 1
            self._optimiser.step(self.updates, level)
        elif not self._scale.may_skip():
            raise self._diverged(f"the gradient's norm is {norm}")
        self._scale.update()
        self.step += 1
        keep = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self._named.items():
                self._averaged[name].lerp_(parameter, 1 - keep)
        return parts

    def _accumulate(self, images: Images, process: Process, crops: CropConfig, part: int) -> Parts:
        """Add one batch's share to the gradients."""
        config, device = self.config, self._device
        draw = (self.step * config.accumulate + part) * parallel.world() + parallel.rank()
        seed = config.seed * 1_000_003 + draw
        generator = torch.Generator(device).manual_seed(seed)
        # Dropout can only draw from torch's global generator; another seed than the noise's.
        torch.manual_seed(-1 - seed)
        pixels, labels = images.labelled(crops, config.seed, draw)
        batch = torch.from_numpy(pixels).to(device)
        classes = None
        if config.labelled and labels is not None:
            classes = torch.from_numpy(labels).to(device)
        with autocast(device, config.precision):
            parts = ncml(
                given(self.model, classes),
                batch.float(),
                process,
                config.clean_share,
                generator,
                config.importance,
            )
        total = parallel.mean(float(parts.total.detach()))
        if not math.isfinite(total):
            raise self._diverged(f"the loss is {total}")
        self._scale.scaled(parts.total / config.accumulate).backward()
        self.pixels += batch.shape[0] * batch.shape[2] * batch.shape[3]
        return parts

    def _diverged(self, what: str) -> Diverged:
        rates = self.config.optimiser
        return Diverged(
            f"step {self.step}: {what}; the last checkpoint is sound: resume it with smaller rates"
            f" than {rates.matrix_rate:g} and {rates.rate:g}"
        )

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
        return self._seconds_before + time.monotonic() - self._started

    def look_at_the_clock(self) -> None:
        """Take rank 0's time for this step's decisions; all processes end at the same step."""
        self._clock = parallel.agreed(self.seconds())

    def share_done(self) -> float:
        """How much of the run is done: 1 at its end."""
        return self.config.share(self.step, self._clock)

    def seconds_left(self) -> float:
        """An estimate from what is done; nan at the start."""
        share = self.share_done()
        return math.nan if share <= 0 else self.seconds() * max(0.0, 1 / share - 1)

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
        for name, parameter in self._named.items():
            parameter.data, self._averaged[name] = self._averaged[name], parameter.data

    def snapshot(self) -> Snapshot:
        """What `resumed` goes on from."""
        progress = {
            "step": self.step,
            "updates": self.updates,
            "seconds": self.seconds(),
            "running": self.running,
            "scale": self._scale.state(),
            "found": self.found,
        }
        return Snapshot(self._named, self._averaged, self._optimiser.moments(), progress)
