"""Training data: an order that depends on seed and step alone, and honest errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncml_codec.errors import InputError
from ncml_codec.learn.data import CropConfig, FolderImages, load_folders

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


def test_small_images_are_left_out_and_named(folder: Path) -> None:
    images = load_folders([folder], 8)
    assert len(images.images) == 3
    assert [path.name for path in images.skipped] == ["thin.png"]


def test_missing_folders_and_bad_files_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_folders([folder / "none"], 8)
    with pytest.raises(InputError, match="no image of at least 500"):
        load_folders([folder], 500)
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"broken\.png"):
        load_folders([folder], 8)
