"""A larger network begins as the smaller one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ncml_codec.errors import UsageError
from ncpn import presets, runs
from ncpn.wave_network.growth import grow
from ncpn.wave_network.wave import WaveConfig, WaveNCPN
from tests.builders.float_networks import random_wave_network

SMALL = WaveConfig(width=6, blocks=2, head_width=5, mixtures=2, time_features=8)


def grown(mixtures: int) -> WaveNCPN:
    torch.manual_seed(5)
    config = WaveConfig(width=9, blocks=4, head_width=8, mixtures=mixtures, time_features=8)
    model = WaveNCPN(config)
    grow(model, random_wave_network())
    return model


@pytest.mark.parametrize("t", [0.0, 0.7])
def test_a_grown_network_gives_the_same_distribution(t: float) -> None:
    x, time = torch.randint(0, 256, (2, 3, 9, 12)).float(), torch.full((2,), t)
    small, large = random_wave_network()(x, time), grown(2)(x, time)
    for name in ("logits", "means", "log_scales"):
        # Sums over more terms, in another order.
        torch.testing.assert_close(getattr(large, name), getattr(small, name), rtol=0, atol=1e-3)


def test_split_components_hardly_change_the_code_length() -> None:
    torch.manual_seed(2)
    x, time = torch.randint(110, 146, (2, 3, 9, 12)).float(), torch.zeros(2)
    small = WaveNCPN(SMALL)
    large = WaveNCPN(WaveConfig(width=9, blocks=4, head_width=8, mixtures=5, time_features=8))
    grow(large, small)
    nats = [float(-model(x, time).log_mass(x).detach().mean()) for model in (small, large)]
    assert abs(nats[1] - nats[0]) < 0.05  # log-scales of the halves differ by 0.2


def test_every_part_of_a_grown_network_learns_within_two_steps() -> None:
    x, time = torch.randint(0, 256, (2, 3, 9, 12)).float(), torch.zeros(2)
    model = grown(3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):  # what new features say is listened to after the first
        optimiser.zero_grad()
        (-model(x, time).log_mass(x).mean()).backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        if "time" not in name:
            changed = (parameter != before[name]).flatten(1 if parameter.ndim > 1 else 0)
            rows = changed.any(1) if parameter.ndim > 1 else changed
            assert rows.float().mean() > 0.8, name


def test_a_network_does_not_grow_out_of_a_larger_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="width 4 is smaller than the 6"):
        grow(WaveNCPN(WaveConfig(width=4, time_features=8)), random_wave_network())
    with pytest.raises(UsageError, match="time_features"):
        grow(WaveNCPN(WaveConfig()), random_wave_network())


def test_a_paper_network_does_not_grow(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from ncml_codec.learn.training.checkpoint import save_config

    save_config(tmp_path, {"model": presets.to_json(SMALL)})
    save_file(random_wave_network().state_dict(), tmp_path / "model.safetensors")
    paper = presets.build(presets.preset("tiny", 1.0))
    with pytest.raises(UsageError, match="only wave networks"):
        runs.grow_from(paper, tmp_path)
