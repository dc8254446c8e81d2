"""Altered crops: each kind does what it says, and draws from the given generator alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ncml_codec.learn.data import augmentation
from ncml_codec.learn.data.augmentation import KINDS, altered, shrunk
from tests.builders.pictures import valley

Pixels = npt.NDArray[np.uint8]

PHOTOGRAPH = valley(120, 160, 67, 70)  # odd and even
GREY = np.full((96, 96, 3), 120, np.uint8)
KINDS_AND_SHRUNK = {
    **KINDS,
    "shrunk": lambda image, random: shrunk(image, 33, 35, random),
}
kinds = pytest.mark.parametrize("name", KINDS)


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def luma(image: Pixels) -> npt.NDArray[np.float64]:
    return image @ np.array([0.299, 0.587, 0.114])


@kinds
@pytest.mark.parametrize("shape", [(67, 70), (64, 64), (8, 9)])
def test_every_kind_gives_another_image_of_the_same_shape(
    name: str, shape: tuple[int, int]
) -> None:
    image = PHOTOGRAPH[: shape[0], : shape[1]]
    before = image.copy()
    for seed in range(20):
        found = KINDS[name](image, seeded(seed))
        assert found.shape == image.shape
        assert found.dtype == np.uint8
        assert not np.array_equal(found, image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", KINDS_AND_SHRUNK)
def test_every_kind_is_a_function_of_image_and_generator(name: str) -> None:
    alter = KINDS_AND_SHRUNK[name]
    found = [alter(PHOTOGRAPH, seeded(seed)) for seed in range(8)]
    assert all(np.array_equal(alter(PHOTOGRAPH, seeded(n)), one) for n, one in enumerate(found))
    assert len({one.tobytes() for one in found}) > 1


@pytest.mark.parametrize("name", ["mosaicked", "thin chroma", "sharpened", "jpeg", "shrunk"])
def test_filters_leave_a_flat_image_as_it_is(name: str) -> None:
    for seed in range(5):
        assert (KINDS_AND_SHRUNK[name](GREY, seeded(seed)) == 120).all()


def bilinear(image: Pixels, row: int, column: int) -> Pixels:
    """Bayer's mosaic with red at (row, column), pixel by pixel: the mean of the nearest samples."""
    height, width = image.shape[:2]
    found = np.zeros_like(image)

    def colour(i: int, j: int) -> int:
        return 1 if (i + j - row - column) % 2 else 0 if (i - row) % 2 == 0 else 2

    for i in range(height):
        for j in range(width):
            for channel in range(3):
                around = [(i, j)] if colour(i, j) == channel else _nearest(i, j, channel, colour)
                # Beyond the border stands the mirror image, which has the same pattern.
                values = [
                    int(image[_mirrored(a, height), _mirrored(b, width), channel])
                    for a, b in around
                ]
                found[i, j, channel] = (2 * sum(values) + len(values)) // (2 * len(values))
    return found


def _nearest(
    i: int, j: int, channel: int, colour: Callable[[int, int], int]
) -> list[tuple[int, int]]:
    beside = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
    diagonal = [(i - 1, j - 1), (i - 1, j + 1), (i + 1, j - 1), (i + 1, j + 1)]
    return [place for place in beside if colour(*place) == channel] or diagonal


def _mirrored(i: int, length: int) -> int:
    return -i if i < 0 else 2 * (length - 1) - i if i >= length else i


def test_a_mosaic_keeps_its_samples_and_interpolates_the_others() -> None:
    image = PHOTOGRAPH[:13, :16]
    every = {bilinear(image, row, column).tobytes() for row in (0, 1) for column in (0, 1)}
    assert len(every) == 4
    assert {KINDS["mosaicked"](image, seeded(seed)).tobytes() for seed in range(40)} == every


