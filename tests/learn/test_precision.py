"""Half precisions train too: fp16's loss scale leaves out what overflows, and resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.processes import process_named
from ncml_codec.learn.training import checkpoint
from ncml_codec.learn.training.loop import Diverged, TrainConfig, train
from ncml_codec.learn.training.precision import MOST_SCALE, LossScale
from ncpn import presets
from ncpn.integers import validation
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import valley

CPU = torch.device("cpu")
IMAGES = FolderImages([valley(150, 200, 64, 64)], [])
CROPS = CropConfig(crop=16, batch=2)


def network() -> WaveNCPN:
    torch.manual_seed(0)
    return presets.build(presets.preset("wave-tiny", 0.1))


def fit(run: Path, model: WaveNCPN, **options: Any) -> WaveNCPN:
    run.mkdir(exist_ok=True)
    config = TrainConfig(**{"schedule": "constant", **options})
    train(model, IMAGES, process_named("vp"), CROPS, config, run, lambda _: None)
    return model


def test_scaled_gradients_come_back_as_they_were() -> None:
    weight = torch.tensor([1.0, 3.0], requires_grad=True)
    for precision in ("fp16", "bf16", "float32"):
        scale = LossScale(CPU, precision)
        weight.grad = None
        loss = (weight**2).sum()
        assert (scale.scaled(loss) > loss) == (precision == "fp16")
        scale.scaled(loss).backward()
        scale.unscale([weight])
        assert weight.grad is not None
        assert weight.grad.tolist() == [2.0, 6.0]
        assert bool(scale.state()) == (precision == "fp16")


def test_the_scale_halves_at_an_overflow_and_says_so() -> None:
    weight = torch.tensor([1.0], requires_grad=True)
    scale = LossScale(CPU, "fp16")
    before = scale.state()["scale"]
    scale.scaled((weight * 1e38).sum()).backward()
    scale.unscale([weight])
    assert weight.grad is not None
    assert math.isinf(float(weight.grad))
    assert scale.may_skip()
    scale.update()
    assert scale.state()["scale"] == before / 2
    other = LossScale(CPU, "fp16")
    other.load_state(scale.state())
    assert other.state() == scale.state()
    scale.load_state({**scale.state(), "scale": 2.0**-10})
    assert not scale.may_skip()


def test_the_greatest_scale_stays_and_a_checkpoint_holds_it() -> None:
    weight = torch.tensor([0.0], requires_grad=True)
    scale = LossScale(CPU, "fp16")
    scale.load_state({**scale.state(), "scale": MOST_SCALE, "growth_interval": 1})
    for _ in range(2):
        scale.scaled(weight.sum()).backward()
        scale.unscale([weight])
        scale.update()
    assert scale.state()["scale"] == MOST_SCALE
    assert checkpoint.json_of(json.dumps(scale.state()).encode(), "it") == scale.state()


def test_half_precision_learns_as_float32_does(tmp_path: Path) -> None:
    bits = {}
    for precision in ("float32", "bf16", "fp16"):
        options = {"steps": 240, "schedule": "cosine", "warmup": 10, "precision": precision}
        model = fit(tmp_path / precision, network(), **options)
        bits[precision] = validation.float_bits(model, IMAGES.images[0])
    assert bits["float32"] < validation.float_bits(network(), IMAGES.images[0]) - 0.3
    # Rounding sends the runs apart, but they learn equally well.
    assert bits["bf16"] == pytest.approx(bits["float32"], rel=0.03)
    assert bits["fp16"] == pytest.approx(bits["float32"], rel=0.03)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_resumes_to_the_bit(precision: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(whole, network(), steps=4, precision=precision)
    for stop in (2, 4):
        fit(parts, network(), steps=stop, precision=precision)
    one, other = checkpoint.load_snapshot(whole), checkpoint.load_snapshot(parts)
    assert one.progress["scale"] == other.progress["scale"]
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_an_overflow_leaves_out_one_update_and_training_goes_on(tmp_path: Path) -> None:
    fit(tmp_path, network(), steps=2, precision="fp16")
    before = checkpoint.load_snapshot(tmp_path)
    _edit_progress(tmp_path, {"scale": {**before.progress["scale"], "scale": MOST_SCALE}})
    fit(tmp_path, network(), steps=3, precision="fp16")
    skipped = checkpoint.load_snapshot(tmp_path)
    assert all(torch.equal(before.weights[name], skipped.weights[name]) for name in before.weights)
    assert skipped.progress["step"] == 3
    assert skipped.progress["updates"] == 2
    assert skipped.progress["scale"]["scale"] == MOST_SCALE / 2


def test_snapshots_from_before_fp16_resume(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(whole, network(), steps=3)
    fit(parts, network(), steps=2)
    _edit_progress(parts, {"updates": None, "scale": None})
    fit(parts, network(), steps=3)
    one, other = checkpoint.load_snapshot(whole), checkpoint.load_snapshot(parts)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path: Path) -> None:
    model = network()
    calls = iter(range(5))

    def spoil(gradient: Tensor) -> Tensor:
        return gradient * (math.nan if next(calls) == 2 else 1.0)

    model.first.weight.register_hook(spoil)
    with pytest.raises(Diverged, match=r"step 2: the gradient's norm is nan.*smaller rate"):
        fit(tmp_path, model, steps=5, save_minutes=0)
    assert checkpoint.saved_step(tmp_path) == 2
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def _edit_progress(run: Path, changes: Mapping[str, Any]) -> None:
    """Change keys of a snapshot's progress; None removes one."""
    path = run / checkpoint.TRAINING
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        progress = json.loads(file.metadata()["progress"])
    kept = {key: value for key, value in (progress | changes).items() if value is not None}
    save_file(tensors, path, {"progress": json.dumps(kept)})
