"""Presets through a training run: every kind of network trains, resumes and loads again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.train.export import main as export_main
from ncml_cli.train.train import main as train_main
from ncml_codec.errors import InputError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training import checkpoint
from ncml_codec.learn.training.loop import TrainConfig, train
from ncml_codec.learn.training.optimiser import is_matrix
from ncpn import presets, runs
from ncpn.paper_network.pixelcnn import PixelCNN, PixelCNNConfig
from tests.builders.pictures import valley


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(valley(0, 0, 64, 64)).save(images / "valley.png")
    return images


def trained(folder: Path, run: Path, *more: object) -> Result:
    options = ("--model", "tiny", "--crop", 8, "--batch", 2, "--sde", "vp", "--rate", 2e-3)
    arguments = [str(word) for word in ("--data", folder, "--out", run, *options, *more)]
    return CliRunner().invoke(train_main, arguments)


def test_the_paper_network_trains_and_loads_again(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = trained(folder, run, "--steps", 3)
    assert result.exit_code == 0, result.output
    assert "tiny: 190052 parameters" in result.output
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["kind"] == "paper"
    assert config["model"]["time_scale"] == config["process"]["T"]
    model = runs.from_pretrained(run)
    assert isinstance(model, PixelCNN)
    assert not model.training
    saved = checkpoint.load_model(run)
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())
    assert trained(folder, run, "--steps", 4, "--resume").exit_code == 0
    assert checkpoint.load_snapshot(run).progress["step"] == 4
    out = tmp_path / "model.ncpn"
    refused = CliRunner().invoke(export_main, [str(run), "-o", str(out), "--data", str(folder)])
    assert refused.exit_code == 2
    assert "not a wave NCPN" in refused.stderr


def test_crops_that_do_not_halve_twice_are_refused(folder: Path, tmp_path: Path) -> None:
    result = trained(folder, tmp_path / "run", "--crop", 18)
    assert result.exit_code == 2
    assert "multiples of 4" in result.stderr


def test_a_resumed_run_with_dropout_continues_to_the_bit(tmp_path: Path) -> None:
    images, crops = FolderImages([valley(0, 0, 64, 64)], []), CropConfig(crop=8, batch=2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run, stops in ((whole, [4]), (parts, [2, 4])):
        run.mkdir()
        for stop in stops:
            torch.manual_seed(0)
            model = PixelCNN(PixelCNNConfig(16, 1, mixtures=2, features=8, dropout=0.5))
            first = torch.from_numpy(images.crops(crops, 0, 0)).float()
            presets.initialise(model, first, torch.zeros(2))
            torch.manual_seed(stop)  # what came before in the process plays no part
            config = TrainConfig(steps=stop, schedule="constant")
            train(model, images, process_named("vp"), crops, config, run, quiet)
    one, other = (checkpoint.load_snapshot(run).weights for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_conditioning_is_not_trained_as_a_matrix() -> None:
    model = PixelCNN(PixelCNNConfig(16, 1, mixtures=2, features=8, classes=3))
    matrices = {name for name, value in model.named_parameters() if is_matrix(name, value)}
    assert matrices
    assert all("attention" in name for name in matrices)


def test_a_run_without_a_model_is_refused(tmp_path: Path) -> None:
    checkpoint.save_config(tmp_path, {"model": 3})
    with pytest.raises(InputError, match="holds no model"):
        runs.from_pretrained(tmp_path)
