"""Checkpoints of a training run: safetensors plus JSON, never pickles.

A run's folder holds config.json (everything that was decided before the first step),
model.safetensors (the averaged weights, what evaluation and export read) and
training.safetensors (weights, averages, optimiser moments, and the step in its header: what
resuming reads). Each file is replaced in one move, so a kill at any moment leaves a sound one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ncml_codec.errors import InputError
from ncml_codec.files import write_atomically

CONFIG, MODEL, TRAINING = "config.json", "model.safetensors", "training.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run. progress: plain numbers such as step and seconds, kept as JSON."""

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    progress: Mapping[str, Any]


def save_config(run: Path, config: Mapping[str, Any]) -> None:
    """Write config.json, making the folder if need be."""
    run.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_atomically(run / CONFIG, text.encode(), replace=True)


def load_config(run: Path) -> dict[str, Any]:
    """The run's config.json. Raises InputError if there is none or it is no JSON object."""
    path = run / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{run}: no training run here ({CONFIG}: {error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: not a JSON object")
    return config


def save_snapshot(run: Path, snapshot: Snapshot) -> None:
    """Write both tensor files, the one that resuming reads first."""
    groups = {
        "weights": snapshot.weights,
        "average": snapshot.average,
        "moments": snapshot.moments,
    }
    tensors = {
        f"{group}/{name}": tensor.detach().contiguous()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    header = {"progress": json.dumps(dict(snapshot.progress))}
    write_atomically(run / TRAINING, save(tensors, header), replace=True)
    average = {name: tensor.detach().contiguous() for name, tensor in snapshot.average.items()}
    write_atomically(run / MODEL, save(average, header), replace=True)


def load_snapshot(run: Path) -> Snapshot:
    """What `save_snapshot` wrote. Raises InputError if it is missing or damaged."""
    tensors, header = _read(run / TRAINING)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "moments": {}}
    for key, tensor in tensors.items():
        group, name = key.split("/", 1)
        groups[group][name] = tensor
    return Snapshot(**groups, progress=json.loads(header["progress"]))


def saved_step(run: Path) -> int:
    """The step that resuming starts from: 0 without a checkpoint."""
    if not has_snapshot(run):
        return 0
    with _opened(run / TRAINING) as file:
        return int(json.loads((file.metadata() or {})["progress"])["step"])


def load_model(run: Path) -> dict[str, Tensor]:
    """The averaged weights of a run, by parameter name."""
    return _read(run / MODEL)[0]


def has_snapshot(run: Path) -> bool:
    """Whether there is something to resume from."""
    return os.path.exists(run / TRAINING)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error
