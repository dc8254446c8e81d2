"""The codec: any picture comes back, and nothing but the picture decides the bytes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ncml_codec
from ncml_codec import engines
from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import image_encoder, tile_encoder
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Meter
from ncml_codec.errors import FormatError, RoundTripError, UsageError
from ncml_codec.network.adaptation import STATIC
from ncml_codec.network.model_file import Model, identified, read_model
from ncml_codec.picture.image_files import Picture, from_array
from tests.builders.networks import random_network
from tests.builders.photographs import tiles_of
from tests.builders.pictures import GOLDEN, Samples, extremes, valley

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())


@st.composite
def samples(draw: st.DrawFn, side: int = 14) -> Samples:
    """Noise, flat areas and steps, grey or RGB, of any small size."""
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    planes = draw(st.sampled_from([1, 3]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = draw(st.integers(0, 255))
    array = random.integers(low, draw(st.integers(low, 255)) + 1, (height, width, planes))
    if draw(st.booleans()):
        array = np.sort(array, axis=1)
    return array.astype(np.uint8)


@given(samples(), st.integers(0, 1000))
@settings(QUICK, max_examples=60)
def test_any_picture_comes_back_with_any_network(array: Samples, seed: int) -> None:
    model = identified(random_network(seed))
    picture = from_array(array)
    image_encoder.verify(tile_encoder.encode(picture, model), picture, model)


@given(samples(side=40), st.sampled_from([5, 6]))
@settings(QUICK, max_examples=30)
def test_any_picture_comes_back_in_tiles(array: Samples, exponent: int) -> None:
    picture = from_array(array)
    image_encoder.verify(tile_encoder.encode(picture, TINY, tile_exponent=exponent), picture, TINY)


@pytest.mark.parametrize("name", extremes(1, 1))
def test_extremes_come_back(name: str) -> None:
    picture = from_array(extremes(40, 33)[name])
    data = tile_encoder.encode(picture, TINY)
    image_encoder.verify(data, picture, TINY)
    # Noise of 256 levels cannot shrink; what the worst model costs is bounded by the floor of a
    # count in each stage: 2 * 24 bits a sub-pixel.
    assert len(data) <= 60 + 6 * picture.samples.size


@given(samples(), st.integers(0, 3), st.sampled_from([2, 6, 7, 8, 9]))
@settings(QUICK, max_examples=40)
def test_learning_gives_any_picture_back_and_never_a_larger_file(
    array: Samples, seed: int, level: int
) -> None:
    picture, model = from_array(array), identified(random_network(seed, room=4))
    data = tile_encoder.encode(picture, model, level=level)
    assert np.array_equal(image_decoder.decode(data, [model]).samples, picture.samples)
    assert len(data) <= len(tile_encoder.encode(picture, model, level=1))


@pytest.mark.parametrize("level", [5, 8])
@pytest.mark.parametrize("name", sorted(extremes(40, 50)))
def test_nothing_diverges_on_extremes(name: str, level: int) -> None:
    """Where there is nothing to learn, or the steps are as large as they may be."""
    picture = from_array(extremes(40, 50)[name])
    for model in (TINY, identified(random_network(1, room=16))):
        data = tile_encoder.encode(picture, model, tile_exponent=5, level=level)
        assert np.array_equal(image_decoder.decode(data, [model]).samples, picture.samples)
        plain = tile_encoder.encode(picture, model, tile_exponent=5, level=1)
        assert len(data) <= len(plain) + 4  # a byte for every tile


def test_threads_do_not_change_the_bytes() -> None:
    picture = from_array(valley(0, 0, 100, 90))
    one = tile_encoder.encode(picture, TINY, Effort(threads=1), tile_exponent=5)
    two = tile_encoder.encode(picture, TINY, Effort(threads=2), tile_exponent=5)
    assert one == two
    image_encoder.verify(one, picture, TINY, Effort(threads=2))


def test_blas_threads_do_not_change_the_bytes(tmp_path: object) -> None:
    script = (
        "import sys, zlib; from ncml_codec.decode.effort import Effort\n"
        "from ncml_codec.encode import tile_encoder\n"
        "from ncml_codec.network import released_models\n"
        "from tests.builders.pictures import valley\n"
        "from ncml_codec.picture.image_files import from_array\n"
        "numpy = Effort('numpy')  # the engine that computes with BLAS\n"
        "model = released_models.load('photo')\n"
        "data = tile_encoder.encode(from_array(valley(50, 50, 90, 120)), model, numpy)\n"
        "print(zlib.crc32(data), len(data))"
    )
    found = set()
    for count in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**_environment(), **dict.fromkeys(names, count)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_an_image_is_coded_alone_as_among_others() -> None:
    pictures = [from_array(valley(top, 40, 30, 44)) for top in (0, 80, 250)]
    together = [tile_encoder.encode(picture, TINY) for picture in pictures]
    assert [tile_encoder.encode(picture, TINY) for picture in reversed(pictures)] == together[::-1]


def test_tiles_do_not_know_of_each_other() -> None:
    one = valley(200, 100, 32, 64)
    other = one.copy()
    other[:, 32:] = 0
    first, second = (
        tiles_of(tile_encoder.encode(from_array(array), TINY, tile_exponent=5))
        for array in (one, other)
    )
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_grey_picture_costs_less_than_the_same_in_three_planes() -> None:
    grey = valley(120, 100, 60, 60)[:, :, :1]
    one = tile_encoder.encode(from_array(grey), TINY)
    three = tile_encoder.encode(from_array(np.repeat(grey, 3, axis=2)), TINY)
    assert len(one) < len(three)


@pytest.mark.parametrize("level", [1, 5, 8])
def test_the_file_is_as_large_as_the_cross_entropy(level: int) -> None:
    array = valley(100, 100, 120, 160)
    (tile,) = tiles_of(tile_encoder.encode(from_array(array), TINY, level=level))
    meter = Meter()
    engine = engines.load("numpy", TINY.network)
    walk_tile(engine, array.shape, array, meter, adaptation=tile.adaptation)
    assert (level == 1) == (tile.adaptation == STATIC)
    assert meter.bits <= 8 * len(tile.payload) <= 1.001 * meter.bits


def test_metadata_comes_back(tiny: Model) -> None:
    chunks = [(b"gAMA", b"\0\0\xb1\x8f"), (b"IDAT", b""), (b"tEXt", b"Title\0x" * 90)]
    picture = Picture(valley(0, 0, 8, 8), chunks)
    data = tile_encoder.encode(picture, tiny)
    image_encoder.verify(data, picture, tiny)
    assert list(image_decoder.decode(data, [tiny]).chunks) == chunks


def test_a_wrong_encoder_is_found_out(tiny: Model) -> None:
    picture = from_array(valley(0, 0, 8, 8))
    data = tile_encoder.encode(picture, tiny)
    other = picture.samples.copy()
    other[3, 3, 1] ^= 1
    with pytest.raises(RoundTripError):
        image_encoder.verify(data, from_array(other), tiny)


def test_too_large_an_image_is_refused_before_it_is_allocated(tiny: Model) -> None:
    data = tile_encoder.encode(from_array(valley(0, 0, 20, 20)), tiny)
    with pytest.raises(FormatError, match="limit"):
        image_decoder.decode(data, [tiny], max_pixels=399)


def test_progress_counts_every_pixel(tiny: Model) -> None:
    done: list[int] = []
    tile_encoder.encode(from_array(valley(0, 0, 40, 37)), tiny, Effort(progress=done.append), 5)
    assert sum(done) == 40 * 37


def test_an_unknown_engine_is_refused(tiny: Model) -> None:
    with pytest.raises(UsageError, match="abacus"):
        tile_encoder.encode(from_array(valley(0, 0, 2, 2)), tiny, Effort(engine="abacus"))


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_levels_from_python() -> None:
    array = valley(0, 0, 40, 50)
    sizes = [len(ncml_codec.compress(array, level=level)) for level in (1, 5)]
    assert sizes[1] < sizes[0]
    assert np.array_equal(ncml_codec.decompress(ncml_codec.compress(array, level=9)), array)
    with pytest.raises(UsageError, match="level 10"):
        ncml_codec.compress(array, level=10)
