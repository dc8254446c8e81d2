"""Written images: any picture comes back through Pillow, whatever the bands."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncml_codec.picture import kinds, png_writer, pnm
from ncml_codec.picture.image_files import encode_parts, from_array
from tests.builders.pictures import Samples, extremes, real_images, valley


def bands_of(samples: Samples, height: int) -> list[Samples]:
    return [samples[top : top + height] for top in range(0, len(samples), height)]


def png_of(samples: Samples, band: int) -> bytes:
    height, width, planes = samples.shape
    kind = kinds.of_samples(planes, np.uint8)
    return b"".join(
        png_writer.png_parts((height, width, planes), kind, [], bands_of(samples, band))
    )


def opened(data: bytes) -> Samples:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).reshape(image.height, image.width, -1)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([1, 3]),
    st.integers(1, 9),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_any_picture_is_what_pillow_reads(
    height: int, width: int, planes: int, band: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    samples = random.integers(0, 256, (height, width, planes), np.uint8)
    samples = np.cumsum(samples // 64, axis=seed % 2, dtype=np.uint8)
    assert np.array_equal(opened(png_of(samples, band)), samples)
    kind = kinds.of_samples(planes, np.uint8)
    parts = pnm.parts((height, width, planes), kind, bands_of(samples, band))
    assert np.array_equal(opened(b"".join(parts)), samples)


@pytest.mark.parametrize("name", extremes(1, 1))
def test_extremes_are_what_pillow_reads(name: str) -> None:
    samples = extremes(40, 33)[name]
    assert np.array_equal(opened(png_of(samples, 7)), samples)


def test_bands_do_not_change_the_bytes() -> None:
    samples = valley(0, 0, 100, 90)
    assert len({png_of(samples, band) for band in (1, 7, 64, 100)}) == 1


def test_filters_are_chosen_as_by_pillow() -> None:
    """As large as Pillow's own PNG to within 10 %: the same filters, but Pillow has another zlib
    with another strategy. Without filters the file would be 60 % larger."""
    samples = valley(0, 0, 320, 480)
    out = io.BytesIO()
    Image.fromarray(samples).save(out, "PNG")
    ours = png_of(samples, 320)
    assert abs(len(ours) / len(out.getvalue()) - 1) < 0.1


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif", ".webp"])
def test_parts_are_the_whole_file(suffix: str) -> None:
    picture = from_array(valley(3, 5, 50, 41))
    bands = bands_of(picture.samples, 16)
    data = b"".join(encode_parts((50, 41, 3), [], bands, "x" + suffix))
    assert np.array_equal(opened(data), picture.samples)


@pytest.mark.skipif(not real_images("kodak"), reason="Kodak is not here")
def test_a_photograph_is_no_larger_than_from_pillow() -> None:
    with Image.open(real_images("kodak")[0]) as image:
        samples = np.asarray(image)
    out = io.BytesIO()
    Image.fromarray(samples).save(out, "PNG")
    assert len(png_of(samples, 100)) <= 1.02 * len(out.getvalue())
