"""Colour modes in all engines, and an encoder's choice of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.decode.effort import Samples
from ncml_codec.encode import colour_search, levels
from ncml_codec.encode.tile_encoder import encode_tile
from ncml_codec.engines import Engine, Survey
from ncml_codec.entropy.coder import Meter
from ncml_codec.format.tiles import adaptation_byte, adaptation_of
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import Adaptation, heads_learn
from ncml_codec.network.model_file import Model
from tests.builders.adaptations import ADAPTATIONS, COLOURS, MODES
from tests.builders.engines import (
    INSTRUCTION_SETS,
    Stepwise,
    all_counts,
    assert_causal,
    code,
    drawn,
    engine_of,
)
from tests.builders.networks import random_network
from tests.builders.photographs import decoded_tile, payload_of
from tests.builders.pictures import extremes, through_ycbcr, valley


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    adaptation=ADAPTATIONS,
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=20)
def test_engines_count_the_same_colours(
    name: str, seed: int, k: int, size: tuple[int, int], adaptation: int, threads: int
) -> None:
    network, noise = drawn(seed, 6, 1, 5, k, size, 3, room=2)
    engine = engine_of(name, network, threads)
    for array in (noise, noise & 0xC1):  # of few colours, which come again
        expected = all_counts("numpy", network, array, adaptation)
        assert (all_counts(engine, network, array, adaptation) == expected).all()
        assert (all_counts(Stepwise(engine), network, array, adaptation) == expected).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("mode", MODES)
def test_engines_count_the_same_colours_of_extremes(name: str, mode: int) -> None:
    network = random_network(7, 12, 1, 8, 4, room=2)
    for array in extremes(8, 13).values():
        for learning in (0, 7):
            adaptation = learning + COLOURS * mode
            expected = all_counts("numpy", network, array, adaptation)
            found = all_counts(engine_of(name, network), network, array, adaptation)
            assert (found == expected).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("adaptation", [16, 35, 48, 51, 59])
def test_engines_count_the_same_colours_with_the_released_model(name: str, adaptation: int) -> None:
    network, array = released_models.load("photo").network, through_ycbcr(valley(30, 200, 40, 50))
    expected = all_counts("numpy", network, array, adaptation)
    assert (all_counts(engine_of(name, network), network, array, adaptation) == expected).all()
    without = all_counts("numpy", network, array, adaptation % COLOURS)
    assert (without != expected).any(), "nothing was weighed"


@pytest.mark.parametrize("name", ["numpy", *INSTRUCTION_SETS])
def test_what_is_later_changes_no_counts(name: str) -> None:
    network = random_network(11, 6, 1, 6, 3)
    before = valley(100, 100, 9, 11) & 0xC1
    assert_causal(engine_of(name, network), network, before, 5 + 3 * COLOURS)


@pytest.mark.parametrize("name", ["numpy", *INSTRUCTION_SETS])
@pytest.mark.parametrize("adaptation", [16, 32, 48, 17, 51, 62])
def test_code_lengths_of_others_are_counted_along(name: str, adaptation: int, tiny: Model) -> None:
    array = through_ycbcr(valley(60, 40, 40, 50))
    engine, meter = engine_of(name, tiny.network), Meter()
    others = adaptation_of(adaptation).counted_along()
    comparison = engine.survey(array, adaptation_of(adaptation), others)
    for weights, symbols in comparison:
        meter.code(weights, symbols)
    assert meter.bits == pytest.approx(bits(engine, array, adaptation), rel=1e-12)
    assert set(comparison.code_lengths) == set(others)
    for other, length in comparison.code_lengths.items():
        assert length == pytest.approx(bits(engine, array, adaptation_byte(other)), rel=1e-4)
    one = engine.survey(array, adaptation_of(adaptation), others[-1:])
    assert sum(len(symbols) for _, symbols in one) == 2 * array.size
    assert one.code_lengths[others[-1]] == pytest.approx(comparison.code_lengths[others[-1]])


def bits(engine: Engine, samples: Samples, adaptation: int) -> float:
    meter = Meter()
    code(engine, samples, meter, adaptation)
    return meter.bits


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [("numpy", (3,)), ("auto", (0,)), ("auto", (3,)), ("auto", (2, 3)), ("auto", (11,))],
)
def test_the_smallest_mode_is_kept(name: str, bytes_: tuple[int, ...], tiny: Model) -> None:
    learning = [adaptation_of(each) for each in bytes_]
    engine, kept = engines.load(name, tiny.network), set()
    for array in (through_ycbcr(valley(40, 40, 64, 64)), valley(40, 40, 64, 64) & 0xC1):
        assert colour_search.modes(array) == colour_search.MODES
        tile = encode_tile(engine, array, learning)
        assert len(tile.payload) == min(
            len(payload_of(engine, array, adaptation_byte(each)))
            for each in levels.candidates(learning, colour_search.MODES)
        )
        assert np.array_equal(decoded_tile(engine, tile, array.shape), array)
        assert tile == encode_tile(engines.load("auto", tiny.network), array, learning)
        kept.add(tile.adaptation)
    assert any(each.colour_mode for each in kept)


def test_a_mode_is_not_coded_that_is_surely_larger(
    monkeypatch: pytest.MonkeyPatch, tiny: Model
) -> None:
    array, tried = through_ycbcr(valley(40, 40, 96, 128)), []
    engine = engines.load("numpy", tiny.network)
    survey = engine.survey

    def counted(samples: Samples, adaptation: Adaptation, others: Collection[Adaptation]) -> Survey:
        tried.append((adaptation_byte(adaptation), [adaptation_byte(each) for each in others]))
        return survey(samples, adaptation, others)

    monkeypatch.setattr(engine, "survey", counted)
    tile = encode_tile(engine, array, [heads_learn(3)])
    assert tried == [(51, [3, 19, 35, 0]), (35, [])]
    assert tile.adaptation == heads_learn(3).with_colours(2)


def test_a_photograph_is_tried_if_its_colours_were_converted() -> None:
    array = valley(40, 40, 128, 128)
    assert colour_search.modes(array) == (0,)
    assert colour_search.modes(array[:, :, :1]) == (0,)
    assert colour_search.modes(through_ycbcr(array)) == colour_search.MODES


def test_triples_are_not_tried_on_few_pixels() -> None:
    assert colour_search.modes(through_ycbcr(valley(40, 40, 64, 64))) == (3, 2, 1, 0)
    assert colour_search.modes(through_ycbcr(valley(40, 40, 63, 65))) == (2, 1, 0)


def test_an_image_of_too_few_pixels_is_not_tried() -> None:
    assert colour_search.modes(through_ycbcr(valley(40, 40, 8, 8))) == (0,)
    assert colour_search.modes(np.zeros((64, 64, 3), np.uint8)) == (0,)


@given(st.integers(0, 2**31), st.sampled_from([0xFF, 0xFE, 0xF0, 0xC1]))
@settings(max_examples=8, deadline=None)
def test_a_lattice_is_where_a_quarter_of_crowded_cells_is_empty(seed: int, mask: int) -> None:
    random = np.random.default_rng(seed)
    array = (
        np.clip(
            random.normal(200, 40, (64, 64, 1)) + random.normal(0, 8, (64, 64, 3)), 0, 255
        ).astype(np.uint8)
        & mask
    )
    counts: dict[tuple[int, int], int] = {}
    for red, green, blue in array.reshape(-1, 3).tolist():
        if {0, 255} & {red, green, blue}:
            continue
        counts[green - red, blue - green] = counts.get((green - red, blue - green), 0) + 1
    crowded = []
    for x in range(-100, 101):
        for y in range(-100, 101):
            near = [(x + i, y + j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
            if sum(counts.get(cell, 0) for cell in near) >= 48:
                crowded.append(counts.get((x, y), 0))
    tried = len(crowded) >= 64 and 4 * crowded.count(0) >= len(crowded)
    assert colour_search.modes(array) == (colour_search.MODES if tried else (0,))
