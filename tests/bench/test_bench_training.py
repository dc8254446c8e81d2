"""The figures of training: operations are counted right, and runs are compared image by image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from bench.__main__ import main
from ncml_cli.train.train import main as train_main
from ncml_codec.learn.data.datasets import open_dataset
from ncml_codec.learn.evaluation.held_out import bits_by_image
from ncml_codec.learn.likelihood.processes import process_named
from ncpn import presets, runs
from tests.builders.pictures import valley


def bench(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_operations_are_three_passes_over_the_weights(tmp_path: Path) -> None:
    out = tmp_path / "training.jsonl"
    bench("training", "--presets", "wave-tiny", "--steps", 1, "--out", out)
    head, row = (json.loads(line) for line in out.read_text().splitlines())
    assert head["machine"]["versions"]["torch"] == torch.__version__
    weights = presets.multiply_adds(presets.build(presets.preset("wave-tiny", 1.0)))
    # Forward, and backward to inputs and weights: two operations each time; the image itself needs
    # no gradient, and a sixth place of the five taps' window is multiplied by zero.
    assert 2 * 2 * weights < row["flops_per_pixel"] < 3.2 * 2 * weights
    assert row["pixels_per_second"] == pytest.approx(4 * 64 * 64 / row["step_seconds"])
    assert 0 < row["gflops"] < row["peak_gflops"]
    assert row["loader_pixels_per_second"] > row["pixels_per_second"]
    assert "| wave-tiny | 2,373 |" in out.with_suffix(".md").read_text()


def test_runs_are_compared_image_by_image(tmp_path: Path) -> None:
    pieces = [valley(16 * i, 200, 16, 16) for i in range(12)]
    np.save(tmp_path / "pieces.npy", np.stack(pieces))
    source, found = f"array:{tmp_path / 'pieces.npy'}", {}
    for sde, steps in (("none", 4), ("vp", 8)):
        words = ("--data", source, "--model", "wave-tiny", "--sde", sde, "--steps", steps)
        words += ("--batch", 2, "--out", tmp_path / sde, "--warmup", 1)
        trained = CliRunner().invoke(train_main, [str(word) for word in words])
        assert trained.exit_code == 0, trained.output
        model = runs.from_pretrained(tmp_path / sde)
        images = open_dataset(source, "test", 1)
        clean = process_named("none")
        found[sde] = bits_by_image(model, images, clean, 0.0, 5, torch.device("cpu"))[0]
    folder = tmp_path / "figures"
    words = ("--data", source, "--note", "A few steps.", "--folder", folder)
    bench("runs", tmp_path / "none", tmp_path / "vp", *words)
    _, first, second = (
        json.loads(line) for line in (folder / "figures.jsonl").read_text().splitlines()
    )
    assert (first["difference"], first["difference_error"]) == (0, 0)
    gap = (found["vp"] - found["none"]).numpy()
    assert second["bpd"] == pytest.approx(float(found["vp"].mean()), rel=1e-6)
    assert second["difference"] == pytest.approx(gap.mean(), rel=1e-4)
    assert second["difference_error"] == pytest.approx(gap.std() / np.sqrt(12), rel=1e-4)
    text = (folder / "figures.md").read_text()
    assert "A few steps." in text
    assert "8 x 2" in text
    assert (folder / "vp" / "config.json").exists()
    assert (folder / "curves.png").exists()
