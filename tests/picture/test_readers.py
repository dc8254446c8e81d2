"""Band by band or whole, an image file gives the same samples, chunks and errors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ncml_codec.encode.tile_encoder import encode
from ncml_codec.errors import InputError, UnsupportedImage
from ncml_codec.network.model_file import Model
from ncml_codec.picture import pillow_formats, row_readers
from ncml_codec.picture.image_files import Picture, Source, decode_file
from tests.builders.pictures import Samples, real_images, valley


@pytest.fixture(autouse=True)
def bands_from_one_pixel_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images as if they were large."""
    monkeypatch.setattr(row_readers, "WHOLE", 0)
    monkeypatch.setattr(row_readers, "_ROWS", 700)
    monkeypatch.setattr(row_readers, "_PIECE", 1000)


def all_rows(source: Source, step: int) -> Samples:
    tops = range(0, source.height, step)
    return np.concatenate([source.rows(top, min(top + step, source.height)) for top in tops])


def whole_by_rows(path: Path) -> Samples:
    source = row_readers.open_image(path)
    return source.rows(0, source.height)


def saved(path: Path, samples: Samples, **options: object) -> Path:
    Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples).save(path, **options)
    return path


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_bands_are_the_image(tmp_path: Path, planes: int, suffix: str) -> None:
    samples = valley(0, 0, 60, 47)[:, :, :planes]
    path = saved(tmp_path / f"x{suffix}", samples)
    source = row_readers.open_image(path)
    assert not isinstance(source, Picture)
    assert (source.height, source.width, source.planes) == (60, 47, planes)
    for step in (60, 17, 1):  # each begins again at the top
        assert np.array_equal(all_rows(source, step), samples)
    assert np.array_equal(source.rows(50, 60), samples[50:])
    assert np.array_equal(source.rows(3, 9), samples[3:9])


def test_a_file_and_its_picture_give_the_same_bytes(tmp_path: Path, tiny: Model) -> None:
    for suffix in (".png", ".ppm"):
        path = saved(tmp_path / f"x{suffix}", valley(0, 0, 70, 90))
        whole = decode_file(path.read_bytes(), path.name)
        assert encode(row_readers.open_image(path), tiny, tile_exponent=5) == encode(
            whole, tiny, tile_exponent=5
        )


def test_metadata_is_that_of_the_whole_file(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody", zip=False)
    info.add(b"prVt", b"after", after_idat=True)
    path = saved(tmp_path / "x.png", valley(0, 0, 9, 9), pnginfo=info, dpi=(72, 72))
    chunks = list(row_readers.open_image(path).chunks)
    assert chunks == list(decode_file(path.read_bytes(), "x.png").chunks)
    assert chunks[-1] == (b"prVt", b"after")


def test_comments_in_a_ppm_are_skipped(tmp_path: Path) -> None:
    samples = valley(0, 0, 4, 5)
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6\n# made by hand\n5 4\n# and more\n255\n" + samples.tobytes())
    assert row_readers.size_of(path) == 20
    assert np.array_equal(row_readers.open_image(path).rows(0, 4), samples)


def test_other_formats_are_read_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bmp", valley(0, 0, 9, 9))
    assert isinstance(row_readers.open_image(path), Picture)


@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_cut_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"x{suffix}", valley(0, 0, 60, 47))
    data = path.read_bytes()
    for length in (*range(60), len(data) // 2, len(data) - 5):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=path.name):
            row_readers.open_image(path)


def test_damaged_image_data_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", valley(0, 0, 60, 47))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="checksum"):
        row_readers.open_image(path)


@pytest.mark.parametrize("content", [b"no zlib at all", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_sound_chunks_with_bad_content_are_refused(tmp_path: Path, content: bytes) -> None:
    from ncml_codec.picture import png_chunks

    path = saved(tmp_path / "x.png", valley(0, 0, 6, 7))
    data = path.read_bytes()
    start = data.index(b"IDAT") - 4
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + png_chunks.chunk(b"IDAT", content) + data[end:])
    with pytest.raises(InputError, match=r"x\.png"):
        row_readers.open_image(path).rows(0, 6)


def test_more_pixels_than_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", 80)
    for suffix in (".png", ".ppm", ".bmp"):
        path = saved(tmp_path / f"x{suffix}", valley(0, 0, 10, 10))
        with pytest.raises(InputError, match="limit of 90"):
            row_readers.open_image(path, 90)
        saved(path, valley(0, 0, 9, 10))
        assert row_readers.open_image(path, 90).height == 9


def test_pillows_own_limits_do_not_apply_and_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pillow warns beyond its limit, an error under pytest, and refuses beyond twice that."""
    out = io.BytesIO()
    Image.fromarray(valley(0, 0, 10, 10)).save(out, "BMP")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    monkeypatch.setattr(pillow_formats, "_BAND", 1)
    assert decode_file(out.getvalue(), "x.bmp").height == 10
    assert Image.MAX_IMAGE_PIXELS == 30


@pytest.mark.skipif(not real_images("pngsuite"), reason="PngSuite is not here")
def test_pngsuite_is_the_same_in_bands() -> None:
    in_bands = 0
    for path in real_images("pngsuite"):
        if path.suffix != ".png":
            continue
        try:
            whole = decode_file(path.read_bytes(), str(path))
        except (UnsupportedImage, InputError) as error:
            with pytest.raises(type(error)):
                whole_by_rows(path)
            continue
        source = row_readers.open_image(path)
        in_bands += not isinstance(source, Picture)
        assert np.array_equal(all_rows(source, 5), whole.samples)
        assert list(source.chunks) == list(whole.chunks)
    assert in_bands >= 15
