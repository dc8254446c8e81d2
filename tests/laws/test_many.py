"""Many images at once give what each gives alone, in order."""

from __future__ import annotations

import doctest
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import ncml_codec
from ncml_codec import process_pool
from ncml_codec.errors import FormatError, NcmlError
from ncml_codec.process_pool import compress_many, decompress_many

IMAGES = [np.full((4, 5 + i), 9 * i, np.uint8) for i in range(5)]


def test_the_documentation_runs() -> None:
    found = doctest.testmod(process_pool)
    assert found.attempted > 3
    assert found.failed == 0


def test_paths_may_stand_for_images_and_files(tmp_path: Path) -> None:
    image, file = tmp_path / "a.pgm", tmp_path / "a.ncmz"
    image.write_bytes(b"P5 2 1\n255\n\x07\x09")
    (data,) = compress_many([image], level=1)
    file.write_bytes(data)
    (array,) = decompress_many([str(file)])
    assert array.tolist() == [[7, 9]]


@pytest.mark.parametrize("processes", [1, 2])
def test_each_file_is_the_one_made_alone(processes: int) -> None:
    files = list(compress_many(IMAGES, level=1, processes=processes))
    assert files == [ncml_codec.compress(image, level=1) for image in IMAGES]
    back = list(decompress_many(files, processes=processes))
    assert all(np.array_equal(a, b) for a, b in zip(back, IMAGES, strict=True))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_file_raises_when_its_turn_comes(processes: int) -> None:
    good = ncml_codec.compress(IMAGES[0], level=1)
    results = decompress_many([good, b"nothing", good], processes=processes)
    assert np.array_equal(next(results), IMAGES[0])
    with pytest.raises(FormatError):
        next(results)
    assert np.array_equal(next(results), IMAGES[0])
    with pytest.raises(StopIteration):
        next(results)


def deadly(number: int) -> int:
    """Ends its process for 1 and 4, and has no memory for 2."""
    if number in (1, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 2:
        raise MemoryError
    return 10 * number


def test_a_killed_process_costs_its_image_alone() -> None:
    results = process_pool._each(deadly, range(6), 2)
    assert next(results) == 0
    with pytest.raises(NcmlError, match="image 1: a process"):
        next(results)
    with pytest.raises(MemoryError):
        next(results)
    assert next(results) == 30
    with pytest.raises(NcmlError, match="image 4: a process"):
        next(results)
    assert list(results) == [50]
