"""Published data sets, read from the files that their authors distribute.

`open_dataset("cifar10:DIR", "train")` and so on; each reader says which file it misses and where
to get it. Everything ends as uint8 in memory. No file is trusted: sizes that a header claims are
compared with the file before memory is taken for them, see `ncml_codec.learn.data.array_files`.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ncml_codec.atomic_files import read_file, translated
from ncml_codec.errors import InputError, UnsupportedImage, UsageError
from ncml_codec.learn.data.array_files import PickledArray, npy, unpickled, whole_numbers
from ncml_codec.learn.data.crops import (
    CropConfig,
    FolderImages,
    Labels,
    Pixels,
    image_files,
    left_out,
    load_folders,
    read_rgb,
)
from ncml_codec.picture import orientation as all_turns

Read = tuple[Pixels, Labels | None]
Reader = Callable[[Path, str], "Read | ArrayImages"]

SPLITS = ("train", "test")
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_IMAGENET = "https://image-net.org/download-images.php (downsampled, npz)"
_MOST_DEFLATED = 1032  # bytes out of one byte of a deflated stream, at most
_SVHN_BYTES = 3 * 32 * 32
_MAX_PARTITION = 1 << 26  # bytes of CelebA's list of parts
_CELEBA = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size: uint8 [count, 3, height, width], and labels [count] if there are any.

    unreadable: files of the data set that could not be read.
    """

    images: Pixels
    labels: Labels | None = None
    unreadable: Sequence[Path] = ()

    def crops(self, config: CropConfig, seed: int, step: int) -> Pixels:
        """The batch of training step `step`: epochs shuffled by (seed, epoch), mirrored at random.

        crop, grey and augment are ignored: these images are used whole, as they are.
        """
        return self.labelled(config, seed, step)[0]

    def describe(self) -> str:
        count, _, height, width = self.images.shape
        return f"{count} images of {width} x {height}{left_out(self.unreadable)}"

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
    found = _READERS[kind](Path(rest), split)
    if not isinstance(found, ArrayImages):
        found = ArrayImages(*found)
    images, labels = found.images, found.labels
    if not images.size:
        raise InputError(f"{rest}: no images")
    if labels is not None and (labels.shape != images.shape[:1] or labels.min() < 0):
        raise InputError(f"{rest}: {len(images)} images, not a label from 0 up for each of them")
    return replace(found, images=np.require(images, requirements=["C", "W"]))


def path_of(source: str) -> Path:
    """Where the images of a source of `open_dataset` lie: a file or a folder."""
    return Path(source.partition(":")[2] or source)


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
    labels = None if images.labels is None else images.labels[:count]
    return replace(images, images=images.images[:count], labels=labels)


def identity(images: ArrayImages | FolderImages) -> dict[str, int | str]:
    """The number of images and the SHA-256 of their sizes, pixels and labels, in order, as JSON."""
    digest, count = hashlib.sha256(), 0
    for batch in images.batches(1024):
        digest.update(f"{batch.shape}".encode())
        digest.update(np.ascontiguousarray(batch).data)
        count += len(batch)
    if images.labels is not None:
        digest.update(images.labels.astype("<i8").tobytes())
    return {"count": count, "sha256": digest.hexdigest()}


def in_turns(images: ArrayImages | FolderImages, turns: Sequence[int]) -> FolderImages:
    """Images of folders, each shown in its turn alone, see `FolderImages.turns`.

    turns: as a run recorded them. Raises UsageError for images of a data set, which are shown as
    they are, and for another number of images; InputError for what is no list of turns.
    """
    folders = of_folders(images)
    if not (
        isinstance(turns, list)
        and all(type(turn) is int and 0 <= turn < all_turns.COUNT for turn in turns)
    ):
        raise InputError("the turns of the images that the run recorded: not a list of turns")
    if len(turns) != len(folders.images):
        raise UsageError(
            f"{len(folders.images)} images, but the run was trained on {len(turns)}, each in its"
            " own turn; give the same folders in the same order"
        )
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
    from scipy.io import loadmat, whosmat

    data = read_file(path)
    with translated(f"{path} (SVHN)"):
        kinds = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(data))}
        shape, kind = kinds["X"]
        count = shape[-1]
        if (shape, kind) != ((32, 32, 3, count), "uint8") or math.prod(kinds["y"][0]) != count:
            raise InputError(f"{path}: X is {kind} {shape}, not the images of SVHN with labels y")
        if count * _SVHN_BYTES > _MOST_DEFLATED * len(data):
            raise InputError(f"{path}: {count} images cannot be in {len(data)} bytes")
        content = loadmat(io.BytesIO(data), variable_names=["X", "y"])
        if content["X"].shape != shape or content["X"].dtype != np.uint8:
            raise InputError(f"{path}: two different variables are called X")
        return content["X"].transpose(3, 2, 0, 1), whole_numbers(content["y"].ravel()) % 10


