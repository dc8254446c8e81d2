"""Small images: --memory's estimate is above the peak of a whole process, and not far above."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.speed.memory import Case, measured
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import encode_file
from ncml_codec.picture.kinds import PALETTE, Kind
from ncml_codec.picture.picture import Picture, from_array
from tests.builders.pictures import valley

PHOTOGRAPH = valley(0, 0, 320, 480)
RANDOM = np.random.default_rng(0)


def deep() -> Picture:
    noise = RANDOM.integers(0, 64, (300, 300, 4))
    slope = np.add.outer(np.arange(300), np.arange(300))[:, :, None] * np.array([3, 5, 7, 0])
    return from_array((slope + noise + 20000).astype(np.uint16))


def palette() -> Picture:
    blocks = np.kron(RANDOM.integers(0, 200, (40, 40)), np.ones((10, 10), int))
    colours = [(b"PLTE", RANDOM.bytes(768)), (png_chunks.PIXELS, b"")]
    return Picture(blocks.astype(np.uint8)[:, :, None], colours, Kind(PALETTE, 8))


def noise_beside() -> Picture:
    chunks = [(b"zzZz", RANDOM.bytes(1 << 20))] * 4
    return Picture(PHOTOGRAPH[:64, :64], [*chunks, (png_chunks.PIXELS, b"")])


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("level", [1, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("picture", "suffix"),
    [
        (lambda: from_array(PHOTOGRAPH), ".png"),
        (lambda: from_array(PHOTOGRAPH), ".ppm"),
        (lambda: from_array(PHOTOGRAPH), ".webp"),
        (lambda: from_array(PHOTOGRAPH), ".tif"),
        (lambda: from_array(np.ascontiguousarray(PHOTOGRAPH[:, :, :1])), ".png"),
        (deep, ".png"),
        (palette, ".png"),
        (noise_beside, ".png"),
    ],
    ids=["png", "ppm", "webp", "tiff", "grey", "16-bit", "palette", "metadata"],
)
def test_the_estimate_is_above_the_peak_and_within_1_7_of_it(
    picture: Callable[[], Picture], suffix: str, level: int
) -> None:
    def write(path: Path) -> None:
        path.write_bytes(encode_file(picture(), str(path)))

    for taken in measured(Case("small", write, level, 1, suffix=suffix)):
        assert taken.peak < taken.estimate < 1.7 * taken.peak, taken


def jpeg(picture: Picture, path: Path) -> None:
    Image.fromarray(picture.samples.squeeze()).save(path, "JPEG", quality=92, subsampling=0)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: jpeg(from_array(PHOTOGRAPH), path),
        lambda path: jpeg(from_array(np.tile(PHOTOGRAPH, (4, 4, 1))), path),
        lambda path: jpeg(from_array(RANDOM.integers(0, 256, (1500, 1500, 1), np.uint8)), path),
        lambda path: path.write_bytes(b"\xff\xd8\xff" + RANDOM.bytes(4 << 20)),
        lambda path: path.write_bytes(b"\xff\xd8\xff" + bytes(16 << 20)),
    ],
    ids=["photograph", "tiles", "noise", "kept whole", "kept whole, zeros"],
)
def test_the_estimate_for_jpeg_files_is_above_the_peak_and_not_far(
    write: Callable[[Path], None], threads: int
) -> None:
    for taken in measured(Case("JPEG", write, 5, threads, suffix=".jpg")):
        assert taken.peak < taken.estimate < 1.6 * taken.peak, taken
