"""Training images: folders of pictures in memory, and random crops of them.

The order is a function of (seed, step) alone: a resumed run sees exactly the crops that an
uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from ncml_codec.atomic_files import check_is_file, translated
from ncml_codec.errors import InputError
from ncml_codec.learn.data.augmentation import altered
from ncml_codec.picture.orientation import turned

SUFFIXES = {".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".jpg", ".jpeg"}

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CropConfig:
    """crop: side in pixels; batch: crops a step; grey: share of crops made grey, so that the
    network knows grey images, which the codec feeds as three equal planes; augment: share of
    crops that are altered (`ncml_codec.learn.data.augmentation`), before some are made grey."""

    crop: int = 64
    batch: int = 4
    grey: float = 0.02
    augment: float = 0.0


class Images(Protocol):
    """Where training batches come from."""

    def crops(self, config: CropConfig, seed: int, step: int) -> Pixels:
        """The batch of a step: uint8 [batch, 3, height, width]; depends on (seed, step) alone."""
        ...

    def labelled(self, config: CropConfig, seed: int, step: int) -> tuple[Pixels, Labels | None]:
        """The same batch and its labels, [batch]; None where there are none."""
        ...

    def batches(self, size: int) -> Iterator[Pixels]:
        """Every image once, uint8 [at most size, 3, height, width]: for evaluation."""
        ...

    @property
    def labels(self) -> Labels | None:
        """The class of every image, in the order of `batches`; None where there are none."""
        ...

    def describe(self) -> str:
        """How much there is, in words."""
        ...


@dataclass(frozen=True)
class FolderImages:
    """Images as uint8 [height, width, 3]; `skipped` names files that are too small to crop,
    `unreadable` those that could not be read.

    turns: of `ncml_codec.picture.orientation`, the one in which each image is shown; None for all
    at random.
    """

    images: Sequence[Pixels]
    skipped: Sequence[Path]
    turns: Sequence[int] | None = None
    unreadable: Sequence[Path] = ()

    def crops(self, config: CropConfig, seed: int, step: int) -> Pixels:
        """The batch of training step `step`: uint8 [batch, 3, crop, crop].

        Every pixel is equally likely; mirrored and transposed at random, which are all eight
        orientations, or as `turns` says. Crops that are not altered are those of a share of 0, at
        the same places.
        """
        random = np.random.Generator(np.random.Philox(key=[seed, step]))
        # Far from where the first one's counter can get: a stream of its own.
        altering = np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1]))
        sizes = np.array([image.shape[0] * image.shape[1] for image in self.images], float)
        chosen = random.choice(len(self.images), config.batch, p=sizes / sizes.sum())
        crops = [self._crop(index, config, random, altering) for index in chosen]
        return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))

    def labelled(self, config: CropConfig, seed: int, step: int) -> tuple[Pixels, None]:
        """The same batch; a folder has no labels."""
        return self.crops(config, seed, step), None

    @property
    def labels(self) -> None:
        """None."""

    def batches(self, size: int) -> Iterator[Pixels]:
        """All images whole, one at a time, [1, 3, height, width]: their sizes differ."""
        del size
        for image in self.images:
            yield np.ascontiguousarray(image.transpose(2, 0, 1))[None]

    def describe(self) -> str:
        pixels = sum(image.shape[0] * image.shape[1] for image in self.images)
        text = f"{len(self.images)} images, {pixels / 1e6:.1f} megapixels"
        if self.skipped:
            names = ", ".join(path.name for path in self.skipped)
            text += f"; left out, smaller than the crop: {names}"
        return text + left_out(self.unreadable)

    def _crop(
        self,
        index: int,
        config: CropConfig,
        random: np.random.Generator,
        altering: np.random.Generator,
    ) -> Pixels:
        image, side = self.images[index], config.crop
        top = int(random.integers(image.shape[0] - side + 1))
        left = int(random.integers(image.shape[1] - side + 1))
        crop = image[top : top + side, left : left + side]
        if altering.random() < config.augment:
            crop = altered(image, top, left, side, altering)
        drawn = random.random(4)
        turn = int((drawn[:3] < 0.5) @ [1, 2, 4]) if self.turns is None else self.turns[index]
        crop = turned(crop, turn)
        if drawn[3] < config.grey:
            crop = np.repeat(crop[:, :, 1:2], 3, axis=2)
        return crop


def load_folders(folders: Sequence[Path], minimum_side: int) -> FolderImages:
    """All images of the folders (not of their subfolders), sorted by name.

    A file that cannot be read is left out and named by `describe`. Raises InputError if a folder is
    missing, or no image can be read that is large enough.
    """
    images: list[Pixels] = []
    skipped: list[Path] = []
    unreadable: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of training images")
        for path in image_files(folder):
            try:
                pixels = read_rgb(path)
            except InputError:
                unreadable.append(path)
                continue
            if min(pixels.shape[:2]) < minimum_side:
                skipped.append(path)
            else:
                images.append(pixels)
    if not images:
        names = ", ".join(map(str, folders))
        raise InputError(
            f"{names}: no image of at least {minimum_side} x {minimum_side} pixels"
            f" ({len(skipped)} smaller ones, {len(unreadable)} that cannot be read)"
        )
    return FolderImages(images, skipped, unreadable=unreadable)


def left_out(unreadable: Sequence[Path]) -> str:
    """How many files could not be read, and their names, to be appended to a description."""
    if not unreadable:
        return ""
    names = ", ".join(map(str, unreadable))
    return f"; {len(unreadable)} left out, cannot be read: {names}"


def image_files(folder: Path) -> list[Path]:
    """The folder's files with the suffix of an image, by name. Raises InputError."""
    with translated(str(folder)):
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def read_rgb(path: Path) -> Pixels:
    """The image as uint8 [height, width, 3]. Raises InputError, also for more than 179 megapixels,
    which is Pillow's limit."""
    check_is_file(path)
    with translated(str(path)), Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
