"""ncml-sample: both phases, given parts, classes, and the pictures it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.evaluate.sample import main
from ncml_codec.errors import UsageError
from ncml_codec.learn.sampling.animation import enlarged, save_animation
from ncml_codec.learn.sampling.sampler import Given
from ncml_codec.learn.training.checkpoint import Snapshot, save_config, save_snapshot
from ncpn import presets, runs
from ncpn.bundles import generation
from ncpn.bundles.generation import SampleConfig, draw
from ncpn.paper_network.pixelcnn import PixelCNNConfig
from tests.builders.runs import saved, thumbnails, trained

SHAPE = (2, 3, 8, 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "vp")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", ["plain", *generation.METHODS])
def test_images_are_levels_and_repeat_with_their_seed(run: Path, method: str) -> None:
    model, process = runs.from_pretrained(run), runs.recorded_process(run)
    config = SampleConfig()
    if method != "plain":
        config = SampleConfig(process.horizon, method, steps=4)
    seen: list[float] = []

    def frame(x: torch.Tensor, t: float) -> None:
        seen.append(t)

    one, same, other = (
        draw(model, process, config, SHAPE, generator(seed), frame=frame) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one, one.round())
    assert 0 <= one.min() < one.max() <= 255
    assert len(seen) == (0 if method == "plain" else 3 * 5)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_given_parts_stay_as_they_are(run: Path, start: float) -> None:
    model, process = runs.from_pretrained(run), runs.recorded_process(run)
    values = torch.from_numpy(thumbnails(2)[:, :, :8, :12]).float()
    config = SampleConfig(start * process.horizon, steps=4)
    for mask in (generation.top_half(8, 12), generation.first_half(model, 8, 12)):
        drawn = draw(model, process, config, SHAPE, generator(), given=Given(values, mask))
        assert torch.equal(drawn[:, :, mask], values[:, :, mask])
        assert (drawn[:, :, ~mask] != values[:, :, ~mask]).any()


def test_noisy_images_are_within_reach(run: Path) -> None:
    process = runs.recorded_process(run)
    images = torch.from_numpy(thumbnails(30)).float()
    for t in (0.0, process.horizon / 2, process.horizon):
        low, high = generation.reach(process, t)
        noisy = process.perturb(images, torch.full((30,), t), generator())
        assert ((noisy < low - 1e-4) | (noisy > high + 1e-4)).float().mean() < 1e-5
    assert generation.reach(process, 0.0) == pytest.approx((0, 255))


def test_halves() -> None:
    wave, paper = (presets.build(presets.preset(name, 1.0)) for name in ("wave-tiny", "tiny"))
    assert torch.equal(generation.first_half(paper, 8, 12), generation.top_half(8, 12))
    mask = generation.first_half(wave, 8, 12)
    assert 0.4 < mask.float().mean() <= 0.5
    rows, columns = np.mgrid[:8, :12]
    waves = columns + 2 * rows
    assert waves[mask.numpy()].max() < waves[~mask.numpy()].min()


def test_what_the_network_does_not_know_is_refused(run: Path) -> None:
    model, process = runs.from_pretrained(run), runs.recorded_process(run)
    for config in (SampleConfig(2 * process.horizon), SampleConfig(process.horizon, "magic")):
        with pytest.raises(UsageError):
            draw(model, process, config, SHAPE, generator())
    with pytest.raises(UsageError, match="no classes"):
        draw(model, process, SampleConfig(), SHAPE, generator(), labels=torch.tensor([0, 1]))


def sample(run: Path, output: Path, *arguments: object) -> Result:
    small = ["--side", 8, "--steps", 3, "--enlarge", 1]
    return CliRunner().invoke(main, [str(a) for a in (run, "-o", output, *small, *arguments)])


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_the_tool_draws_a_grid_and_its_refinement(run: Path, tmp_path: Path) -> None:
    output, array = tmp_path / "grid.png", tmp_path / "images.npy"
    for name, frames in (("film.gif", 5), ("film.png", 5), ("film.webp", 5)):
        film = tmp_path / name
        arguments = ["--count", 6, "--columns", 3, "--batch", 4, "--animation", film]
        result = sample(run, output, *arguments, "--array", array)
        assert result.exit_code == 0, result.output
        assert size(output) == size(film) == (3 * 8 + 4, 2 * 8 + 2)
        with Image.open(film) as image:
            # Frames that are equal to the one before are joined.
            assert 2 <= getattr(image, "n_frames", 1) <= frames
            assert image.format == film.suffix[1:].upper()
    images = np.load(array)
    assert images.shape == (6, 3, 8, 8)
    with Image.open(output) as image:
        assert np.array_equal(np.asarray(image)[:8, :8], images[0].transpose(1, 2, 0))
    refused = sample(run, output, "--plain", "--animation", tmp_path / "film.gif")
    assert refused.exit_code == 2


def test_the_tool_completes_images(run: Path, tmp_path: Path) -> None:
    folder, output = saved(tmp_path / "images", thumbnails(3)), tmp_path / "grid.png"
    arguments = ["--complete", folder, "--images", 3, "--count", 4, "--plain"]
    result = sample(run, output, *arguments)
    assert result.exit_code == 0, result.output
    assert size(output) == (5 * 8 + 4 * 2, 3 * 8 + 2 * 2)
    with Image.open(output) as image:
        pixels = np.asarray(image)
    cut = thumbnails(3)[0, :, 12:20, 12:20].transpose(1, 2, 0)
    for column in range(5):
        assert np.array_equal(pixels[:4, 10 * column : 10 * column + 8], cut[:4])
    assert (pixels[4:8, :8] == 255).all()
    assert sample(run, output, *arguments, "--given", "first").exit_code == 0


def test_the_tool_draws_a_row_for_each_class(tmp_path: Path, run: Path) -> None:
    torch.manual_seed(0)
    shape = PixelCNNConfig(width=16, blocks=1, mixtures=2, features=8, classes=3, dropout=0.0)
    model, labelled, output = presets.build(shape), tmp_path / "labelled", tmp_path / "grid.png"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    weights = dict(model.named_parameters())
    save_config(labelled, {"model": presets.to_json(shape), "process": {"sde": "none", "T": 0.0}})
    average = {name: weight.detach().clone() for name, weight in weights.items()}
    save_snapshot(labelled, Snapshot(weights, average, {}, {"step": 1}))
    result = sample(labelled, output, "--classes", "all", "--count", 2, "--side", 4)
    assert result.exit_code == 0, result.output
    assert size(output) == (2 * 4 + 2, 3 * 4 + 2 * 2)
    assert sample(labelled, output, "--classes", "3").exit_code == 2
    assert sample(labelled, output, "--classes", "cat").exit_code == 2
    assert sample(run, output, "--classes", "all").exit_code == 2


def test_enlarging_repeats_pixels(tmp_path: Path) -> None:
    pixels = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    large = enlarged(pixels, 3)
    assert large.shape == (3, 6, 6)
    assert torch.equal(large[:, ::3, ::3], pixels)
    assert torch.equal(large[:, 2::3, 1::3], pixels)
    with pytest.raises(UsageError, match="must end in"):
        save_animation([pixels], tmp_path / "film.avi")
