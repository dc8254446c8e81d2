"""Export: the same distribution in integers, or a refusal with figures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncml_codec.errors import ExportError
from ncml_codec.network.integer_network import SUM_LIMIT, check
from ncpn.integers import activations, calibration, export, validation
from ncpn.wave_network.wave import WaveConfig, WaveNCPN
from tests.builders.networks import exact_tables
from tests.builders.pictures import valley

SAMPLE = valley(120, 60, 40, 48)


def network(sde_times: bool = False) -> WaveNCPN:
    """A small network fitted a little to the sample, so that its outputs mean something."""
    torch.manual_seed(0)
    model = WaveNCPN(WaveConfig(width=12, blocks=2, head_width=10, mixtures=3, time_features=8))
    if sde_times:
        for block in model.gated_blocks():
            nn.init.normal_(block.time.weight, std=0.5)
            nn.init.normal_(block.time.bias, std=0.5)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    x = torch.from_numpy(SAMPLE.copy()).permute(2, 0, 1)[None].float()
    from ncml_codec.learn.likelihood.objective import image_bits

    for _ in range(40):
        optimiser.zero_grad()
        image_bits(model, x, torch.zeros(1)).mean().backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("sde_times", [False, True])
def test_integers_cost_little(sde_times: bool) -> None:
    model = network(sde_times)
    seen = activations.observe(model, [SAMPLE])
    plain = export.to_integers(model, activations.choose_units(seen), seen)
    cost = validation.cost(model, plain, [SAMPLE])
    assert abs(cost.percent) < 0.3
    best = validation.cost(model, calibration.best_integers(model, [SAMPLE]), [SAMPLE])
    assert best.integer <= cost.integer
    assert cost.floating == pytest.approx(validation.float_bits(model, SAMPLE))


def test_every_layer_is_proved() -> None:
    exported = calibration.best_integers(network(), [SAMPLE])
    check(exported)
    lines = export.proof(exported)
    assert {name for name, _, _ in lines} >= {"first", "blocks.1.gate", "heads.2.earlier"}
    assert all(0 < reach < SUM_LIMIT for _, _, reach in lines)


def test_a_layer_that_cannot_be_proved_is_refused_with_its_figures() -> None:
    model = network()
    seen = activations.observe(model, [SAMPLE])
    units = activations.choose_units(seen)
    with torch.no_grad():
        model.gated_blocks()[1].gate.weight[3] = 1e5
    with pytest.raises(ExportError, match=r"blocks\.1\.gate: output 3 can reach .*2\*\*24"):
        export.to_integers(model, units, seen)


def test_export_needs_samples() -> None:
    with pytest.raises(ExportError, match="sample"):
        calibration.best_integers(network(), [])


def test_tables_are_those_of_the_format() -> None:
    ours, theirs = export.make_tables(64), exact_tables(64.0)
    for name in ("sigmoid", "exponential", "logistic"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()
    scale = ours.scale_mantissa * 2.0**-ours.scale_shift
    other = theirs.scale_mantissa * 2.0**-theirs.scale_shift
    assert abs(scale / other - 1).max() < 2e-4
