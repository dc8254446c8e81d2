"""Training both planes' networks, and the folder that a run leaves.

The folder holds config.json, model.safetensors (averaged weights), training.safetensors (to resume
from) and log.csv, as those of other networks do (`ncml_codec.learn.training.checkpoint`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jpeg_coefficients import sources
from jpeg_coefficients.blocks import Batch, Blocks
from jpeg_coefficients.network import PlaneConfig, PlaneNetwork
from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.training.checkpoint import (
    MODEL,
    Snapshot,
    has_snapshot,
    load_config,
    load_snapshot,
    numbers,
    save_config,
    save_snapshot,
    with_weights,
)
from ncml_codec.learn.training.log import LOG, Table
from ncml_codec.learn.training.optimiser import Optimiser, OptimiserConfig
from ncml_codec.learn.training.precision import autocast
from ncml_codec.learn.training.state import Diverged

_FAST = PlaneConfig(first=64, second=48, hidden=8, dc_hidden=16)
_LARGE = PlaneConfig(first=256, second=128, hidden=24, dc_hidden=48)
PRESETS = {
    "jpeg": (PlaneConfig(), PlaneConfig(chroma=True)),
    "jpeg-fast": (_FAST, replace(_FAST, chroma=True)),
    "jpeg-large": (_LARGE, replace(_LARGE, chroma=True)),
}
LOG_FIELDS = ("step", "luma_bits", "chroma_bits", "level", "seconds")
_CHROMA_EVERY = 5  # steps; nine tenths of a file are luma's
_RATE_FLOOR = 0.02
_WARMUP = 100
_EVALUATED = 4096  # blocks at once


@dataclass(frozen=True)
class Options:
    """How to train. data: as `sources.files`, each folder with its share of the blocks.

    minutes: ends the run and sets its schedule, as steps do. batch: blocks a step. copies: JPEG
    files made of each image that is none.
    """

    data: tuple[str, ...]
    out: Path
    model: str = "jpeg"
    test_data: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    steps: int = 1_000_000
    minutes: float = math.inf
    batch: int = 1024
    copies: int = 2
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(matrix_rate=7e-3, rate=3e-3, decay=0.0)
    )
    clip: float = 20.0
    average: float = 0.998
    precision: str = "bf16"
    seed: int = 0
    threads: int = 1
    log_every: int = 100
    save_minutes: float = 2.0

    def share_done(self, step: int, seconds: float) -> float:
        return max(step / self.steps, seconds / 60 / self.minutes)


class CoefficientNetwork(nn.Module):
    """The networks of both kinds of planes."""

    def __init__(self, luma: PlaneConfig, chroma: PlaneConfig) -> None:
        super().__init__()
        self.luma, self.chroma = PlaneNetwork(luma), PlaneNetwork(chroma)

    def plane(self, luma: bool) -> PlaneNetwork:
        return self.luma if luma else self.chroma


@dataclass(frozen=True)
class Length:
    """A set's mean code length in bits a block, and how many blocks it has."""

    bits: float
    blocks: int


def from_run(run: Path) -> CoefficientNetwork:
    """The averaged network of a run. Raises InputError."""
    record = load_config(run).get("model")
    try:
        luma, chroma = (PlaneConfig(**record[name]) for name in ("luma", "chroma"))  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise InputError(f"{run}: its config.json describes no network of JPEG's") from error
    return with_weights(lambda: CoefficientNetwork(luma, chroma), run / MODEL)


def train_network(
    options: Options, *, resume: bool = False, say: Callable[[str], None] = print
) -> None:
    """Train on JPEG files and leave the run in options.out.

    resume: go on from the checkpoint there. Raises UsageError or InputError before anything is
    written, Diverged at the first loss that is not finite.
    """
    if options.model not in PRESETS:
        raise UsageError(f"model {options.model!r}: not one of {', '.join(PRESETS)}")
    if has_snapshot(options.out) != resume:
        found = "holds a training run; --resume goes on with it"
        none = "holds no checkpoint to resume from"
        raise UsageError(f"{options.out}: {none if resume else found}")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    planes = PRESETS[options.model]
    record: dict[str, Any] = {
        "model": dict(zip(("luma", "chroma"), map(asdict, planes), strict=True)),
        "options": _plain(options),
    }
    if resume and load_config(options.out).get("model") != record["model"]:
        raise UsageError(f"{options.out}: holds a run of another network")
    training = _sets(options, say)
    network = CoefficientNetwork(*planes)
    run = _Run(network, options)
    if resume:
        run.resume()
    for luma, sets in training.items():
        count = sum(len(blocks) for blocks, _ in sets)
        parameters = sum(p.numel() for p in network.plane(luma).parameters())
        say(f"{'luma' if luma else 'chroma'}: {count} blocks, {parameters} parameters")
    save_config(options.out, record)
    run.train(training, say)
    for name in options.test_data:
        files = [file for _, file in sources.files([name], 1, options.seed, say)]
        for luma in (True, False):
            length = evaluate(run.averaged().plane(luma), Blocks(files, luma))
            say(f"{name}: {'luma' if luma else 'chroma'} {length.bits:.3f} bits a block")
    say(f"trained; the averaged weights are in {options.out}/{MODEL}")


@torch.no_grad()
def evaluate(network: PlaneNetwork, blocks: Blocks) -> Length:
    """The code length of a set."""
    total = 0.0
    for numbers_ in torch.arange(len(blocks)).split(_EVALUATED):
        total += float(network(blocks.batch(numbers_)).total.sum())
    return Length(total / max(1, len(blocks)), len(blocks))


