"""Colour modes: exact, the same as the page says, and smaller where colours lie on a lattice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Decoder, Meter
from ncml_codec.errors import FormatError
from ncml_codec.format.tiles import TileLayout, adaptation_byte, adaptation_of
from ncml_codec.network import distribution
from ncml_codec.network.colour_counts import FACTOR_LIMIT, OPEN_MASS, Colours, opened
from ncml_codec.network.distribution import TOTAL, Mixtures
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.model_file import Model, identified, write_model
from tests.builders.adaptations import LEARNING, MODES
from tests.builders.engines import code
from tests.builders.mixtures import one_of, random_outputs
from tests.builders.networks import exact_tables, random_network
from tests.builders.photographs import coded_tile, encoded, payload_of, photograph, tiles_of
from tests.builders.pictures import Samples, extremes, through_ycbcr, valley
from tests.builders.sealing import with_checksums
from tests.builders.witness import comes_back
from tests.plain_decoder import colours as plain_colours
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder import network as plain_network
from tests.plain_decoder.reading import Refused

TABLES = exact_tables()
SEEN = (0, 1, 2, 1000, 2**28)
EXPECTED = (0, 1, 2**20, 2**24, 2**34, 2**52)
SPREADS = st.sampled_from([40, 400, 32767])


def a_wave(seed: int, plane: int, spread: int) -> tuple[Mixtures, Integers, Integers]:
    """Mixtures of 40 sub-pixels of a plane, samples of the planes before it, and its own."""
    outputs, reference, residuals = random_outputs(seed, 3, plane, spread)
    mixture = distribution.mixtures(outputs, 3, reference, residuals, TABLES)
    values = np.random.default_rng(seed).integers(0, 256, (40, plane + 1), np.int32)
    values[:20] >>= 6  # some of them often in the same cells
    return mixture, values[:, :plane], values[:, plane]


def experienced(mode: int, plane: int, earlier: Integers, seed: int) -> Colours:
    """Colours of which these pixels' cells have seen anything at all."""
    random, colours = np.random.default_rng(seed), Colours(mode)
    for stage in colours.stages[plane]:
        cells = stage.place(earlier)[:, None] + np.arange(256)
        stage.seen[cells] = random.choice(SEEN, cells.shape)
        stage.expected[cells] = random.choice(EXPECTED, cells.shape)
    return colours


@given(st.integers(0, 2**32 - 1), st.sampled_from(MODES), st.sampled_from([1, 2]), SPREADS)
@settings(deadline=None)
def test_counts_are_positive_and_sum_to_the_total(
    seed: int, mode: int, plane: int, spread: int
) -> None:
    mixture, earlier, values = a_wave(seed, plane, spread)
    colours = experienced(mode, plane, earlier, seed)
    masses = colours.masses(plane, mixture, earlier, TABLES)
    sums = masses.groups.sum(axis=1)
    assert sums.min() >= 15
    assert sums.max() <= 2**36
    for counts in (
        masses.high_counts(),
        masses.low_counts(mixture, values >> 4, TABLES),
    ):
        assert counts.shape == (40, 16)
        assert counts.min() >= 1
        assert (counts.sum(axis=1, dtype=np.int64) == TOTAL).all()


@given(st.lists(st.integers(0, 2**36), min_size=16, max_size=16))
def test_counts_of_any_masses_are_in_their_proportion(masses: list[int]) -> None:
    counts = distribution.mass_counts(np.array([masses], np.float64))[0]
    assert counts.min() >= 1
    assert counts.sum() == TOTAL
    share = np.array(masses) / sum(masses) if any(masses) else np.full(16, 1 / 16)
    # Rounding down moves both ends of a count by less than one each, and one is added.
    assert np.abs(counts - share * (TOTAL - 16)).max() <= 2


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
def test_factors_are_bounded(seed: int, plane: int) -> None:
    mixture, earlier, _ = a_wave(seed, plane, 400)
    for stage in experienced(3, plane, earlier, seed).stages[plane]:
        factors = stage.factors(stage.cells(opened(mixture, TABLES), earlier))
        assert factors.min() >= 1 / FACTOR_LIMIT
        assert factors.max() <= FACTOR_LIMIT


