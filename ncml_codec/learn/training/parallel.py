"""Several processes, one training run: DistributedDataParallel as `torchrun` starts it.

A process takes its part of every step's batches by its rank; gradients are averaged. One process
alone needs none of this and pays nothing for it.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ncml_codec.errors import UsageError

Json = TypeVar("Json")


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; this process's device.

    `cuda` becomes the card of the local rank. Raises UsageError for a device that is not here.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    name = f"cuda:{local}" if device == "cuda" and count > 1 else device
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r}: {str(error).splitlines()[0]}") from error
    if count == 1:
        yield chosen
        return
    # Its functions keep the process group of their import as a default argument. One that outlives
    # the interpreter has threads that abort the process; imported first, they keep None.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
        distributed.barrier()  # the first process writes while the others wait
    finally:
        gc.collect()  # DistributedDataParallel, part of a cycle, holds the process group, too
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number; 0 logs and saves."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def shared(model: nn.Module) -> nn.Module:
    """The model as it is called in training: its gradients averaged over all processes."""
    if world() == 1:
        return model
    devices = [next(model.parameters()).device]
    return DistributedDataParallel(model, device_ids=devices if devices[0].type == "cuda" else None)


def agreed(value: float) -> float:
    """Rank 0's value, for decisions that all must take alike, such as when time is up."""
    if world() == 1:
        return value
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.broadcast(tensor, 0)
    return float(tensor)


def of_the_first(value: Json) -> Json:
    """Rank 0's value of a thing that every process found; processes may round differently."""
    if world() == 1:
        return value
    found = [value]
    distributed.broadcast_object_list(found, 0)
    return found[0]


def mean(value: float) -> float:
    """The mean over all processes; nan of one makes it nan."""
    if world() == 1:
        return value
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    return float(tensor) / world()
