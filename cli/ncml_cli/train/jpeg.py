"""The network for JPEG coefficients in `ncml-train --model jpeg` and `ncml-export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
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
_SHOWN_BLOCKS = 8192  # of each kind, to see how far activations reach


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


def is_jpeg_run(run: Path) -> bool:
    """Whether a run's folder holds such a network. Raises InputError if it holds no run."""
    from ncml_codec.learn.training.checkpoint import load_config

    model = load_config(run).get("model")
    return isinstance(model, dict) and "luma" in model


def exported(run: Path, folders: Sequence[Path], say: Callable[[str], None]) -> bytes:
    """The model file of a run. folders: of JPEG files, or images that are made to such.

    Says of every layer the largest sum that its integers can reach, and the code length of all
    blocks in floating point. Raises ExportError or InputError.
    """
    import torch

    from jpeg_coefficients import export, sources, training
    from jpeg_coefficients.blocks import Blocks
    from ncml_codec.coefficients.model_file import write_model
    from ncml_codec.coefficients.network import SUM_LIMIT

    model = training.from_run(run)
    files = [file for _, file in sources.files([str(folder) for folder in folders], 1, 0, say)]
    sets = [Blocks(files, luma) for luma in (True, False)]
    if not all(map(len, sets)):
        raise UsageError("ncml-export needs JPEG files in colour, to see what activations reach")
    generator = torch.Generator().manual_seed(0)
    shown = [
        blocks.batch(torch.randint(len(blocks), (_SHOWN_BLOCKS,), generator=generator))
        for blocks in sets
    ]
    network = export.to_integers(model, *shown)
    for name, inputs, reach in export.proof(network):
        share = 100 * reach / SUM_LIMIT
        say(f"{name:16} {inputs:4} inputs  sums below {reach:10} ({share:.1f} % of 2**31)")
    for blocks in sets:
        length = training.evaluate(model.plane(blocks.luma), blocks)
        kind = "luma" if blocks.luma else "chroma"
        say(f"{kind}: {length.blocks} blocks, {length.bits:.3f} bits each in floating point")
    return write_model(network)
