"""Networks out of the folders of training runs: load one, begin as one, ask how one was trained.

What a run's files hold is said by `ncml_codec.learn.training.checkpoint`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.likelihood.processes import Process, process_named
from ncml_codec.learn.training.checkpoint import (
    MODEL,
    load_config,
    numbers,
    saved_progress,
    with_weights,
)
from ncpn import presets
from ncpn.network import NCPN
from ncpn.wave_network import growth
from ncpn.wave_network.wave import WaveNCPN


def from_pretrained(run: Path | str) -> NCPN:
    """The averaged network of a training run's folder, ready to evaluate (dropout off).

    Raises InputError if there is none, or its files are damaged or do not fit each other.
    """
    values = load_config(Path(run)).get("model")
    if not isinstance(values, dict):
        raise InputError(f"{run}: its config.json holds no model")
    config = presets.from_json(values)
    return with_weights(lambda: presets.build(config), Path(run) / MODEL).eval()


def grow_from(network: NCPN, run: Path) -> None:
    """Begin an untrained wave network as the smaller network of a run, in place; see `growth`.

    Raises UsageError if one of them is no wave network or the sizes do not fit, and as
    `from_pretrained`.
    """
    smaller = from_pretrained(run)
    if not (isinstance(network, WaveNCPN) and isinstance(smaller, WaveNCPN)):
        raise UsageError(f"{run}: only wave networks grow out of wave networks")
    growth.grow(network, smaller.to(next(network.parameters()).device))


def recorded_turns(run: Path) -> Any:
    """The turn in which each training image was shown at the end, as recorded; None for all turns.

    For `datasets.in_turns`, which checks it. Raises InputError.
    """
    config = load_config(run)
    if "turns" in config:
        return config["turns"]
    return saved_progress(run, MODEL).get("found", {}).get("turns")


def recorded_process(run: Path) -> Process:
    """The noise process that a run was trained under. Raises InputError if it holds none."""
    recorded = load_config(run).get("process")
    if not isinstance(recorded, dict) or not isinstance(recorded.get("sde"), str):
        raise InputError(f"{run}: its config.json holds no noise process")
    strength = None
    if recorded["sde"] != "none":
        strength = numbers(recorded, f"{run}: its noise process", T=float)["T"]
    try:
        return process_named(recorded["sde"], strength)
    except UsageError as error:
        raise InputError(f"{run}: its config.json: {error}") from error