def draw(sets: Sequence[tuple[Blocks, float]], count: int, generator: torch.Generator) -> Batch:
    """About `count` random blocks: each set gives its share."""
    parts = []
    for blocks, share in sets:
        chosen = torch.randint(len(blocks), (max(1, round(count * share)),), generator=generator)
        parts.append(blocks.batch(chosen))
    names = [f.name for f in fields(Batch)]
    return Batch(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class _Run:
    """What a step changes."""

    def __init__(self, network: CoefficientNetwork, options: Options) -> None:
        self.network, self.options = network, options
        self.parameters = dict(network.named_parameters())
        self.optimiser = Optimiser(self.parameters, options.optimiser)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.step, self.seconds = 0, 0.0

    def snapshot(self) -> Snapshot:
        weights = {name: p.detach() for name, p in self.parameters.items()}
        progress = {"step": self.step, "seconds": self.seconds}
        return Snapshot(weights, self.average, self.optimiser.moments(), progress)

    @torch.no_grad()
    def resume(self) -> None:
        found = load_snapshot(self.options.out, like=self.snapshot())
        for name, parameter in self.parameters.items():
            parameter.copy_(found.weights[name])
            self.average[name].copy_(found.average[name])
        self.optimiser.load_moments(found.moments)
        progress = numbers(dict(found.progress), "checkpoint", step=int, seconds=float)
        self.step, self.seconds = progress["step"], progress["seconds"]
        if self.options.share_done(self.step, self.seconds) >= 1:
            raise UsageError(f"{self.options.out}: finished at step {self.step}; give more minutes")

    def train(
        self, training: dict[bool, list[tuple[Blocks, float]]], say: Callable[[str], None]
    ) -> None:
        options = self.options
        running: dict[bool, float] = {}
        begin, saved = time.monotonic() - self.seconds, time.monotonic()
        with Table(options.out / LOG, LOG_FIELDS, self.step, None) as log:
            while options.share_done(self.step, self.seconds) < 1:
                luma = self.step % _CHROMA_EVERY > 0 or not training[False]
                loss = self.advance(training[luma], luma)
                running[luma] = 0.98 * running.get(luma, loss) + 0.02 * loss
                now = time.monotonic()
                self.seconds = now - begin
                done = options.share_done(self.step, self.seconds) >= 1
                if self.step % options.log_every == 0 or done:
                    bits = [running.get(kind, math.nan) for kind in (True, False)]
                    line = (self.step, *bits, self.level(), self.seconds)
                    log.write(dict(zip(LOG_FIELDS, line, strict=True)))
                    say(
                        f"step {self.step}  luma {bits[0]:.2f}  chroma {bits[1]:.2f} bits a block"
                        f"  {self.seconds:.0f} s"
                    )
                if done or now - saved > 60 * options.save_minutes:
                    save_snapshot(options.out, self.snapshot())
                    saved = now

    def level(self) -> float:
        """Share of the peak rates."""
        done = self.options.share_done(self.step, self.seconds)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return min(1.0, (self.step + 1) / _WARMUP) * (_RATE_FLOOR + (1 - _RATE_FLOOR) * cosine)

    def advance(self, sets: Sequence[tuple[Blocks, float]], luma: bool) -> float:
        """One step; its loss in bits a block."""
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = draw(sets, self.options.batch, generator)
        level = self.level()
        with autocast(torch.device("cpu"), self.options.precision):
            loss: Tensor = self.network.plane(luma)(batch).total.mean()
        self.optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.plane(luma).parameters(), self.options.clip)
        if not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm))):
            raise Diverged(f"step {self.step}: loss {float(loss.detach())}, gradient {float(norm)}")
        self.step += 1
        self.optimiser.step(self.step, level)
        keep = min(self.options.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, parameter in self.network.plane(luma).named_parameters():
                full = f"{'luma' if luma else 'chroma'}.{name}"
                self.average[full].lerp_(parameter, 1 - keep)
        return float(loss.detach())

    def averaged(self) -> CoefficientNetwork:
        network = CoefficientNetwork(self.network.luma.config, self.network.chroma.config)
        network.load_state_dict(self.average)
        return network


def _sets(options: Options, say: Callable[[str], None]) -> dict[bool, list[tuple[Blocks, float]]]:
    """Of luma and of chroma: each folder's blocks and share."""
    shares = options.shares or (1.0,) * len(options.data)
    if len(shares) != len(options.data) or not all(share > 0 for share in shares):
        raise UsageError(f"{len(shares)} shares of {len(options.data)} folders, each above 0")
    found: dict[bool, list[tuple[Blocks, float]]] = {True: [], False: []}
    for folder, share in zip(options.data, shares, strict=True):
        files = [file for _, file in sources.files([folder], options.copies, options.seed, say)]
        for luma in found:
            blocks = Blocks(files, luma)
            if len(blocks):
                found[luma].append((blocks, share))
    for kind, sets in found.items():
        total = sum(share for _, share in sets)
        found[kind] = [(blocks, share / total) for blocks, share in sets]
    return found


def _plain(options: Options) -> dict[str, Any]:
    """The options as JSON."""
    found = asdict(options) | {"out": str(options.out)}
    return {key: value for key, value in found.items() if value != math.inf}
