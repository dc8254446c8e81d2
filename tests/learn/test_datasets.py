"""Published data sets: official formats read, missing and hostile files refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data.crops import CropConfig, FolderImages
from ncml_codec.learn.data.datasets import (
    ArrayImages,
    check_augmentation,
    first,
    open_dataset,
    open_training,
)
from tests.builders.pictures import real_images

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), np.uint8)
LABELS = np.arange(10)


def arrays(source: str, split: str = "train") -> ArrayImages:
    found = open_dataset(source, split, 32)
    assert isinstance(found, ArrayImages)
    return found


def cifar_binary(folder: Path) -> None:
    for index, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = slice(2 * index % 10, 2 * index % 10 + 2)
        flat = IMAGES[part].reshape(2, -1)
        records = np.concatenate([LABELS[part, None].astype(np.uint8), flat], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def cifar_pickle(folder: Path) -> None:
    for index, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = slice(2 * index % 10, 2 * index % 10 + 2)
        content = {b"data": IMAGES[part].reshape(2, -1), b"labels": LABELS[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [cifar_binary, cifar_pickle])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar10_is_read_in_both_formats(tmp_path: Path, write: object, inside: bool) -> None:
    name = "cifar-10-batches-bin" if write is cifar_binary else "cifar-10-batches-py"
    folder = tmp_path / name if inside else tmp_path
    folder.mkdir(exist_ok=True)
    write(folder)  # type: ignore[operator]
    train, test = (arrays(f"cifar10:{tmp_path}", split) for split in ("train", "test"))
    assert np.array_equal(train.images, IMAGES)
    assert train.labels is not None
    assert np.array_equal(train.labels, LABELS)
    assert np.array_equal(test.images, IMAGES[:2])


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/ncml-was-here",)


def test_pickles_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Hostile()}))
    with pytest.raises(InputError, match="not allowed"):
        arrays(f"cifar10:{tmp_path}")
    assert not Path("/tmp/ncml-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"123", pickle.dumps([1, 2])])
def test_broken_cifar_batches_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(InputError, match="data_batch_1"):
        arrays(f"cifar10:{tmp_path}")
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3000))
    with pytest.raises(InputError, match="3073"):
        arrays(f"cifar10:{tmp_path}")


def test_svhn_is_read(tmp_path: Path) -> None:
    labels = np.arange(1, 11)[:, None].astype(np.uint8)  # 10 stands for the digit 0
    savemat(tmp_path / "test_32x32.mat", {"X": IMAGES.transpose(2, 3, 1, 0), "y": labels})
    found = arrays(f"svhn:{tmp_path}", "test")
    assert np.array_equal(found.images, IMAGES)
    assert found.labels is not None
    assert found.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    with pytest.raises(InputError, match="train_32x32"):
        arrays(f"svhn:{tmp_path}", "train")
    (tmp_path / "train_32x32.mat").write_bytes(b"no mat file" * 30)
    with pytest.raises(InputError, match="train_32x32"):
        arrays(f"svhn:{tmp_path}", "train")


def test_imagenet_is_read_from_npz_and_from_folders(tmp_path: Path) -> None:
    flat = {"data": IMAGES.reshape(10, -1), "labels": np.arange(1, 11)}
    np.savez(tmp_path / "train_data_batch_1.npz", **flat)
    np.savez(tmp_path / "train_data_batch_2.npz", **flat)
    found = arrays(f"imagenet32:{tmp_path}")
    assert np.array_equal(found.images, np.concatenate([IMAGES, IMAGES]))
    (tmp_path / "val").mkdir()
    for index, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "val" / f"{index}.png")
    assert np.array_equal(arrays(f"imagenet32:{tmp_path}", "test").images, IMAGES)
    (tmp_path / "val").rename(tmp_path / "valid_64x64")
    with pytest.raises(InputError, match="not 64 x 64"):
        arrays(f"imagenet64:{tmp_path}", "test")
    with pytest.raises(InputError):
        arrays(f"imagenet64:{tmp_path}")


def test_celeba_is_cropped_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (178, 218), (index * 10, 0, 0)).save(folder / f"{index}.png")
    (tmp_path / "list_eval_partition.txt").write_text("0.png 0\n1.png 2\n2.png 1\n3.png 0\n")
    assert arrays(f"celeba64:{tmp_path}").images[:, 0, 0, 0].tolist() == [0, 30]
    assert arrays(f"celeba64:{tmp_path}", "test").images.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("kind", ["imagenet32", "celeba64"])
def test_an_unreadable_image_of_a_data_set_is_named_and_left_out(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / ("train" if kind == "imagenet32" else "img_align_celeba")
    folder.mkdir()
    bad, side = folder / "1.png", 32 if kind == "imagenet32" else 200
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match="no images; 1 left out"):
        open_dataset(f"{kind}:{tmp_path}", "train", 8)
    for name in ("0.png", "2.png"):
        Image.new("RGB", (side, side), (7, 0, 0)).save(folder / name)
    found = arrays(f"{kind}:{tmp_path}")
    assert len(found.images) == 2
    assert found.describe().endswith(f"; 1 left out, cannot be read: {bad}")
    assert str(bad) in first(found, 1).describe()


@pytest.mark.parametrize("last", [False, True])
def test_arrays_are_read_planes_first_or_last(tmp_path: Path, last: bool) -> None:
    path = tmp_path / "images.npy"
    np.save(path, IMAGES.transpose(0, 2, 3, 1) if last else IMAGES)
    assert np.array_equal(arrays(f"array:{path}").images, IMAGES)
    np.save(path, IMAGES.astype(float))
    with pytest.raises(InputError, match="float64"):
        arrays(f"array:{path}")
    np.save(path, np.array([Hostile()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"images\.npy"):
        arrays(f"array:{path}")


def test_an_epoch_sees_every_image_once_and_depends_on_seed_and_step_alone() -> None:
    data = ArrayImages(IMAGES, LABELS)
    config = CropConfig(batch=5)
    epochs = [[data.labelled(config, 1, 2 * epoch + part) for part in (0, 1)] for epoch in (0, 1)]
    orders = []
    for parts in epochs:
        labels = np.concatenate([part[1] for part in parts if part[1] is not None])
        assert sorted(labels) == list(range(10))
        orders.append(labels.tolist())
        for batch, chosen in parts:
            assert chosen is not None
            for image, label in zip(batch, chosen, strict=True):
                same = np.array_equal(image, IMAGES[label])
                assert same or np.array_equal(image[:, :, ::-1], IMAGES[label])
    assert orders[0] != orders[1]
    assert np.array_equal(data.crops(config, 1, 3), epochs[1][1][0])
    assert np.array_equal(data.images, IMAGES)


def test_folders_and_unknown_kinds(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    for source in (str(tmp_path), f"folder:{tmp_path}"):
        assert isinstance(open_dataset(source, "train", 16), FolderImages)
    assert isinstance(open_training([str(tmp_path), f"folder:{tmp_path}"], 16), FolderImages)
    for bad in ("mnist:x", "cifar100:y"):
        with pytest.raises(UsageError, match="cifar10"):
            open_dataset(bad, "train", 16)
    with pytest.raises(UsageError, match="together"):
        open_training([str(tmp_path), "cifar10:x"], 16)
    with pytest.raises(UsageError, match="split"):
        open_dataset(str(tmp_path), "validation", 16)
    for kind in ("cifar10", "svhn", "imagenet32", "celeba64", "array"):
        with pytest.raises(InputError, match="none"):
            open_dataset(f"{kind}:{tmp_path / 'none'}", "train", 16)


def test_only_crops_of_folders_are_altered() -> None:
    small = ArrayImages(IMAGES)
    check_augmentation(small, 0.0)
    check_augmentation(FolderImages([], []), 0.5)
    with pytest.raises(UsageError, match=r"0\.5: 10 images of 32 x 32 are used whole"):
        check_augmentation(small, 0.5)


@pytest.mark.slow
@pytest.mark.skipif(not real_images("cifar10"), reason="the CIFAR-10 mosaics are not here")
def test_the_mosaics_unpack_to_cifar10(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = real_images("cifar10")[0].parent.parent / "unpack_cifar10.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    test = arrays(f"cifar10:{tmp_path}", "test")
    assert test.images.shape == (9980, 3, 32, 32)
    assert test.labels is not None
    assert set(test.labels) == set(range(10))
