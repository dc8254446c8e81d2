"""Image files: the same samples and metadata through every format, and honest refusals."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ncml_codec import png
from ncml_codec.errors import InputError, UnsupportedImage, UsageError
from ncml_codec.pixels import decode_file, encode_file, from_array
from tests.pictures import real_images, valley


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"])
def test_rgb_comes_back_through_every_format(suffix: str) -> None:
    picture = from_array(valley(0, 0, 13, 7))
    data = encode_file(picture, "x" + suffix)
    assert np.array_equal(decode_file(data, "x" + suffix).samples, picture.samples)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_grey_comes_back_as_grey(suffix: str) -> None:
    picture = from_array(valley(0, 0, 13, 7)[:, :, 0])
    data = encode_file(picture, "x" + suffix)
    again = decode_file(data, "x" + suffix)
    assert again.planes == 1
    assert np.array_equal(again.samples, picture.samples)


def test_png_metadata_comes_back() -> None:
    image = Image.fromarray(valley(0, 0, 9, 9))
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    original = saved(
        image, "PNG", pnginfo=info, icc_profile=b"icc" * 40, exif=exif.tobytes(), dpi=(72, 72)
    )
    picture = decode_file(original, "in.png")
    again = encode_file(picture, "out.png")
    with Image.open(io.BytesIO(again)) as restored, Image.open(io.BytesIO(original)) as before:
        before.load()
        restored.load()
        assert restored.info == before.info
        assert restored.info["icc_profile"] == b"icc" * 40
        assert restored.getexif()[0x010E] == "a description"


def test_webp_and_tiff_keep_profile_and_exif() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image = Image.fromarray(valley(0, 0, 9, 9))
    original = saved(image, "WEBP", lossless=True, icc_profile=b"icc!" * 9, exif=exif.tobytes())
    picture = decode_file(original, "in.webp")
    for name in ("out.webp", "out.png", "out.tif"):
        with Image.open(io.BytesIO(encode_file(picture, name))) as restored:
            assert restored.info["icc_profile"] == b"icc!" * 9
            if name != "out.tif":
                assert restored.getexif()[0x010E] == "a description"


@pytest.mark.parametrize(
    ("mode", "kind", "reason"),
    [
        ("RGBA", "PNG", "alpha"),
        ("LA", "PNG", "alpha"),
        ("P", "PNG", "palette"),
        ("1", "PNG", "1 bits"),
        ("I;16", "PNG", "16 bits"),
        ("CMYK", "TIFF", "CMYK"),
        ("RGBA", "WEBP", "RGBA"),
        ("F", "TIFF", "mode F"),
    ],
)
def test_other_kinds_are_refused_by_name(mode: str, kind: str, reason: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.new(mode, (5, 4))
    if mode == "RGBA":
        image.putpixel((1, 1), (1, 2, 3, 4))
    data = saved(image, kind, **options)
    with pytest.raises(UnsupportedImage, match=reason):
        decode_file(data, "odd.file")


def test_a_transparent_colour_is_refused() -> None:
    data = saved(Image.new("RGB", (4, 4)), "PNG", transparency=(0, 0, 0))
    with pytest.raises(UnsupportedImage, match="transparent"):
        decode_file(data, "keyed.png")


def test_animations_are_refused() -> None:
    frames = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 200)]
    for kind in ("PNG", "WEBP", "TIFF"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.raises(UnsupportedImage):
            decode_file(data, "moving")


def test_lossy_files_are_refused_with_the_reason() -> None:
    image = Image.fromarray(valley(0, 0, 16, 16))
    with pytest.raises(InputError, match="JPEG"):
        decode_file(saved(image, "JPEG"), "photo.jpg")
    with pytest.raises(UnsupportedImage, match="lossy WebP"):
        decode_file(saved(image, "WEBP", quality=50), "photo.webp")


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(50)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="file"):
        decode_file(data, "file")


def test_damaged_pixels_are_refused() -> None:
    data = saved(Image.fromarray(valley(0, 0, 30, 30)), "TIFF")
    with pytest.raises(InputError):
        decode_file(data[: len(data) // 2], "cut.tif")


def test_arrays_of_other_types_are_refused() -> None:
    for array in (
        np.zeros((3, 3), np.uint16),
        np.zeros((3, 3, 4), np.uint8),
        np.zeros((0, 3), np.uint8),
    ):
        with pytest.raises(UnsupportedImage):
            from_array(array)


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\.jpg"):
        encode_file(from_array(valley(0, 0, 2, 2)), "x.jpg")


@pytest.mark.skipif(not real_images("pngsuite"), reason="PngSuite is not here")
def test_pngsuite_is_coded_or_refused_by_property() -> None:
    counts = {"coded": 0, "refused": 0, "damaged": 0}
    for path in real_images("pngsuite"):
        if path.suffix != ".png":
            continue
        data = path.read_bytes()
        try:
            picture = decode_file(data, path.name)
        except UnsupportedImage as error:
            kind, message = "refused", str(error)
        except InputError as error:
            kind, message = "damaged", str(error)
        else:
            _same_picture(path, data, encode_file(picture, path.name))
            kind, message = "coded", path.name
        assert (kind == "damaged") == path.name.startswith("x"), message
        assert path.name in message
        counts[kind] += 1
    assert counts["damaged"] == 14
    assert counts["coded"] >= 25
    assert sum(counts.values()) == 176


def _same_picture(path: Path, before: bytes, after: bytes) -> None:
    old_header, old_chunks = png.split(before, path.name)
    new_header, new_chunks = png.split(after, path.name)
    assert (old_header.width, old_header.height) == (new_header.width, new_header.height)
    assert (old_header.bit_depth, old_header.colour_type) == (8, new_header.colour_type)
    assert old_chunks == new_chunks
    with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
        assert one.mode == other.mode
        assert np.array_equal(np.asarray(one), np.asarray(other))
