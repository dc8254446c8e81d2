"""`ncml-train --model jpeg`: which of its options the network for JPEG coefficients takes."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from ncml_codec.errors import UsageError
from ncpn.training_options import TrainingOptions

if TYPE_CHECKING:
    from jpeg_coefficients.training import Options

MODEL, DATA = "jpeg", "jpeg:"  # what such a model's name and its data begin with
_TAKEN = {
    **{name: name for name in ("data", "out", "model", "steps", "batch", "clip", "average")},
    **{name: name for name in ("precision", "seed", "threads", "log_every", "save_minutes")},
    "max_minutes": "minutes",
}
_RATES = ("matrix_rate", "rate")


def is_jpeg(options: TrainingOptions) -> bool:
    """Whether a network for JPEG coefficients is to be trained. Raises UsageError if unclear."""
    jpeg_data = [name.startswith(DATA) for name in options.data]
    if options.model.startswith(MODEL) != all(jpeg_data) or any(jpeg_data) != all(jpeg_data):
        raise UsageError(f"--model {MODEL} needs --data {DATA}DIR, and the other way round")
    return all(jpeg_data)


def jpeg_options(options: TrainingOptions) -> Options:
    """The training's options; what is not given has its own defaults there.

    Raises UsageError for an option that this network does not know.
    """
    from jpeg_coefficients.training import Options
    from ncml_codec.learn.training.optimiser import OptimiserConfig

    given = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.default is MISSING or getattr(options, field.name) != field.default
    }
    known = (*_TAKEN, *_RATES, "test_data")
    strange = sorted(name for name in given if name not in known)
    if strange:
        raise UsageError(f"--model {MODEL} knows no --{strange[0].replace('_', '-')}")
    taken = {_TAKEN[name]: value for name, value in given.items() if name in _TAKEN}
    rates = {name: value for name, value in given.items() if name in _RATES}
    if rates:
        taken["optimiser"] = OptimiserConfig(**{"matrix_rate": 7e-3, "rate": 3e-3} | rates, decay=0)
    if "test_data" in given:
        taken["test_data"] = (given["test_data"],)
    return Options(**taken)
