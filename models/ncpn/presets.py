"""Named sizes of the networks, and building one from its name or a saved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.checkpoint import load_config, load_model
from ncpn.wave import WaveConfig, WaveNCPN

# Multiply-adds a pixel: see `multiply_adds`, printed by `ncml-train`.
PRESETS: dict[str, WaveConfig] = {
    "wave-tiny": WaveConfig(width=8, blocks=1, head_width=8, mixtures=2, time_features=8),
    "wave-fast": WaveConfig(width=24, blocks=5, head_width=32),
    "wave-photo": WaveConfig(),
    "wave-max": WaveConfig(width=96, blocks=8, head_width=96, mixtures=6),
}


def preset(name: str, time_scale: float) -> WaveConfig:
    """The configuration of a preset. time_scale: the noise process's T (1 if it has none)."""
    if name not in PRESETS:
        raise UsageError(f"model {name!r}: not one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], time_scale=time_scale or 1.0)


def build(config: WaveConfig) -> WaveNCPN:
    """The untrained network of a configuration; torch's global seed decides its weights."""
    return WaveNCPN(config)


def to_json(config: WaveConfig) -> dict[str, Any]:
    """A configuration as plain JSON values, for `from_json`."""
    return {"kind": "wave", **asdict(config)}


def from_json(values: Mapping[str, Any]) -> WaveConfig:
    """The configuration that `to_json` wrote. Raises UsageError for anything else."""
    fields = dict(values)
    if fields.pop("kind", None) != "wave":
        raise UsageError("not the configuration of a wave NCPN")
    try:
        return WaveConfig(**fields)
    except TypeError as error:
        raise UsageError(f"not the configuration of a wave NCPN: {error}") from error


def load_weights(model: WaveNCPN, weights: Mapping[str, Tensor]) -> None:
    """Put saved weights into a network. Raises InputError unless names and shapes are its own."""
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise InputError(f"weights do not fit the network: {error}") from error


def from_pretrained(run: Path) -> WaveNCPN:
    """The network of a training run's folder, with its averaged weights, ready to evaluate."""
    model = build(from_json(load_config(run)["model"]))
    load_weights(model, load_model(run))
    return model.eval()


def multiply_adds(model: WaveNCPN) -> int:
    """Multiply-adds for one pixel: every weight is used once."""
    return sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "time" not in name
    )
