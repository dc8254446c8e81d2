"""Named sizes of the networks, and building one from its name or a saved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.training.checkpoint import numbers
from ncpn.network import NCPN
from ncpn.paper_network import shifted
from ncpn.paper_network.pixelcnn import PixelCNN, PixelCNNConfig
from ncpn.wave_network.wave import WaveConfig, WaveNCPN

Config: TypeAlias = WaveConfig | PixelCNNConfig

KINDS: dict[str, type[Config]] = {"wave": WaveConfig, "paper": PixelCNNConfig}

_MAX_BLOCKS, _MAX_SIZE = 32, 4096  # of what a file may ask for

# Sizes: see `multiply_adds` (wave) and `parameter_count`, printed by `ncml-train`.
PRESETS: dict[str, Config] = {
    "wave-tiny": WaveConfig(width=8, blocks=1, head_width=8, mixtures=2, time_features=8),
    "wave-fast": WaveConfig(width=24, blocks=5, head_width=32),
    "wave-photo": WaveConfig(),
    "wave-max": WaveConfig(width=96, blocks=8, head_width=96, mixtures=6),
    "tiny": PixelCNNConfig(width=16, blocks=1, mixtures=5, features=32, dropout=0.0),
    "small": PixelCNNConfig(width=48, blocks=2, features=128, dropout=0.0),
    "base": PixelCNNConfig(width=96, blocks=3, features=256, dropout=0.1),
    "paper": PixelCNNConfig(),
}


def preset(
    name: str, time_scale: float, *, dropout: float | None = None, classes: int = 0
) -> Config:
    """The configuration of a preset. time_scale: the noise process's T (1 if it has none).

    dropout: another than the preset's; classes: for class conditioning. Raises UsageError for an
    unknown name, and for dropout or classes of a wave network, which has neither.
    """
    if name not in PRESETS:
        raise UsageError(f"model {name!r}: not one of {', '.join(PRESETS)}")
    config = replace(PRESETS[name], time_scale=time_scale or 1.0)
    if isinstance(config, PixelCNNConfig):
        dropout = config.dropout if dropout is None else dropout
        return replace(config, dropout=dropout, classes=classes)
    if dropout or classes:
        raise UsageError(f"model {name}: a wave network has neither dropout nor classes")
    return config


def build(config: Config) -> NCPN:
    """The untrained network of a configuration; torch's global seed decides its weights."""
    return WaveNCPN(config) if isinstance(config, WaveConfig) else PixelCNN(config)


def initialise(model: NCPN, x: Tensor, t: Tensor) -> None:
    """What a new network takes from a first batch, in place: `shifted.initialise`; wave: nothing.

    x: [batch, 3, height, width] levels; t: [batch].
    """
    if isinstance(model, PixelCNN):
        shifted.initialise(model, x, t)


def to_json(config: Config) -> dict[str, Any]:
    """A configuration as plain JSON values, for `from_json`."""
    (kind,) = (kind for kind, made in KINDS.items() if isinstance(config, made))
    return {"kind": kind, **asdict(config)}


def from_json(values: Mapping[str, Any]) -> Config:
    """The configuration that `to_json` wrote. Raises InputError for anything else."""
    found = dict(values)
    kind = found.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"kind {str(kind)[:80]!r} of network: not one of {', '.join(KINDS)}")
    what = f"the configuration of a {kind} network"
    kinds = {field.name: type(field.default) for field in fields(KINDS[kind])}
    if set(found) != set(kinds):
        raise InputError(f"{what}: has {', '.join(kinds)}, no more and no less")
    numbers(found, what, **kinds)
    for name, value in found.items():
        most = _MAX_BLOCKS if name == "blocks" else _MAX_SIZE
        if not (value <= most and (value > 0 or name in ("classes", "dropout"))):
            raise InputError(f"{what}: {name} {value} is out of range")
        if name.endswith("features") and value % 2:
            raise InputError(f"{what}: {name} {value} is odd")
    return KINDS[kind](**found)


def classes(model: NCPN) -> int:
    """How many classes the network is conditioned on; 0 for none."""
    return model.config.classes if isinstance(model, PixelCNN) else 0


def describe(model: NCPN) -> str:
    """The network's size in words."""
    count = f"{parameter_count(model)} parameters"
    if isinstance(model, WaveNCPN):
        return f"{count}, {multiply_adds(model)} multiply-adds a pixel"
    return count


def parameter_count(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: WaveNCPN) -> int:
    """Multiply-adds for one pixel: every weight is used once."""
    return sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "time" not in name
    )
