"""What all noise conditional pixel networks share: memory for time in training."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


class NCPN(nn.Module):
    """A network whose forward(x, t) is the `Distribution` of images x at noise time t.

    checkpointing: set it to keep only the blocks' inputs for the backward pass, which then computes
    the blocks once more: the same gradients, a third more time, far less memory (Chen et al. 2016,
    "Training deep nets with sublinear memory cost").
    """

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False

    def through(self, block: nn.Module, *inputs: Any) -> Any:
        """block(*inputs), recomputed in the backward pass if `checkpointing`."""
        if self.checkpointing and self.training:
            # Dropout draws the same again: torch's random state is put back for it.
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)
