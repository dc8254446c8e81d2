"""A resumed run is the same run: what it keeps, what may change, and what it finds on its way."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ncml_codec.errors import UsageError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.data.datasets import open_training
from ncml_codec.learn.training import checkpoint
from ncpn import presets, rounding, runs, training_options
from ncpn.integers import validation
from ncpn.training import train_network
from ncpn.training_options import KEPT, KEPT_ONCE_BEGUN, TrainingOptions
from tests.builders.runs import saved, thumbnails

# A value of each option other than that of the runs here.
OTHER: dict[str, Any] = {
    "data": ("other",),
    "model": "wave-fast",
    "dropout": 0.5,
    "classes": 2,
    "images": 2,
    "sde": "ve",
    "T": 0.2,
    "noise_levels": 9.0,
    "clean_share": 0.25,
    "importance": True,
    "batch": 3,
    "crop": 20,
    "grey": 0.5,
    "augment": 0.5,
    "matrix_rate": 1e-3,
    "rate": 1e-3,
    "schedule": "constant",
    "warmup": 7,
    "clip": 0.25,
    "average": 0.5,
    "accumulate": 2,
    "precision": "bf16",
    "checkpointing": True,
    "seed": 5,
    "device": "cpu:0",
    "log_every": 1,
    "save_minutes": 1.0,
    "max_minutes": 9.0,
    "test_images": 2,
    "evaluate_every": 2,
    "sample_every": 2,
    "samples": 2,
    "license": "cc0-1.0",
    "grow_from": Path("other"),
    "turned_by": Path("other"),
    "turned_from": 0.75,
    "rounded_by": Path("other"),
    "rounded_from": 0.75,
}


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    """What the run in `.out` was trained with: three steps, with noise, turned and rounded."""
    home = tmp_path_factory.mktemp("resuming")
    data = saved(home / "images", thumbnails(4))
    saved(home / "other", 255 - thumbnails(4))
    found = TrainingOptions(
        data=(str(data),),
        out=home / "run",
        model="wave-tiny",
        sde="vp",
        T=0.1,
        crop=16,
        batch=2,
        steps=3,
        turned_from=0.0,
        rounded_from=0.5,
    )
    train_network(found, say=quiet)
    return found


def copied(options: TrainingOptions, folder: Path) -> TrainingOptions:
    return replace(options, out=Path(shutil.copytree(options.out, folder / "run")), steps=5)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(options: TrainingOptions, name: str) -> TrainingOptions:
    """The options with another value of one of them."""
    value = OTHER[name]
    if name == "data":
        value = (str(Path(options.data[0]).parent / "other"),)
    if name == "noise_levels":
        options = replace(options, T=None)
    if name in ("dropout", "classes"):  # which only the paper's networks have
        options = replace(options, model="tiny")
    if name.endswith("_by"):
        options = replace(options, **{name.replace("_by", "_from"): None})
    return replace(options, **{name: value})


@pytest.mark.parametrize("name", [*KEPT, *(n for names in KEPT_ONCE_BEGUN.values() for n in names)])
def test_a_resumed_run_refuses_another_value_by_name(
    name: str, options: TrainingOptions, tmp_path: Path
) -> None:
    resumed = changed(copied(options, tmp_path), name.replace("-", "_"))
    if name in ("dropout", "classes"):
        config = checkpoint.load_config(resumed.out)
        config["model"] = presets.to_json(presets.preset("tiny", 0.1))
        checkpoint.save_config(resumed.out, config)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=rf"another .*--{name} .*\. A resumed run keeps"):
        train_network(resumed, resume=True, say=quiet)
    assert contents(tmp_path) == before


def test_a_resumed_run_goes_on_with_other_values_of_all_else(
    options: TrainingOptions, tmp_path: Path
) -> None:
    resumed = replace(copied(options, tmp_path), test_data=options.data[0])
    for name in training_options.may_change():
        if (field := name.replace("-", "_")) in OTHER:
            resumed = replace(resumed, **{field: OTHER[field]})
    train_network(resumed, resume=True, say=quiet)
    assert checkpoint.saved_step(resumed.out) == 5
    kept = {name for names in KEPT_ONCE_BEGUN.values() for name in names}
    long = {field.name.replace("_", "-") for field in fields(TrainingOptions)}
    assert {*KEPT, *kept, *training_options.may_change()} == long


def test_the_same_images_elsewhere_are_the_same_data(
    options: TrainingOptions, tmp_path: Path
) -> None:
    moved = shutil.copytree(options.data[0], tmp_path / "moved")
    resumed = replace(copied(options, tmp_path), data=(str(moved),), turned_from=None)
    train_network(resumed, resume=True, say=quiet)
    assert checkpoint.saved_step(resumed.out) == 5


def test_a_run_of_before_these_records_is_resumed(options: TrainingOptions, tmp_path: Path) -> None:
    plain = replace(options, out=tmp_path / "run", turned_from=None, rounded_from=None)
    train_network(plain, say=quiet)
    path = plain.out / "config.json"
    config = json.loads(path.read_text())
    del config["images"]
    path.write_text(json.dumps(config))
    # What has not begun may still be decided.
    train_network(replace(plain, steps=6, rounded_from=0.75), resume=True, say=quiet)
    assert "units" in checkpoint.saved_progress(plain.out)["found"]


def test_a_finished_run_is_left_as_it_is(options: TrainingOptions) -> None:
    before = contents(options.out)
    with pytest.raises(UsageError, match="finished at step 3"):
        train_network(replace(options, license="cc0-1.0"), resume=True, say=quiet)
    assert contents(options.out) == before


def test_a_run_that_changes_on_its_way_resumes_to_the_bit(
    options: TrainingOptions, tmp_path: Path
) -> None:
    whole, parts = (
        replace(options, out=tmp_path / name, steps=8, schedule="constant", turned_from=0.3)
        for name in ("whole", "parts")
    )
    train_network(whole, say=quiet)
    # Stopped before the first change, between the two, and after both.
    for stop in (2, 3, 6):
        train_until(parts, stop)
    train_network(parts, resume=True, say=quiet)
    one, other = (checkpoint.load_snapshot(run.out) for run in (whole, parts))
    for group in ("weights", "average", "moments"):
        first, second = getattr(one, group), getattr(other, group)
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.progress["found"] == other.progress["found"]


def train_until(options: TrainingOptions, stop: int) -> None:
    """Train or resume, interrupted once the checkpoint of a step is saved."""
    from ncml_codec.learn.training import loop

    original = loop.save_snapshot

    def saving(run: Path, snapshot: checkpoint.Snapshot) -> None:
        original(run, snapshot)
        if snapshot.progress["step"] == stop:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_snapshot", saving)
        resume = checkpoint.has_snapshot(options.out)
        with pytest.raises(KeyboardInterrupt):
            train_network(replace(options, save_minutes=0), resume=resume, say=quiet)
    assert checkpoint.saved_step(options.out) == stop


def test_what_a_run_finds_is_what_its_averaged_network_says(
    options: TrainingOptions, tmp_path: Path
) -> None:
    run = replace(options, out=tmp_path / "run", turned_from=None, rounded_from=None, steps=2)
    train_network(run, say=quiet)
    network = runs.from_pretrained(run.out)
    images = open_training(options.data, 16)
    assert isinstance(images, FolderImages)
    turns = [validation.best_turn(network, image) for image in images.images]
    # The half of four steps is now.
    half = replace(run, steps=4, turned_from=0.5, rounded_from=0.5)
    train_network(half, resume=True, say=quiet)
    assert runs.recorded_turns(run.out) == turns
    shown = replace(images, turns=turns).crops(CropConfig(16, 256, 0.0), 12345, 0)
    units = rounding.units_of(network, list(shown.transpose(0, 2, 3, 1)))
    assert checkpoint.saved_progress(run.out)["found"]["units"] == rounding.to_json(units)
