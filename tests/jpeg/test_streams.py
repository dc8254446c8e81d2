"""JPEG files come back bit for bit, or are refused; native code and the reference agree."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.errors import FormatError, UnreadableJpeg
from ncml_codec.jpeg.jpeg_file import why_not_native
from tests.builders.jpeg_law import ENGINES, read_alike

DATA = Path(os.environ.get("NCML_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def encoded(mode: str, **settings: object) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (7, 10, 3), np.uint8)
    image = Image.fromarray(noise).resize((45, 35), Image.Resampling.BICUBIC).convert(mode)
    out = io.BytesIO()
    image.save(out, "JPEG", **settings)  # type: ignore[arg-type]
    return out.getvalue()


def check(data: bytes) -> jpeg.Jpeg:
    """Every engine gives the same coefficients and recipe, and the file."""
    read = read_alike(data)
    assert read is not None
    return read


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    ("mode", "subsampling"), [("L", 0), ("CMYK", 0), ("RGB", 0), ("RGB", 1), ("RGB", 2)]
)
def test_files_by_pillow_come_back(
    mode: str, subsampling: int, progressive: bool, restart: int
) -> None:
    data = encoded(
        mode,
        quality=90,
        progressive=progressive,
        restart_marker_blocks=restart,
        **({"subsampling": subsampling} if mode == "RGB" else {}),
    )
    assert check(data).recipe.cut is None
    assert check(data + b"behind the end").recipe.tail == b"behind the end"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_cut_short_anywhere_comes_back_or_is_refused(progressive: bool) -> None:
    data = encoded("RGB", quality=50, progressive=progressive, restart_marker_blocks=2)
    came_back = 0
    for length in range(len(data)):
        came_back += read_alike(data[:length]) is not None
    assert came_back > len(data) // 4


def test_a_height_behind_a_damaged_first_scan_is_refused() -> None:
    """The tail would hold the segment that gives the height, so no recipe would say it."""
    data = encoded("L")
    at = data.index(b"\xff\xc0") + 5
    height = data[at : at + 2]
    late = data[:at] + b"\0\0" + data[at + 2 : -2] + b"\xff\xdc\0\4" + height + b"\xff\xd9"
    assert check(late).layout.frame.height == 35
    for engine in ENGINES:
        with pytest.raises(UnreadableJpeg, match="behind which its height stands"):
            jpeg.read(late[:-20] + late[-8:], engine=engine)


def test_arithmetic_coding_is_refused_with_the_reason() -> None:
    data = encoded("L").replace(b"\xff\xc0", b"\xff\xc9", 1)
    with pytest.raises(UnreadableJpeg, match="arithmetic"):
        jpeg.read(data)


def test_a_recipe_for_arithmetic_coding_is_a_format_error() -> None:
    recipe = jpeg.read(encoded("L")).recipe
    arithmetic = replace(recipe, markers=recipe.markers.replace(b"\xff\xc0", b"\xff\xc9", 1))
    with pytest.raises(FormatError, match="arithmetic"):
        jpeg.layout(arithmetic)


def test_a_header_that_claims_more_than_the_file_holds_is_refused() -> None:
    data = encoded("L")
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(UnreadableJpeg, match="blocks"):
        jpeg.read(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not here")
@pytest.mark.parametrize(
    "options",
    [
        ["-optimize"],
        ["-progressive"],
        ["-progressive", "-restart", "1"],
        ["-restart", "3B"],
        ["-grayscale"],
        ["-rotate", "90", "-trim"],
        ["-crop", "17x9+16+16"],
    ],
)
@pytest.mark.parametrize("subsampling", [0, 2])
def test_files_rewritten_by_jpegtran_come_back(subsampling: int, options: list[str]) -> None:
    data = encoded("RGB", quality=85, subsampling=subsampling)
    done = subprocess.run(
        ["jpegtran", "-copy", "all", *options], input=data, capture_output=True, check=True
    )
    assert check(done.stdout).recipe.cut is None


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not here")
def test_arithmetic_files_by_jpegtran_are_refused() -> None:
    done = subprocess.run(
        ["jpegtran", "-arithmetic"], input=encoded("L"), capture_output=True, check=True
    )
    with pytest.raises(UnreadableJpeg, match="arithmetic"):
        jpeg.read(done.stdout)


@pytest.mark.skipif(why_not_native() is not None, reason="slow without native code")
@pytest.mark.parametrize("folder", ["train-jpeg", "valid-jpeg"])
def test_photographs_come_back(folder: str) -> None:
    paths = sorted((DATA / folder).glob("*.jpg"))
    if not paths:
        pytest.skip(f"{folder} is not here")
    for path in paths:
        data = path.read_bytes()
        assert jpeg.write(jpeg.read(data)) == data, path.name
