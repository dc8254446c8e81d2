"""Calibration: layers fitted to what their inputs lost, rounded so that errors cancel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    Layer,
    input_bounds,
    largest_sums,
    named_layers,
)
from ncpn.integers import activations, calibration, export, integer_network, validation
from ncpn.wave_network.wave import block_taps, neighbourhood
from tests.builders.float_networks import SAMPLE, fitted_network

RNG = np.random.default_rng(5)
BOUNDS = np.full(12, ACTIVATION_MAX, np.int32)


def inputs() -> torch.Tensor:
    """Integers of 12 channels that go together, [1, 12, 40, 50]."""
    mixed = RNG.normal(size=(12, 4)) @ RNG.normal(size=(4, 2000)) + 0.1 * RNG.normal(
        size=(12, 2000)
    )
    return torch.from_numpy(np.rint(40 * mixed)).float().reshape(1, 12, 40, 50)


def squares(layer: Layer, x: torch.Tensor, targets: torch.Tensor) -> float:
    return float((integer_network.apply(layer, x) - targets).square().mean())


@pytest.mark.parametrize("shift", [0, 2, 5])
def test_a_fitted_layer_is_closer_to_its_targets(shift: int) -> None:
    x = inputs()
    exact = RNG.normal(size=(6, 12))
    targets = torch.einsum("oi,bihw->bohw", torch.from_numpy(exact).float(), x)
    weight = np.rint(exact * 2.0**shift).astype(np.int32)
    half = np.full(6, 2**shift // 2, np.int32)
    plain = Layer(weight, half, np.full(6, shift, np.int32))
    fitted = calibration.fit_layer(
        plain, BOUNDS, export.BODY_SUMS, [(x, targets, torch.ones(1, 1, 40, 50))]
    )
    assert squares(fitted, x, targets) < 0.8 * squares(plain, x, targets)
    assert largest_sums(fitted, BOUNDS).max() < export.BODY_SUMS


def test_a_fitted_layer_gives_back_what_its_inputs_lack() -> None:
    x = inputs()
    weight = RNG.integers(-2, 3, (6, 12)).astype(np.int32)
    plain = Layer(weight, np.zeros(6, np.int32), np.zeros(6, np.int32))
    targets = integer_network.apply(plain, x + 3.0)
    fitted = calibration.fit_layer(
        plain, BOUNDS, export.BODY_SUMS, [(x, targets, torch.ones(1, 1, 40, 50))]
    )
    assert squares(plain, x, targets) > 10
    assert squares(fitted, x, targets) < 1


def test_weights_that_the_samples_say_nothing_of_stay() -> None:
    x = inputs()
    x[:, 7] = 0
    weight = RNG.integers(-9, 10, (6, 12)).astype(np.int32)
    plain = Layer(weight, np.zeros(6, np.int32), np.zeros(6, np.int32))
    targets = integer_network.apply(plain, x + 3.0)
    fitted = calibration.fit_layer(
        plain, BOUNDS, export.BODY_SUMS, [(x, targets, torch.ones(1, 1, 40, 50))]
    )
    assert (fitted.weight[:, 7] == weight[:, 7]).all()


def test_a_layer_takes_coarser_weights_where_its_sums_would_grow_too_large() -> None:
    x = inputs()
    weight = np.full((6, 12), 100, np.int32)
    plain = Layer(weight, np.full(6, 32, np.int32), np.full(6, 6, np.int32))
    targets = 1.5 * integer_network.apply(plain, x)
    most = int(1.2 * largest_sums(plain, BOUNDS).max())
    fitted = calibration.fit_layer(plain, BOUNDS, most, [(x, targets, torch.ones(1, 1, 40, 50))])
    assert largest_sums(fitted, BOUNDS).max() < most
    assert (fitted.shift == 5).all()
    assert squares(fitted, x, targets) < 0.1 * squares(plain, x, targets)


def test_pixels_count_as_they_are_weighed() -> None:
    x = inputs()
    plain = Layer(np.zeros((6, 12), np.int32), np.zeros(6, np.int32), np.zeros(6, np.int32))
    weight = torch.ones(1, 1, 40, 50)
    weight[..., 25:] = 0
    right = RNG.integers(-2, 3, (6, 12)).astype(np.int32)
    targets = integer_network.apply(replace(plain, weight=right), x)
    targets[..., 25:] = 99
    fitted = calibration.fit_layer(plain, BOUNDS, export.BODY_SUMS, [(x, targets, weight)])
    assert (fitted.weight == right).all()


def test_rounding_in_turn_loses_less_than_rounding_apart() -> None:
    x = inputs()[0].flatten(1).double().numpy()
    weights = RNG.normal(size=(6, 12))
    power = x @ x.T
    rounded = calibration.round_in_turn(weights, np.linalg.cholesky(np.linalg.inv(power)).T)
    assert (rounded == np.rint(rounded)).all()
    apart = (np.rint(weights) - weights) @ x
    assert ((rounded - weights) @ x).var() < 0.5 * apart.var()


def test_a_fitted_network_loses_less_and_keeps_its_room() -> None:
    model = fitted_network()
    seen = activations.observe(model, [SAMPLE])
    units = activations.finer(activations.choose_units(seen), 0.05, 0.05)  # twenty times coarser
    plain = export.to_integers(model, units, seen)
    fitted = calibration.fit(model, plain, units, [SAMPLE])
    floating = validation.float_bits(model, SAMPLE)
    before, after = (validation.integer_bits(each, SAMPLE) for each in (plain, fitted))
    assert after - floating < 0.7 * (before - floating)
    bounds = input_bounds(fitted)
    for name, layer in named_layers(fitted):
        most = export.HEAD_SUMS if name.startswith("heads") else export.BODY_SUMS
        assert largest_sums(layer, bounds[name]).max() < most


def test_a_neighbourhood_has_every_tap_in_order() -> None:
    h = torch.arange(1.0, 25.0).reshape(1, 2, 3, 4)
    found = neighbourhood(h)
    for number, (di, dj) in enumerate(block_taps()):
        inside = 0 <= 1 + di < 3 and 0 <= 2 + dj < 4
        expected = h[0, :, 1 + di, 2 + dj] if inside else torch.zeros(2)
        assert torch.equal(found[0, 2 * number : 2 * number + 2, 1, 2], expected)
