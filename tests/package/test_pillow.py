"""Pillow reads and writes `.ncmz`: lazily, within its limits, with the same pixels."""

from __future__ import annotations

import doctest
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import ncml_codec
from ncml_codec.encode import image_encoder
from ncml_codec.format.container import Section
from ncml_codec.format.directory import read_directory
from ncml_codec.integrations import pillow
from ncml_codec.network import released_models
from ncml_codec.picture.image_files import decode_file
from ncml_codec.picture.kinds import Kind
from tests.builders import kinds_of_images
from tests.builders.pictures import valley

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7)


def coded(pixels: npt.NDArray[np.uint8]) -> io.BytesIO:
    return io.BytesIO(ncml_codec.compress(pixels, level=1))


def test_the_documentation_runs() -> None:
    assert doctest.testmod(pillow).failed == 0


@pytest.mark.parametrize("pixels", [GREY, np.stack([GREY, GREY + 1, GREY * 3], 2)])
def test_pillow_opens_what_the_codec_wrote(pixels: npt.NDArray[np.uint8]) -> None:
    image = Image.open(coded(pixels))
    assert image.format == "NCMZ"
    assert image.size == (7, 5)
    assert np.array_equal(np.asarray(image), pixels)


def test_the_codec_reads_what_pillow_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.ncmz"
    Image.fromarray(GREY).save(path, level=1)
    assert np.array_equal(ncml_codec.decompress(path.read_bytes()), GREY)


def test_a_profile_survives(tmp_path: Path) -> None:
    path = tmp_path / "a.ncmz"
    Image.fromarray(GREY).save(path, level=1, icc_profile=b"not a real profile")
    with Image.open(path) as image:
        image.load()
        assert image.info["icc_profile"] == b"not a real profile"


def test_pixels_are_decoded_only_when_they_are_needed() -> None:
    damaged = bytearray(coded(valley(0, 0, 16, 16)).getvalue())
    damaged[-9] ^= 1  # the payload; the header is sound
    image = Image.open(io.BytesIO(damaged))
    assert image.size == (16, 16)
    with pytest.raises(OSError, match="checksum"):
        image.load()


def test_a_damaged_header_is_no_image() -> None:
    damaged = bytearray(coded(GREY).getvalue())
    damaged[9] ^= 1
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(damaged))


def test_pillows_limit_on_pixels_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    file = coded(GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)


def test_copies_and_crops_work_as_of_any_image() -> None:
    image = Image.open(coded(GREY))
    assert np.array_equal(np.asarray(image.crop((1, 1, 4, 3))), GREY[1:3, 1:4])
    assert image.copy().format is None


def test_imageio_reads_and_writes_through_it(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    path = tmp_path / "a.ncmz"
    for pixels in (GREY, valley(0, 0, 5, 7), GREY.astype(np.uint16) * 999):
        path.write_bytes(ncml_codec.compress(pixels, level=1))
        found = imageio.imread(path, plugin="pillow")
        assert found.dtype == pixels.dtype
        assert np.array_equal(found, pixels)
    imageio.imwrite(path, GREY, plugin="pillow", extension=".ncmz")
    assert np.array_equal(ncml_codec.decompress(path.read_bytes()), GREY)


@pytest.mark.parametrize("kind", kinds_of_images.ALL, ids=str)
def test_every_kind_opens_as_its_png_does(kind: Kind, tmp_path: Path) -> None:
    made = kinds_of_images.png_file(kinds_of_images.picture(kind, 12, 9))
    data = image_encoder.encode(decode_file(made, "x.png"), released_models.load("photo"), level=1)
    with Image.open(io.BytesIO(made)) as before, Image.open(io.BytesIO(data)) as after:
        assert (after.mode, after.size) == (before.mode, before.size)
        assert np.array_equal(np.asarray(after), np.asarray(before))


def saved(format: str, size: tuple[int, int] = (400, 300), turn: int = 1) -> bytes:
    """A photograph with profile, EXIF, resolution and, in PNG, text."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turn, "the maker"
    text = PngInfo()
    text.add_text("Title", "a valley")
    file = io.BytesIO()
    extra = {"pnginfo": text} if format == "PNG" else {"quality": 95}
    image = Image.fromarray(valley(0, 0, 300, 400)).resize(size)
    image.save(file, format, icc_profile=b"a profile", exif=exif, dpi=(300, 300), **extra)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_metadata_are_there_before_pixels_are_decoded(format: str) -> None:
    original = saved(format)
    data = bytearray(ncml_codec.compress(original, level=1))
    data[-9] ^= 1  # of the pixels
    with Image.open(io.BytesIO(data)) as found, Image.open(io.BytesIO(original)) as expected:
        assert found.info == expected.info
        assert found.getexif()[0x010F] == "the maker"
        assert {"icc_profile", "exif", "dpi"} <= set(found.info)
        with pytest.raises(OSError, match="checksum"):
            found.load()


def test_damaged_metadata_are_found_with_the_pixels() -> None:
    data = bytearray(ncml_codec.compress(saved("PNG"), level=1))
    begin, _ = read_directory(bytes(data)).sections[Section.METADATA]
    data[begin + 5] ^= 1
    with Image.open(io.BytesIO(data)) as found:
        assert found.info == {}
        with pytest.raises(OSError, match="metadata"):
            found.load()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_thumbnails_are_made_of_the_preview(format: str) -> None:
    data = bytearray(ncml_codec.compress(saved(format), level=1, preview=128))
    data[-9] ^= 1  # of the pixels, which are not needed
    held = ncml_codec.preview(data)
    assert held is not None
    with Image.open(io.BytesIO(data)) as found:
        found.thumbnail((held.width // 2, held.height // 2))
        assert found.size == (held.width // 2, held.height // 2)
        assert found.getexif()[0x010F] == "the maker"
    with Image.open(io.BytesIO(data)) as large, pytest.raises(OSError, match="checksum"):
        large.thumbnail((200, 200))


def test_a_preview_that_is_turned_is_no_thumbnail_of_what_is_not() -> None:
    data = ncml_codec.compress(saved("PNG", turn=6), level=1, preview=128)
    assert ncml_codec.preview(data) is not None
    with Image.open(io.BytesIO(data)) as found:
        found.thumbnail((32, 32))
        assert found.size == (32, 24)


def test_several_frames_are_refused_and_one_is_saved(tmp_path: Path) -> None:
    path, image = tmp_path / "a.ncmz", Image.fromarray(GREY)
    image.save(path, save_all=True, level=1)
    assert np.array_equal(ncml_codec.decompress(path), GREY)
    with pytest.raises(ValueError, match="one image, not 2"):
        image.save(tmp_path / "b.ncmz", save_all=True, append_images=[image])
