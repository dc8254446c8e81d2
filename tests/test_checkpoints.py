"""The training runs kept in the repository can be taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ncml_codec.learn.checkpoint import load_snapshot
from ncml_codec.learn.data import CropConfig, FolderImages
from ncml_codec.learn.noise import process_named
from ncml_codec.learn.training import TrainConfig, train
from ncpn import presets
from tests.pictures import valley

FOLDER = Path(__file__).parent.parent / "models" / "ncpn" / "checkpoints"
KEPT = sorted(path.parent for path in FOLDER.glob("*/config.json"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_a_kept_run_goes_on(kept: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(kept, tmp_path / "run"))
    step = int(load_snapshot(run).progress["step"])
    images = FolderImages([valley(0, 0, 64, 64)], [])
    config = TrainConfig(steps=step + 2)
    model = presets.from_pretrained(run)
    train(model, images, process_named("none"), CropConfig(16, 2), config, run, lambda _: None)
    assert load_snapshot(run).progress["step"] == step + 2
