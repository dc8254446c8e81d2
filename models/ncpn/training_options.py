"""The record of training options, and what of it a run keeps when it is resumed.

Without torch, so that the command line can show the options before it imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

# A resumed run keeps these. Data are compared by the images themselves, network and noise by what
# config.json records of them; `resuming` says how.
KEPT = (
    *("data", "images", "crop", "grey", "augment", "seed"),
    *("sde", "T", "noise-levels", "clean-share", "importance"),
    *("model", "dropout", "classes", "grow-from"),
)
# These are kept from the moment at which they take effect.
KEPT_ONCE_BEGUN = {
    "turns": ("turned-by", "turned-from"),
    "units": ("rounded-by", "rounded-from"),
}


@dataclass(frozen=True)
class TrainingOptions:
    """Every option of `ncml-train` by its long name; `ncml-train --help` explains each of them.

    None: the option is not used, or the preset decides (dropout) or the paper (T).
    """

    data: tuple[str, ...]
    out: Path
    model: str = "wave-photo"
    dropout: float | None = None
    classes: int = 0
    images: int | None = None
    sde: str = "none"
    T: float | None = None
    noise_levels: float | None = None
    clean_share: float = 0.5
    importance: bool = False
    steps: int = 20_000
    max_minutes: float = math.inf
    batch: int = 4
    crop: int = 64
    grey: float = 0.02
    augment: float = 0.0
    matrix_rate: float = 7e-3
    rate: float = 5e-3
    schedule: str = "cosine"
    warmup: int = 100
    clip: float = 0.5
    average: float = 0.999
    accumulate: int = 1
    precision: str = "float32"
    compile: bool = False
    checkpointing: bool = False
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    log_every: int = 100
    save_minutes: float = 5.0
    test_data: str | None = None
    test_images: int = 256
    evaluate_every: int | None = None
    sample_every: int | None = None
    samples: int = 16
    tensorboard: bool = False
    license: str | None = None
    grow_from: Path | None = None
    turned_by: Path | None = None
    turned_from: float | None = None
    rounded_by: Path | None = None
    rounded_from: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The options in use by their long names, as config.json holds them."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or value == math.inf:
                continue
            plain = list(value) if isinstance(value, tuple) else value
            found[_long(field.name)] = str(plain) if isinstance(plain, Path) else plain
        return found

    def lines(self) -> list[str]:
        """The options in use, a line each."""
        return [f"{name} = {value}" for name, value in self.to_json().items()]


def default(name: str) -> Any:
    """The default of an option by its long name: None where it has none."""
    (field,) = (field for field in fields(TrainingOptions) if _long(field.name) == name)
    return field.default if name not in ("data", "out") else None


def may_change() -> list[str]:
    """The long names of the options that a resumed run may change at any time."""
    kept = {*KEPT, *(name for names in KEPT_ONCE_BEGUN.values() for name in names)}
    return [
        name for name in map(_long, (f.name for f in fields(TrainingOptions))) if name not in kept
    ]


def resuming() -> str:
    """What a resumed run keeps and what it may change, in words."""
    return (
        "A resumed run keeps its images (their pixels, not where they lie), its network and its"
        f" noise: {_listed(KEPT)}. It keeps --turned-by, --turned-from, --rounded-by and"
        " --rounded-from from the moment at which they take effect; from then on they need not be"
        f" given, as --grow-from need not. All else may change: {_listed(may_change())}."
    )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _long(field: str) -> str:
    return field.replace("_", "-")
