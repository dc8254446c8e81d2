"""Heads that learn while decoding: the same on all engines, sound for any image, and worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines, library, tables
from ncml_codec.adaptation import (
    PHASES,
    AdaptiveHead,
    Coded,
    Doubles,
    gradients,
)
from ncml_codec.codec import walk_tile
from ncml_codec.coder import Meter
from ncml_codec.engines import Engine, Walk
from ncml_codec.engines.numpy_engine import NumpyEngine
from ncml_codec.engines.torch_adaptation import LearningHead
from ncml_codec.engines.torch_engine import TorchEngine
from ncml_codec.network import (
    PLANES,
    SUM_LIMIT,
    WEIGHT_MAX,
    Integers,
    Network,
    input_bounds,
    largest_sums,
)
from ncml_codec.strength import STATIC, STRONGEST
from ncml_codec.wave import wave_count, wave_pixels
from tests.networks import exact_tables, random_network
from tests.pictures import Samples, extremes, valley
from tests.test_engines import (
    INSTRUCTION_SETS,
    Stepwise,
    all_counts,
    drawn,
    first_row_of_pixel,
    native,
)

CPU = torch.device("cpu")
STRENGTHS = range(STATIC + 1, STRONGEST + 1)
OTHERS = ["torch", *INSTRUCTION_SETS]  # engines that must equal the specification, numpy


def other_engine(name: str, network: Network, threads: int = 1) -> Engine:
    """The engine `torch`, or the native one with this instruction set; skips where it is not."""
    if name == "torch":
        return engines.load(name, network)
    return native(network, name, threads)


@pytest.mark.parametrize("name", OTHERS)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 1),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    planes=st.sampled_from([1, 3]),
    strength=st.sampled_from(STRENGTHS),
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
    strength: int,
) -> None:
    network, array = drawn(seed, width, blocks, hidden, k, size, planes)
    expected = all_counts("numpy", network, array, strength)
    engine = other_engine(name, network, threads=1 + seed % 3)
    assert (all_counts(engine, network, array, strength) == expected).all()
    assert (all_counts(Stepwise(engine), network, array, strength) == expected).all()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_engines_learn_the_same_at_every_strength(name: str, strength: int) -> None:
    network, array = random_network(21, 9, 1, 20, 4), valley(120, 60, 14, 19)
    expected = all_counts("numpy", network, array, strength)
    assert (all_counts(other_engine(name, network), network, array, strength) == expected).all()
    assert (all_counts("numpy", network, array) != expected).any(), "nothing was learned"


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("planes", [1, 3])
def test_engines_learn_the_same_from_extremes(name: str, planes: int) -> None:
    network = random_network(7, 12, 1, 8, 4)
    for picture in extremes(8, 13).values():
        array = picture[:, :, :planes]
        expected = all_counts("numpy", network, array, STRONGEST)
        engine = other_engine(name, network)
        assert (all_counts(engine, network, array, STRONGEST) == expected).all()


@pytest.mark.parametrize("name", OTHERS)
def test_engines_learn_the_same_with_the_released_model(name: str) -> None:
    network, array = library.load("photo").network, valley(30, 200, 24, 30)
    expected = all_counts("numpy", network, array, 3)
    assert (all_counts(other_engine(name, network), network, array, 3) == expected).all()


@pytest.mark.parametrize("seed", range(2))
def test_what_was_learned_keeps_the_proof(seed: int) -> None:
    """After every wave of pictures unlike photographs, at the highest rate; and torch has learned
    the same parameters, not only the same counts."""
    height, width = 9, 20
    network = random_network(seed, 4, 0, 3, 2)
    moved_as_far_as_allowed = False
    for array in [*extremes(height, width).values(), alternating(height, width)]:
        one = NumpyEngine(network).walk(height, width, STRONGEST)
        other = TorchEngine(network, CPU).walk(height, width, STRONGEST)
        for wave in range(wave_count(height, width)):
            here = array.reshape(-1, PLANES)[wave_pixels(wave, height, width)].astype(np.int32)
            take_wave(one, wave, here)
            take_wave(other, wave, here)
            learned = [learned_by_numpy(head) for head in one.adaptive]
            for mine, theirs in zip(learned, other.learning, strict=True):
                for name, matrix in mine.items():
                    assert (matrix == learned_by_torch(theirs)[name]).all()
            assert_proof_holds(network, learned)
        moved_as_far_as_allowed |= any(
            ((each.values == each.low) | (each.values == each.high)).any()
            for head in one.adaptive
            for each in (head.trunk_weight, head.trunk_bias, head.out_weight, head.out_bias)
        )
    assert moved_as_far_as_allowed, "no parameter was stopped, so that the law was not tried"


@pytest.mark.parametrize("name", ["numpy", *OTHERS])
def test_what_is_later_changes_no_distribution_of_heads_that_learn(name: str) -> None:
    network = random_network(11, 6, 1, 6, 3)
    before = valley(100, 100, 9, 11)
    engine = engines.load(name, network) if name == "numpy" else other_engine(name, network)
    first = all_counts(engine, network, before, 5)
    for row, column in ((0, 0), (4, 5), (8, 10), (3, 0), (0, 10)):
        after = before.copy()
        after[row, column] ^= 255
        second = all_counts(engine, network, after, 5)
        place = first_row_of_pixel(before.shape, row, column)
        assert (first[:place] == second[:place]).all()
        assert (first[place:] != second[place:]).any() or (row, column) == (8, 10)


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

    mixture = tables.mixtures(outputs, k, reference, residuals, exact_tables())
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
    network, array = library.load("photo").network, valley(100, 100, 128, 160)
    bits = {}
    for strength in (STATIC, 2, 3):
        meter = Meter()
        walk_tile(engines.load("auto", network), array.shape, array, meter, strength=strength)
        bits[strength] = meter.bits
    assert bits[2] < bits[STATIC]
    assert bits[3] < bits[STATIC]


def test_images_of_a_batch_learn_apart() -> None:
    """In torch; and rows that are no pixels, of no gradient, change nothing."""
    head = random_network(5, 6, 0, 7, 3).heads[2]
    random, n = np.random.default_rng(5), 9
    both, padded = (LearningHead(head, 3, 6, 2, CPU) for _ in range(2))
    alone = [LearningHead(head, 3, 6, 1, CPU) for _ in range(2)]
    phases, filler = torch.arange(n) % 2 * 2, torch.full((4,), 2)
    for _ in range(5):
        trunk, features, gradient = (
            torch.from_numpy(random.integers(-limit, limit + 1, (2, n, size)))
            for limit, size in ((2047, 6), (256, 6), (2000, head.out.outputs))
        )
        noise = torch.from_numpy(random.integers(-256, 257, (2, 4, 6)))
        longer = [torch.cat([part, noise], 1) for part in (trunk, features)]
        expected = both.outputs(trunk, features, phases)
        assert (padded.outputs(*longer, torch.cat([phases, filler]))[:, :n] == expected).all()
        still = torch.zeros(2, 4, head.out.outputs, dtype=torch.float64)
        pixels = torch.tensor(float(n), dtype=torch.float64)
        for image, one in enumerate(alone):
            only = slice(image, image + 1)
            assert (one.outputs(trunk[only], features[only], phases)[0] == expected[image]).all()
            one.learn(gradient[only].double(), pixels)
        both.learn(gradient.double(), pixels)
        padded.learn(torch.cat([gradient.double(), still], 1), pixels)


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


def learned_by_numpy(head: AdaptiveHead) -> dict[str, Doubles]:
    """Weights and biases in use, by name; biases of the hidden layer are [hidden, phase]."""
    found = {
        "trunk": head.trunk_weight.used,
        "phases": head.trunk_bias.used,
        "out": head.out_weight.used,
        "out bias": head.out_bias.used,
    }
    return found if head.earlier is None else {**found, "earlier": head.earlier_weight.used}


def learned_by_torch(head: LearningHead) -> dict[str, Doubles]:
    """The same."""
    trunk, out = head.trunk.used[0].numpy(), head.out.used[0].numpy()
    found = {
        "trunk": trunk[:, :-PHASES],
        "phases": trunk[:, -PHASES:],
        "out": out[:, :-1],
        "out bias": out[:, -1:],
    }
    return found if head.earlier is None else {**found, "earlier": head.earlier.used[0].numpy()}


def assert_proof_holds(network: Network, learned: list[dict[str, Doubles]]) -> None:
    """What `network.check` demands of the layers, with every phase's bias."""
    bounds = input_bounds(network)
    for plane, (head, found) in enumerate(zip(network.heads, learned, strict=True)):
        layers = [("trunk", head.trunk, phase) for phase in found["phases"].T]
        layers.append(("out", head.out, found["out bias"][:, 0]))
        if head.earlier is not None:
            layers.append(("earlier", head.earlier, head.earlier.bias))
        for name, layer, bias in layers:
            weight = found[name].astype(np.int32)
            assert (weight == found[name]).all()
            now = replace(layer, weight=weight, bias=bias.astype(np.int32))
            assert np.abs(weight).max() <= WEIGHT_MAX
            assert largest_sums(now, bounds[f"heads.{plane}.{name}"]).max() < SUM_LIMIT
