"""JPEG files come back bit for bit, or are refused; native code and the reference agree."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.errors import FormatError, UnsupportedImage
from ncml_codec.jpeg.jpeg_file import why_not_native

DATA = Path(os.environ.get("NCML_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
ENGINES = ["python", *(["native"] if why_not_native() is None else [])]


def encoded(mode: str, **settings: object) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (7, 10, 3), np.uint8)
    image = Image.fromarray(noise).resize((45, 35), Image.Resampling.BICUBIC).convert(mode)
    out = io.BytesIO()
    image.save(out, "JPEG", **settings)  # type: ignore[arg-type]
    return out.getvalue()


def check(data: bytes) -> jpeg.Jpeg:
    """Every engine gives the same coefficients and recipe, and the file."""
    results = [jpeg.read(data, engine=engine) for engine in ENGINES]
    for engine, result in zip(ENGINES, results, strict=True):
        assert result.recipe == results[0].recipe
        for ours, first in zip(result.coefficients, results[0].coefficients, strict=True):
            np.testing.assert_array_equal(ours, first)
        assert jpeg.Recipe.unpack(result.recipe.pack()) == result.recipe
        assert jpeg.write(result, engine=engine) == data
    return results[0]


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
        try:
            check(data[:length])
        except FormatError:
            continue
        came_back += 1
    assert came_back > len(data) // 4


def test_arithmetic_coding_is_refused_with_the_reason() -> None:
    data = encoded("L").replace(b"\xff\xc0", b"\xff\xc9", 1)
    with pytest.raises(UnsupportedImage, match="arithmetic"):
        jpeg.read(data)


def test_a_header_that_claims_more_than_the_file_holds_is_refused() -> None:
    data = encoded("L")
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(FormatError, match="blocks"):
        jpeg.read(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


@pytest.mark.skipif(why_not_native() is not None, reason="slow without native code")
@pytest.mark.parametrize("folder", ["train-jpeg", "valid-jpeg"])
def test_photographs_come_back(folder: str) -> None:
    paths = sorted((DATA / folder).glob("*.jpg"))
    if not paths:
        pytest.skip(f"{folder} is not here")
    for path in paths:
        data = path.read_bytes()
        assert jpeg.write(jpeg.read(data)) == data, path.name
