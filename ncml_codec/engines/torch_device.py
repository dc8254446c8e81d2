"""The device that the torch engine computes on: its choice, the exactness of its products, graphs.

Matrix products of layers that do not learn: inputs and weights are whole numbers of at most 2047,
which TF32 (11 bits) holds exactly, and sums stay below 2**24, which float32 holds exactly. So TF32
is allowed, once `_exact` has seen this device multiply without an error; else products are full
float32.

The CUDA part has not been run: no GPU was at hand. `tests/test_batches.py` has the tests, and
replays steps on the CPU as CUDA graphs would.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ncml_codec.errors import UsageError
from ncml_codec.network import ACTIVATION_MAX, SUM_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICES = ("auto", "cpu", "cuda")

Replay = Callable[[], None]
# Records what a function does on the device; gives what does it again, and what it returned.
Record = Callable[[Callable[[], Tensor | None]], tuple[Replay, Tensor | None]]


class Device:
    """A device, and how it computes. record: None where steps are not recorded, see `Steps`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.record: Record | None = _record if device.type == "cuda" else None
        self._tf32 = device.type == "cuda" and _exact(device)

    def __str__(self) -> str:
        if self.device.type == "cpu":
            return "cpu"
        precision = "TF32" if self._tf32 else "float32"
        return f"{torch.cuda.get_device_name(self.device)}, {precision} products"

    def precision(self) -> AbstractContextManager[None]:
        """Within, products are in TF32 if this device may, else in full float32, whatever the
        program has set."""
        return _tf32(self._tf32) if self.device.type == "cuda" else nullcontext()


def chosen(name: str) -> Device:
    """The device: cpu, cuda, or auto, which is cuda where there is one. Raises UsageError."""
    if name not in DEVICES:
        raise UsageError(f"device {name!r}: not one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch finds no CUDA device here; try --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return Device(torch.device(name))


class Steps:
    """Runs the steps of a walk, each a method and a number, or records and replays them.

    With the device's `record`, a step is run in the first wave that has it, recorded in the
    second, and replayed from then on, in the order in which all were recorded. So what a step
    leaves in an attribute is found by the others at the same place of the device's memory ever
    after; what comes from the host is copied to tensors that stay; nothing that a step does in
    Python may depend on the wave; and a step may neither wait for the device nor copy from the
    host to it, as `torch.tensor` does.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._begun: set[tuple[str, int]] = set()
        self._recorded: dict[tuple[str, int], tuple[Replay, Tensor | None]] = {}

    @torch.inference_mode()
    def run(self, step: Callable[[int], Tensor | None], number: int) -> Tensor | None:
        """What the step returns for this number; valid until it runs again for it."""
        with self._device.precision():
            key, record = (step.__name__, number), self._device.record
            if record is None or key not in self._begun:
                self._begun.add(key)
                return step(number)
            if key not in self._recorded:
                self._recorded[key] = record(lambda: step(number))
            replay, found = self._recorded[key]
            replay()
            return found


def _record(work: Callable[[], Tensor | None]) -> tuple[Replay, Tensor | None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()
    return graph.replay, found


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _exact(device: torch.device) -> bool:
    """Whether TF32 products of whole numbers up to 2047, sums just below 2**24, are exact here."""
    random = torch.Generator().manual_seed(0)
    with _tf32(True):
        for rows, inputs, outputs in ((1, 240, 48), (37, 48, 96), (513, 48, 48), (4096, 211, 13)):
            a = torch.randint(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (rows, inputs), generator=random)
            most = (SUM_LIMIT - 1) // (ACTIVATION_MAX * inputs)
            w = torch.randint(-most, most + 1, (inputs, outputs), generator=random)
            w[0] = ACTIVATION_MAX  # the largest weight, too
            a[:, 0] = a[:, 0].clamp(-most, most)
            found = torch.matmul(a.float().to(device), w.float().to(device)).cpu()
            if not torch.equal(found.long(), a @ w):
                return False
    return True
