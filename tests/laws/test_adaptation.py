"""Networks that learn while decoding, heads or all layers: the same on all engines, sound for any
image, and worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.engines import Walk
from ncml_codec.engines.numpy_engine import NumpyEngine
from ncml_codec.entropy.coder import Meter
from ncml_codec.format.tiles import adaptation_of
from ncml_codec.network import distribution, released_models
from ncml_codec.network.body_learning import AdaptiveBody
from ncml_codec.network.head_learning import Adapted, AdaptiveHead, Coded, gradients
from ncml_codec.network.integer_network import (
    PLANES,
    SUM_LIMIT,
    WEIGHT_MAX,
    Integers,
    Network,
    input_bounds,
    largest_sums,
    named_layers,
)
from ncml_codec.network.wave_order import wave_count, wave_pixels
from tests.builders.adaptations import BODY, STATIC, STRONGEST
from tests.builders.engines import (
    INSTRUCTION_SETS,
    Stepwise,
    all_counts,
    assert_causal,
    code,
    drawn,
    engine_of,
)
from tests.builders.networks import exact_tables, random_network
from tests.builders.pictures import Samples, extremes, valley

HEADS = range(STATIC + 1, STRONGEST + 1)  # strengths at which only they learn
BODIES = [BODY + 1, BODY + 3, BODY + STRONGEST]  # at which all layers learn


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 2),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    planes=st.sampled_from([1, 3]),
    room=st.sampled_from([1, 2, 8]),
    strength=st.sampled_from([*HEADS, *BODIES]),
)
@settings(deadline=None, max_examples=25)
def test_engines_learn_the_same_on_random_networks(
    name: str,
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    room: int,
    strength: int,
) -> None:
    network, array = drawn(seed, width, blocks, hidden, k, size, planes, room)
    expected = all_counts("numpy", network, array, strength)
    engine = engine_of(name, network, threads=1 + seed % 3)
    assert (all_counts(engine, network, array, strength) == expected).all()
    assert (all_counts(Stepwise(engine), network, array, strength) == expected).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("strength", [*HEADS, *BODIES])
def test_engines_learn_the_same_at_every_strength(name: str, strength: int) -> None:
    network, array = random_network(21, 9, 1, 20, 4, room=2), valley(120, 60, 14, 19)
    expected = all_counts("numpy", network, array, strength)
    assert (all_counts(engine_of(name, network), network, array, strength) == expected).all()
    without = strength - BODY if strength > BODY else STATIC
    assert (all_counts("numpy", network, array, without) != expected).any(), "nothing was learned"


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("strength", [STRONGEST, BODY + STRONGEST])
def test_engines_learn_the_same_from_extremes(name: str, planes: int, strength: int) -> None:
    network = random_network(7, 12, 1, 8, 4, room=2)
    engine = engine_of(name, network)
    for picture in extremes(8, 13).values():
        array = picture[:, :, :planes]
        expected = all_counts("numpy", network, array, strength)
        assert (all_counts(engine, network, array, strength) == expected).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("strength", [3, BODY + 3])
def test_engines_learn_the_same_with_the_released_model(name: str, strength: int) -> None:
    network, array = released_models.load("photo").network, valley(30, 200, 24, 30)
    expected = all_counts("numpy", network, array, strength)
    assert (all_counts(engine_of(name, network), network, array, strength) == expected).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("own", ["last", "twice", "missing"])
def test_engines_learn_the_same_wherever_a_pixels_own_features_are(name: str, own: str) -> None:
    neighbours = {
        "last": [(-2, 1), (0, -1), (0, 0)],
        "twice": [(0, -1), (0, 0), (-1, 0), (0, 0)],
        "missing": [(-1, 1), (0, -3)],
    }[own]
    network = random_network(4, 7, 2, 6, 3, neighbours=neighbours, room=2)
    array = valley(40, 300, 11, 15)
    expected = all_counts("numpy", network, array, BODY + 5)
    assert (all_counts(engine_of(name, network), network, array, BODY + 5) == expected).all()


@pytest.mark.parametrize("strength", [STRONGEST, BODY + STRONGEST])
@pytest.mark.parametrize("room", [1, 2])
def test_what_was_learned_keeps_the_proof(room: int, strength: int) -> None:
    """After every wave of pictures unlike photographs, at the highest rates."""
    height, width = 9, 20
    network = random_network(room, 4, 1, 3, 2, room=room)
    moved, stopped = set(), set()
    for array in [*extremes(height, width).values(), alternating(height, width)]:
        one = NumpyEngine(network).walk(height, width, adaptation_of(strength))
        for wave in range(wave_count(height, width)):
            here = array.reshape(-1, PLANES)[wave_pixels(wave, height, width)].astype(np.int32)
            take_wave(one, wave, here)
            mine = learned_by(one.adaptive, one.body)
            assert_proof_holds(network, mine)
        moved |= {name for name, each in mine.items() if any(map(has_moved, each))}
        stopped |= {name for name, each in mine.items() if any(map(has_stopped, each))}
    layers = [name for name, _ in named_layers(network)]
    heads = [name for name in layers if name.startswith("heads")]
    assert moved == set(layers if strength > BODY else heads)
    assert stopped, "no parameter was stopped, so that the law was not tried"
    if strength > BODY and room == 1:
        assert not stopped <= set(heads), "none of the body was stopped"


@pytest.mark.parametrize("name", ["numpy", *INSTRUCTION_SETS])
@pytest.mark.parametrize("strength", [5, BODY + 5])
def test_what_is_later_changes_no_distribution_of_networks_that_learn(
    name: str, strength: int
) -> None:
    network = random_network(11, 6, 1, 6, 3)
    assert_causal(engine_of(name, network), network, valley(100, 100, 9, 11), strength)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 6), plane=st.integers(0, 2), edge=st.booleans())
@settings(deadline=None, max_examples=40)
def test_gradients_are_those_of_the_mixture(seed: int, k: int, plane: int, edge: bool) -> None:
    """Against autograd of the same mixture in real numbers, where the sample is not improbable."""
    random, n = np.random.default_rng(seed), 50
    outputs = np.concatenate(
        [
            random.integers(-200, 201, (n, k)),
            random.integers(-300, 301, (n, k)),
            random.integers(-40, 200, (n, k)),
            random.integers(-300, 301, (n, plane)),
        ],
        axis=1,
    ).astype(np.int32)
    reference = random.integers(-400, 401, n).astype(np.int32)
    if edge:
        reference = random.choice([-500, 500], n).astype(np.int32)
    residuals = random.integers(-60, 61, (n, plane)).astype(np.int32)
    coefficients = outputs[:, 3 * k :]
    mean = outputs[:, k : 2 * k] / 64 + (reference / 4)[:, None] + 128
    mean += (coefficients * residuals / 1024).sum(axis=1)[:, None]
    values = np.clip(np.rint(mean[:, 0] + random.normal(0, 2, n)), 0, 255).astype(np.int32)
    if edge:
        values = np.where(reference > 0, 255, 0).astype(np.int32)

    mixture = distribution.mixtures(outputs, k, reference, residuals, exact_tables())
    coded = Coded(values, outputs[:, 2 * k : 3 * k], residuals)
    found = gradients(mixture, coded, exact_tables()) / 512

    units = np.repeat([64.0, 512.0, 64.0, 256.0], [k, k, k, plane])  # of FORMAT.md, section 4.4
    floats = torch.tensor(outputs / units, dtype=torch.float64, requires_grad=True)
    logit, place, scale, linear = floats.split([k, k, k, plane], 1)
    centre = 8 * place + torch.tensor(reference / 4 + 128)[:, None]
    centre = centre + (linear * torch.tensor(residuals / 4)).sum(1)[:, None]
    rounded = torch.tensor(mixture.mean / 64 + 128)  # the codec's, to 1 / 64 grey level
    centre = centre + (rounded - centre).detach()
    value = torch.tensor(values)[:, None]
    begin, end = ((value + side - centre) * torch.exp(-scale) for side in (-0.5, 0.5))
    below = torch.where(value == 0, 0.0, torch.sigmoid(begin))
    above = torch.where(value == 255, 1.0, torch.sigmoid(end))
    mass = (logit.softmax(1) * (above - below)).sum(1)
    (expected,) = torch.autograd.grad(-mass.log().sum(), floats)

    # Levels and weights are right to about 2**-14 each, so a gradient to a few times that share of
    # what it is multiplied by, over the mass; and rounded to 1 / 512.
    sharp = torch.exp(-scale)
    reach = begin.abs().clamp(max=16) + end.abs().clamp(max=16) + 1
    factor = torch.cat(
        [
            torch.ones_like(logit),
            8 * sharp,
            reach,
            torch.tensor(np.abs(residuals)) / 32 * 8 * sharp.amax(1, keepdim=True),
        ],
        1,
    )
    tolerance = (factor * 4 * 2.0**-14 / mass[:, None]).detach().numpy() + 1 / 512
    probable = mass.detach().numpy() > 2**-6
    assert probable.any()
    difference = np.abs(found - expected.numpy())[probable]
    assert (difference <= tolerance[probable]).all()


def test_learning_pays_on_a_photograph() -> None:
    network, array = released_models.load("photo").network, valley(100, 100, 128, 160)
    bits = {}
    for strength in (STATIC, 2, 3):
        meter = Meter()
        code(engines.load("auto", network), array, meter, strength)
        bits[strength] = meter.bits
    assert bits[2] < bits[STATIC]
    assert bits[3] < bits[STATIC]


def alternating(height: int, width: int) -> Samples:
    """Waves that are black and white in turn, uint8 [height, width, 3]."""
    rows, columns = np.mgrid[0:height, 0:width]
    board = (255 * ((columns + 2 * rows) // 2 % 2)).astype(np.uint8)
    return np.repeat(board[:, :, None], 3, axis=2)


def take_wave(walk: Walk, wave: int, values: Integers) -> None:
    """Show a walk one wave's samples [n, 3]."""
    walk.begin(wave)
    for plane in range(PLANES):
        known = np.ascontiguousarray(values[:, plane])
        walk.high(plane)
        walk.low(plane, known >> 4)
        walk.put(plane, known)


