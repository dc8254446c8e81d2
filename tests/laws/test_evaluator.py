"""The evaluator: what may be a drawing is decided on bands, and trials cost no more than coding."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ncml_codec.decode import costs
from ncml_codec.decode.effort import TILE_EXPONENT, Effort
from ncml_codec.encode import evaluator, excerpt, image_encoder, layer_search
from ncml_codec.encode.evaluator import Evaluator, Verdict
from ncml_codec.format import directory
from ncml_codec.format.container import Method
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC, heads_learn
from ncml_codec.picture.picture import Picture, Samples, from_array
from tests.builders.pictures import valley


def with_a_sky(height: int = 320, width: int = 240) -> Samples:
    """A photograph whose left half is nearly flat, so that neighbours are often equal."""
    array = valley(0, 0, height, width).copy()
    array[:, : width // 2] = 200 + np.linspace(0, 9, height).astype(np.uint8)[:, None, None]
    return array


def flat(height: int = 320, width: int = 240) -> Samples:
    array = np.full((height, width, 3), 240, np.uint8)
    array[::7], array[:, ::11] = (10, 20, 30), (200, 0, 0)
    return array


def test_a_photograph_with_a_sky_is_decided_on_its_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = from_array(with_a_sky())
    assert evaluator.may_be_drawing(excerpt.of(picture))
    tried = []
    search = layer_search.smallest

    def counted(given: Picture, tools: object) -> bytes:
        tried.append(given.samples.size)
        return search(given, tools)  # type: ignore[arg-type]

    monkeypatch.setattr(layer_search, "smallest", counted)
    data = image_encoder.encode(picture, level=1)
    image_encoder.verify(data, picture)
    assert directory.read_directory(data).tiled is not None
    assert tried == [3 * 32 * picture.width * 3]  # the bands alone


def test_a_drawing_is_not_coded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = from_array(flat())
    assert Evaluator(picture, None, Effort(), 1).verdict() == Verdict.DRAWING
    assert Evaluator(picture, None, Effort(), 9).verdict() == Verdict.EITHER
    assert Evaluator(from_array(valley(60, 0, 200, 300)), None, Effort(), 1).verdict() == (
        Verdict.PHOTOGRAPH
    )


@pytest.mark.parametrize("level", [1, 5])
@pytest.mark.parametrize("size", [(300, 400), (4000, 6000)])
def test_a_trial_takes_at_most_the_work_of_the_levels_own_coding(
    level: int, size: tuple[int, int]
) -> None:
    """Counted, by the one-time work of each method; nothing is coded."""
    height, width = size
    picture = from_array(np.broadcast_to(np.uint8(7), (height, width, 3)))
    trials = Evaluator(picture, None, Effort(), level)
    for model in trials.models:
        layout = TileLayout(width, height, 3, model.identity, TILE_EXPONENT)
        adaptation = {1: STATIC, 5: heads_learn(3)}[level]
        own = costs.of_network(layout, adaptation, model.network).multiply_adds
        for method in Method:
            if trials.affordable({method}, model):
                assert trials.trial_work({method}, model) <= own
    assert not trials.affordable({Method.MIXING}, model)
    assert trials.affordable({Method.DEFLATE}, model) == (height < 1000)


def test_rows_are_asked_for_once_and_in_order_before_an_image_is_coded() -> None:
    asked = []

    class Watched(Picture):
        def rows(self, top: int, stop: int) -> Samples:
            asked.append((top, stop))
            return super().rows(top, stop)

    seen = excerpt.of(Watched(valley(0, 0, 330, 100)))
    assert asked == sorted(asked)
    assert all(one[1] <= other[0] for one, other in pairwise(asked))
    assert [band.shape for band in seen.bands] == [(32, 100, 3)] * 3
    assert [square.shape for square in seen.squares] == [(48, 48, 3)] * 9
    assert seen.picture.samples.shape == (96, 100, 3)


def test_a_preview_of_any_size_lies_within_the_image() -> None:
    for height, width in ((1, 1), (3, 5000), (5000, 3), (31, 700), (144, 145)):
        array = (
            np.arange(height * width, dtype=np.uint32).astype(np.uint8).reshape(height, width, 1)
        )
        seen = excerpt.of(from_array(array))
        assert all(0 < len(band) <= 32 for band in seen.bands)
        assert all(square.size for square in seen.squares)


def test_the_models_of_a_level_are_released() -> None:
    names = [released_models.load(name).identity for name in ("fast", "fast-cid22")]
    found = Evaluator(from_array(valley(0, 0, 9, 9)), None, Effort(), 1).models
    assert [model.identity for model in found] == names
