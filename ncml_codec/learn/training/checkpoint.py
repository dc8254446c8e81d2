"""Checkpoints of a training run: safetensors plus JSON, never pickles.

A run's folder holds config.json (everything that was decided before the first step),
model.safetensors (the averaged weights, what evaluation and export read) and
training.safetensors (weights, averages, optimiser moments, and the step in its header: what
resuming reads). Each file is replaced in one move, so a kill at any moment leaves a sound one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ncml_codec.atomic_files import check_is_file, read_file, translated, write_atomically
from ncml_codec.errors import FormatError, InputError
from ncml_codec.zstd_frames import parse_json

CONFIG, MODEL, TRAINING = "config.json", "model.safetensors", "training.safetensors"
_MAX_CONFIG = 1 << 24  # bytes: room for the turns of two million images
_MAX_HEADER = 1 << 22  # bytes of a safetensors header: the paper's network takes 0.3 MB

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run. progress: plain numbers such as step and seconds, kept as JSON."""

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    progress: Mapping[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by the names that they have in the file."""
        groups = {"weights": self.weights, "average": self.average, "moments": self.moments}
        return {
            f"{group}/{name}": tensor.detach().contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }


def files_of(run: Path) -> list[Path]:
    """The files of a run that are read again: its configuration, its model, what resuming needs."""
    return [run / name for name in (CONFIG, MODEL, TRAINING)]


def save_config(run: Path, config: Mapping[str, Any]) -> None:
    """Write config.json, making the folder if need be."""
    run.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_atomically(run / CONFIG, text.encode(), replace=True)


def load_config(run: Path) -> dict[str, Any]:
    """The run's config.json. Raises InputError if there is none or it is no JSON object."""
    path = run / CONFIG
    if not os.path.lexists(path):
        raise InputError(f"{run}: no training run here: it holds no {CONFIG}")
    return json_of(read_file(path, _MAX_CONFIG), str(path))


def json_of(text: bytes, name: str) -> dict[str, Any]:
    """The JSON object of a text, as `zstd_frames.parse_json`.

    Raises InputError for any other text.
    """
    try:
        return parse_json(text, name, at_most=_MAX_CONFIG)
    except FormatError as error:
        raise InputError(str(error)) from error


def numbers(found: Any, name: str, **kinds: type) -> dict[str, Any]:
    """The values of these keys of a JSON object. kinds: of each key, int or float.

    A whole number is a float as well, True and False are neither. Raises InputError for a value
    that is missing, below 0 or of another kind. name: of the object, for errors.
    """
    if not isinstance(found, dict):
        raise InputError(f"{name}: not a JSON object")
    for key, kind in kinds.items():
        value = found.get(key)
        fits = type(value) is int or (kind is float and type(value) is float)
        if not fits or float(value or 0) < 0:
            raise InputError(f"{name}: {key} is missing, or is not a number from 0 up")
    return {key: found[key] for key in kinds}


def save_snapshot(run: Path, snapshot: Snapshot) -> None:
    """Write both tensor files, the one that resuming reads first."""
    header = {"progress": json.dumps(dict(snapshot.progress))}
    write_atomically(run / TRAINING, save(snapshot.tensors(), header), replace=True)
    average = {name: tensor.detach().contiguous() for name, tensor in snapshot.average.items()}
    write_atomically(run / MODEL, save(average, header), replace=True)


def load_snapshot(run: Path, like: Snapshot | None = None) -> Snapshot:
    """What `save_snapshot` wrote. Raises InputError if it is missing or damaged.

    like: a snapshot whose tensors' names and shapes it must have.
    """
    path = run / TRAINING
    shapes = None
    if like is not None:
        shapes = {name: list(tensor.shape) for name, tensor in like.tensors().items()}
    tensors, header = read_tensors(path, shapes)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "moments": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        if group not in groups:
            raise InputError(f"{path}: holds a tensor {key[:80]!r}, which no checkpoint has")
        groups[group][name] = tensor
    return Snapshot(**groups, progress=_progress(header, path))


def saved_step(run: Path) -> int:
    """The step that resuming starts from: 0 without a checkpoint."""
    return int(saved_progress(run)["step"]) if has_snapshot(run) else 0


def saved_progress(run: Path, file: str = TRAINING) -> dict[str, Any]:
    """The progress of a run's last checkpoint, without its tensors. Raises InputError.

    file: TRAINING, what resuming reads, or MODEL, which a run without a checkpoint may have too.
    """
    return _progress(read_header(run / file), run / file)


def load_model(run: Path) -> dict[str, Tensor]:
    """The averaged weights of a run, by parameter name. Raises InputError."""
    return read_tensors(run / MODEL)[0]


def with_weights(make: Callable[[], Module], path: Path) -> Module:
    """The module that `make` builds, with the weights of a safetensors file.

    The file must hold tensors of exactly the module's names and shapes; that is checked before
    memory is taken for them, so that a module is never larger than its file. Raises InputError.
    """
    with translated(str(path)), torch.device("meta"):
        shapes = {name: list(tensor.shape) for name, tensor in make().state_dict().items()}
    tensors, _ = read_tensors(path, shapes)
    module = make()
    with translated(str(path)):
        module.load_state_dict(tensors)
    return module


def has_snapshot(run: Path) -> bool:
    """Whether there is something to resume from."""
    return os.path.exists(run / TRAINING)


def read_tensors(
    path: Path, shapes: Mapping[str, list[int]] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, and the texts of its header.

    shapes: those that the file must hold, no others. Raises InputError for other shapes and for
    values that are not finite.
    """
    with _opened(path) as file:
        names = list(file.keys())
        if shapes is not None:
            found = {name: list(file.get_slice(name).get_shape()) for name in names}
            if found != shapes:
                both = {*shapes, *found}
                other = sorted(name for name in both if shapes.get(name) != found.get(name))
                raise InputError(
                    f"{path}: its weights do not fit the network: {len(other)} tensors are missing,"
                    f" not the network's or of another shape, such as {other[0][:80]}"
                )
        tensors = {name: file.get_tensor(name) for name in names}
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise InputError(f"{path}: {name[:80]} holds a value that is not finite")
        return tensors, file.metadata() or {}


def read_header(path: Path) -> dict[str, str]:
    """The texts of a safetensors file's header, no tensors. Raises InputError."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """The safetensors file; its header's length is checked before it is read."""
    check_is_file(path)
    with translated(str(path)):
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
        if length > _MAX_HEADER:
            raise InputError(f"{path}: a header of {length} bytes, more than {_MAX_HEADER}")
        with safe_open(path, framework="pt") as file:
            yield file


def _progress(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    """What a snapshot's header says of its progress. Raises InputError."""
    found = json_of(header.get("progress", "").encode(), f"{path}: its progress")
    numbers(found, f"{path}: its progress", step=int, seconds=float)
    if not isinstance(found.get("found", {}), dict):
        raise InputError(f"{path}: its progress: found is not a JSON object")
    return found