def read_imagenet(side: int) -> Reader:
    """Downsampled ImageNet (Chrabaszcz et al. 2017): the official npz files, or a folder of PNG."""

    def read(folder: Path, split: str) -> Read | ArrayImages:
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
                return _stacked(image_files(folder / name), lambda path: _of_side(path, side))
        raise InputError(f"{folder}: no {pattern} and no folder of PNG; see {_IMAGENET}")

    return read


def read_celeba64(folder: Path, split: str) -> ArrayImages:
    """CelebA, aligned and cropped: the central 148 x 148 at 64 x 64, as in the NCML paper.

    The paper does not say how it crops; this is what most generative work does. Split by
    list_eval_partition.txt (0 train, 2 test) if it is there, else the last tenth is the test.
    """
    images = _inside(folder, "img_align_celeba")
    images = images / "img_align_celeba" if (images / "img_align_celeba").is_dir() else images
    paths = image_files(images)
    partition = folder / "list_eval_partition.txt"
    if partition.exists():
        text = read_file(partition, _MAX_PARTITION).decode("utf-8", "replace")
        lines = [line.split() for line in text.splitlines() if line.strip()]
        if any(len(words) != 2 for words in lines):
            raise InputError(f"{partition}: a line is not the name of a file and its part")
        wanted = {name for name, part in lines if part == ("0" if split == "train" else "2")}
        paths = [path for path in paths if path.name in wanted]
    else:
        edge = len(paths) - len(paths) // 10
        paths = paths[:edge] if split == "train" else paths[edge:]
    if not paths:
        raise InputError(f"{folder}: no images; CelebA (aligned and cropped) is at {_CELEBA}")
    return _stacked(paths, _celeba_image)


def read_array(path: Path, split: str) -> tuple[Pixels, None]:
    """A .npy file of uint8 images, planes first or last; it has no splits."""
    data = read_file(path)
    array = npy(io.BytesIO(data), len(data), str(path))
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


def _cifar_binary(path: Path) -> tuple[Pixels, Labels]:
    data = np.frombuffer(read_file(path), np.uint8)
    if data.size == 0 or data.size % 3073:
        raise InputError(f"{path}: {data.size} bytes, not a whole number of records of 3073")
    records = data.reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _cifar_pickle(path: Path) -> tuple[Pixels, Labels]:
    data = read_file(path)
    with translated(f"{path} (CIFAR-10)"):
        content = unpickled(data)
        images, labels = content[b"data"], content[b"labels"]
        if not isinstance(images, PickledArray):
            raise InputError(f"{path}: its data is no array")
        # Checked one by one: a short pickle can hold lists in lists that are endless as an array.
        if not (isinstance(labels, list) and all(type(n) is int and 0 <= n < 256 for n in labels)):
            raise InputError(f"{path}: its labels are not a list of numbers below 256")
        pixels = np.frombuffer(images.data, np.uint8).reshape(len(labels), 3, 32, 32)
        return pixels, np.array(labels, np.int64)


def _imagenet_npz(path: Path, side: int) -> tuple[Pixels, Labels]:
    with translated(f"{path} ({side} x {side} images)"), zipfile.ZipFile(path) as archive:
        room = _MOST_DEFLATED * path.stat().st_size
        parts = []
        for name in ("data.npy", "labels.npy"):
            size = archive.getinfo(name).file_size
            if size > room:
                raise InputError(f"{path}: {name} claims {size} bytes, which it cannot hold")
            with archive.open(name) as member:
                parts.append(npy(member, size, f"{path}: {name}"))
        if parts[0].dtype != np.uint8:
            raise InputError(f"{path}: data of {parts[0].dtype}, not uint8")
        return parts[0].reshape(-1, 3, side, side), whole_numbers(parts[1]) - 1


def _stacked(paths: Sequence[Path], prepared: Callable[[Path], Pixels]) -> ArrayImages:
    """All images of the files that can be read. prepared: the image of a file, uint8 [3, height,
    width]. Raises InputError if there are none, UnsupportedImage for one of another size."""
    images: list[Pixels] = []
    unreadable: list[Path] = []
    for path in paths:
        try:
            images.append(prepared(path))
        except UnsupportedImage:  # it can be read, but the data set is another one
            raise
        except InputError:
            unreadable.append(path)
    if not images:
        where = paths[0].parent if paths else "the folder"
        raise InputError(f"{where}: no images{left_out(unreadable)}")
    return ArrayImages(np.stack(images), unreadable=unreadable)


def _of_side(path: Path, side: int) -> Pixels:
    image = read_rgb(path)
    if image.shape != (side, side, 3):
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise UnsupportedImage(f"{path}: {size}, not {side} x {side}")
    return image.transpose(2, 0, 1)


def _celeba_image(path: Path) -> Pixels:
    image = Image.fromarray(read_rgb(path))
    if min(image.size) < 148:
        raise UnsupportedImage(f"{path}: {image.width} x {image.height}, smaller than 148 x 148")
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
