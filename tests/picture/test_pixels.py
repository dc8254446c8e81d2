"""Image files: the same samples and metadata through every format, and honest refusals."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ncml_codec.errors import InputError, UnsupportedImage, UsageError
from ncml_codec.picture.image_files import decode_file, encode_file, from_array
from ncml_codec.picture.kinds import Kind
from tests.builders.pictures import valley


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
    [("CMYK", "TIFF", "CMYK"), ("F", "TIFF", "32 bits"), ("I;16B", "TIFF", None)],
)
def test_other_kinds_are_refused_by_name(mode: str, kind: str, reason: str | None) -> None:
    image = Image.new(mode, (5, 4))
    data = saved(image, kind)
    if reason is None:
        assert decode_file(data, "odd.file").kind == Kind(0, 16)
        return
    with pytest.raises(UnsupportedImage, match=reason):
        decode_file(data, "odd.file")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("LA", "TIFF"),
        ("P", "TIFF"),
        ("P", "BMP"),
        ("1", "TIFF"),
    ],
)
def test_pillow_gives_other_kinds_exactly(mode: str, kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    array = valley(0, 0, 13, 7)
    alpha = (array[:, :, :1] ^ 90) & 254
    made = {
        "RGBA": np.concatenate([array, alpha], axis=2),
        "LA": np.concatenate([array[:, :, :1], alpha], axis=2),
        "P": array[:, :, 0],
        "1": array[:, :, 0] > 120,
    }[mode]
    image = Image.fromarray(made)
    if mode == "P":
        image = image.convert("L")
        image.putpalette(bytes(range(256)) * 3)
    picture = decode_file(saved(image, kind, **options), "odd.file")
    assert np.array_equal(picture.samples.reshape(made.shape), made)
    if mode == "P":
        assert picture.chunks[0] == (b"PLTE", bytes(range(256)) * 3)


def test_a_tiff_that_pillow_would_cut_is_refused() -> None:
    samples = np.arange(60, dtype=np.uint16).reshape(4, 5, 3) * 1000
    data = imagecodecs_tiff(samples)
    with pytest.raises(UnsupportedImage, match="16 bits"):
        decode_file(data, "deep.tif")


def imagecodecs_tiff(samples: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """A TIFF of 16-bit RGB, one strip, by hand: Pillow does not write such."""
    height, width, planes = samples.shape
    strip = samples.astype("<u2").tobytes()
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8 + len(strip)),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, planes),
        (278, 3, 1, height),
        (279, 4, 1, len(strip)),
    ]
    bits = struct.pack("<3H", 16, 16, 16)
    at = 8 + len(strip) + len(bits)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", at) + strip + bits + directory


def test_an_oriented_tiff_is_refused_not_turned() -> None:
    data = saved(Image.fromarray(valley(0, 0, 6, 9)), "TIFF", tiffinfo={274: 6})
    with pytest.raises(UnsupportedImage, match="orientation 6"):
        decode_file(data, "turned.tif")


def test_lossy_files_are_taken_for_their_pixels_if_asked_for() -> None:
    image = Image.fromarray(valley(0, 0, 16, 24))
    exif = Image.Exif()
    exif[0x0112] = 6  # an orientation, which is kept and not applied
    for kind in ("JPEG", "WEBP"):
        data = saved(image, kind, quality=50, exif=exif.tobytes(), icc_profile=b"icc!" * 9)
        picture = decode_file(data, "photo", decoded=True)
        with Image.open(io.BytesIO(data)) as decoded:
            assert np.array_equal(picture.samples, np.asarray(decoded))
        assert {kind for kind, _ in picture.chunks} == {b"iCCP", b"eXIf", b"IDAT"}


def test_a_transparent_colour_is_a_chunk() -> None:
    data = saved(Image.new("RGB", (4, 4)), "PNG", transparency=(0, 1, 2))
    picture = decode_file(data, "keyed.png")
    assert (b"tRNS", b"\0\0\0\1\0\2") in picture.chunks
    assert picture.planes == 3


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
        np.zeros((3, 3), np.float32),
        np.zeros((3, 3, 5), np.uint8),
        np.zeros((0, 3), np.uint8),
    ):
        with pytest.raises(UnsupportedImage):
            from_array(array)


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\.jpg"):
        encode_file(from_array(valley(0, 0, 2, 2)), "x.jpg")
