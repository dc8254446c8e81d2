"""Published data sets, read from the files that their authors distribute.

`open_dataset("cifar10:DIR", "train")` and so on; each reader says which file it misses and where
to get it. Everything ends as uint8 in memory. Pickles are read by an unpickler that can build
numpy arrays and plain containers and nothing else.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.data import (
    SUFFIXES,
    CropConfig,
    FolderImages,
    Labels,
    Pixels,
    load_folders,
    read_rgb,
)

Reader = Callable[[Path, str], tuple[Pixels, Labels | None]]

SPLITS = ("train", "test")
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_IMAGENET = "https://image-net.org/download-images.php (downsampled, npz)"
_CELEBA = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size: uint8 [count, 3, height, width], and labels [count] if there are any."""

    images: Pixels
    labels: Labels | None = None

    def crops(self, config: CropConfig, seed: int, step: int) -> Pixels:
        """The batch of training step `step`: epochs shuffled by (seed, epoch), mirrored at random.

        crop, grey and augment are ignored: these images are used whole, as they are.
        """
        return self.labelled(config, seed, step)[0]

    def describe(self) -> str:
        count, _, height, width = self.images.shape
        return f"{count} images of {width} x {height}"

    def batches(self, size: int) -> Iterator[Pixels]:
        """All images once, in order; the last batch may be smaller."""
        for start in range(0, len(self.images), size):
            yield self.images[start : start + size]

    def labelled(self, config: CropConfig, seed: int, step: int) -> tuple[Pixels, Labels | None]:
        """The same batch with its labels."""
        per_epoch = max(1, len(self.images) // config.batch)
        epoch, place = divmod(step, per_epoch)
        order = _random(seed, 2 * epoch).permutation(len(self.images))
        chosen = np.take(
            order, np.arange(place * config.batch, (place + 1) * config.batch), mode="wrap"
        )
        mirrored = _random(seed, 2 * step + 1).random(config.batch) < 0.5
        batch = self.images[chosen]
        batch[mirrored] = batch[mirrored, :, :, ::-1]
        return batch, None if self.labels is None else self.labels[chosen]


def open_dataset(source: str, split: str, crop: int) -> ArrayImages | FolderImages:
    """The images of `kind:PATH`; a bare path is a folder of images of any size.

    kind: cifar10, svhn, imagenet32, imagenet64, celeba64, folder or array (an .npy file of uint8
    [count, height, width, 3] or [count, 3, height, width]). split: train or test; folder and array
    have no splits. Raises InputError for what is missing or short, UsageError for an unknown kind.
    """
    if split not in SPLITS:
        raise UsageError(f"split {split!r}: not one of {', '.join(SPLITS)}")
    kind, colon, rest = source.partition(":")
    if not colon or kind == "folder":
        return load_folders([Path(rest if colon else source)], crop)
    if kind not in _READERS:
        raise UsageError(f"data {source!r}: not one of {', '.join(_READERS)}, folder")
    images, labels = _READERS[kind](Path(rest), split)
    return ArrayImages(np.ascontiguousarray(images), labels)


def open_training(sources: Sequence[str], crop: int) -> ArrayImages | FolderImages:
    """The training split of one source, or all images of several folders."""
    if len(sources) == 1:
        return open_dataset(sources[0], "train", crop)
    folders = [source.removeprefix("folder:") for source in sources]
    if any(folder.partition(":")[0] in _READERS for folder in folders):
        raise UsageError(f"data {' and '.join(sources)}: only folders can be given together")
    return load_folders([Path(folder) for folder in folders], crop)


def first(images: ArrayImages | FolderImages, count: int) -> ArrayImages | FolderImages:
    """The first `count` images."""
    if isinstance(images, FolderImages):
        return replace(images, images=images.images[:count])
    return ArrayImages(
        images.images[:count], None if images.labels is None else images.labels[:count]
    )


def in_turns(images: ArrayImages | FolderImages, turns: Sequence[int]) -> FolderImages:
    """Images of folders, each shown in its turn alone, see `FolderImages.turns`.

    Raises UsageError for images of a data set, which are shown as they are.
    """
    folders = of_folders(images)
    return replace(folders, turns=turns)


def of_folders(images: ArrayImages | FolderImages) -> FolderImages:
    """These images. Raises UsageError unless they are of folders."""
    if not isinstance(images, FolderImages):
        raise UsageError("images of a data set are shown as they are, not turned")
    return images


def check_labels(images: ArrayImages | FolderImages, classes: int) -> None:
    """Raises UsageError unless every image has a label below `classes`; 0 classes need none."""
    if not classes:
        return
    if images.labels is None:
        raise UsageError(f"{classes} classes, but these images have no labels")
    if int(images.labels.max()) >= classes:
        raise UsageError(f"{classes} classes, but there are labels up to {images.labels.max()}")


def check_augmentation(images: ArrayImages | FolderImages, share: float) -> None:
    """Raises UsageError if crops are to be altered where there are none: see `ArrayImages`."""
    if share and isinstance(images, ArrayImages):
        raise UsageError(
            f"augment {share:g}: {images.describe()} are used whole; only crops of folders are"
            " altered"
        )


def read_cifar10(folder: Path, split: str) -> tuple[Pixels, Labels]:
    """CIFAR-10 in its binary or its python version; batches may be shorter than official."""
    names = [f"data_batch_{n}" for n in range(1, 6)] if split == "train" else ["test_batch"]
    found = _inside(folder, "cifar-10-batches-bin", "cifar-10-batches-py")
    parts = []
    for name in names:
        binary, pickled = found / f"{name}.bin", found / name
        if binary.exists():
            parts.append(_cifar_binary(binary))
        elif pickled.exists():
            parts.append(_cifar_pickle(pickled))
        elif not parts:
            raise InputError(f"{folder}: neither {name}.bin nor {name}; CIFAR-10 is at {_CIFAR}")
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def read_svhn(folder: Path, split: str) -> tuple[Pixels, Labels]:
    """Street View House Numbers, cropped digits: train_32x32.mat, test_32x32.mat."""
    path = folder / f"{split}_32x32.mat"
    if not path.exists():
        raise InputError(f"{path}: missing; SVHN (cropped digits) is at {_SVHN}")
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError("reading .mat files needs scipy: pip install scipy") from error
    try:
        content = loadmat(str(path))
        images = np.asarray(content["X"], np.uint8).transpose(3, 2, 0, 1)
        return images, np.asarray(content["y"], np.int64).ravel() % 10
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an SVHN file: {error}") from error


def read_imagenet(side: int) -> Reader:
    """Downsampled ImageNet (Chrabaszcz et al. 2017): the official npz files, or a folder of PNG."""

    def read(folder: Path, split: str) -> tuple[Pixels, Labels | None]:
        pattern = "train_data_batch_*.npz" if split == "train" else "val_data.npz"
        files = sorted(folder.glob(pattern))
        if files:
            parts = [_imagenet_npz(path, side) for path in files]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        names = {
            "train": ("train", f"train_{side}x{side}"),
            "test": ("val", f"valid_{side}x{side}"),
        }
        for name in names[split]:
            if (folder / name).is_dir():
                return _folder(folder / name, side, side), None
        raise InputError(f"{folder}: no {pattern} and no folder of PNG; see {_IMAGENET}")

    return read


def read_celeba64(folder: Path, split: str) -> tuple[Pixels, None]:
    """CelebA, aligned and cropped: the central 148 x 148 at 64 x 64, as in the NCML paper.

    The paper does not say how it crops; this is what most generative work does. Split by
    list_eval_partition.txt (0 train, 2 test) if it is there, else the last tenth is the test.
    """
    images = _inside(folder, "img_align_celeba")
    images = images / "img_align_celeba" if (images / "img_align_celeba").is_dir() else images
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no images; CelebA (aligned and cropped) is at {_CELEBA}")
    partition = folder / "list_eval_partition.txt"
    if partition.exists():
        lines = (line.split() for line in partition.read_text().splitlines() if line.strip())
        wanted = {name for name, part in lines if part == ("0" if split == "train" else "2")}
        paths = [path for path in paths if path.name in wanted]
    else:
        edge = len(paths) - len(paths) // 10
        paths = paths[:edge] if split == "train" else paths[edge:]
    return np.stack([_celeba_image(path) for path in paths]), None


def read_array(path: Path, split: str) -> tuple[Pixels, None]:
    """A .npy file of uint8 images, planes first or last; it has no splits."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable .npy file: {error}") from error
    if array.dtype != np.uint8 or array.ndim != 4 or 3 not in (array.shape[1], array.shape[3]):
        raise InputError(
            f"{path}: {array.dtype} {array.shape}, not uint8 [count, height, width, 3]"
        )
    return (array if array.shape[1] == 3 else array.transpose(0, 3, 1, 2)), None


_READERS: dict[str, Reader] = {
    "cifar10": read_cifar10,
    "svhn": read_svhn,
    "imagenet32": read_imagenet(32),
    "imagenet64": read_imagenet(64),
    "celeba64": read_celeba64,
    "array": read_array,
}


class _PlainUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers; refuses every other name in the stream."""

    _ALLOWED = (
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _cifar_binary(path: Path) -> tuple[Pixels, Labels]:
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % 3073:
        raise InputError(f"{path}: {data.size} bytes, not a whole number of records of 3073")
    records = data.reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _cifar_pickle(path: Path) -> tuple[Pixels, Labels]:
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images = np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return images, np.asarray(content[b"labels"], np.int64)
    except (OSError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a CIFAR-10 batch: {error}") from error


def _imagenet_npz(path: Path, side: int) -> tuple[Pixels, Labels]:
    try:
        with np.load(path, allow_pickle=False) as content:
            images = content["data"].reshape(-1, 3, side, side)
            return images.astype(np.uint8), np.asarray(content["labels"], np.int64) - 1
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a batch of {side} x {side} images: {error}") from error


def _folder(folder: Path, height: int, width: int) -> Pixels:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    images = [read_rgb(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != (height, width, 3):
            raise InputError(f"{path}: {image.shape[1]} x {image.shape[0]}, not {width} x {height}")
    if not images:
        raise InputError(f"{folder}: no images")
    return np.stack(images).transpose(0, 3, 1, 2)


def _celeba_image(path: Path) -> Pixels:
    image = Image.fromarray(read_rgb(path))
    left, top = (image.width - 148) // 2, (image.height - 148) // 2
    small = image.crop((left, top, left + 148, top + 148)).resize((64, 64), Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1)


def _inside(folder: Path, *names: str) -> Path:
    """The folder itself, or the one inside it that archives unpack to."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _random(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


def names() -> Sequence[str]:
    """Kinds of data sets, for help texts."""
    return [*_READERS, "folder"]
