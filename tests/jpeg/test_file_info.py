"""What is said of a JPEG file is what its encoder was told."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.jpeg.file_info import file_info, thumbnail
from ncml_codec.jpeg.quality import quality_estimate
from tests.builders.edits import edited
from tests.builders.jpeg_files import drawn_jpeg
from tests.builders.jpeg_law import read_and_written
from tests.builders.pictures import valley


def encoded(mode: str = "RGB", **settings: object) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(valley(50, 60, 37, 45)).convert(mode)
    picture.save(out, "JPEG", **settings)  # type: ignore[arg-type]
    return out.getvalue()


def info_of(data: bytes) -> jpeg.FileInfo:
    info = file_info(jpeg.read(data).recipe)
    assert sum(info.metadata.values()) + info.headers + info.coded == len(data)
    return info


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_of_libjpeg_is_found(quality: int) -> None:
    info = info_of(encoded(quality=quality))
    assert (info.quality, info.quality_exact) == (quality, True)


def test_the_quality_of_other_tables_is_about_right_or_none() -> None:
    steps = jpeg.read(encoded(quality=85)).layout.quantisation.astype(np.int64)
    assert quality_estimate((steps + (steps > 8)).astype(np.uint16)) in [(84, False), (85, False)]
    assert quality_estimate(np.full((3, 64), 7, np.uint16)) == (None, False)
    assert quality_estimate(np.ones((3, 64), np.uint16)) == (100, True)
    # Luminance alone is compared where all components share its table.
    assert quality_estimate(steps[[0, 0, 0]].astype(np.uint16)) == (85, True)


@pytest.mark.parametrize(
    ("mode", "subsampling", "sampling", "colours"),
    [
        ("RGB", 0, "4:4:4", "YCbCr"),
        ("RGB", 1, "4:2:2", "YCbCr"),
        ("RGB", 2, "4:2:0", "YCbCr"),
        ("L", -1, "4:0:0", "grey"),
        ("CMYK", -1, "4:4:4:4", "CMYK"),
    ],
)
def test_size_sampling_and_colours(
    mode: str, subsampling: int, sampling: str, colours: str
) -> None:
    for progressive in (False, True):
        info = info_of(encoded(mode, subsampling=subsampling, progressive=progressive))
        assert (info.width, info.height) == (45, 37)
        assert (info.sampling, info.colours, info.progressive) == (sampling, colours, progressive)
        assert (info.scans > 1) == progressive
    restarting = info_of(encoded(mode, restart_marker_blocks=3))
    assert (info.restart_interval, restarting.restart_interval) == (0, 3)


def test_a_frame_in_rgb_is_told_by_its_marker() -> None:
    assert info_of(encoded(keep_rgb=True)).colours == "RGB"


def test_metadata_is_counted_by_kind() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = encoded(exif=exif, icc_profile=b"p" * 70000, xmp=b"<x/>", comment=b"words", extra=b"")
    info = info_of(data + b"\0\0\0\x18ftypmp42")
    assert list(info.metadata) == ["JFIF", "EXIF", "XMP", "ICC", "comment", "video"]
    assert info.metadata["ICC"] == 70000 + 2 * 18
    assert info.metadata["comment"] == 4 + 5
    assert info.metadata["video"] == 12
    assert info_of(data + data).metadata["further images"] == len(data)
    assert info_of(data + b"!").metadata["trailing bytes"] == 1
    assert "unread" in info_of(data[:-9] + b"\xff").metadata


def test_the_thumbnail_within_exif_is_found() -> None:
    small = encoded("L")
    for order, text in (("little", b"II*\0"), ("big", b"MM\0*")):

        def number(value: int, size: int, order: str = order) -> bytes:
            return value.to_bytes(size, order)  # type: ignore[arg-type]

        directory = number(0, 2) + number(14, 4)
        entries = [
            number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4)
            for tag, value in ((0x0201, 44), (0x0202, len(small)))
        ]
        second = number(2, 2) + b"".join(entries) + number(0, 4)
        exif = b"Exif\0\0" + text + number(8, 4) + directory + second + small
        data = encoded(exif=exif)
        recipe = jpeg.read(data).recipe
        assert thumbnail(recipe) == small
        assert info_of(data).thumbnail == len(small)
    assert thumbnail(jpeg.read(encoded()).recipe) is None


def test_any_file_that_is_read_is_described() -> None:
    described = 0
    for number in range(300):
        chance = random.Random(number)
        read = read_and_written(edited(chance, drawn_jpeg(chance).data), "auto")
        if read is not None:
            file_info(read.recipe)
            described += 1
    assert described > 100
