"""The training runs kept in the repository can be taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training.checkpoint import load_snapshot
from ncml_codec.learn.training.loop import TrainConfig, train
from ncpn import presets, runs
from tests.builders.pictures import ROOT, valley

FOLDER = ROOT / "models" / "ncpn" / "checkpoints"
KEPT = sorted(path.parent for path in FOLDER.glob("*/training.safetensors"))
WEIGHTS = sorted(path.parent for path in FOLDER.glob("*/model.safetensors"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_a_kept_run_goes_on(kept: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(kept, tmp_path / "run"))
    step = int(load_snapshot(run).progress["step"])
    images = FolderImages([valley(0, 0, 64, 64)], [])
    config = TrainConfig(steps=step + 2)
    model = runs.from_pretrained(run)
    train(model, images, process_named("none"), CropConfig(16, 2), config, run, lambda _: None)
    assert load_snapshot(run).progress["step"] == step + 2


@pytest.mark.parametrize("kept", WEIGHTS, ids=lambda path: path.name)
def test_a_new_run_begins_as_a_kept_one(kept: Path) -> None:
    old = runs.from_pretrained(kept)
    new = presets.build(presets.preset(f"wave-{kept.name.split('-')[0]}", 1.0))
    runs.grow_from(new, kept)
    x, time = torch.from_numpy(valley(0, 0, 16, 16)).permute(2, 0, 1)[None].float(), torch.zeros(1)
    torch.testing.assert_close(new(x, time).means, old(x, time).means, rtol=0, atol=0.01)