def learned_by(heads: list[AdaptiveHead], body: AdaptiveBody | None) -> dict[str, list[Adapted]]:
    """What learns of each layer, by its name in `network`: weights, and biases if they do."""
    found = {}
    for plane, head in enumerate(heads):
        found[f"heads.{plane}.trunk"] = [head.trunk_weight, head.trunk_bias]
        found[f"heads.{plane}.out"] = [head.out_weight, head.out_bias]
        if head.earlier is not None:
            found[f"heads.{plane}.earlier"] = [head.earlier_weight]
    if body is not None:
        layers = {"first": body._first}
        for index, (taps, gate) in enumerate(body._blocks):
            layers[f"blocks.{index}.taps"], layers[f"blocks.{index}.gate"] = taps, gate
        found |= {name: [layer.weight, layer.bias] for name, layer in layers.items()}
    return found


def has_moved(parameters: Adapted) -> bool:
    return bool((2 * parameters.values != parameters.low + parameters.high).any())


def has_stopped(parameters: Adapted) -> bool:
    """At the end of its room, where there is some."""
    at_end = (parameters.values == parameters.low) | (parameters.values == parameters.high)
    return bool((at_end & (parameters.low < parameters.high)).any())


def assert_proof_holds(network: Network, learned: dict[str, list[Adapted]]) -> None:
    """What `integer_network.check` demands of the layers, with every bias that a pixel may meet."""
    bounds, layers = input_bounds(network), dict(named_layers(network))
    for name, (weights, *biases) in learned.items():
        layer, weight = layers[name], weights.used.astype(np.int32)
        assert (weight == weights.used).all()
        assert np.abs(weight).max() <= WEIGHT_MAX
        for bias in biases[0].used.T if biases else [layer.bias]:
            now = replace(layer, weight=weight, bias=bias.astype(np.int32))
            assert largest_sums(now, bounds[name]).max() < SUM_LIMIT
