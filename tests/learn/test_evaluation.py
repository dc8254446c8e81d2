"""Evaluation: every image counts, by its size, whatever the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.evaluate.evaluate import main
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.evaluation.held_out import bits_per_dimension
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training.loop import TrainConfig, train
from ncpn import presets
from ncpn.integers import validation
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import valley

CPU = torch.device("cpu")


def network() -> WaveNCPN:
    torch.manual_seed(0)
    return presets.build(presets.preset("wave-tiny", 0.1)).eval()


def test_no_image_is_dropped_whatever_the_batch_size() -> None:
    images = np.stack([valley(0, 16 * i, 16, 16).transpose(2, 0, 1) for i in range(7)])
    model, process = network(), process_named("vp")
    data = ArrayImages(images)
    by_size = [bits_per_dimension(model, data, process, [0.0], n, CPU)[0] for n in (1, 3, 7, 50)]
    alone = [validation.float_bits(model, image.transpose(1, 2, 0)) for image in images]
    for found in by_size:
        assert found.images == 7
        assert found.bits_per_dimension == pytest.approx(np.mean(alone), rel=1e-5)
        assert found.standard_error == pytest.approx(np.std(alone) / np.sqrt(7), rel=1e-3)


def test_images_count_by_their_size() -> None:
    large, small = valley(100, 100, 40, 40), valley(10, 10, 8, 8)
    model = network()
    (found,) = bits_per_dimension(
        model, FolderImages([large, small], []), process_named("none"), [0.0], 1, CPU
    )
    bits = [validation.float_bits(model, image) * image.size for image in (large, small)]
    assert found.bits_per_dimension == pytest.approx(sum(bits) / (large.size + small.size))


def test_noise_costs_bits_and_is_repeatable() -> None:
    images = ArrayImages(
        np.stack([valley(150, 16 * i, 16, 16).transpose(2, 0, 1) for i in range(4)])
    )
    process = process_named("vp")
    found = [
        bits_per_dimension(network(), images, process, [0.0, 0.05, 0.1], 4, CPU, seed=5)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    clean, middle, late = (likelihood.bits_per_dimension for likelihood in found[0])
    assert clean < middle < late
    assert found[0][2].noise_levels == pytest.approx(41, rel=0.02)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bpd", *map(str, arguments)])


def test_the_tool_reports_a_run(tmp_path: Path) -> None:
    from ncml_codec.learn.training.checkpoint import save_config

    run, folder = tmp_path / "run", tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(valley(0, 40 * index, 24, 20)).save(folder / f"{index}.png")
    process = process_named("subvp")
    shape = presets.preset("wave-tiny", process.horizon)
    recorded = {"sde": "subvp", "T": process.horizon}
    save_config(run, {"model": presets.to_json(shape), "process": recorded})
    images = FolderImages([valley(0, 0, 32, 32)], [])
    train(presets.build(shape), images, process, CropConfig(16, 2), TrainConfig(steps=2), run, str)
    text = evaluate(run, "--data", folder, "--t", 0, "--t", 0.01)
    assert text.exit_code == 0, text.output
    assert "over 3 images" in text.output
    facts = json.loads(evaluate(run, "--data", folder, "--json", "--limit", 2).output)
    assert facts["likelihoods"][0]["images"] == 2
    beyond = evaluate(run, "--data", folder, "--t", 0.5)
    assert beyond.exit_code == 2
    assert "0.025" in beyond.stderr
    assert evaluate(tmp_path / "none", "--data", folder).exit_code == 1
    picture = tmp_path / "curves.png"
    drawn = CliRunner().invoke(main, ["curves", str(run), "-o", str(picture)])
    assert drawn.exit_code == 0, drawn.output
    with Image.open(picture) as image:
        assert min(image.size) > 300
        assert image.convert("L").getextrema() == (0, 255)
    assert CliRunner().invoke(main, ["curves", str(folder), "-o", str(picture)]).exit_code == 1
