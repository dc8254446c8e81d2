"""The number format of training: what autocast computes in, and the loss scale of fp16.

Weights, their average and the optimiser's moments stay in float32 (Micikevicius et al. 2018, "Mixed
precision training"). bf16 has float32's range and needs no more. In fp16 small gradients vanish, so
the loss is multiplied by a scale that halves when a gradient overflows (that update is left out)
and doubles after 2000 updates without, up to `MOST_SCALE`; torch's GradScaler keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# No gradient needs a greater one, and a checkpoint holds no number beyond 2**64.
MOST_SCALE = 2.0**60
# Below, gradients overflow whatever the scale: the run is lost, not the precision short.
LEAST_SCALE = 2.0**-10


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context that a step's forward pass runs in."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not torch.float32)


class LossScale:
    """The factor on the loss; 1, and no work at all, unless the precision is fp16."""

    def __init__(self, device: torch.device, precision: str) -> None:
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to call backward on."""
        return self._scaler.scale(loss)

    def unscale(self, parameters: Sequence[Tensor]) -> None:
        """Divide the gradients by the scale, in place."""
        optimiser = SimpleNamespace(param_groups=[{"params": list(parameters)}])
        # GradScaler asks of an optimiser only its parameters here.
        self._scaler.unscale_(cast(torch.optim.Optimizer, optimiser))

    def may_skip(self) -> bool:
        """Whether gradients that overflow are the scale's fault, and the step can be left out."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > LEAST_SCALE

    def update(self) -> None:
        """Once a step, after `unscale`: the next step's scale."""
        self._scaler.update()
        if self._scaler.is_enabled() and self._scaler.get_scale() > MOST_SCALE:
            self._scaler.update(MOST_SCALE)

    def state(self) -> dict[str, Any]:
        """Plain numbers for a checkpoint; empty unless fp16."""
        return self._scaler.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` returned; an empty state, of another precision, changes nothing."""
        if state:
            self._scaler.load_state_dict(dict(state))
