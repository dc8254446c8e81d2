"""Training with what integers take from activations below zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ncml_codec.errors import UsageError
from ncml_codec.learn.training.checkpoint import load_config
from ncml_codec.network.integer_network import LEAK_SHIFT
from ncpn import presets, rounding, runs
from ncpn.wave_network.leak import leaky
from ncpn.wave_network.wave import WaveNCPN
from tests.builders.pictures import valley
from tests.builders.runs import saved, thumbnails, trained_by_command

UNIT = torch.tensor([3.0, 50.0])[:, None, None]


def test_without_units_it_is_the_leaky_relu_of_an_eighth() -> None:
    x = torch.linspace(-3, 3, 61)
    assert torch.equal(leaky(x), F.leaky_relu(x, 0.125))


def test_below_zero_it_is_the_integers_shift_and_its_mean_loss() -> None:
    whole = torch.arange(-2047, 0)
    x = (whole / UNIT)[None]
    found = leaky(x, UNIT) * UNIT
    torch.testing.assert_close(
        found, ((whole >> LEAK_SHIFT) + 7 / 16).expand_as(found), rtol=0, atol=1e-3
    )
    # What it gives back is what it takes on average.
    assert float((found - whole / 8).mean()) == pytest.approx(0, abs=0.01)


def test_what_lies_between_whole_numbers_is_rounded_first() -> None:
    x = torch.tensor([-16.4, -15.6, -8.6, -8.4])[None, None, None] / 3
    expected = torch.tensor([-2.0, -2.0, -2.0, -1.0])
    found = leaky(x, UNIT[:1])[0, 0, 0] * 3 - 7 / 16
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_above_zero_nothing_is_rounded() -> None:
    x = torch.linspace(1, 9, 40).expand(1, 2, 1, 40)
    assert torch.equal(leaky(x, UNIT), x)


def test_its_gradient_is_that_of_the_leaky_relu() -> None:
    x = torch.randn(2, 2, 5, 7, generator=torch.Generator().manual_seed(1))
    both = []
    for unit in (None, UNIT):
        leaf = x.clone().requires_grad_()
        (leaky(leaf, unit) * torch.arange(7)).sum().backward()
        both.append(leaf.grad)
    torch.testing.assert_close(both[0], both[1])


def tiny(seed: int) -> WaveNCPN:
    torch.manual_seed(seed)
    network = presets.build(presets.preset("wave-tiny", 0.0)).eval()
    assert isinstance(network, WaveNCPN)
    return network


def test_a_rounded_network_computes_something_near(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = saved(tmp_path / "images", thumbnails(3))
    assert trained_by_command(folder, run, "--steps", 2).exit_code == 0
    network = runs.from_pretrained(run)
    image = valley(10, 20, 40, 50)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        before = network(x, torch.zeros(1))
        units = rounding.units_of(network, [image])
        rounding.round_leaks(network, rounding.from_json(rounding.to_json(units)))
        after = network(x, torch.zeros(1))
    assert not torch.equal(before.means, after.means)
    assert float((before.means - after.means).abs().max()) < 1
    assert set(network.state_dict()) == set(tiny(1).state_dict())


def test_a_run_is_rounded_by_another_and_goes_on_so(tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(4))
    first = tmp_path / "first"
    assert trained_by_command(folder, first, "--steps", 2).exit_code == 0
    weights = {}
    for name, more in {"plain": (), "rounded": ("--rounded-by", first)}.items():
        run = tmp_path / name
        options = ("--grow-from", first, *more)
        result = trained_by_command(folder, run, "--steps", 3, *options)
        assert result.exit_code == 0, result.output
        result = trained_by_command(folder, run, "--steps", 6, "--resume")
        assert result.exit_code == 0, result.output
        assert ("units" in load_config(run)) == bool(more)
        network = runs.from_pretrained(run)
        assert isinstance(network, WaveNCPN)
        assert network.unit is None
        weights[name] = network.first.weight.detach().numpy()
    assert np.isfinite(weights["rounded"]).all()
    assert not np.array_equal(weights["plain"], weights["rounded"])


def test_a_network_of_another_shape_or_kind_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(2))
    run = tmp_path / "run"
    assert trained_by_command(folder, run, "--steps", 1).exit_code == 0
    units = rounding.units_of(runs.from_pretrained(run), [valley(0, 0, 20, 20)])
    other = presets.build(presets.preset("wave-fast", 0.0))
    with pytest.raises(UsageError, match="another shape"):
        rounding.round_leaks(other, units)
    paper = presets.build(presets.preset("tiny", 1.0))
    with pytest.raises(UsageError, match="only wave networks"):
        rounding.round_leaks(paper, units)
