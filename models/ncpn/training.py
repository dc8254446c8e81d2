"""Training a network from one record of options: what `ncml-train` calls, and what Python may call.

Not the loop, which knows no networks of ours: `ncml_codec.learn.training.loop`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data import datasets
from ncml_codec.learn.data.crops import CropConfig, FolderImages, Images
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.likelihood import processes
from ncml_codec.learn.training import parallel
from ncml_codec.learn.training.checkpoint import (
    has_snapshot,
    load_config,
    numbers,
    save_config,
    saved_progress,
)
from ncml_codec.learn.training.loop import Change, TrainConfig, check_unfinished, train
from ncml_codec.learn.training.memory import keep_freed_memory
from ncml_codec.learn.training.optimiser import OptimiserConfig
from ncpn import presets, rounding, runs, watching
from ncpn.integers import validation
from ncpn.network import NCPN
from ncpn.training_options import KEPT_ONCE_BEGUN, TrainingOptions, default, resuming
from ncpn.wave_network.wave import WaveNCPN

_REACH_CROPS, _REACH_SEED = 256, 12345  # what shows how far activations reach


def train_network(
    options: TrainingOptions, *, resume: bool = False, say: Callable[[str], None] = print
) -> None:
    """Train a network on images; the run is left in the folder `options.out`.

    The folder then holds config.json, model.safetensors (averaged weights), training.safetensors
    (to resume from), log.csv, curves.png, README.md (the run's card), and evaluations.csv and
    samples/ if they were asked for. Called in every process of torchrun; the first one says and
    writes. Sets torch's number of threads and seed.

    resume: go on from the checkpoint in the folder, see `training_options.resuming`. Raises
    UsageError, InputError or what the data's readers raise before anything is written.
    """
    with parallel.joined(options.device) as device:
        if parallel.rank() > 0:
            say = _nothing
        for line in options.lines():
            say(line)
        _check(options, resume)
        keep_freed_memory()
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        _train(options, resume, device, say)
        say(f"trained; the averaged weights are in {options.out}/model.safetensors")


def _check(options: TrainingOptions, resume: bool) -> None:
    if options.evaluate_every and not options.test_data:
        raise UsageError("--evaluate-every needs held-out images: --test-data")
    for by, since in KEPT_ONCE_BEGUN.values():
        if all(name in options.to_json() for name in (by, since)):
            raise UsageError(f"--{by} and --{since}: give one of them")
    if has_snapshot(options.out) and not resume:
        raise UsageError(f"{options.out}: holds a training run; --resume goes on with it")
    if resume and not has_snapshot(options.out):
        raise UsageError(f"{options.out}: holds no checkpoint to resume from")


def _train(
    options: TrainingOptions, resume: bool, device: torch.device, say: Callable[[str], None]
) -> None:
    process = processes.process_named(options.sde, options.T, options.noise_levels)
    shape = presets.preset(
        options.model, process.horizon, dropout=options.dropout, classes=options.classes
    )
    images: ArrayImages | FolderImages = datasets.open_training(options.data, options.crop)
    images = datasets.first(images, options.images) if options.images else images
    levels = processes.std_at(process, process.horizon)
    crops = CropConfig(options.crop, options.batch, options.grey, options.augment)
    record: dict[str, Any] = {
        "model": presets.to_json(shape),
        "process": {"sde": options.sde, "T": process.horizon, "noise_levels": levels},
        "crops": asdict(crops),
        "options": options.to_json(),
        "images": datasets.identity(images),
    }
    config = _config(options)
    if resume:
        _keep(options.out, record)
        check_unfinished(options.out, config)
    datasets.check_labels(images, options.classes)
    datasets.check_augmentation(images, options.augment)
    network = presets.build(shape).to(device)
    network.checkpointing = options.checkpointing
    changes = _changes(options, network, images, crops)
    shown = _begun(options, record, network, images, crops)
    if not resume:
        first = torch.from_numpy(shown.crops(crops, config.seed, 0)).to(device).float()
        presets.initialise(network, first, torch.zeros(len(first), device=device))
        if options.grow_from:
            runs.grow_from(network, options.grow_from)
    if parallel.rank() > 0:
        train(network, shown, process, crops, config, options.out, changes=changes)
        return
    size = presets.describe(network)
    say(shown.describe())
    say(f"{options.model}: {size}")
    say(f"T = {process.horizon:g}, std(T) = {levels:.2f} grey levels")
    with ExitStack() as stack:
        held_out = watching.held_out(options) if options.evaluate_every else None
        save_config(options.out, record)
        board = watching.board(options, stack)
        visits = []
        if held_out is not None:
            visits.append(
                watching.evaluation(options, held_out, process, device, board, stack, say)
            )
        if options.sample_every:
            height, width = shown.crops(crops, config.seed, 0).shape[2:]
            visits.append(watching.sample_grids(options, (height, width), device, board))
        saved = watching.keeping_the_card(options, size, shown.describe())
        train(
            *(network, shown, process, crops, config, options.out),
            say=say,
            visits=visits,
            saved=saved,
            board=board,
            changes=changes,
        )


def _config(options: TrainingOptions) -> TrainConfig:
    return TrainConfig(
        steps=options.steps,
        minutes=options.max_minutes,
        optimiser=OptimiserConfig(options.matrix_rate, options.rate),
        schedule=options.schedule,
        warmup=options.warmup,
        clip=options.clip,
        average=options.average,
        clean_share=options.clean_share,
        importance=options.importance,
        labelled=options.classes > 0,
        accumulate=options.accumulate,
        precision=options.precision,
        compiled=options.compile,
        seed=options.seed,
        log_every=options.log_every,
        save_minutes=options.save_minutes,
    )


def _begun(
    options: TrainingOptions,
    record: dict[str, Any],
    network: NCPN,
    images: ArrayImages | FolderImages,
    crops: CropConfig,
) -> ArrayImages | FolderImages:
    """The images as they are shown at first; the network is rounded if it begins so.

    What another run's network says is added to `record`, unless that holds it already.
    """
    if options.turned_by and "turns" not in record:
        record["turns"] = _turns(runs.from_pretrained(options.turned_by), images)
    if "turns" in record:
        images = datasets.in_turns(images, record["turns"])
    if options.rounded_by and "units" not in record:
        record["units"] = _units(runs.from_pretrained(options.rounded_by), images, crops)
    if "units" in record:
        rounding.round_leaks(network, rounding.from_json(record["units"]))
    return images


def _changes(
    options: TrainingOptions,
    network: NCPN,
    images: ArrayImages | FolderImages,
    crops: CropConfig,
) -> list[Change]:
    """What changes within the run: how images lie, and how activations are rounded.

    Those that a resumed run has behind it are among them, so that it goes on with them.
    """
    turned, rounded = options.turned_from, options.rounded_from
    if turned is not None:
        datasets.of_folders(images)
    if rounded is not None and not isinstance(network, WaveNCPN):
        raise UsageError("--rounded-from: only wave networks are rounded")

    def round_from_now(shown: Images, units: Any) -> Images:
        rounding.round_leaks(network, rounding.from_json(units))
        return shown

    return [
        Change(
            "turns",
            math.inf if turned is None else turned,
            lambda averaged, _: _turns(_on_cpu(averaged), images),
            lambda _, turns: datasets.in_turns(images, turns),
        ),
        Change(
            "units",
            math.inf if rounded is None else rounded,
            lambda averaged, shown: _units(_on_cpu(averaged), shown, crops),
            round_from_now,
        ),
    ]


def _on_cpu(network: nn.Module) -> nn.Module:
    """A copy on the CPU, where every device finds the same."""
    return copy.deepcopy(network).cpu()


def _turns(chooser: nn.Module, images: ArrayImages | FolderImages) -> list[int]:
    """The turn of each image in which a network codes it in the fewest bits."""
    return [validation.best_turn(chooser, one) for one in datasets.of_folders(images).images]


def _units(measured: nn.Module, images: Images, crops: CropConfig) -> dict[str, Any]:
    """The units that a network's activations need on crops of images, as JSON."""
    plain = replace(crops, batch=_REACH_CROPS, grey=0.0, augment=0.0)
    shown = images.crops(plain, _REACH_SEED, 0).transpose(0, 2, 3, 1)
    return rounding.to_json(rounding.units_of(measured, [np.ascontiguousarray(c) for c in shown]))


def _keep(run: Path, record: dict[str, Any]) -> None:
    """Take over what a run keeps: turns and units. Raises UsageError for what it must not change.

    Runs from before the images were recorded are taken to have had the same.
    """
    before = load_config(run)
    found = saved_progress(run).get("found", {})
    for name in ("process", "model", "options"):
        if not isinstance(before.get(name), dict):
            raise InputError(f"{run}: its config.json holds no {name}")
    old, new = before["options"], record["options"]
    differing = [
        *_other_network(before["model"], record["model"]),
        *_other_process(run, before["process"], record["process"]),
    ]
    if before.get("images", record["images"]) != record["images"]:
        differing.append("--data or --images (other images than before)")
    for name in ("crop", "grey", "augment", "seed", "clean-share", "importance"):
        if old.get(name, default(name)) != new[name]:
            differing.append(f"--{name} ({new[name]}, was {old.get(name, default(name))})")
    paths = ["grow-from"]
    for kept, names in KEPT_ONCE_BEGUN.items():
        if kept in before or kept in found:
            paths += names
    for name in paths:
        if name in new and new[name] != old.get(name):
            differing.append(f"--{name} ({new[name]}, was {old.get(name, 'not given')})")
        elif name in old:
            new[name] = old[name]
    if differing:
        raise UsageError(f"{run}: not resumed with another {'; '.join(differing)}. {resuming()}")
    record |= {name: before[name] for name in KEPT_ONCE_BEGUN if name in before}


def _other_network(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The options that made another network; its time_scale belongs to the process."""
    other = {name for name in {*old, *new} if old.get(name) != new.get(name)} - {"time_scale"}
    if other - {"dropout", "classes"}:
        return [f"--model (another {', '.join(sorted(other))})"]
    return [f"--{name} ({new[name]}, was {old[name]})" for name in sorted(other)]


def _other_process(run: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old.get("sde") != new["sde"]:
        return [f"--sde ({new['sde']}, was {old.get('sde')})"]
    horizon = numbers(old, f"{run}: its noise process", T=float)["T"]
    if not math.isclose(horizon, new["T"], rel_tol=1e-9):
        return [f"--T or --noise-levels (T = {new['T']:g}, was {horizon:g})"]
    return []


def _nothing(_: str) -> None:
    """Say nothing: the first process says it."""
