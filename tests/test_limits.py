"""Limits on activations: the same clips in training, sampling and the integer network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ncml_cli.train import main as train_main
from ncml_codec.errors import UsageError
from ncml_codec.network import ACTIVATION_MAX
from ncpn import activations, calibration, presets, validation, walks
from ncpn.wave import Clip, Limits, WaveConfig, WaveNCPN
from tests.pictures import valley
from tests.runs import saved, thumbnails

SMALL = WaveConfig(width=6, blocks=2, head_width=5, mixtures=2, time_features=8)
CROPS = [valley(20 * n, 30 * n, 48, 40) for n in range(3)]


def network(limits: Limits | None = None) -> WaveNCPN:
    """The same weights for any limits, larger than at the start so that activations reach far."""
    torch.manual_seed(3)
    model = WaveNCPN(replace(SMALL, limits=limits)).eval()
    with torch.no_grad():
        model.first.weight.mul_(20)
        for block in model.gated_blocks():
            block.gate.weight.mul_(3)
    return model


def tight(share: float = 0.3) -> WaveNCPN:
    return network(activations.tighter(network(), CROPS, share))


def means(model: WaveNCPN) -> torch.Tensor:
    x = torch.from_numpy(np.stack(CROPS)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found: torch.Tensor = model(x, torch.zeros(len(x))).means
    return found


def test_no_activation_is_beyond_its_limit() -> None:
    model = tight()
    limits = model.config.limits
    assert limits is not None
    free, seen = (activations.observe(each, CROPS).reach for each in (network(), model))
    for name, reach in seen.items():
        kind, _, index = name.partition(".")
        within = {"hidden": limits.hidden, "head": limits.heads}.get(kind)
        most = limits.stream if within is None else within[int(index)]
        assert (reach <= np.array(most) + 1e-5).all(), name
        assert (reach < free[name]).any(), name


def test_the_whole_reach_is_no_limit() -> None:
    torch.testing.assert_close(means(tight(1.0)), means(network()))
    assert (means(tight()) - means(network())).abs().max() > 0.01


def test_a_clip_has_a_limit_for_each_channel_and_passes_nothing_back_beyond() -> None:
    x = torch.tensor([[0.5, -3.0], [1.5, -3.0]])[None, :, None].requires_grad_()
    clipped = Clip([1.0, 2.0])(x)
    assert clipped[0, :, 0].tolist() == [[0.5, -1.0], [1.5, -2.0]]
    clipped.sum().backward()
    assert x.grad is not None
    assert x.grad[0, :, 0].tolist() == [[1, 0], [1, 0]]
    assert Clip([1.0, 2.0])(x.bfloat16()).dtype == torch.bfloat16
    assert Clip(None)(x) is x


def test_a_walk_clips_as_the_network_does() -> None:
    model = tight()
    canvas = torch.from_numpy(CROPS[1][:9, :11]).permute(2, 0, 1)[None].float()
    t = torch.zeros(1)
    fast, slow = walks.walk(model, canvas, t), walks.recomputed(model, canvas, t)
    with torch.no_grad():
        for places in walks.order(model, 9, 11):
            fast.enter(places)
            slow.enter(places)
            for plane in range(3):
                found, expected = fast.channel(plane), slow.channel(plane)
                torch.testing.assert_close(found.means, expected.means, rtol=1e-5, atol=1e-3)


def test_units_are_as_much_finer_as_limits_are_tighter() -> None:
    free, half = (
        activations.choose_units(activations.observe(each, CROPS))
        for each in (network(), tight(0.5))
    )
    # Clipped or not, nothing is beyond what integers hold; silent channels keep their unit.
    assert (half.stream >= free.stream - 1e-6).all()
    assert np.median(half.stream / free.stream) > 1.8
    model = tight(0.5)
    exported = calibration.best_integers(model, CROPS)
    assert exported.first.limit == ACTIVATION_MAX
    assert abs(validation.cost(model, exported, CROPS).percent) < 2


def test_limits_are_part_of_a_configuration() -> None:
    config = tight().config
    again = presets.from_json(json.loads(json.dumps(presets.to_json(config))))
    assert again == config
    assert presets.from_json({"kind": "wave", "width": 7}) == WaveConfig(width=7)
    with pytest.raises(UsageError, match="not the configuration"):
        presets.from_json({"kind": "wave", "limits": {"stream": [1.0]}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "images", thumbnails(4))


def trained(folder: Path, run: Path, *more: object) -> Result:
    options = ("--data", folder, "--out", run, "--model", "wave-tiny", "--crop", 16, "--batch", 2)
    return CliRunner().invoke(train_main, [str(word) for word in (*options, *more)])


def test_a_run_is_tightened_and_resumed(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert trained(folder, first, "--steps", 3).exit_code == 0
    result = trained(folder, second, "--steps", 2, "--grow-from", first, "--tighten", 0.5)
    assert result.exit_code == 0, result.output
    model = presets.from_pretrained(second)
    assert isinstance(model, WaveNCPN)
    limits = model.config.limits
    assert limits is not None
    assert len(limits.stream) == model.config.width
    assert trained(folder, second, "--steps", 4, "--resume").exit_code == 0
    resumed = presets.from_pretrained(second)
    assert isinstance(resumed, WaveNCPN)
    assert resumed.config.limits == limits


def test_only_a_network_of_the_same_size_is_tightened(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "first"
    assert trained(folder, run, "--steps", 2).exit_code == 0
    alone = trained(folder, tmp_path / "second", "--tighten", 0.5)
    assert alone.exit_code == 2
    assert "--grow-from" in alone.stderr
    other = ("--model", "wave-fast", "--grow-from", run, "--tighten", 0.5)
    refused = trained(folder, tmp_path / "third", *other)
    assert refused.exit_code == 2
    assert "another size" in refused.stderr
    paper = ("--model", "tiny", "--grow-from", run, "--tighten", 0.5)
    assert trained(folder, tmp_path / "fourth", *paper).exit_code == 2
