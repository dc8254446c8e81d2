"""Export: the same distribution in integers, or a refusal with figures."""

from __future__ import annotations

import pytest
import torch

from ncml_codec.errors import ExportError
from ncml_codec.network.integer_network import SUM_LIMIT, check
from ncpn.integers import activations, calibration, export, validation
from tests.builders.float_networks import SAMPLE, fitted_network
from tests.builders.networks import exact_tables


@pytest.mark.parametrize("sde_times", [False, True])
def test_integers_cost_little(sde_times: bool) -> None:
    model = fitted_network(sde_times)
    seen = activations.observe(model, [SAMPLE])
    plain = export.to_integers(model, activations.choose_units(seen), seen)
    cost = validation.cost(model, plain, [SAMPLE])
    assert abs(cost.percent) < 0.3
    best = validation.cost(model, calibration.best_integers(model, [SAMPLE]), [SAMPLE])
    assert best.integer <= cost.integer
    assert cost.floating == pytest.approx(validation.float_bits(model, SAMPLE))


def test_every_layer_is_proved() -> None:
    exported = calibration.best_integers(fitted_network(), [SAMPLE])
    check(exported)
    lines = export.proof(exported)
    assert {name for name, _, _ in lines} >= {"first", "blocks.1.gate", "heads.2.earlier"}
    assert all(0 < reach < SUM_LIMIT for _, _, reach in lines)


def test_a_layer_that_cannot_be_proved_is_refused_with_its_figures() -> None:
    model = fitted_network()
    seen = activations.observe(model, [SAMPLE])
    units = activations.choose_units(seen)
    with torch.no_grad():
        model.gated_blocks()[1].gate.weight[3] = 1e5
    with pytest.raises(ExportError, match=r"blocks\.1\.gate: output 3 can reach .*2\*\*24"):
        export.to_integers(model, units, seen)


def test_export_needs_samples() -> None:
    with pytest.raises(ExportError, match="sample"):
        calibration.best_integers(fitted_network(), [])


def test_tables_are_those_of_the_format() -> None:
    ours, theirs = export.make_tables(64), exact_tables(64.0)
    for name in ("sigmoid", "exponential", "logistic"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()
    scale = ours.scale_mantissa * 2.0**-ours.scale_shift
    other = theirs.scale_mantissa * 2.0**-theirs.scale_shift
    assert abs(scale / other - 1).max() < 2e-4
