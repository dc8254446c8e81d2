"""Images to measure on, with every sample that their files hold.

Read by imagecodecs, not by our own reader, which is under test: Pillow would cut 16 bits to 8.
Palettes and fewer than 8 bits are expanded to 8-bit samples, as every codec here sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ncml_codec.errors import InputError

SUFFIXES = {".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}


@dataclass(frozen=True)
class Subject:
    """An image. name: of its file; folder: the file's folder's name; data: the file's bytes;
    samples: uint8 or uint16 [height, width, planes], 1 to 4 planes, grey or RGB, alpha last."""

    name: str
    folder: str
    data: bytes
    samples: npt.NDArray[Any]


def image_files(folders: Sequence[Path], limit: int | None = None) -> list[Path]:
    """The image files of the folders, by name; the first `limit` of each folder.

    Raises InputError if a folder is missing or holds none.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of images")
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"{folder}: no image files ({' '.join(sorted(SUFFIXES))})")
        found += files[:limit]
    return found


def read_subject(path: Path) -> Subject:
    """The image of a file. Raises InputError if it cannot be read, or is no lossless image."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".png":
            samples = np.asarray(imagecodecs.png_decode(data))
        else:
            with Image.open(path) as image:
                samples = np.asarray(image)
    except (OSError, UnidentifiedImageError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an image: {error}") from error
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.dtype == bool:
        samples = samples.astype(np.uint8) * 255
    if samples.dtype not in (np.uint8, np.uint16) or not 1 <= samples.shape[2] <= 4:
        raise InputError(f"{path}: samples of type {samples.dtype}, shape {samples.shape}")
    return Subject(path.name, path.resolve().parent.name, data, np.ascontiguousarray(samples))
