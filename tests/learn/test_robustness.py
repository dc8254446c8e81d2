"""Robustness: eq. 8 by its definition, the processes' strength, and bytes beside bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ncml_cli.evaluate.evaluate import main
from ncml_codec.learn.data.crops import FolderImages
from ncml_codec.learn.data.datasets import ArrayImages
from ncml_codec.learn.data.perturbation import perturbed
from ncml_codec.learn.evaluation.robustness import mean_absolute_perturbation, under_perturbation
from ncml_codec.learn.likelihood.processes import process_named
from ncpn import runs
from ncpn.bundles import coding
from ncpn.integers import calibration, validation
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import valley
from tests.builders.runs import saved, thumbnails, trained

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "vp")


def network(run: Path) -> WaveNCPN:
    model = runs.from_pretrained(run)
    assert isinstance(model, WaveNCPN)
    return model


def test_eq_8_by_its_definition(run: Path) -> None:
    images, model = thumbnails(5), network(run)
    found = under_perturbation(model, ArrayImages(images), [0.0, 1.0], [0.0], 5, CPU, seed=3)
    none, all_moved = found
    assert none.delta == 0
    assert none.delta_error == 0
    moved = perturbed(images, 1.0, np.random.default_rng([3, 10**9, 0]))

    def bits(batch: np.ndarray) -> list[float]:
        return [validation.float_bits(model, image.transpose(1, 2, 0)) for image in batch]

    assert none.bits_per_dimension == pytest.approx(np.mean(bits(images)), rel=1e-5)
    assert all_moved.bits_per_dimension == pytest.approx(np.mean(bits(moved)), rel=1e-5)
    difference = np.subtract(bits(moved), bits(images))
    assert all_moved.delta == pytest.approx(abs(difference.mean()), rel=1e-3)
    assert all_moved.delta_error == pytest.approx(difference.std() / np.sqrt(5), rel=1e-2)


def test_images_of_several_sizes_count_by_their_size(run: Path) -> None:
    large, small = valley(100, 100, 40, 40), valley(10, 10, 8, 8)
    model = network(run)
    images = FolderImages([large, small], [])
    (found,) = under_perturbation(model, images, [0.0], [0.0], 1, CPU)
    bits = [validation.float_bits(model, image) * image.size for image in (large, small)]
    assert found.bits_per_dimension == pytest.approx(sum(bits) / (large.size + small.size))


@pytest.mark.parametrize("sde", ["ve", "vp", "subvp"])
def test_the_processes_strength_equals_what_their_draws_show(sde: str) -> None:
    images, process = thumbnails(20), process_named(sde, noise_levels=10)
    times = [0.0, process.horizon / 3, process.horizon]
    found = mean_absolute_perturbation(process, ArrayImages(images), times)
    assert found[0] == pytest.approx(0, abs=1e-9)
    x = torch.from_numpy(images).double()
    for t, levels in zip(times[1:], found[1:], strict=True):
        time = torch.full((len(x),), t, dtype=torch.float64)
        moved = process.perturb(x, time, torch.Generator().manual_seed(0)) - x
        error = 5 * float(moved.abs().std()) / moved.numel() ** 0.5
        assert levels == pytest.approx(float(moved.abs().mean()), abs=error)


def test_bytes_follow_the_bits(run: Path) -> None:
    """The stream is the cross-entropy and at most a word and a half; files add what they list."""
    images = [image.transpose(1, 2, 0).copy() for image in thumbnails(6)]
    model = calibration.best_integers(network(run), images)
    sizes = coding.coded(model, images)
    assert sizes.sub_pixels == 6 * 32 * 32 * 3
    integer = sum(validation.integer_bits(model, image) * image.size for image in images)
    assert sizes.ideal_bits == pytest.approx(integer)
    assert -1 < 8 * sizes.stream_bytes - sizes.ideal_bits < 64
    assert 30 < (sizes.file_bytes - sizes.stream_bytes) / 6 < 60


def test_bytes_of_thumbnails_are_within_half_a_per_cent_of_the_likelihood(tmp_path: Path) -> None:
    """Coded together, the coder's flush apart.

    After 200 steps: after 60 the integer tables alone cost 1.3 % (5.560 to 5.632 bits).
    """
    model = network(trained(tmp_path / "longer", sde="none", steps=200))
    images = [image.transpose(1, 2, 0).copy() for image in thumbnails(6)]
    sizes = coding.coded(calibration.best_integers(model, images), images)
    bits = sum(validation.float_bits(model, image) * image.size for image in images)
    # Rounding to integers may also happen to make a barely trained network better.
    assert 8 * sizes.stream_bytes < 1.005 * bits + 64
    assert abs(8 * sizes.stream_bytes - sizes.ideal_bits) < 0.005 * sizes.ideal_bits + 64


def test_the_tool_reports_runs_and_draws_them(run: Path, tmp_path: Path) -> None:
    plain = trained(tmp_path / "none", sde="none", steps=20)
    folder, picture = saved(tmp_path / "images", thumbnails(8)), tmp_path / "figure4.png"
    arguments = ["robustness", run, plain, "--data", folder, "--times", 3, "-o", picture]
    tool = CliRunner()
    found = tool.invoke(main, [*map(str, arguments), "--coded", "4", "--json"])
    assert found.exit_code == 0, found.output
    noisy, clean = json.loads(found.output)
    assert [line["pi"] for line in noisy["likelihoods"]] == 3 * [0, 0.5, 1]
    assert len(clean["likelihoods"]) == 3
    assert clean["mean_absolute_perturbation"] == {}
    bits = {line["pi"]: line["bits_per_dimension"] for line in noisy["likelihoods"][:3]}
    assert bits[0] < bits[0.5] < bits[1]
    coded = noisy["coded"]
    assert coded[0]["stream_bytes"] < coded[1]["stream_bytes"] < coded[2]["stream_bytes"]
    with Image.open(picture) as image:
        assert image.width > 2 * image.height
    text = tool.invoke(main, ["robustness", str(run), "--data", str(folder), "--coded", "2"])
    assert "one stream of" in text.output
    refused = tool.invoke(main, ["robustness", str(run), "--data", str(folder), "--pi", "2"])
    assert refused.exit_code == 2
