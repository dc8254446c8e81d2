"""Training: it learns, it resumes to the bit, and it fails with advice."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.train.export import main as export_main
from ncml_cli.train.train import main as train_main
from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training import checkpoint
from ncml_codec.learn.training.loop import Diverged, TrainConfig, train
from ncml_codec.network.model_file import read_model
from ncpn import presets
from ncpn.integers import validation
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import real_images, valley

IMAGES = FolderImages([valley(0, 0, 96, 96), valley(150, 200, 96, 96)], [])
CROPS = CropConfig(crop=16, batch=2)


def quiet(_: str) -> None:
    """Say nothing."""


def network(sde: str = "none") -> WaveNCPN:
    torch.manual_seed(0)
    return presets.build(presets.preset("wave-tiny", process_named(sde).horizon))


@pytest.mark.parametrize("sde", ["none", "ve", "vp", "subvp"])
def test_training_lowers_the_bits(sde: str, tmp_path: Path) -> None:
    config = TrainConfig(steps=240, warmup=10, log_every=40)
    model = network(sde)
    before = validation.float_bits(model, IMAGES.images[0])
    train(model, IMAGES, process_named(sde), CROPS, config, tmp_path, quiet)
    assert validation.float_bits(model, IMAGES.images[0]) < before - 0.2
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [40, 80, 120, 160, 200, 240]
    assert math.isnan(float(rows[-1]["noisy_bpd"])) == (sde == "none")


@pytest.mark.parametrize(("sde", "augment"), [("none", 0.0), ("vp", 0.0), ("none", 0.5)])
def test_a_resumed_run_continues_to_the_bit(sde: str, augment: float, tmp_path: Path) -> None:
    process, config = process_named(sde), TrainConfig(steps=12, log_every=4)
    crops = replace(CROPS, augment=augment)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run in (whole, parts):
        run.mkdir()
    train(network(sde), IMAGES, process, crops, config, whole, quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ncml_codec.learn.training.state.ncml", _failing_at(7))
        often = replace(config, save_minutes=0)
        with pytest.raises(KeyboardInterrupt):
            train(network(sde), IMAGES, process, crops, often, parts, quiet)
    train(network(sde), IMAGES, process, crops, config, parts, quiet)
    one, other = checkpoint.load_snapshot(whole), checkpoint.load_snapshot(parts)
    for group in ("weights", "average", "moments"):
        first, second = getattr(one, group), getattr(other, group)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert [row.split(",")[:5] for row in (whole / "log.csv").read_text().splitlines()] == [
        row.split(",")[:5] for row in (parts / "log.csv").read_text().splitlines()
    ]


def _failing_at(step: int):  # type: ignore[no-untyped-def]
    """The objective, interrupted in its `step`th call."""
    from ncml_codec.learn.likelihood.objective import ncml

    calls = iter(range(step))

    def interrupted(*arguments: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return ncml(*arguments)  # type: ignore[arg-type]

    return interrupted


def test_a_finished_run_is_not_trained_on(tmp_path: Path) -> None:
    config = TrainConfig(steps=2)
    train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)
    with pytest.raises(UsageError, match="finished at step 2"):
        train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.first.weight.fill_(math.nan)
    with pytest.raises(Diverged, match=r"step 0.*smaller rate"):
        train(model, IMAGES, process_named("none"), CROPS, TrainConfig(), tmp_path, quiet)


def test_the_schedule_warms_up_and_falls(tmp_path: Path) -> None:
    config = TrainConfig(steps=40, warmup=10, log_every=1)
    train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)
    with (tmp_path / "log.csv").open() as file:
        levels = [float(row["level"]) for row in csv.DictReader(file)]
    assert max(levels) == max(levels[8:12])
    assert levels[0] < 0.25
    assert levels[-1] < 0.05


def test_damaged_checkpoints_are_named(tmp_path: Path) -> None:
    config = TrainConfig(steps=1)
    train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"training\.safetensors"):
        checkpoint.load_snapshot(tmp_path)
    with pytest.raises(InputError, match="no training run"):
        checkpoint.load_config(tmp_path / "none")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="object"):
        checkpoint.load_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for index, image in enumerate(IMAGES.images):
        Image.fromarray(image).save(images / f"{index}.png")
    return images


def tool(main: object, *arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])  # type: ignore[arg-type]


def training(folder: Path, run: Path, *more: object) -> Result:
    options = ("--model", "wave-tiny", "--crop", 16, "--log-every", 5)
    return tool(train_main, "--data", folder, "--out", run, *options, *more)


def test_train_and_export_make_a_model_file(folder: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "model.ncpn"
    result = training(folder, run, "--steps", 20, "--sde", "vp", "--noise-levels", 10)
    assert result.exit_code == 0, result.output
    assert "std(T) = 10.00 grey levels" in result.output
    assert "kpixel/s" in result.output
    config = json.loads((run / "config.json").read_text())
    assert config["process"]["sde"] == "vp"
    assert config["model"]["time_scale"] == config["process"]["T"]
    exported = tool(export_main, run, "-o", out, "--data", folder, "--crop", 24)
    assert exported.exit_code == 0, exported.output
    assert "blocks.0.taps" in exported.output
    assert "bits per sub-pixel" in exported.output
    assert read_model(out.read_bytes()).sha256.hex() in exported.output
    again = tool(export_main, run, "-o", out, "--data", folder)
    assert again.exit_code == 1
    assert "exists" in again.stderr


def test_biases_are_tuned_on_the_runs_images(folder: Path, tmp_path: Path) -> None:
    first, run = tmp_path / "first", tmp_path / "run"
    assert training(folder, first, "--steps", 2).exit_code == 0
    assert training(folder, run, "--steps", 20, "--turned-by", first).exit_code == 0
    networks = []
    for name, more in {"plain": (), "tuned": ("--tune", folder, "--tune-steps", 20)}.items():
        out = tmp_path / f"{name}.ncpn"
        result = tool(export_main, run, "-o", out, "--data", folder, "--crop", 24, *more)
        assert result.exit_code == 0, result.output
        networks.append(read_model(out.read_bytes()).network)
    plain, tuned = networks
    assert (plain.first.weight == tuned.first.weight).all()
    assert (plain.first.bias != tuned.first.bias).any()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "another.png")
    refused = tool(export_main, run, "-o", out, "--data", folder, "--tune", folder, "-f")
    assert refused.exit_code == 2
    assert "each in its own turn" in refused.output


def test_options_come_from_a_file_and_the_command_line_wins(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('model = "wave-tiny"\nsde = "ve"\nnoise-levels = 4.0\nsteps = 7\ncrop = 16\n')
    options = ("--config", recipe, "--data", folder, "--out", tmp_path / "run")
    dry = tool(train_main, *options, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "sde = ve" in dry.output
    assert "noise-levels = 4.0" in dry.output
    assert not (tmp_path / "run").exists()
    assert tool(train_main, *options, "--steps", 2).exit_code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["steps"] == 2
    assert config["options"]["sde"] == "ve"
    assert checkpoint.load_snapshot(tmp_path / "run").progress["step"] == 2
    recipe.write_text("stepps = 7\n")
    wrong = tool(train_main, *options)
    assert wrong.exit_code == 2
    assert "stepps" in wrong.output
    recipe.write_text("steps 7")
    assert tool(train_main, *options).exit_code == 2


def test_a_recipe_may_ask_for_altered_crops(folder: Path, tmp_path: Path) -> None:
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text("augment = 0.25\n")
    result = training(folder, run, "--config", recipe, "--steps", 2)
    assert result.exit_code == 0, result.output
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["augment"] == config["crops"]["augment"] == 0.25
    assert "25 % of them altered" in (run / "README.md").read_text()
    np.save(tmp_path / "small.npy", np.zeros((4, 16, 16, 3), np.uint8))
    source = f"array:{tmp_path}/small.npy"
    refused = tool(train_main, "--data", source, "--augment", 0.25, "--out", tmp_path / "none")
    assert refused.exit_code == 2
    assert "used whole" in refused.stderr


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    plain = TrainConfig(steps=1, accumulate=2, seed=3)
    model, twice = network(), network()
    train(model, IMAGES, process_named("none"), CROPS, plain, tmp_path, quiet)

    class Both:
        """The two batches of the first step at once."""

        def crops(self, config: CropConfig, seed: int, step: int) -> npt.NDArray[np.uint8]:
            return np.concatenate([IMAGES.crops(CROPS, seed, 2 * step + part) for part in (0, 1)])

        def labelled(
            self, config: CropConfig, seed: int, step: int
        ) -> tuple[npt.NDArray[np.uint8], None]:
            return self.crops(config, seed, step), None

        batches, describe, labels = IMAGES.batches, IMAGES.describe, None

    once = replace(plain, accumulate=1)
    (tmp_path / "once").mkdir()
    train(twice, Both(), process_named("none"), CROPS, once, tmp_path / "once", quiet)
    for one, other in zip(model.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_constant_schedule_stays(tmp_path: Path) -> None:
    config = TrainConfig(steps=12, warmup=4, schedule="constant", log_every=1)
    train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)
    with (tmp_path / "log.csv").open() as file:
        levels = [float(row["level"]) for row in csv.DictReader(file)]
    assert levels[:4] == [0.5, 0.75, 1.0, 1.0]
    assert set(levels[3:]) == {1.0}


def test_bfloat16_trains(tmp_path: Path) -> None:
    config = TrainConfig(steps=3, precision="bf16")
    train(network(), IMAGES, process_named("vp"), CROPS, config, tmp_path, quiet)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it compiles
def test_a_compiled_network_trains_as_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The captured graphs run as they are: making C++ of them takes a minute, and is torch's affair.
    compiled: list[object] = []

    def captured(model: torch.nn.Module) -> object:
        compiled.append(model)
        return original(model, backend="aot_eager")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", captured)
    weights = []
    for compile_it in (False, True):
        run, model = tmp_path / str(compile_it), network("vp")
        run.mkdir()
        config = TrainConfig(steps=3, compiled=compile_it)
        train(model, IMAGES, process_named("vp"), CROPS, config, run, quiet)
        weights.append(checkpoint.load_snapshot(run).weights)
    assert len(compiled) == 1
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-4, atol=1e-6)


def test_minutes_end_a_run_and_its_schedule(tmp_path: Path) -> None:
    config = TrainConfig(steps=10**9, minutes=0.02, warmup=1, log_every=1)
    train(network(), IMAGES, process_named("none"), CROPS, config, tmp_path, quiet)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["level"]) < 0.3
    assert checkpoint.has_snapshot(tmp_path)


def test_runs_are_not_overwritten_but_resumed(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert training(folder, run, "--resume").exit_code == 2
    assert training(folder, run, "--steps", 3).exit_code == 0
    assert training(folder, run, "--steps", 5).exit_code == 2
    assert training(folder, run, "--steps", 5, "--resume").exit_code == 0
    assert checkpoint.load_snapshot(run).progress["step"] == 5


def test_missing_data_exits_with_its_name(tmp_path: Path) -> None:
    result = training(tmp_path / "none", tmp_path / "run")
    assert result.exit_code == 1
    assert "none" in result.stderr


TRAINING = """
import atexit, glob, os
from ncml_cli.train.train import main
def threads() -> int:
    return sum("gloo" in open(name).read() for name in glob.glob("/proc/self/task/*/comm"))
# One write: both processes share the standard output, and print() may write in pieces.
atexit.register(lambda: os.write(1, b"gloo threads: %d\\n" % threads()))
main()
"""


def test_two_processes_are_one_run(folder: Path, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    common = ["--data", str(folder), "--model", "wave-tiny", "--crop", "16", "--batch", "2"]
    common += ["--steps", "4", "--log-every", "1", "--sde", "vp"]
    result = tool(train_main, *common, "--out", alone, "--accumulate", 2)
    assert result.exit_code == 0, result.output
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    command = [*start, sys.executable, "-c", TRAINING, *common, "--out", str(together)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1
    # Threads that outlive the interpreter may abort the process: seen once in some hundred runs.
    assert done.stdout.count("gloo threads: 0") == 2
    one, other = checkpoint.load_snapshot(alone), checkpoint.load_snapshot(together)
    for name, weight in one.weights.items():
        torch.testing.assert_close(weight, other.weights[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not real_images("train-photos"), reason="training photographs are not here")
def test_real_photographs_train(tmp_path: Path) -> None:
    data = real_images("train-photos")[0].parent
    result = training(data, tmp_path / "run", "--steps", 30)
    assert result.exit_code == 0, result.output
