"""A region is the crop of the whole, and needs no more of a file than the tiles that it touches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ncml_codec
from ncml_codec.decode import image_decoder, region, tile_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.region import Region
from ncml_codec.encode import image_encoder, tile_encoder
from ncml_codec.errors import ChecksumMismatch, FormatError, UsageError
from ncml_codec.format import directory
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model, read_model
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples, from_array
from tests.builders import kinds_of_images
from tests.builders.commands import decompress, pixels
from tests.builders.pictures import GOLDEN, valley

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
RGB = valley(150, 60, 70, 90)
CHUNKS = [(b"tEXt", b"a\0b"), (b"IDAT", b"")]


def coded(samples: Samples, exponent: int, level: int = 1) -> bytes:
    picture = Picture(samples, CHUNKS)
    return tile_encoder.encode(picture, TINY, Effort("auto"), exponent, level)


FILES = [
    (samples, coded(samples, exponent, level))
    for samples in (RGB, RGB[:, :, :1].copy())
    for exponent, level in ((5, 1), (5, 5), (6, 1), (11, 1))
]
SAMPLES, FILE = FILES[0]  # 3 x 3 tiles of 32


def decoded(data: bytes, part: Region, model: Model = TINY, threads: int = 1) -> Picture:
    return image_decoder.picture_of(region.open_file(data, part, [model], Effort("auto", threads)))


@st.composite
def parts(draw: st.DrawFn, height: int, width: int) -> Region:
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Region(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


def crop(samples: Samples, part: Region) -> Samples:
    return samples[part.y : part.y + part.height, part.x : part.x + part.width]


@given(st.data(), st.sampled_from(FILES), st.sampled_from([1, 3]))
@settings(max_examples=80, deadline=None)
def test_any_region_of_a_tiled_image_is_the_crop(
    data: st.DataObject, file: tuple[Samples, bytes], threads: int
) -> None:
    samples, coded = file
    part = data.draw(parts(*samples.shape[:2]))
    found = decoded(coded, part, threads=threads)
    assert np.array_equal(found.samples, crop(samples, part))
    assert list(found.chunks) == CHUNKS


@pytest.fixture(scope="module")
def of_every_kind() -> list[tuple[Samples, bytes]]:
    photo = released_models.load("photo")
    made = [kinds_of_images.picture(kind, 13, 17) for kind in kinds_of_images.ALL]
    return [(one.samples, image_encoder.encode(one, photo, level=1)) for one in made]


@given(part=parts(13, 17))
@settings(max_examples=8, deadline=None)
def test_any_region_of_every_kind_is_the_crop(
    part: Region, of_every_kind: list[tuple[Samples, bytes]]
) -> None:
    for samples, data in of_every_kind:
        assert np.array_equal(decoded(data, part).samples, crop(samples, part))


def tile_spans() -> list[tuple[int, int]]:
    """Where each tile's bytes begin and end in FILE."""
    begins = directory.read_directory(FILE).layers[0].tile_begins()
    assert begins[-1] == len(FILE)
    return [*pairwise(begins)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_matters_only_in_the_tiles_that_are_needed(data: st.DataObject) -> None:
    part = data.draw(parts(*SAMPLES.shape[:2]))
    index = data.draw(st.integers(0, 8))
    begin, end = tile_spans()[index]
    damaged = bytearray(FILE)
    damaged[data.draw(st.integers(begin, end - 1))] ^= data.draw(st.integers(1, 255))
    top, left = 32 * (index // 3), 32 * (index % 3)
    is_needed = (
        part.y < top + 32
        and part.y + part.height > top
        and part.x < left + 32
        and part.x + part.width > left
    )
    if is_needed:
        with pytest.raises(FormatError, match=f"tile {index}"):
            decoded(bytes(damaged), part)
    else:
        found = decoded(bytes(damaged), part)
        assert np.array_equal(found.samples, crop(SAMPLES, part))


def test_only_the_tiles_that_are_needed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = tile_decoder.decode_tile

    def watched(*arguments: object) -> Samples:
        seen.append(arguments[3])
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(region, "decode_tile", watched)
    decoded(FILE, Region(31, 32, 2, 32))
    assert seen == [3, 4]


def test_a_file_cut_short_gives_the_regions_that_it_still_holds() -> None:
    begin, end = tile_spans()[2]
    part = Region(64, 0, 26, 32)
    assert np.array_equal(decoded(FILE[:end], part).samples, crop(SAMPLES, part))
    with pytest.raises(FormatError, match="tile 2"):
        decoded(FILE[: begin + 1], part)


def test_metadata_is_checked_with_every_region() -> None:
    damaged = bytearray(FILE)
    damaged[tile_spans()[0][0] - 6] ^= 1
    with pytest.raises(ChecksumMismatch, match="metadata"):
        decoded(bytes(damaged), Region(0, 0, 1, 1))


def test_a_file_of_other_layers_is_checked_whole() -> None:
    made = kinds_of_images.picture(Kind(6, 16), 9, 10)
    damaged = bytearray(image_encoder.encode(made, released_models.load("photo"), level=1))
    damaged[-1] ^= 1
    with pytest.raises(ChecksumMismatch):
        decoded(bytes(damaged), Region(0, 0, 1, 1))


@pytest.mark.parametrize("tiled", [True, False])
def test_a_region_that_is_not_inside_is_refused(tiled: bool) -> None:
    deep = from_array(np.arange(12, dtype=np.uint16).reshape(3, 4))
    flat = from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))
    data = tile_encoder.encode(flat, TINY) if tiled else image_encoder.encode(deep, TINY, level=1)
    assert (directory.read_directory(data).tiled is not None) == tiled
    assert decoded(data, Region(0, 0, 4, 3)).samples.shape == (3, 4, 1)
    for part in (Region(0, 0, 5, 3), Region(0, 0, 4, 4), Region(4, 0, 1, 1), Region(0, 3, 1, 1)):
        with pytest.raises(UsageError, match="the image has 4 x 3 pixels"):
            decoded(data, part)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 0, 1), (0, 0, 1, 0), (-1, 0, 1, 1), (0, -1, 1, 1), (1, 2, 3), (0, 0, 1.5, 1)]
)
def test_what_is_no_region_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="region"):
        ncml_codec.decompress(FILE, region=numbers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png.ncmz"
    path.write_bytes(FILE)
    return path


def test_decompress_writes_a_region_under_its_own_name(file: Path) -> None:
    result = decompress("--region", "10,20,30,40", file)
    assert result.exit_code == 0, result.stderr
    named = file.with_name("photo-10,20,30,40.png")
    assert np.array_equal(pixels(named), RGB[20:60, 10:40])
    assert not file.with_suffix("").exists()
    result = decompress("--region", "10,20,30,40", "--to", "ppm", file)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(pixels(named.with_suffix(".ppm")), RGB[20:60, 10:40])
    chosen = file.with_name("part.webp")
    assert decompress("--region", "0,0,90,70", file, "-o", chosen).exit_code == 0
    assert np.array_equal(pixels(chosen), RGB)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,0,91,1", "0,0,0,1", "-1,0,1,1"])
def test_decompress_refuses_wrong_regions_as_usage(file: Path, text: str) -> None:
    result = decompress("--region", text, file)
    assert result.exit_code == 2
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("option", ["--rm", "--keep-going"])
def test_a_part_does_not_stand_for_the_whole(file: Path, option: str) -> None:
    assert decompress("--region", "0,0,1,1", option, file).exit_code == 2
    assert file.exists()
