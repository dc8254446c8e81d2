"""Learning never makes a tile larger: what it would take without learning is counted beside it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.encode import levels
from ncml_codec.encode.tile_encoder import encode_tile
from ncml_codec.engines import Engine, Survey
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Meter
from ncml_codec.format.tiles import adaptation_byte
from ncml_codec.network.adaptation import STATIC, STRONGEST, Adaptation, heads_learn, network_learns
from ncml_codec.network.distribution import TOTAL, Weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.model_file import read_model
from tests.builders.engines import INSTRUCTION_SETS, Stepwise, code, drawn, native
from tests.builders.pictures import GOLDEN, Samples, valley

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
COMPARERS = ["numpy", *INSTRUCTION_SETS]


class Drawing:
    """No coder: draws symbols by their weights, so that the network makes an image of its own."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is None
        cumulative = (weights.astype(np.int64) + 1).cumsum(axis=1)
        drawn = self.random.integers(0, TOTAL, (len(weights), 1))
        return (cumulative <= drawn).sum(axis=1).astype(np.int32)


def bits(engine: Engine | Stepwise, samples: Samples, adaptation: Adaptation) -> float:
    meter = Meter()
    code(engine, samples, meter, adaptation_byte(adaptation))
    return meter.bits


@pytest.mark.parametrize("name", COMPARERS)
@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    planes=st.sampled_from([1, 3]),
    strength=st.integers(1, STRONGEST),
)
@settings(deadline=None, max_examples=25)
def test_a_comparison_is_the_survey_and_the_bits_without_learning(
    name: str, seed: int, k: int, size: tuple[int, int], planes: int, strength: int
) -> None:
    network, array = drawn(seed, 7, 1, 5, k, size, planes, room=2)
    engine = engines.load(name, network) if name == "numpy" else native(network, name, 1 + seed % 3)
    comparison, meter = engine.survey(array, heads_learn(strength), [STATIC]), Meter()
    for weights, symbols in comparison:
        meter.code(weights, symbols)
    assert meter.bits == pytest.approx(
        bits(Stepwise(engine), array, heads_learn(strength)), rel=1e-12
    )
    # Sums of logarithms in another order: nothing else may differ.
    assert comparison.code_lengths[STATIC] == pytest.approx(bits(engine, array, STATIC), rel=1e-12)


@pytest.mark.parametrize("adaptation", [STATIC, network_learns(1), network_learns(STRONGEST)])
def test_native_compares_only_where_the_body_is_still(adaptation: Adaptation) -> None:
    engine = native(TINY.network, "portable")
    with pytest.raises(ValueError, match="no heads of the model to compare with"):
        engine.survey(valley(0, 0, 4, 4), adaptation, [network_learns(2)])


def test_a_tile_whose_middle_alone_teaches_is_not_larger_than_without_learning() -> None:
    """All but the middle is drawn from the network itself, so that there is nothing to learn."""
    height, width, middle = 128, 2048, slice(60, 68)
    engine = engines.load("auto", TINY.network)
    array = walk_tile(engine, (height, width, 3), None, Drawing(1))
    array[middle] = np.tile(valley(60, 100, 8, 128), (1, width // 128, 1))
    (learning,) = levels.at(levels.DEFAULT).adaptations
    band = np.ascontiguousarray(array[middle])
    assert bits(engine, band, learning) < 0.95 * bits(engine, band, STATIC), "it teaches little"
    assert bits(engine, array, learning) > bits(engine, array, STATIC), "learning helps the whole"
    plain = encode_tile(engine, array, (STATIC,))
    for name in ("numpy", "auto"):
        tile = encode_tile(engines.load(name, TINY.network), array, (learning,))
        assert tile == plain


@pytest.mark.parametrize(("name", "level"), [("auto", 5), ("auto", 6), ("auto", 8), ("numpy", 5)])
def test_no_level_gives_more_than_the_first(name: str, level: int) -> None:
    """For images of which learning makes some larger and some smaller, by every engine."""
    engine = engines.load(name, TINY.network)
    seen = set()
    for array in (walk_tile(engine, (24, 30, 3), None, Drawing(2)), valley(60, 100, 30, 40)):
        plain = encode_tile(engine, array, (STATIC,))
        tile = encode_tile(engine, array, levels.at(level).adaptations)
        assert len(tile.payload) <= len(plain.payload)
        assert tile == encode_tile(
            engines.load("auto", TINY.network), array, levels.at(level).adaptations
        )
        seen.add(tile.adaptation == STATIC)
    assert seen == {True, False}


def test_what_is_surely_larger_is_not_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second coding is left out where learning helps much, so that it costs no time."""
    engine = engines.load("numpy", TINY.network)
    survey, tried = engine.survey, []

    def counted(samples: Samples, adaptation: Adaptation, others: Collection[Adaptation]) -> Survey:
        tried.append(adaptation)
        return survey(samples, adaptation, others)

    monkeypatch.setattr(engine, "survey", counted)
    tile = encode_tile(engine, valley(60, 100, 40, 50), [heads_learn(3)])
    assert tile.adaptation == heads_learn(3)
    assert tried == [heads_learn(3)]


def test_every_level_means_something_else_and_tries_no_less_than_the_one_before() -> None:
    assert list(levels.LEVELS) == list(range(1, 10))
    assert len(set(levels.LEVELS.values())) == 9
    for lower, higher in ((2, 3), (3, 4), (5, 6), (6, 7)):
        one, other = levels.at(lower), levels.at(higher)
        assert one.models == other.models
        assert set(one.adaptations) < set(other.adaptations)