@given(st.integers(0, 2**32 - 1), st.sampled_from([(2, 1), (1, 2), (3, 1), (3, 2)]), SPREADS)
@settings(deadline=None, max_examples=20)
def test_the_page_gives_the_same_counts_and_cells(
    seed: int, mode_and_plane: tuple[int, int], spread: int
) -> None:
    mode, plane = mode_and_plane
    mixture, earlier, values = a_wave(seed, plane, spread)
    chosen = np.array([0, 1, 2, 20, 21, 22], np.int32)
    mixture, earlier, values = mixture.rows(chosen), earlier[chosen], values[chosen]
    colours = experienced(mode, plane, earlier, seed)
    plain = plain_colours.Colours(mode)
    places = [
        (stage, int(first) + v, plain_colours.cell_of(name, v, x))
        for stage, name in zip(colours.stages[plane], plain.stages(plane), strict=True)
        for first, x in zip(stage.place(earlier), earlier.tolist(), strict=True)
        for v in range(256)
    ]
    for stage, index, cell in places:
        plain.cells[cell] = [int(stage.seen[index]), int(stage.expected[index])]

    masses = colours.masses(plane, mixture, earlier, TABLES)
    wanted = [
        plain.coloured(plane, plain_mixture(mixture, at).function, x)
        for at, x in enumerate(earlier.tolist())
    ]
    highs = masses.high_counts()
    lows = [
        masses.low_counts(mixture, np.full(len(chosen), high, np.int32), TABLES)
        for high in range(16)
    ]
    for at, each in enumerate(wanted):
        assert highs[at].tolist() == np.diff(each.high_counts()).tolist()
        for high, low in enumerate(lows):
            if each.is_open(high):
                assert low[at].tolist() == np.diff(each.low_counts(high)).tolist()

    colours.learn(values)
    plain.learn(wanted, values.tolist())
    for stage, index, cell in places:
        assert plain.cells[cell] == [int(stage.seen[index]), int(stage.expected[index])]


def plain_mixture(mixture: Mixtures, at: int) -> plain_network.Mixture:
    one = one_of(mixture, at)
    parts = [part[0].tolist() for part in (one.weight, one.mean, one.mantissa, one.shift)]
    return plain_network.Mixture(*parts, TABLES.logistic.tolist())


@given(st.integers(0, 2**32 - 1), SPREADS)
def test_colours_of_which_nothing_is_known_cost_nothing(seed: int, spread: int) -> None:
    mixture, earlier, values = a_wave(seed, 2, spread)
    masses = Colours(3).masses(2, mixture, earlier, TABLES)
    without = distribution.high_counts(mixture, TABLES)
    assert np.abs(masses.high_counts() - without).max() <= 3
    closed = without[np.arange(40), values >> 4] < OPEN_MASS // 2
    low = distribution.low_counts(mixture, values >> 4, TABLES)
    found = masses.low_counts(mixture, values >> 4, TABLES)
    assert (found[closed] == low[closed]).all()
    # A level's mass of 2**14 or more in 16 is rounded down by less than one, three times.
    assert np.abs(found - low).max() <= 4 * TOTAL // OPEN_MASS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("learning", [0, 3, 11])
def test_the_plain_decoder_reads_every_mode(mode: int, learning: int, tiny: Model) -> None:
    array = through_ycbcr(valley(110, 90, 12, 14))
    (tile,) = tiles_of(comes_back(array, tiny, learning + 16 * mode))
    assert adaptation_byte(tile.adaptation) == learning + 16 * mode
    assert tile.payload != coded_tile(array, tiny, learning).payload, "nothing was weighed"


@pytest.mark.parametrize("name", extremes(1, 1))
def test_the_plain_decoder_reads_extremes(name: str, wild: Model) -> None:
    comes_back(extremes(11, 10)[name], wild, 48)


@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 4),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    learning=st.sampled_from(LEARNING),
    mode=st.sampled_from(MODES),
)
@settings(deadline=None, max_examples=20)
def test_the_plain_decoder_reads_files_of_random_networks(
    seed: int, k: int, size: tuple[int, int], learning: int, mode: int
) -> None:
    network = random_network(seed, 4, 1, 5, k)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    comes_back(array, identified(network), learning + 16 * mode)


