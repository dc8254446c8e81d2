"""What all networks share: loading, memory for time; and class conditioning to the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from ncml_cli.evaluate.evaluate import main as eval_main
from ncml_cli.train.train import main as train_main
from ncml_codec.errors import UsageError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.evaluation.held_out import bits_per_dimension
from ncml_codec.learn.likelihood.objective import given, ncml
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training import checkpoint
from ncml_codec.learn.training.loop import TrainConfig, train
from ncml_codec.learn.training.optimiser import OptimiserConfig
from ncpn import network as network_module
from ncpn import presets, runs
from ncpn.network import NCPN
from ncpn.paper_network.pixelcnn import PixelCNN, PixelCNNConfig
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import valley

CPU = torch.device("cpu")


def small_pixelcnn(dropout: float = 0.0, classes: int = 0) -> PixelCNN:
    torch.manual_seed(0)
    config = PixelCNNConfig(16, 1, mixtures=2, features=8, dropout=dropout, classes=classes)
    return PixelCNN(config)


def networks() -> list[NCPN]:
    torch.manual_seed(0)
    return [presets.build(presets.preset("wave-tiny", 0.1)), small_pixelcnn(dropout=0.5)]


@pytest.mark.parametrize("model", networks(), ids=lambda model: type(model).__name__)
def test_checkpointing_gives_the_same_gradients_and_computes_blocks_twice(
    model: NCPN, monkeypatch: pytest.MonkeyPatch
) -> None:
    recomputed: list[nn.Module] = []
    original = network_module.checkpoint

    def counted(block: nn.Module, *inputs: object, **options: object) -> object:
        recomputed.append(block)
        return original(block, *inputs, **options)

    monkeypatch.setattr(network_module, "checkpoint", counted)
    x = torch.from_numpy(valley(0, 0, 8, 8).transpose(2, 0, 1)[None].repeat(2, 0)).float()
    gradients = []
    for model.checkpointing in (False, True):
        assert not recomputed
        model.zero_grad()
        torch.manual_seed(5)  # of dropout
        generator = torch.Generator().manual_seed(1)
        ncml(model, x, process_named("vp"), 0.5, generator).total.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert recomputed
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


def test_a_network_loads_from_a_run_with_its_averaged_weights(tmp_path: Path) -> None:
    shape = presets.preset("wave-tiny", 1.0)
    checkpoint.save_config(tmp_path, {"model": presets.to_json(shape)})
    images = FolderImages([valley(0, 0, 32, 32)], [])
    config = TrainConfig(steps=1)
    model = presets.build(shape)
    train(model, images, process_named("none"), CropConfig(16, 2), config, tmp_path, str)
    saved = checkpoint.load_model(tmp_path)
    for run in (tmp_path, str(tmp_path)):
        loaded = runs.from_pretrained(run)
        assert isinstance(loaded, WaveNCPN)
        assert not loaded.training
        assert all(torch.equal(saved[name], w) for name, w in loaded.state_dict().items())


def test_dropout_and_classes_are_the_papers_network_s_alone() -> None:
    config = presets.preset("tiny", 0.1, dropout=0.4, classes=7)
    assert isinstance(config, PixelCNNConfig)
    assert (config.dropout, config.classes) == (0.4, 7)
    assert presets.preset("base", 0.1) == presets.preset("base", 0.1, dropout=0.1)
    with pytest.raises(UsageError, match="neither dropout nor classes"):
        presets.preset("wave-tiny", 0.1, classes=10)
    with pytest.raises(UsageError, match="neither dropout nor classes"):
        presets.preset("wave-tiny", 0.1, dropout=0.1)


def two_kinds() -> ArrayImages:
    """Dark images of class 0 and bright ones of class 1, 8 x 8, in turn."""
    random = np.random.default_rng(0)
    labels = np.arange(16) % 2
    images = random.integers(0, 40, (16, 3, 8, 8)) + 200 * labels[:, None, None, None]
    return ArrayImages(images.astype(np.uint8), labels)


def test_a_network_told_the_class_learns_to_use_it(tmp_path: Path) -> None:
    images, process = two_kinds(), process_named("none")
    model = small_pixelcnn(classes=2)
    first = torch.from_numpy(images.images).float()
    presets.initialise(model, first, torch.zeros(16))
    rates = OptimiserConfig(1e-2, 1e-2)
    config = TrainConfig(steps=160, labelled=True, warmup=10, clip=10, optimiser=rates)
    train(model, images, process, CropConfig(8, 8), config, tmp_path, str)
    model.eval()
    wrong = ArrayImages(images.images, 1 - images.labels)
    right, lied, untold = (
        bits_per_dimension(model, data, process, [0.0], 5, CPU, labelled=told)[0]
        for data, told in ((images, True), (wrong, True), (images, False))
    )
    assert right.bits_per_dimension < lied.bits_per_dimension - 0.002  # of one pixel in 64
    assert right.bits_per_dimension < untold.bits_per_dimension < lied.bits_per_dimension
    with torch.no_grad():
        alone = given(model, torch.tensor([1]))(first[1:2], torch.zeros(1))
        bits = -alone.log_mass(first[1:2]).mean() / np.log(2)
    (one,) = bits_per_dimension(
        model,
        ArrayImages(images.images[1:2], images.labels[1:2]),
        process,
        [0.0],
        1,
        CPU,
        labelled=True,
    )
    assert one.bits_per_dimension == pytest.approx(float(bits), rel=1e-5)


def cifar(folder: Path, largest: int) -> Path:
    """A few records in CIFAR-10's binary format with labels 0 to `largest`."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for name in ("data_batch_1", "test_batch"):
        records = random.integers(0, 256, (8, 3073)).astype(np.uint8)
        records[:, 0] = np.linspace(0, largest, 8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def tool(main: object, *arguments: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in arguments])  # type: ignore[arg-type]


def test_the_tools_train_and_evaluate_with_labels(tmp_path: Path) -> None:
    data, run = f"cifar10:{cifar(tmp_path / 'cifar', 9)}", tmp_path / "run"
    options = ["--data", data, "--model", "tiny", "--batch", 2, "--steps", 2, "--out", run]
    options += ["--test-data", data, "--evaluate-every", 1, "--test-images", 2]
    done = tool(train_main, *options, "--classes", 10, "--dropout", 0.25)
    assert done.exit_code == 0, done.output
    assert "test bpd" in done.output
    saved = json.loads((run / "config.json").read_text())["model"]
    assert (saved["classes"], saved["dropout"]) == (10, 0.25)
    loaded = runs.from_pretrained(run)
    assert isinstance(loaded, PixelCNN)
    assert loaded.condition.classes is not None
    assert tool(eval_main, "bpd", run, "--data", data, "--limit", 2).exit_code == 0
    unlabelled = tmp_path / "array.npy"
    np.save(unlabelled, np.zeros((2, 8, 8, 3), np.uint8))
    refused = tool(eval_main, "bpd", run, "--data", f"array:{unlabelled}")
    assert refused.exit_code == 2
    assert "no labels" in refused.stderr
    few = tool(train_main, *options[:-6], "--out", tmp_path / "few", "--classes", 3)
    assert few.exit_code == 2
    assert "labels up to 9" in few.stderr
