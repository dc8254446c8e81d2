"""The integer network in torch: the engines' numbers, and biases that can be trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncml_codec.engines import numpy_layers
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.mixture import bits_per_dimension
from ncml_codec.network.integer_network import ACTIVATION_MAX, Network, named_layers
from ncpn.integers import calibration, integer_network, tuning, validation
from ncpn.integers.integer_network import BiasNetwork
from tests.builders.float_networks import SAMPLE, fitted_network
from tests.builders.networks import random_network
from tests.builders.pictures import valley


def bits(model: BiasNetwork, image: validation.Image) -> torch.Tensor:
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return bits_per_dimension(-model(x).log_mass(x))


def test_activations_are_the_engines() -> None:
    made = random_network(2, width=7, blocks=1, hidden=5, k=3)
    random = np.random.default_rng(2)
    x = random.integers(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (60, 7)).astype(np.float32)
    gates = random.integers(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (60, 14)).astype(np.float32)
    sigmoid = made.tables.sigmoid.astype(np.float32)
    expected = numpy_layers.gated(x, gates, sigmoid)
    found = integer_network.gated(across(x), across(gates), torch.from_numpy(sigmoid))
    assert torch.equal(found, across(expected))
    assert torch.equal(integer_network.leaky(across(x)), across(numpy_layers.leaky(x)))


def across(values: numpy_layers.Floats) -> torch.Tensor:
    """[pixel, channel] as [1, channel, 1, pixel]."""
    return torch.from_numpy(values.T.copy())[None, :, None]


def exported() -> Network:
    return calibration.best_integers(fitted_network(), [SAMPLE])


def test_an_exported_network_is_within_its_tables() -> None:
    made = exported()
    expected = validation.integer_bits(made, SAMPLE)
    assert bits(BiasNetwork(made), SAMPLE).item() == pytest.approx(expected, rel=2e-4)


def test_untrained_it_is_the_same_network() -> None:
    made = exported()
    same = BiasNetwork(made).trained()
    for (name, layer), (_, other) in zip(named_layers(made), named_layers(same), strict=True):
        for field in ("weight", "bias", "shift"):
            assert (getattr(layer, field) == getattr(other, field)).all(), name


def test_gradients_are_those_of_a_network_that_rounds_nothing() -> None:
    """A bias moved by several whole numbers changes the bits as its gradient says."""
    model = BiasNetwork(exported())
    bits(model, SAMPLE).backward()
    for name in ("first", "blocks_1_taps", "heads_2_trunk", "heads_0_out"):
        bias = model.biases[name]
        assert bias.grad is not None
        step = 8.0 * torch.sign(bias.grad)
        with torch.no_grad():
            predicted = 2 * float((step * bias.grad).sum())
            bias += step
            above = float(bits(model, SAMPLE))
            bias -= 2 * step
            below = float(bits(model, SAMPLE))
            bias += step
        assert above - below == pytest.approx(predicted, rel=0.2), name


def test_tuned_biases_make_up_for_coarse_integers() -> None:
    model = fitted_network()
    made = exported()
    rng = np.random.default_rng(0)
    biases = BiasNetwork(made)
    with torch.no_grad():
        for bias in biases.biases.values():
            bias += torch.from_numpy(rng.normal(0, 3, bias.shape)).float()
    spoilt = biases.trained()
    images = FolderImages([SAMPLE, valley(0, 0, 48, 48)], [])
    tuned = tuning.tuned(spoilt, images, CropConfig(32, 4, grey=0.0), steps=60)
    floating = validation.float_bits(model, SAMPLE)
    before, after = (validation.integer_bits(each, SAMPLE) for each in (spoilt, tuned))
    assert after - floating < 0.5 * (before - floating)
    for (_, old), (_, new) in zip(named_layers(spoilt), named_layers(tuned), strict=True):
        assert (old.weight == new.weight).all()


def test_sums_are_exact_whatever_the_shift() -> None:
    made = random_network(1, width=7, blocks=1, hidden=5, k=3, room=2)
    layer = made.blocks[0].taps
    x = torch.from_numpy(np.random.default_rng(0).integers(-2047, 2048, (1, layer.inputs, 3, 4)))
    flat = x[0].flatten(1).numpy()
    sums = layer.weight.astype(np.int64) @ flat + layer.bias[:, None]
    expected = np.clip(sums >> layer.shift[:, None], -layer.limit, layer.limit)
    assert (integer_network.apply(layer, x.float())[0].flatten(1).numpy() == expected).all()