@pytest.mark.parametrize("name", ["numpy", "auto"])
@pytest.mark.parametrize("adaptation", [16, 32, 48, 51, 62])
def test_decoding_gives_the_samples_back(name: str, adaptation: int, tiny: Model) -> None:
    array = through_ycbcr(valley(20, 60, 24, 40))
    tile = coded_tile(array, tiny, adaptation)
    engine = engines.load(name, tiny.network)
    decoder = Decoder(tile.payload)
    how = adaptation_of(adaptation)
    assert np.array_equal(walk_tile(engine, array.shape, None, decoder, adaptation=how), array)


@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    learning=st.sampled_from([0, 3, 11]),
    mode=st.sampled_from(MODES),
)
@settings(deadline=None, max_examples=30)
def test_engines_write_and_read_the_same(
    seed: int, k: int, size: tuple[int, int], learning: int, mode: int
) -> None:
    network, byte = random_network(seed, 4, 1, 5, k, room=2), learning + 16 * mode
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    if seed % 2:
        array >>= 5  # so that many pixels share their cells
    engine = engines.load("auto", network)
    payload = payload_of(engine, array, byte)
    assert payload == coded_tile(array, identified(network), byte).payload
    decoder = Decoder(payload)
    how = adaptation_of(byte)
    assert np.array_equal(walk_tile(engine, array.shape, None, decoder, adaptation=how), array)


def bits(samples: Samples, model: Model, adaptation: int) -> float:
    meter = Meter()
    engine = engines.load("numpy", model.network)
    code(engine, samples, meter, adaptation)
    return meter.bits


def test_every_mode_makes_colours_on_a_lattice_smaller(tiny: Model) -> None:
    array = through_ycbcr(valley(40, 40, 96, 128))
    without = bits(array, tiny, 3)
    for mode in MODES:
        assert bits(array, tiny, 3 + 16 * mode) < 0.9 * without  # 0.830, 0.784, 0.789


def test_colours_without_a_lattice_cost_little(tiny: Model) -> None:
    array = valley(40, 40, 96, 128)
    without = bits(array, tiny, 3)
    assert bits(array, tiny, 3 + 16) < 1.03 * without  # 1.016


def test_known_adaptations_are_a_strength_and_a_mode() -> None:
    known = [value for value in range(256) if is_known(value, 3)]
    assert known == [learning + 16 * mode for mode in range(4) for learning in LEARNING]
    assert [value for value in range(256) if is_known(value, 1)] == LEARNING
    each = [adaptation_of(value) for value in known]
    assert [adaptation_byte(one) for one in each] == known
    assert each == sorted(each), "equal payloads are decided as they are by bytes"
    assert len({str(one) for one in each}) == len(known)
    assert [("colours" in str(one)) for one in each] == [value >= 16 for value in known]
    assert str(adaptation_of(32)) == "static, colours by pairs and differences"


def is_known(value: int, planes: int) -> bool:
    try:
        TileLayout(64, 64, planes, b"name", 11).adaptation("here", value)
    except FormatError:
        return False
    return True


@pytest.mark.parametrize("planes", [1, 3])
def test_other_adaptations_are_refused(planes: int, tiny: Model) -> None:
    array = valley(0, 0, 1, 1)[:, :, :planes]
    data, models = encoded(array, tiny, 0), [write_model(tiny.network)]
    at = data.index(tiny.identity) + len(tiny.identity)
    for value in range(255):
        changed = with_checksums(data[:at] + bytes([value]) + data[at + 1 :])
        if is_known(value, planes):
            assert tiles_of(changed)[0].adaptation == adaptation_of(value)
            continue
        with pytest.raises(FormatError, match=f"adaptation {value} of {planes} planes"):
            tiles_of(changed)
        with pytest.raises(Refused, match=f"adaptation {value} is reserved"):
            plain_decoder.decode(changed, models)


def test_a_grey_tile_with_colours_of_its_own_is_refused(tiny: Model) -> None:
    grey = valley(0, 0, 4, 40)[:, :, :1]
    tiles = [coded_tile(grey[:, :32], tiny, 0), coded_tile(grey[:, 32:], tiny, 3)]
    tiles[1] = replace(tiles[1], adaptation=adaptation_of(16))
    data = photograph(TileLayout(40, 4, 1, tiny.identity, 5), tiles)
    with pytest.raises(FormatError, match="tile 1: adaptation 16 of 1 planes"):
        tiles_of(data)
    with pytest.raises(Refused, match="adaptation 16 is reserved"):
        plain_decoder.decode(data, [write_model(tiny.network)])
