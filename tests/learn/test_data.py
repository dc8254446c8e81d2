"""Training data: an order that depends on seed and step alone, and honest errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ncml_codec.errors import InputError
from ncml_codec.learn.data.crops import CropConfig, FolderImages, load_folders
from ncml_codec.learn.data.datasets import first, in_turns
from tests.builders.pictures import valley

SMALL = CropConfig(crop=8, batch=5, grey=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(3):
        rows = np.mgrid[0:20, 0:30].sum(0)
        image = np.stack([rows + index, rows * 2, 255 - rows], 2).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    Image.fromarray(np.zeros((4, 50), np.uint8)).save(tmp_path / "thin.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_batches_depend_on_seed_and_step_alone(folder: Path) -> None:
    images = load_folders([folder], 8)
    batch = images.crops(SMALL, 3, 17)
    assert batch.shape == (5, 3, 8, 8)
    assert batch.dtype == np.uint8
    images.crops(SMALL, 3, 18)
    assert np.array_equal(load_folders([folder], 8).crops(SMALL, 3, 17), batch)
    assert not np.array_equal(images.crops(SMALL, 3, 18), batch)
    assert not np.array_equal(images.crops(SMALL, 4, 17), batch)


def test_crops_are_parts_of_the_images_in_all_orientations() -> None:
    image = np.arange(9 * 9 * 3, dtype=np.uint8).reshape(9, 9, 3)
    images = FolderImages([image], [])
    config = CropConfig(crop=9, batch=64, grey=0.0)
    found = {crop.tobytes() for crop in images.crops(config, 0, 0)}
    square = [np.rot90(image, turns) for turns in range(4)]
    every = {np.ascontiguousarray(s.transpose(2, 0, 1)).tobytes() for s in square}
    every |= {np.ascontiguousarray(s[::-1].transpose(2, 0, 1)).tobytes() for s in square}
    assert found == every
    assert len(every) == 8


def test_large_images_are_drawn_as_often_as_their_pixels() -> None:
    large, small = np.zeros((40, 40, 3), np.uint8), np.ones((20, 20, 3), np.uint8)
    batch = FolderImages([large, small], []).crops(CropConfig(8, 4000, 0.0), 0, 0)
    assert batch[:, 0, 0, 0].mean() == pytest.approx(0.2, abs=0.03)


def test_the_asked_share_of_crops_is_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    batch = FolderImages([image], []).crops(CropConfig(8, 400, 0.25), 0, 0)
    grey = (batch[:, 0] == batch[:, 1]).all((1, 2)) & (batch[:, 0] == batch[:, 2]).all((1, 2))
    assert grey.mean() == pytest.approx(0.25, abs=0.07)


def drawn_without_altering(
    images: FolderImages, config: CropConfig, seed: int, step: int
) -> npt.NDArray[np.uint8]:
    """The stream of crops that the first released networks were trained on, written again."""
    random = np.random.Generator(np.random.Philox(key=[seed, step]))
    sizes = np.array([image.shape[0] * image.shape[1] for image in images.images], float)
    crops = []
    for index in random.choice(len(sizes), config.batch, p=sizes / sizes.sum()):
        image = images.images[index]
        top = random.integers(image.shape[0] - config.crop + 1)
        left = random.integers(image.shape[1] - config.crop + 1)
        crop = image[top : top + config.crop, left : left + config.crop].transpose(2, 0, 1)
        below, right, turned, grey = random.random(4) < (0.5, 0.5, 0.5, config.grey)
        crop = np.flip(crop, [axis for axis, flip in ((1, below), (2, right)) if flip])
        crop = crop.transpose(0, 2, 1) if turned else crop
        crops.append(crop[[1, 1, 1]] if grey else crop)
    return np.stack(crops)


PHOTOGRAPHS = FolderImages([valley(0, 0, 90, 120), valley(150, 200, 70, 70)], [])


def test_without_altering_the_stream_is_that_of_the_released_networks() -> None:
    config = CropConfig(crop=16, batch=6, grey=0.2)
    for seed, step in ((0, 0), (1, 7), (3, 100_000)):
        expected = drawn_without_altering(PHOTOGRAPHS, config, seed, step)
        assert np.array_equal(PHOTOGRAPHS.crops(config, seed, step), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_asked_share_of_crops_is_altered_and_the_others_stay(share: float) -> None:
    config = CropConfig(crop=16, batch=300, grey=0.0, augment=share)
    plain = PHOTOGRAPHS.crops(replace(config, augment=0), 5, 9)
    found = PHOTOGRAPHS.crops(config, 5, 9)
    altered = (found != plain).any((1, 2, 3)).mean()
    # At 0.3 five standard errors of 300 crops are 0.13.
    assert altered == pytest.approx(share, abs=0.13 if 0 < share < 1 else 0)
    assert np.array_equal(found, PHOTOGRAPHS.crops(config, 5, 9))
    assert not np.array_equal(found, PHOTOGRAPHS.crops(config, 5, 10))


def test_altered_crops_are_made_grey_as_often() -> None:
    batch = PHOTOGRAPHS.crops(CropConfig(16, 400, 0.25, augment=1.0), 0, 0)
    grey = (batch == batch[:, :1]).all((1, 2, 3))
    assert 0.18 < grey.mean() < 0.40  # some drawings are grey, too


def test_small_images_are_left_out_and_named(folder: Path) -> None:
    images = load_folders([folder], 8)
    assert len(images.images) == 3
    assert [path.name for path in images.skipped] == ["thin.png"]


def test_missing_folders_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_folders([folder / "none"], 8)
    with pytest.raises(InputError, match="no image of at least 500"):
        load_folders([folder], 500)


def test_an_image_that_cannot_be_read_is_left_out_and_named(folder: Path) -> None:
    whole = (folder / "1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "none.png").write_bytes(b"no image")
    images = load_folders([folder], 8)
    assert len(images.images) == 3
    assert [path.name for path in images.unreadable] == ["cut.png", "none.png"]
    said = images.describe()
    assert f"2 left out, cannot be read: {folder / 'cut.png'}, {folder / 'none.png'}" in said
    turned = in_turns(first(images, 2), [0, 3])
    assert (len(turned.images), turned.unreadable) == (2, images.unreadable)
    for index in range(3):
        (folder / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="5 that cannot be read"):
        load_folders([folder], 8)
