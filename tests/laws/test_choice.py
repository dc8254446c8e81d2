"""The choice of ways: photographs pay little for it, and nothing gets larger by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncml_codec.decode import layers
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import Tools
from ncml_codec.encode import (
    evaluator,
    excerpt,
    image_encoder,
    layer_search,
    levels,
    orientation_search,
    tile_encoder,
)
from ncml_codec.encode.levels import Level
from ncml_codec.format import byte_planes, directory
from ncml_codec.format.container import Method, Transform
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC
from ncml_codec.network.model_file import Model
from ncml_codec.picture import row_readers
from ncml_codec.picture.image_files import decode_file, encode_file
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples, from_array
from tests.builders import kinds_of_images
from tests.builders.kinds_of_images import HEADER_BYTES
from tests.builders.pictures import extremes, real_images, valley


def drawing(height: int, width: int) -> Samples:
    """Flat areas with a few lines."""
    array = np.full((height, width, 3), 240, np.uint8)
    array[height // 3 :: 7] = (10, 20, 30)
    array[:, width // 2 :: 11] = (200, 0, 0)
    return array


def drawn(samples: Samples) -> bool:
    return evaluator.may_be_drawing(excerpt.of(from_array(samples)))


def test_photographs_and_drawings_are_told_apart() -> None:
    assert not drawn(valley(60, 0, 200, 400))
    assert not drawn(valley(60, 0, 200, 400)[:, :, 1])
    assert drawn(drawing(200, 400))
    assert drawn(drawing(200, 400)[:, :, 0])
    for name in ("black", "board", "stripes", "primaries", "spot"):
        assert drawn(extremes(100, 90)[name]), name


@pytest.mark.skipif(not real_images("kodak"), reason="Kodak is not here")
def test_no_photograph_of_kodak_is_taken_for_a_drawing() -> None:
    for path in real_images("kodak")[::4]:
        picture = decode_file(path.read_bytes(), path.name)
        assert not evaluator.may_be_drawing(excerpt.of(picture)), path.name
        # The network takes about two thirds of what quickly filtered rows do.
        assert evaluator.filtered_bytes(excerpt.of(picture), picture.height) < picture.samples.size


def test_a_photograph_is_the_same_file_as_without_the_choice(tiny: Model) -> None:
    picture = from_array(valley(60, 120, 96, 128))
    turn = orientation_search.turn_of(picture)
    assert image_encoder.encode(picture, tiny) == tile_encoder.encode(picture, tiny, turn=turn)


def test_of_a_levels_two_models_the_one_that_makes_a_photograph_smaller_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("photo", "fast")
    for picture in (from_array(valley(60, 120, 96, 128)), from_array(valley(0, 0, 80, 90))):
        turn = orientation_search.turn_of(picture)
        alone = {
            name: tile_encoder.encode(picture, released_models.load(name), level=1, turn=turn)
            for name in names
        }
        for one, other in (names, names[::-1]):
            level = Level((STATIC,), (one,), second=Level((STATIC,), (other,)))
            monkeypatch.setitem(levels.LEVELS, 9, level)
            both = image_encoder.encode(picture, level=9)
            assert both == min(alone.values(), key=len)
            image_encoder.verify(both, picture)
            assert (
                image_encoder.encode(picture, released_models.load(other), level=9) == alone[other]
            )


def test_noise_that_no_network_knows_is_stored(tiny: Model) -> None:
    picture = from_array(np.random.default_rng(1).integers(0, 256, (70, 80, 3), np.uint8))
    assert not evaluator.may_be_drawing(excerpt.of(picture))
    # A filter type for each row, as in a PNG.
    most = picture.samples.size + picture.height + HEADER_BYTES
    assert len(image_encoder.encode(picture, tiny)) <= most


def test_a_file_that_is_read_by_bands_gives_the_same_bytes(
    tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", 0)
    for array, tiled in ((valley(60, 120, 96, 128), True), (drawing(96, 128), False)):
        for suffix in (".png", ".ppm"):
            path = tmp_path / f"x{suffix}"
            Image.fromarray(array).save(path)
            source = row_readers.open_image(path)
            assert not isinstance(source, Picture)
            data = image_encoder.encode(source, tiny)
            assert (directory.read_directory(data).tiled is not None) == tiled
            assert data == image_encoder.encode(decode_file(path.read_bytes(), "x"), tiny)
            image_encoder.verify(data, source, tiny)


def test_the_png_that_was_given_is_never_much_smaller(tiny: Model) -> None:
    """Its own image data is kept where nothing else is as small."""
    made = kinds_of_images.picture(Kind(3, 8), 40, 40)
    original = encode_file(made, "x.png")
    picture = decode_file(original, "x.png")
    assert picture.image_data is not None
    found = layer_search.smallest(picture, layer_search.encoding_tools([tiny], Effort(), 1))
    assert len(found) <= len(original) + HEADER_BYTES
    kept = layers.kept_stream(picture.image_data, 1, 8)
    tools = Tools([tiny], Effort())
    planes = layers.CODERS[Method.DEFLATE].decode(kept, picture.samples.shape, tools)
    assert np.array_equal(planes, picture.samples)


@given(
    st.sampled_from(kinds_of_images.ALL),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_every_transform_is_undone(
    kind: Kind, height: int, width: int, levels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 2**kind.bit_depth, levels)
    samples = random.choice(values, (height, width, kind.channels)).astype(kind.dtype)
    made = list(byte_planes.choices(samples, kind))
    assert made[-1].transform == Transform.SAMPLES
    for one in made:
        assert one.planes.dtype == np.uint8
        assert np.array_equal(byte_planes.restored(one, kind), samples)


def test_colours_are_counted_and_given_up_beyond_256() -> None:
    ramp = np.arange(257, dtype=np.uint16)[None, :, None].repeat(2, axis=2)
    assert byte_planes.colours_of(ramp) is None
    found = byte_planes.colours_of(ramp[:, :256])
    assert found is not None
    assert len(found[1]) == 256
