"""What all noise conditional pixel networks share: loading, and memory for time in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from torch import nn
from torch.utils.checkpoint import checkpoint

from ncml_codec.errors import InputError


class NCPN(nn.Module):
    """A network whose forward(x, t) is the `Distribution` of images x at noise time t.

    checkpointing: set it to keep only the blocks' inputs for the backward pass, which then computes
    the blocks once more: the same gradients, a third more time, far less memory (Chen et al. 2016,
    "Training deep nets with sublinear memory cost").
    """

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False

    @classmethod
    def from_pretrained(cls, run: Path | str) -> Self:
        """The averaged network of a training run's folder, ready to evaluate (dropout off).

        Raises InputError if there is none, if it is damaged, or another kind of network.
        """
        from ncpn import presets  # which builds the subclasses of this class

        model = presets.from_pretrained(Path(run))
        if not isinstance(model, cls):
            raise InputError(f"{run}: holds a {type(model).__name__}, not a {cls.__name__}")
        return model

    def through(self, block: nn.Module, *inputs: Any) -> Any:
        """block(*inputs), recomputed in the backward pass if `checkpointing`."""
        if self.checkpointing and self.training:
            # Dropout draws the same again: torch's random state is put back for it.
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)
