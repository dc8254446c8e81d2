"""The plain decoder, written from FORMAT.md alone, reads files whose heads adapt.

Every pixel depends on all distributions before it, so that one parameter in one wave that
the program and the page see differently is a tile whose samples do not match their checksum.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.format.tiles import TileLayout, Tiles
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model, identified, read_model, write_model
from tests.builders.adaptations import STATIC, STRONGEST
from tests.builders.networks import random_network
from tests.builders.photographs import coded_tile, photograph, tiles_of
from tests.builders.pictures import GOLDEN, TESTS, extremes, valley
from tests.builders.witness import comes_back
from tests.plain_decoder import decoder as plain_decoder

STRENGTHS = range(STATIC + 1, STRONGEST + 1)
BODIES = range(9, 16)  # where the layers before the heads learn, too


@cache
def tiny_golden() -> Model:
    return read_model((GOLDEN / "tiny.ncpn").read_bytes())


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_plain_decoder_reads_every_strength(strength: int) -> None:
    array = valley(110, 90, 17, 23)
    (tile,) = tiles_of(comes_back(array, tiny_golden(), strength))
    assert tile.payload != coded_tile(array, tiny_golden(), STATIC).payload, "nothing has adapted"


def test_the_plain_decoder_reads_the_released_model() -> None:
    comes_back(valley(30, 200, 16, 20), released_models.load("photo"), 3)


def test_the_plain_decoder_reads_grey_images() -> None:
    comes_back(valley(60, 40, 19, 16)[:, :, 1:2], tiny_golden(), 4)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (2, 30)])
@pytest.mark.parametrize("planes", [1, 3])
def test_the_plain_decoder_reads_narrow_images(shape: tuple[int, int], planes: int) -> None:
    comes_back(valley(200, 100, *shape)[:, :, :planes], tiny_golden(), 5)


@pytest.mark.parametrize("name", extremes(1, 1))
def test_the_plain_decoder_reads_extremes(name: str, wild: Model) -> None:
    for model, strength in ((tiny_golden(), 7), (wild, 6)):
        comes_back(extremes(13, 12)[name], model, strength)


@pytest.mark.parametrize("adaptation", BODIES)
def test_the_plain_decoder_reads_files_whose_body_adapts(adaptation: int) -> None:
    array = valley(110, 90, 12, 14)
    (tile,) = tiles_of(comes_back(array, tiny_golden(), adaptation))
    without = coded_tile(array, tiny_golden(), adaptation - 8)
    assert tile.payload != without.payload, "the body has not"


@pytest.mark.parametrize("name", ["board", "noise", "primaries"])
def test_the_plain_decoder_reads_extremes_whose_body_adapts(name: str, wild: Model) -> None:
    for planes in (1, 3):
        comes_back(extremes(11, 10)[name][:, :, :planes], wild, 15)


def test_the_plain_decoder_starts_every_tile_anew() -> None:
    comes_back(valley(180, 90, 35, 37), tiny_golden(), 6, tile_exponent=5)


def test_the_plain_decoder_takes_every_tiles_own_adaptation() -> None:
    array, model = valley(180, 90, 35, 36), tiny_golden()
    layout = TileLayout(36, 35, 3, model.identity, 5)
    own = [2, 12, 0, 7]
    tiles = [
        coded_tile(array[top : top + rows, left : left + columns], model, adaptation)
        for (top, left, rows, columns), adaptation in zip(layout.tiles(), own, strict=True)
    ]
    assert Tiles(layout, tiles).adaptation is None
    data = photograph(layout, tiles)
    decoded = plain_decoder.decode(data, [write_model(model.network)])
    assert np.array_equal(decoded.samples, array)


@given(
    seed=st.integers(0, 2**31),
    hidden=st.integers(1, 6),
    k=st.integers(1, 4),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    planes=st.sampled_from([1, 3]),
    strength=st.sampled_from([*STRENGTHS, *BODIES]),
)
@settings(deadline=None, max_examples=25)
def test_the_plain_decoder_reads_files_of_random_networks(
    seed: int, hidden: int, k: int, size: tuple[int, int], planes: int, strength: int
) -> None:
    network = random_network(seed, 4, 1, hidden, k)
    array = np.random.default_rng(seed).integers(0, 256, (*size, planes), np.uint8)
    comes_back(array, identified(network), strength)


def test_the_plain_decoder_is_written_apart() -> None:
    """It shares no code with the program, or it would be no witness."""
    files = sorted((TESTS / "plain_decoder").glob("*.py"))
    assert len(files) > 6
    for path in files:
        lines = path.read_text().splitlines()
        assert not [line for line in lines if "import" in line and "ncml" in line]
