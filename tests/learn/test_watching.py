"""What ncml-train does beside training is right, and training does not notice it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.evaluate.evaluate import main as eval_main
from ncml_cli.train.train import main as train_main
from ncml_codec.learn.training import checkpoint
from ncml_codec.learn.training.log import read_rows
from ncpn import watching
from ncpn.paper_network.pixelcnn import PixelCNN, PixelCNNConfig
from ncpn.training_options import TrainingOptions
from tests.builders.pictures import ROOT, valley

RECIPES = ROOT / "models" / "ncpn" / "recipes"
BESIDE = ("--evaluate-every", 3, "--test-images", 4, "--sample-every", 4, "--samples", 3)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Sixteen pieces of a photograph, 8 x 8, as a data set."""
    pieces = [valley(8 * (i // 4) + 150, 8 * (i % 4) + 200, 8, 8) for i in range(16)]
    np.save(tmp_path / "pieces.npy", np.stack(pieces))
    return f"array:{tmp_path / 'pieces.npy'}"


def arguments(data: str, run: Path, *more: object) -> list[str]:
    words = ("--data", data, "--test-data", data, "--model", "wave-tiny", "--out", run)
    return [str(word) for word in (*words, "--batch", 2, "--log-every", 2, "--sde", "vp", *more)]


def training(data: str, run: Path, *more: object) -> Result:
    result = CliRunner().invoke(train_main, arguments(data, run, *more))
    assert result.exit_code == 0, result.output
    return result


def same_weights(one: Path, other: Path) -> bool:
    first, second = checkpoint.load_snapshot(one), checkpoint.load_snapshot(other)
    return all(
        torch.equal(getattr(first, group)[name], getattr(second, group)[name])
        for group in ("weights", "average", "moments")
        for name in getattr(first, group)
    )


def test_training_does_not_notice_what_is_done_beside_it(data: str, tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    training(data, plain, "--steps", 8)
    training(data, watched, "--steps", 8, *BESIDE)
    assert same_weights(plain, watched)
    assert not (plain / "evaluations.csv").exists()


def test_evaluations_are_of_the_averaged_network(data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shown = training(data, run, "--steps", 8, *BESIDE).output
    rows = read_rows(run / "evaluations.csv")
    assert [int(row["step"]) for row in rows] == [3, 6, 8]
    assert [int(row["images"]) for row in rows] == [4, 4, 4]
    found = CliRunner().invoke(eval_main, ["bpd", str(run), "--data", data, "--limit", "4"])
    (bits,) = re.findall(r": (\d\.\d{4}) \+-", found.output)
    assert float(rows[-1]["bpd"]) == pytest.approx(float(bits), abs=1e-4)
    assert f"test bpd {bits}" in shown


def test_grids_show_the_samples_of_their_step(data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training(data, run, "--steps", 8, *BESIDE)
    grids = sorted((run / "samples").iterdir())
    assert [path.name for path in grids] == ["00000004.png", "00000008.png"]
    pictures = [np.asarray(Image.open(path)) for path in grids]
    assert pictures[0].shape == (8 + 2 + 8, 8 + 2 + 8, 3)  # three images, two by two
    assert (pictures[0][10:, 10:] == 255).all()
    assert not np.array_equal(*pictures)


def test_a_class_conditional_network_is_sampled_by_class(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PixelCNN(PixelCNNConfig(16, 1, mixtures=2, features=8, classes=2)).eval()
    asked: list[list[int]] = []
    network.condition.register_forward_hook(lambda _, inputs, __: asked.append(inputs[1].tolist()))
    options = TrainingOptions(data=(), out=tmp_path, samples=3, sample_every=1)
    visit = watching.sample_grids(options, (8, 4), torch.device("cpu"), None)
    visit.look(7, network)
    assert asked == [[0, 1, 0]]
    with Image.open(tmp_path / "samples" / "00000007.png") as image:
        assert image.size == (4 + 2 + 4, 8 + 2 + 8)


def test_the_picture_and_the_card_say_what_happened(data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training(data, run, "--steps", 8, *BESIDE, "--noise-levels", 10)
    with Image.open(run / "curves.png") as image:
        assert image.width > 2 * image.height  # training on the left, held out on the right
    card = (run / "README.md").read_text()
    last = read_rows(run / "evaluations.csv")[-1]
    for words in (
        "wave-tiny: 2373 parameters",
        "16 images of 8 x 8",
        "standard deviation at T 10.00 grey levels",
        "probability 0.5",
        "8 steps",
        f"{float(last['bpd']):.4f}",
        f"torch {torch.__version__}",
        "License: to be filled in",
        "curves.png",
    ):
        assert words in card, words
    more = ("--noise-levels", 10, "--resume", "--license", "cc-by-4.0")
    training(data, run, "--steps", 9, *BESIDE, *more)
    card = (run / "README.md").read_text()
    assert "9 steps" in card
    assert "\nlicense: cc-by-4.0\n" in card
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    namespace: dict[str, object] = {}
    exec(snippet.replace('"run"', repr(str(run))), namespace)
    assert type(namespace["model"]).__name__ == "WaveNCPN"


def test_tensorboard_is_written_beside_the_tables(data: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    training(data, run, "--steps", 8, *BESIDE, "--tensorboard")
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    rows = read_rows(run / "log.csv")
    shown = [(event.step, event.value) for event in found.Scalars("log/bpd")]
    assert shown == [(int(row["step"]), pytest.approx(float(row["bpd"]), rel=1e-5)) for row in rows]
    assert len(found.Scalars("evaluations/bpd")) == 3
    assert len(found.Images("samples")) == 2


@pytest.mark.parametrize("options", [("--evaluate-every", 5), ("--evaluate-every", 0)])
def test_evaluations_need_held_out_images(options: tuple[object, ...], tmp_path: Path) -> None:
    words = ("--data", "x", "--out", tmp_path / "run", *options)
    result = CliRunner().invoke(train_main, [str(word) for word in words])
    assert result.exit_code == 2
    assert "evaluate-every" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_run_killed_at_any_moment_goes_on_to_the_bit(data: str, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ("--steps", 3000, *BESIDE[:2], "--save-minutes", 0, "--log-every", 50)
    # A constant rate: the schedule must not depend on how many steps were meant before the kill.
    options = (*options, "--evaluate-every", 500, "--test-images", 4, "--schedule", "constant")
    command = [sys.executable, "-m", "ncml_cli.train.train", *arguments(data, killed, *options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not checkpoint.has_snapshot(killed):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(float(np.random.default_rng().uniform(0, 0.5)))  # any moment
    process.send_signal(signal.SIGKILL)
    process.communicate()
    step = checkpoint.saved_step(killed)
    assert 0 < step < 3000
    # What is left is short: a few steps after the kill show whether the state was whole.
    short = ("--steps", step + 20)
    training(data, killed, *options, *short, "--resume")
    training(data, whole, *options, *short)
    assert same_weights(whole, killed)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_resolve(recipe: Path) -> None:
    words = ["--config", str(recipe), "--data", "x", "--test-data", "x", "--out", "y", "--dry-run"]
    result = CliRunner().invoke(train_main, words)
    assert result.exit_code == 0, result.output
    model = re.search(r"^model = (\S+)$", recipe.read_text().replace('"', ""), re.MULTILINE)
    assert model
    assert f"model = {model[1]}\n" in result.output


@pytest.mark.parametrize("sde", ["none", "ve", "vp", "subvp"])
def test_more_training_codes_held_out_images_better(sde: str, tmp_path: Path) -> None:
    pieces = [valley(16 * (i // 8) + 100, 16 * (i % 8) + 100, 16, 16) for i in range(48)]
    for name, some in (("train", pieces[:40]), ("test", pieces[40:])):
        np.save(tmp_path / f"{name}.npy", np.stack(some))
    words = ("--data", f"array:{tmp_path}/train.npy", "--test-data", f"array:{tmp_path}/test.npy")
    words += ("--model", "wave-tiny", "--batch", "4", "--sde", sde, "--out", f"{tmp_path}/run")
    words += ("--steps", "240", "--evaluate-every", "60", "--warmup", "10")
    result = CliRunner().invoke(train_main, words)
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "run" / "evaluations.csv")
    bits = [float(row["bpd"]) for row in rows]
    assert len(bits) == 4
    assert all(later < earlier for earlier, later in pairwise(bits)), bits