def test_thin_chroma_keeps_luma_and_flattens_colour() -> None:
    image = np.clip(PHOTOGRAPH, 60, 190)  # rounding, not clipping, is all that may move luma
    image = np.stack([image[..., 0], image[..., 1], image[::-1, :, 2] // 2 + 60], axis=2)
    for seed in range(10):
        found = KINDS["thin chroma"](image, seeded(seed))
        assert np.abs(luma(found) - luma(image)).max() <= 0.5 + 1e-3
        for channel in (0, 2):
            before, after = (one[..., channel] - luma(one) for one in (image, found))
            assert np.abs(np.diff(after, axis=1)).mean() < 0.8 * np.abs(np.diff(before)).mean()


def test_sharpening_raises_contrast_between_neighbours() -> None:
    def contrast(image: Pixels) -> float:
        return float(np.abs(np.diff(image.astype(int), axis=0)).mean())

    for seed in range(10):
        assert contrast(KINDS["sharpened"](PHOTOGRAPH, seeded(seed))) > 1.05 * contrast(PHOTOGRAPH)


def test_tones_are_rising_curves_of_each_channel() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    for seed in range(10):
        curve = KINDS["toned"](ramp, seeded(seed)).reshape(256, 3)
        assert (np.diff(curve.astype(int), axis=0) >= 0).all()
        assert (curve[0] == 0).all()
        assert (curve[255] == 255).all()
        found = KINDS["toned"](PHOTOGRAPH, seeded(seed))
        for channel in range(3):
            assert np.array_equal(found[..., channel], curve[PHOTOGRAPH[..., channel], channel])


def test_noise_has_no_mean_and_one_to_four_levels_of_deviation() -> None:
    deviations = []
    for seed in range(40):
        noise = KINDS["noisy"](GREY, seeded(seed)).astype(float) - 120
        assert abs(noise.mean()) < 0.12  # five standard errors of 27,648 samples at 4 levels
        deviations.append(noise.std())
        assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.06
    assert min(deviations) > 0.98
    assert max(deviations) < 4.1
    assert np.ptp(deviations) > 1.5


def test_jpeg_is_what_a_file_of_some_quality_decodes_to() -> None:
    files = {}
    for quality in range(60, 96):
        for halved in range(3):
            file = io.BytesIO()
            Image.fromarray(PHOTOGRAPH).save(file, "JPEG", quality=quality, subsampling=halved)
            files[np.asarray(Image.open(file)).tobytes()] = quality
    found = [files[KINDS["jpeg"](PHOTOGRAPH, seeded(seed)).tobytes()] for seed in range(100)]
    assert min(found) < 70
    assert max(found) > 85


def test_dithering_leaves_few_levels_and_the_mean() -> None:
    levels = []
    for seed in range(30):
        flat = KINDS["dithered"](GREY, seeded(seed))
        levels.append(len(np.unique(KINDS["dithered"](PHOTOGRAPH, seeded(seed)))))
        # Sixteen thresholds: half of one of them, times the distance of two levels.
        assert abs(flat.mean() - 120) <= 255 / 32 + 0.5
    assert max(levels) <= 8
    assert min(levels) == 2


def test_drawings_depend_on_the_shape_alone_and_have_few_colours() -> None:
    for seed in range(20):
        drawing = KINDS["drawn"](PHOTOGRAPH, seeded(seed))
        assert np.array_equal(KINDS["drawn"](np.zeros_like(PHOTOGRAPH), seeded(seed)), drawing)
    colours = [
        len(np.unique(KINDS["drawn"](GREY, seeded(seed)).reshape(-1, 3), axis=0))
        for seed in range(60)
    ]
    assert np.median(colours) < 300  # of 9,216 pixels
    assert max(colours) > 40


def test_shrinking_makes_slopes_as_much_steeper() -> None:
    ramp = np.repeat(np.arange(0, 240, 2, dtype=np.uint8), 120 * 3).reshape(120, 120, 3)
    found = shrunk(ramp, 40, 30, seeded(0)).astype(int)
    assert found.shape == (40, 30, 3)
    assert (np.diff(found[4:-4], axis=0) == 6).all()


def test_altered_crops_are_cut_where_they_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind replaced by the negative, which shows the place; each is drawn equally often."""
    image = np.zeros((60, 70, 3), np.uint8)
    image[..., 0], image[..., 1] = np.mgrid[:60, :70]
    drawn: list[str] = []

    def negative(name: str, window: Pixels, *_: object) -> Pixels:
        drawn.append(name)
        return 255 - window

    monkeypatch.setattr(augmentation, "KINDS", {name: partial(negative, name) for name in KINDS})
    monkeypatch.setattr(augmentation, "shrunk", partial(negative, "shrunk"))
    for seed in range(900):
        top, left = (int(place) for place in seeded(seed).integers(0, (45, 55)))
        found = altered(image, top, left, 16, seeded(seed))
        if drawn[-1] == "shrunk":
            side = len(found)
            assert 20 <= side <= 64  # 64: taller than the image
            top, left = min(top, max(0, 60 - side)), min(left, 70 - side)
            expected = np.pad(image, ((0, 4), (0, 0), (0, 0)), "symmetric")
            assert np.array_equal(255 - found, expected[top : top + side, left : left + side])
        else:
            assert np.array_equal(255 - found, image[top : top + 16, left : left + 16])
    counts = [drawn.count(name) for name in (*KINDS, "shrunk")]
    assert min(counts) > 60  # 100 expected, with a standard deviation of 9.4
    assert sum(counts) == len(drawn) == 900


@pytest.mark.parametrize("side", [16, 64])
def test_altered_crops_have_their_size_even_of_images_as_small(side: int) -> None:
    image = valley(100, 100, 64, 64)
    for seed in range(60):
        found = altered(image, 64 - side, 0, side, seeded(seed))
        assert found.shape == (side, side, 3)
        assert found.dtype == np.uint8
        assert not np.array_equal(found, image[64 - side :, :side])
        assert np.array_equal(altered(image, 64 - side, 0, side, seeded(seed)), found)
