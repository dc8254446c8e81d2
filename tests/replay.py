"""What CUDA graphs do, on the CPU: operations are recorded with their tensors, and done again.

While they are recorded nothing happens. When they are replayed Python does not run, and results
land where they did the first time. What CUDA refuses to record is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They wait for the device, or copy to it (`torch.tensor` is the last). So do masks as indices.
REFUSED = ("aten.item", "aten._local_scalar_dense", "aten.nonzero", "aten.lift_fresh")


def record(work: Callable[[], Tensor | None]) -> tuple[Callable[[], None], Tensor | None]:
    """A `torch_device.Record`."""
    with Recorder() as recorder:
        found = work()
    recorder.undo()
    return recorder.replay, found


@torch.library.custom_op("tests::square_root", mutates_args=())
def square_root(values: Tensor) -> Tensor:
    """Correctly rounded, as an operation that can be recorded: numpy's calls cannot."""
    return torch.from_numpy(np.sqrt(values.numpy()))


class Recorder(TorchDispatchMode):
    """Keeps all operations within, and what the tensors held that they changed."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        keywords, name = kwargs or {}, str(operation)
        masks = [
            one for one in tree_leaves(args[1:]) if _is_tensor(one) and one.dtype == torch.bool
        ]
        if name.startswith(REFUSED) or (name.startswith("aten.index") and masks):
            raise AssertionError(f"{operation} cannot be recorded")
        if operation._schema.is_mutable:
            self._before.setdefault(_memory(args[0]), (args[0], _whole(args[0]).clone()))
        found = operation(*args, **keywords)
        self._done.append((operation, args, keywords, found))
        return found

    def undo(self) -> None:
        """Give what was changed its values of before."""
        for changed, values in self._before.values():
            _whole(changed).copy_(values)

    def replay(self) -> None:
        for operation, args, keywords, found in self._done:
            given = {_memory(one) for one in tree_leaves((args, keywords)) if _is_tensor(one)}
            again = operation(*args, **keywords)
            for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if _is_tensor(new) and _memory(new) not in given:
                    old.copy_(new)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _whole(tensor: Tensor) -> Tensor:
    """All of the memory that the tensor is a part of."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((size,), (1,), 0)
