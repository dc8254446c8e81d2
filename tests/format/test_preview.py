"""Previews: seen without decoding, small, upright, and never in the way of the image."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ncml_codec
from ncml_codec.decode import image_decoder, salvage
from ncml_codec.decode.preview import of_bytes, of_file
from ncml_codec.encode import image_encoder, jpeg_encoder, preview, tile_encoder
from ncml_codec.errors import ChecksumMismatch, FormatError, UnreadableJpeg
from ncml_codec.format import container, directory, kept_file
from ncml_codec.format.container import MAX_PREVIEW, Section
from ncml_codec.network.model_file import read_model
from ncml_codec.picture import exif, kinds
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, from_array
from tests.builders import kinds_of_images
from tests.builders.pictures import GOLDEN, Samples, valley
from tests.builders.sealing import with_checksums
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.reading import Refused

MODEL_FILE = (GOLDEN / "tiny.ncpn").read_bytes()
TINY = read_model(MODEL_FILE)
PIXELS = valley(0, 0, 60, 90)
SMALL = tile_encoder.encode(from_array(PIXELS), TINY)
NAMED = pytest.mark.parametrize("kind", kinds_of_images.ALL, ids=str)


def webp(size: tuple[int, int] = (9, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, "WEBP")
    return out.getvalue()


def holding(data: bytes, content: bytes) -> bytes:
    """The file with these bytes as its preview."""
    found = directory.read_directory(data)
    if found.kept is not None:
        return kept_file.write(replace(found.kept.read(data), preview=content))
    return container.write(replace(found.read(data), preview=content))


def seen(data: bytes) -> Image.Image:
    found = of_bytes(data)
    assert found is not None
    return found


def large(height: int = 1000, width: int = 1000) -> Samples:
    """A megapixel whose corner at the left and above is bright; cheap to code, not too small."""
    rows, columns = np.mgrid[0:height, 0:width]
    dots = np.random.default_rng(3).integers(0, 40, (height, width))
    return ((rows < height / 2) * (columns < width / 2) * 200 + dots).astype(np.uint8)


def bright_corner(image: Image.Image) -> tuple[bool, bool]:
    """Whether the bright quarter is on the right, and whether it is below."""
    found = np.asarray(image.convert("L")).astype(float)
    height, width = found.shape
    right = found[:, width // 2 :].mean() > found[:, : width // 2].mean()
    return bool(right), bool(found[height // 2 :].mean() > found[: height // 2].mean())


def oriented(turn: int, order: str = "II") -> bytes:
    mark = "little" if order == "II" else "big"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, mark)  # type: ignore[arg-type]

    entry = number(exif.ORIENTATION, 2) + number(3, 2) + number(1, 4) + number(turn, 2) + b"\0\0"
    begin = b"II*\0" if order == "II" else b"MM\0*"
    return begin + number(8, 4) + number(1, 2) + entry + number(0, 4)


def jpeg_file(pixels: Samples, exif_data: bytes = b"") -> bytes:
    out = io.BytesIO()
    extra = {"exif": exif.SIGNATURE + exif_data} if exif_data else {}
    Image.fromarray(pixels).save(out, "JPEG", quality=90, **extra)
    return out.getvalue()


def with_thumbnail(small: bytes) -> bytes:
    """EXIF data that turns the image by 6 and holds a thumbnail."""
    first = oriented(6)[:-4]
    second = len(first) + 4
    entries = [
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in ((0x0201, second + 30), (0x0202, len(small)))
    ]
    return first + second.to_bytes(4, "little") + b"\2\0" + b"".join(entries) + bytes(4) + small


def test_images_from_a_megapixel_have_one_unless_told_otherwise() -> None:
    data = image_encoder.encode(from_array(large()), level=1)
    found = seen(data)
    assert max(found.size) <= preview.SIDE
    assert bright_corner(found) == (False, False)
    image_encoder.verify(data, from_array(large()))
    _, length = directory.read_directory(data).sections[Section.PREVIEW]
    assert 0 < length <= min(MAX_PREVIEW, len(data) // 100)
    without = replace(directory.read(data), preview=b"")
    again = preview.with_preview(container.write(without), from_array(large()))
    assert again == data
    for size, side in ((large(999), None), (large(), preview.NONE)):
        bare = container.write(without)
        assert preview.with_preview(bare, from_array(size), side) == bare


@NAMED
def test_every_kind_of_image_is_shown(kind: Kind) -> None:
    # The same image of every kind: dark, and bright at the left and above.
    picture = kinds_of_images.picture(kind, 120, 180)
    samples = np.zeros_like(picture.samples)
    samples[:60, :90] = 2**kind.bit_depth - 1
    if kind.channels in (2, 4):
        samples[:, :, -1] = 2**kind.bit_depth - 1
    chunks = list(picture.chunks)
    if kind.colour_type == kinds.PALETTE:
        palette = bytes(v for v in range(2**kind.bit_depth) for _ in range(3))
        top = bytes([*palette[:-3], 255, 255, 255])
        chunks = [(b"PLTE", top)]
    small = preview.packed(preview.reduced(Picture(samples, chunks, kind), 64), 64, MAX_PREVIEW)
    found = seen(holding(SMALL, small))
    assert found.size == (64, 43)
    assert bright_corner(found) == (False, False)
    assert np.asarray(found.convert("L"))[10, 10] > 230
    assert np.asarray(found.convert("L"))[-5, -5] < 25


@pytest.mark.parametrize("turn", range(1, 9))
def test_it_is_upright(turn: int) -> None:
    # Where the corner at the left and above goes: Exif 2.32, tag 0x0112.
    at = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    right, below = map(bool, at[turn])
    picture = Picture(large(60, 90)[:, :, None], [(b"eXIf", oriented(turn, "MM")), (b"IDAT", b"")])
    found = seen(holding(SMALL, preview.of_picture(picture, 64, MAX_PREVIEW)))
    assert bright_corner(found) == (right, below)
    assert (found.height > found.width) == (turn > 4)


def test_files_and_images_without_room_have_none() -> None:
    picture = from_array(large(60, 90))
    assert len(SMALL) < 10_000
    assert preview.with_preview(SMALL, picture, 64) == SMALL, "1 % of it is too few bytes"
    data = SMALL + bytes(1 << 19)
    assert preview.with_preview(data, from_array(large(2, 900)), 256) == data, "too thin to see"


def test_of_a_jpeg_file_exif_serves_without_a_copy() -> None:
    small = jpeg_file(large(100, 150))
    original = jpeg_file(large(), with_thumbnail(small))
    made = jpeg_encoder.encode(original)
    assert Section.PREVIEW not in directory.read_directory(made.data).sections
    found = seen(made.data)
    assert found.size == (100, 150)
    assert bright_corner(found) == (True, False)
    again = jpeg_encoder.encode(original, preview_side=128)
    assert Section.PREVIEW in directory.read_directory(again.data).sections
    for data in (made.data, again.data):
        assert ncml_codec.restore(data) == original


@pytest.mark.parametrize("whole", [False, True])
def test_a_jpeg_file_without_a_thumbnail_has_one(
    whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(data: bytes, blocks_max: int = 0) -> None:
        raise UnreadableJpeg("not handled")

    original = jpeg_file(large(), oriented(3))
    if whole:
        monkeypatch.setattr(jpeg_encoder.jpeg, "read", unreadable)
    made = jpeg_encoder.encode(original)
    assert bool(made.kept_whole) == whole
    assert bright_corner(seen(made.data)) == (True, True)
    jpeg_encoder.verify(made)
    none = jpeg_encoder.encode(original, preview_side=preview.NONE)
    assert of_bytes(none.data) is None
    assert len(none.data) < len(made.data)


def test_damaged_jpeg_files_come_back_with_or_without_one() -> None:
    original = bytearray(jpeg_file(large()))
    original[len(original) // 2 :] = bytes(len(original) // 2)
    for broken in (bytes(original), b"\xff\xd8\xff" + bytes(5000)):
        assert ncml_codec.restore(jpeg_encoder.encode(broken, preview_side=64).data) == broken


def test_a_damaged_preview_is_damage_that_costs_no_pixel() -> None:
    data = bytearray(holding(SMALL, webp()))
    at, length = directory.read_directory(bytes(data)).sections[Section.PREVIEW]
    data[at + length // 2] ^= 1
    with pytest.raises(ChecksumMismatch, match="preview"):
        of_bytes(bytes(data))
    with pytest.raises(ChecksumMismatch, match="preview"):
        image_decoder.decode(bytes(data), [TINY])
    kept = salvage.open_file(bytes(data), [TINY])
    assert np.array_equal(np.concatenate([band.copy() for band in kept.opened.bands]), PIXELS)


@pytest.mark.parametrize("content", [b"x", b"RIFF" + bytes(40), webp((1025, 20)), webp()[:-9]])
def test_other_bytes_are_no_preview_and_cost_no_pixel(content: bytes) -> None:
    data = holding(SMALL, content)
    with pytest.raises(FormatError, match="preview"):
        of_bytes(data)
    assert np.array_equal(image_decoder.decode(data, [TINY]).pixels(), PIXELS)


def test_a_long_preview_is_refused_by_the_header() -> None:
    for data in (SMALL, jpeg_encoder.encode(jpeg_file(PIXELS)).data):
        holding(data, bytes(MAX_PREVIEW))
        with pytest.raises(FormatError, match="preview"):
            directory.read_directory(holding(data, bytes(MAX_PREVIEW + 1)))
    original = jpeg_encoder.encode(jpeg_file(PIXELS)).data
    flagged = bytearray(original[:5] + bytes([original[5] | 16]) + original[6:])
    flagged[8:8] = b"\0"  # behind width and height
    with pytest.raises(FormatError, match="preview of 0 bytes"):
        directory.read_directory(with_checksums(bytes(flagged)))


def test_the_plain_decoder_reads_past_it() -> None:
    pixels = PIXELS[:9, :12]
    tiny = tile_encoder.encode(from_array(pixels), TINY)
    decoded = plain_decoder.decode(holding(tiny, webp()), [MODEL_FILE])
    assert np.array_equal(decoded.samples, pixels)
    original = b"\xff\xd8\xff" + bytes(500)
    data = holding(jpeg_encoder.encode(original).data, webp())
    assert plain_decoder.restore(data, []) == original
    for broken in (holding(SMALL, bytes(5000)), holding(data, bytes(5000))):
        with pytest.raises(Refused, match="preview"):
            (plain_decoder.restore if broken[5] & 15 == 15 else plain_decoder.decode)(broken, [])


def test_a_file_is_read_no_further_than_its_preview(tmp_path: Path) -> None:
    path = tmp_path / "a.ncmz"
    path.write_bytes(holding(SMALL, webp())[:-10])
    found = of_file(path)
    assert found is not None
    assert found.size == (9, 6)


def test_engines_and_models_stay_unloaded(tmp_path: Path) -> None:
    path = tmp_path / "a.ncmz"
    path.write_bytes(holding(SMALL, webp()))
    code = (
        "import sys, ncml_codec; assert ncml_codec.preview(sys.argv[1]).size == (9, 6);"
        "print([m for m in sys.modules if 'engines' in m or 'released' in m or 'torch' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_may_stand_in_exif(tail: bytes, start: bytes) -> None:
    assert 1 <= exif.orientation(start + tail) <= 8
    found = exif.thumbnail(start + tail)
    assert found is None or found in start + tail
