"""Turns: each image in one of eight orientations, which every decoder undoes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncml_cli.zip.info import facts_of
from ncml_codec import engines
from ncml_codec.decode import image_decoder, region
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import excerpt, image_encoder, levels, orientation_search, tile_encoder
from ncml_codec.encode.levels import Level
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Meter
from ncml_codec.errors import FormatError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.likelihood.objective import image_bits
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC
from ncml_codec.network.integer_network import Network
from ncml_codec.network.model_file import read_model
from ncml_codec.picture import orientation
from ncml_codec.picture.picture import Picture
from ncpn import presets, runs
from ncpn.integers import validation
from tests.builders.networks import random_network
from tests.builders.photographs import layout_of, tiles_of
from tests.builders.pictures import GOLDEN, Samples, valley
from tests.builders.runs import saved, thumbnails, trained_by_command
from tests.builders.sealing import with_checksums
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.reading import Refused

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
ALL = range(orientation.COUNT)


def encoded(array: Samples, turn: int, engine: str = "numpy", tile_exponent: int = 5) -> bytes:
    picture = Picture(array)
    return tile_encoder.encode(picture, TINY, Effort(engine), tile_exponent, 2, turn)


def tile_byte(data: bytearray) -> int:
    """Where the turn stands."""
    return data.index(TINY.identity) + len(TINY.identity) + 1


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(list(ALL)))
def test_a_turn_is_undone(height: int, width: int, turn: int) -> None:
    array = np.arange(height * width * 3).reshape(height, width, 3)
    laid = orientation.turned(array, turn)
    assert laid.shape[:2] == orientation.turned_sides(height, width, turn)
    assert (orientation.restored(laid, turn) == array).all()


def test_turns_are_the_eight_orientations() -> None:
    array = np.array([[1, 2], [3, 4]])
    laid = [orientation.turned(array, turn).tolist() for turn in ALL]
    assert laid[:4] == [[[1, 2], [3, 4]], [[3, 4], [1, 2]], [[2, 1], [4, 3]], [[4, 3], [2, 1]]]
    # Turned over its diagonal, and first by a reversal: a quarter of a turn one way and the other.
    assert laid[4:7] == [[[1, 3], [2, 4]], [[3, 1], [4, 2]], [[2, 4], [1, 3]]]
    assert len({str(one) for one in laid}) == orientation.COUNT


@pytest.mark.parametrize("turn", ALL)
@pytest.mark.parametrize("planes", [1, 3])
def test_every_decoder_undoes_every_turn(turn: int, planes: int) -> None:
    array = valley(100, 80, 41, 37)[:, :, :planes]
    data = encoded(array, turn)
    assert layout_of(data).turn == turn
    assert plain_decoder.decode(data, [(GOLDEN / "tiny.ncpn").read_bytes()]).samples.tolist() == (
        array.tolist()
    )
    for name in ("numpy", "auto"):
        decoded = image_decoder.decode(data, [TINY], Effort(name, threads=2)).samples
        assert (decoded == array).all(), name
    assert encoded(array, turn, "auto") == data
    part = region.open_file(data, region.Region(30, 3, 5, 34), [TINY])
    assert (np.concatenate(list(part.bands)) == array[3:37, 30:35]).all()


def test_info_says_how_an_image_was_turned(tmp_path: Path) -> None:
    path = tmp_path / "turned.ncmz"
    for turn, words in ((0, "upright"), (5, "rows reversed, rows for columns")):
        path.write_bytes(encoded(valley(0, 0, 9, 8), turn))
        assert facts_of(path, path.read_bytes(), [TINY])["turn"] == words


def test_a_turned_file_is_that_of_the_turned_image() -> None:
    array = valley(90, 120, 24, 31)
    turned = orientation.turned(array, 6)
    one, other = tiles_of(encoded(array, 6)), tiles_of(encoded(turned, 0))
    assert [tile.payload for tile in one] == [tile.payload for tile in other]


def test_a_turn_that_the_format_does_not_have_is_refused() -> None:
    data = bytearray(encoded(valley(0, 0, 8, 8), 7))
    data[tile_byte(data)] += 1 << 4
    with pytest.raises(FormatError, match="turn 8"):
        layout_of(with_checksums(bytes(data)))
    with pytest.raises(Refused, match="turn"):
        plain_decoder.decode(with_checksums(bytes(data)), [(GOLDEN / "tiny.ncpn").read_bytes()])


def test_another_turn_is_noticed() -> None:
    data = bytearray(encoded(valley(0, 0, 8, 8), 1))
    data[tile_byte(data)] ^= 1 << 4
    with pytest.raises(FormatError):
        image_decoder.decode(with_checksums(bytes(data)), [TINY])


@pytest.mark.parametrize("name", ["auto", "numpy"])
@pytest.mark.parametrize("network", [TINY.network, random_network(5)])
def test_an_engine_measures_what_a_meter_does(name: str, network: Network) -> None:
    arrays = (
        valley(40, 60, 33, 21),
        valley(40, 60, 9, 30)[:, :, :1],
        valley(0, 0, 1, 1),
        valley(9, 9, 1, 20),
        valley(9, 9, 20, 1),
        np.random.default_rng(1).integers(0, 256, (12, 13, 3), np.uint8),
    )
    for array in arrays:
        meter = Meter()
        walk_tile(engines.load("numpy", network), array.shape, array, meter)
        engine = engines.load(name, network)
        assert engine.code_length(array) == pytest.approx(meter.bits, rel=1e-9)
        assert meter.bits > 0


@pytest.mark.parametrize("side", [(40, 60), (150, 170), (1, 300), (300, 30)])
def test_the_chosen_turn_does_not_depend_on_how_the_image_lies(side: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    # Edges blurred to one side, on noise: no two turns alike.
    array = np.cumsum(rng.normal(0, 6, (*side, 1)) * (rng.random((*side, 1)) < 0.3), axis=1)
    array = array + np.cumsum(rng.normal(0, 1, (*side, 3)), axis=0)
    samples = np.clip(128 + array, 0, 255).astype(np.uint8)
    lies = orientation_search.turn_of(Picture(samples))
    best = orientation.turned(samples, lies)
    for turn in ALL:
        image = np.ascontiguousarray(orientation.restored(best, turn))
        found = orientation_search.turn_of(Picture(image), Effort(threads=2))
        assert (orientation.turned(image, found) == best).all()


def disc(size: int) -> Samples:
    """As it is from every side: [size, size, 1]."""
    rows, columns = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.clip(255 - 1.5 * np.hypot(rows, columns), 0, 255).astype(np.uint8)[:, :, None]


def mirrored(height: int, width: int) -> Samples:
    half = valley(50, 90, height, width // 2)
    return np.concatenate([half, half[:, ::-1]], axis=1)


@pytest.mark.parametrize(
    "array", [valley(50, 90, 60, 70), valley(20, 40, 170, 150), disc(150), mirrored(160, 200)]
)
def test_without_a_compiler_the_same_turn_is_chosen(
    array: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = orientation_search.turn_of(Picture(array))
    load = engines.load
    monkeypatch.setattr(engines, "load", lambda name, *more: load("numpy", *more))
    assert orientation_search.turn_of(Picture(array)) == expected


def test_what_is_alike_from_every_side_is_not_turned() -> None:
    for size in (10, 150, 156, 180):
        assert orientation_search.turn_of(Picture(disc(size))) == 0


def test_encoding_takes_the_chosen_turn() -> None:
    array = valley(20, 30, 90, 110)
    picture = Picture(array)
    data = image_encoder.encode(picture, TINY)
    turn = orientation_search.turn_of(picture)
    assert layout_of(data).turn == turn
    assert data == tile_encoder.encode(picture, TINY, turn=turn)


def test_the_look_can_be_ended() -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        orientation_search.turn_of(Picture(valley(0, 0, 60, 60)), Effort(check=stop))


# Training images are shown as the codec lays images down.


def test_crops_of_a_turned_image_are_parts_of_it() -> None:
    image = valley(0, 0, 40, 50)
    for turn in ALL:
        shown = FolderImages([image], [], [turn]).crops(CropConfig(12, 9, 0.0), 1, 2)
        laid = orientation.turned(image, turn)
        windows = np.lib.stride_tricks.sliding_window_view(laid, (12, 12), (0, 1))
        for crop in shown:
            assert (windows == crop).all(axis=(2, 3, 4)).any()
    either = FolderImages([image], []).crops(CropConfig(12, 9, 0.0), 1, 2)
    assert either.shape == (9, 3, 12, 12)


def test_the_best_turn_of_a_float_network_is_that_of_the_fewest_bits() -> None:
    torch.manual_seed(4)
    model = presets.build(presets.preset("wave-tiny", 0.0)).eval()
    image = valley(30, 50, 60, 50)
    bits = []
    for turn in ALL:
        laid = np.ascontiguousarray(orientation.turned(image, turn))
        x = torch.from_numpy(laid).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            bits.append(float(image_bits(model, x, torch.zeros(1))))
    assert validation.best_turn(model, image) == int(np.argmin(bits))
    large = valley(0, 0, 200, 300)
    assert validation.best_turn(model, large) in ALL


def test_a_run_shows_images_as_another_codes_them_best(tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(5))
    first, second = tmp_path / "first", tmp_path / "second"
    assert trained_by_command(folder, first, "--steps", 3).exit_code == 0
    result = trained_by_command(folder, second, "--steps", 2, "--turned-by", first)
    assert result.exit_code == 0, result.output
    chooser = runs.from_pretrained(first)
    shown = [
        validation.best_turn(chooser, np.ascontiguousarray(image.transpose(1, 2, 0)))
        for image in thumbnails(5)
    ]
    assert json.loads((second / "config.json").read_text())["turns"] == shown
    # Resumed, with the run that chose gone.
    (first / "model.safetensors").unlink()
    assert trained_by_command(folder, second, "--steps", 4, "--resume").exit_code == 0
    assert json.loads((second / "config.json").read_text())["turns"] == shown


def test_a_look_chooses_the_model_that_takes_the_fewest_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = Picture(valley(20, 30, 90, 110))
    models = [released_models.load(name) for name in ("fast-cid22", "photo", "fast")]
    seen = excerpt.of(picture)
    turn, chosen = orientation_search.chosen(seen, models)
    assert turn == orientation_search.turn_of(picture)
    laid = np.ascontiguousarray(orientation.turned(picture.samples, turn))
    bits = [validation.integer_bits(model.network, laid) for model in models]
    assert chosen is models[int(np.argmin(bits))]
    assert orientation_search.chosen(seen, models[::-1]) == (turn, chosen)
    assert orientation_search.chosen(seen, models[:1]) == (turn, models[0])
    level = Level((STATIC,), ("fast-cid22", "photo", "fast"))
    monkeypatch.setitem(levels.LEVELS, 5, level)
    data = image_encoder.encode(picture)
    assert layout_of(data).identity == chosen.identity
    image_encoder.verify(data, picture)
