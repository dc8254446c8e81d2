"""Small pictures that the tests code, and where the real ones are, if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[np.uint8]

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
VALLEY = TESTS / "images" / "valley.png"
GOLDEN = TESTS / "golden"


def real_images(folder: str) -> list[Path]:
    """Files of a folder of real images, from NCML_DATA or ../shared/data; none if not here."""
    root = Path(os.environ.get("NCML_DATA", ROOT.parent / "shared" / "data"))
    return sorted(path for path in (root / folder).glob("*") if path.is_file())


def valley(top: int, left: int, height: int, width: int) -> Samples:
    """A part of the repository's photograph, uint8 [height, width, 3]."""
    with Image.open(VALLEY) as image:
        return np.asarray(image)[top : top + height, left : left + width].copy()


def through_ycbcr(samples: Samples) -> Samples:
    """The samples converted to YCbCr, 8 bits each, and back: on a lattice."""
    return np.asarray(Image.fromarray(samples).convert("YCbCr").convert("RGB"))


def extremes(height: int, width: int) -> dict[str, Samples]:
    """Pictures unlike photographs, each uint8 [height, width, 3]: what breaks sloppy tables."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width]
    board = (255 * ((rows + columns) % 2)).astype(np.uint8)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    black, white = (np.full((height, width, 3), level, np.uint8) for level in (0, 255))
    primaries = 255 * (random.integers(0, 8, (height, width, 1)) >> np.arange(3) & 1)
    spot = black.copy()
    spot[height // 2, width // 2] = 255
    return {
        "noise": noise,
        "black": black,
        "white": white,
        "board": np.repeat(board[:, :, None], 3, axis=2),
        "stripes": np.repeat((255 * (columns % 2)).astype(np.uint8)[:, :, None], 3, axis=2),
        "primaries": primaries.astype(np.uint8),
        "spot": spot,
    }
