"""JPEG files by the command line and from Python: the very file comes back, or its pixels."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import ncml_codec
import ncml_codec.integrations.pillow
from ncml_cli.zip.ncmlzip import main
from ncml_codec.coefficients import codec, tiles
from ncml_codec.decode import salvage
from ncml_codec.decode.image_decoder import picture_of
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.format import kept_file
from ncml_codec.format.directory import read_directory
from ncml_codec.format.sections import checksum
from ncml_codec.jpeg import read, sequential
from tests.builders.commands import ncmlzip
from tests.builders.pictures import Samples, valley


def jpeg(height: int = 40, width: int = 56, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(valley(90, 90, height, width)).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(quality=90, comment=b"a comment"))
    return path


FILES = {
    "plain": jpeg(),
    "grey": jpeg(mode="L"),
    "cmyk": jpeg(mode="CMYK"),
    "progressive": jpeg(progressive=True, subsampling=0),
    "restarts": jpeg(restart_marker_blocks=2),
    "trailing": jpeg() + b"a video that follows",
    "one block": jpeg(8, 8),
    "odd size": jpeg(33, 17, subsampling=1),
    "damaged": jpeg()[:-200] + b"\0" * 100 + jpeg()[-100:],
    "cut short": jpeg()[:-150],
    "no JPEG file": b"\xff\xd8\xff and nothing else",
}


@pytest.mark.parametrize("level", ["-1", "-5"])
@pytest.mark.parametrize("name", FILES)
def test_the_very_file_comes_back(name: str, level: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(FILES[name])
    assert ncmlzip("compress", level, "--rm", path).exit_code == 0
    assert not path.exists()
    packed = tmp_path / "photo.jpg.ncmz"
    assert packed.stat().st_size <= len(FILES[name]) + 64
    assert ncmlzip("test", packed).exit_code == 0
    assert ncmlzip("decompress", "--rm", packed).exit_code == 0
    assert path.read_bytes() == FILES[name]
    assert not packed.exists()


def test_a_folders_jpeg_files_are_taken_along(photo: Path, tmp_path: Path) -> None:
    Image.fromarray(valley(0, 0, 8, 9)).save(tmp_path / "b.png")
    assert ncmlzip("compress", "-1", "-r", tmp_path).exit_code == 0
    (tmp_path / "out").mkdir()
    assert ncmlzip("decompress", "-r", tmp_path, "-O", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "photo.jpg").read_bytes() == photo.read_bytes()
    assert (tmp_path / "out" / "b.png").exists()


@pytest.mark.parametrize(
    ("name", "restored"), [("noext", "noext.jpg"), ("a.png", "a.png.jpg"), ("x.JPEG", "x.JPEG")]
)
def test_whatever_its_name_a_jpeg_file_comes_back(
    name: str, restored: str, photo: Path, tmp_path: Path
) -> None:
    data = photo.read_bytes()
    (tmp_path / name).write_bytes(data)
    assert ncmlzip("compress", "-1", "--rm", tmp_path / name).exit_code == 0
    assert ncmlzip("decompress", tmp_path / f"{name}.ncmz").exit_code == 0
    assert (tmp_path / restored).read_bytes() == data


def test_a_pipe_gives_the_file() -> None:
    data = FILES["plain"]
    packed = CliRunner().invoke(main, ["compress", "-1"], input=data)
    assert packed.exit_code == 0
    assert CliRunner().invoke(main, ["decompress"], input=packed.stdout_bytes).stdout_bytes == data


def test_pixels_are_those_of_the_jpeg_file(photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        expected = np.asarray(image)
    packed = tmp_path / "photo.jpg.ncmz"
    assert ncmlzip("compress", "-1", photo).exit_code == 0
    assert ncmlzip("decompress", "--to", "png", packed).exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo.png")), expected)
    assert ncmlzip("decompress", "--region", "3,5,20,10", packed).exit_code == 0
    part = np.asarray(Image.open(tmp_path / "photo-3,5,20,10.png"))
    assert np.array_equal(part, expected[5:15, 3:23])
    assert np.array_equal(ncml_codec.decompress(packed), expected)
    with Image.open(packed) as image:
        assert np.array_equal(np.asarray(image), expected)


def test_the_file_stays_where_only_its_pixels_are_written(photo: Path, tmp_path: Path) -> None:
    packed = tmp_path / "photo.jpg.ncmz"
    assert ncmlzip("compress", "-1", photo).exit_code == 0
    for output in (["--to", "png"], ["-o", tmp_path / "pixels.ppm"]):
        done = ncmlzip("decompress", "--rm", *output, packed)
        assert done.exit_code == 1
        assert "not kept: the JPEG file" in done.stderr or "would be lost" in done.stderr
        assert packed.exists()
    assert ncmlzip("decompress", "--rm", "--strip", "-f", "--to", "png", packed).exit_code == 0
    assert not packed.exists()


def test_python_gives_the_file(photo: Path) -> None:
    data = ncml_codec.compress(photo, level=1)
    assert ncml_codec.restore(data) == photo.read_bytes()
    facts = ncml_codec.inspect(data)
    assert (facts.width, facts.height, str(facts.kind), facts.jpeg) == (
        56,
        40,
        "8-bit RGB",
        "static",
    )
    with pytest.raises(UsageError, match="holds an image"):
        ncml_codec.restore(ncml_codec.compress(valley(0, 0, 8, 8), level=1))


def test_what_is_kept_whole_is_named_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(FILES["no JPEG file"])
    said = json.loads(ncmlzip("compress", "--json", path).stdout)
    assert (said["kept"], said["status"]) == ("whole", "done")
    assert said["reason"]
    said = json.loads(ncmlzip("compress", "--json", "-f", "-1", _written(path, jpeg())).stdout)
    assert (said["kept"], said.get("reason")) == ("coefficients", None)


def test_a_file_that_claims_more_pixels_than_are_decoded_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    frame = b"\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0"
    data = b"\xff\xd8" + frame + random.Random(1).randbytes(1 << 23)
    path.write_bytes(data)
    assert ncmlzip("compress", "--rm", path).exit_code == 0
    assert ncmlzip("decompress", "--rm", f"{path}.ncmz").exit_code == 0
    assert path.read_bytes() == data


def test_every_kind_of_damage_is_refused(photo: Path) -> None:
    data = ncml_codec.compress(photo, level=1)
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(FormatError):
            ncml_codec.restore(bytes(damaged))
    with pytest.raises(FormatError):
        ncml_codec.restore(data[:-1])


def test_stripping_gives_another_file_of_the_same_pixels_and_says_so(
    photo: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera's maker"
    made = jpeg(quality=90, comment=b"a comment", exif=exif, icc_profile=b"a profile")
    photo.write_bytes(made + b"a video that follows")
    done = ncmlzip("compress", "-1", "--strip", "--json", photo)
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    kinds = [one.partition(" (")[0] for one in said["not_kept"]]
    assert kinds == ["EXIF", "comment", "trailing bytes"]
    assert "comment" in done.stderr
    assert ncmlzip("decompress", "-f", f"{photo}.ncmz").exit_code == 0
    found = photo.read_bytes()
    assert found != made
    assert b"maker" not in found
    assert b"comment" not in found
    assert not found.endswith(b"follows")
    with Image.open(photo) as image, Image.open(io.BytesIO(made)) as before:
        assert dict(image.getexif()) == {0x0112: 6}
        assert image.info["icc_profile"] == b"a profile"
        assert np.array_equal(np.asarray(image), np.asarray(before))
    assert ncmlzip("compress", "-1", "--strip", "-f", "--json", photo).exit_code == 0
    assert (
        "give --strip to compress" in ncmlzip("decompress", "--strip", f"{photo}.ncmz", "-f").stderr
    )


@pytest.mark.parametrize("name", ["damaged", "cut short", "no JPEG file"])
def test_a_file_that_cannot_be_read_is_not_stripped(name: str, photo: Path) -> None:
    photo.write_bytes(FILES[name])
    done = ncmlzip("compress", "-1", "--strip", "--rm", photo)
    assert done.exit_code == 1
    assert "metadata cannot be left out" in done.stderr
    assert photo.read_bytes() == FILES[name]


def test_of_a_damaged_file_the_sound_tiles_are_given_as_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    wide = np.tile(valley(90, 90, 40, 100), (1, 11, 1))
    Image.fromarray(wide).save(path, quality=90)
    data = path.read_bytes()
    assert ncmlzip("compress", "-1", "--rm", path).exit_code == 0
    packed = Path(f"{path}.ncmz")
    sound, pixels = packed.read_bytes(), np.asarray(Image.open(io.BytesIO(data)))
    head = read_directory(sound).kept
    assert head is not None
    assert len(head.lengths) == 2
    second = bytearray(sound)
    second[head.end - 6] ^= 1
    packed.write_bytes(second)
    assert ncmlzip("decompress", packed).exit_code == 4
    assert list(tmp_path.iterdir()) == [packed]
    decode, calls = tiles.decode, list[bool]()

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(True)
        return decode(*arguments, **named)

    monkeypatch.setattr(tiles, "decode", counted)
    done = ncmlzip("decompress", "--rm", "--keep-going", packed)
    assert done.exit_code == 4
    assert len(calls) == 1
    assert "payload 1" in done.stderr
    assert "columns 1024 to 1099 are lost" in done.stderr
    assert "not kept: the JPEG file, of which these are the pixels" in done.stderr
    assert sorted(tmp_path.iterdir()) == [packed, Path(f"{path}.png")]
    left = np.asarray(Image.open(f"{path}.png"))
    # Beside the border Pillow smooths chroma across it.
    assert np.array_equal(left[:, :1008], pixels[:, :1008])
    assert np.ptp(left[:, 1040:]) <= 1
    again = ncmlzip("decompress", "-f", "--keep-going", packed)
    assert "exists already" in again.stderr, "nothing is replaced that was not planned for"
    packed.write_bytes(sound)
    assert ncmlzip("decompress", "--keep-going", packed).exit_code == 0
    assert path.read_bytes() == data


@pytest.mark.parametrize("damage", ["digest", "follow the end", "preview"])
def test_what_is_wrong_with_no_tile_is_a_loss(damage: str, photo: Path) -> None:
    data = ncml_codec.compress(photo, level=1)
    head = read_directory(data).kept
    assert head is not None
    if damage == "preview":
        data = kept_file.write(replace(head.read(data), preview=b"a preview"))
        head = read_directory(data).kept
        assert head is not None
        data = data[: head.preview_at] + b"?" + data[head.preview_at + 1 :]
    elif damage == "digest":
        at = data.index(head.digest)
        wrong = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 : head.recipe_at - 4]
        data = wrong + checksum(wrong) + data[head.recipe_at :]
    else:
        data += b"\0"
    found = salvage.open_file(data)
    (loss,) = found.losses
    assert damage in str(loss)
    with Image.open(photo) as image:
        assert np.array_equal(picture_of(found.opened).pixels(), np.asarray(image))


@pytest.mark.parametrize("name", ["grey", "cmyk", "progressive", "restarts", "odd size"])
def test_a_simple_file_of_the_same_coefficients_shows_the_same_pixels(name: str) -> None:
    simple = sequential(read(FILES[name]))
    with Image.open(io.BytesIO(FILES[name])) as image, Image.open(io.BytesIO(simple)) as other:
        assert np.array_equal(np.asarray(image), np.asarray(other))


def test_of_a_file_kept_whole_nothing_is_left(photo: Path) -> None:
    photo.write_bytes(FILES["no JPEG file"])
    assert ncmlzip("compress", "-1", "--rm", photo).exit_code == 0
    packed = Path(f"{photo}.ncmz")
    damaged = bytearray(packed.read_bytes())
    damaged[-6] ^= 1
    packed.write_bytes(damaged)
    assert ncmlzip("decompress", "--keep-going", packed).exit_code == 4
    damaged[-6] ^= 1
    packed.write_bytes(bytes(damaged) + b"\0")
    assert ncmlzip("decompress", "--keep-going", packed).exit_code == 4
    assert not photo.exists()


def test_info_says_what_is_in_it(photo: Path) -> None:
    assert ncmlzip("compress", "-1", photo).exit_code == 0
    (said,) = json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)
    assert (said["kind"], said["kept"], said["model"]) == ("JPEG file", "static", "jpeg")
    assert said["jpeg"]["sampling"] == "4:2:0"
    assert said["jpeg"]["quality"] == 90
    assert said["jpeg"]["progressive"] is False
    assert "comment" in said["jpeg"]["metadata"]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def strip(width: int) -> Samples:
    """40 rows that do not repeat, so that their file is kept by its coefficients."""
    tiled = np.tile(valley(90, 90, 40, 110), (1, -(-width // 110), 1))[:, :width]
    noise = np.random.default_rng(2).integers(0, 32, tiled.shape)
    return np.clip(tiled + noise, 0, 255).astype(np.uint8)


def places(width: int, height: int, chance: random.Random) -> Iterator[tuple[int, int, int, int]]:
    """Regions: corners, edges, where tiles of 1024 pixels meet, and any."""
    yield from ((0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, 1, 1))
    for x in (1021, 1023, 1024):
        if x + 3 < width:
            yield x, chance.randrange(height - 2), 3, 2
    for _ in range(4):
        x, y = chance.randrange(width), chance.randrange(height)
        yield x, y, chance.randint(1, width - x), chance.randint(1, height - y)


@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
@pytest.mark.parametrize("progressive", [False, True])
def test_any_region_of_a_jpeg_file_is_the_crop(subsampling: int | None, progressive: bool) -> None:
    wide = strip(1319)
    out = io.BytesIO()
    image = Image.fromarray(wide if subsampling is not None else wide[:, :, 0])
    more = {} if subsampling is None else {"subsampling": subsampling}
    image.save(out, "JPEG", quality=80, progressive=progressive, **more)
    data = ncml_codec.compress(out.getvalue(), level=1)
    assert ncml_codec.inspect(data).jpeg == "static"
    whole = ncml_codec.decompress(data)
    with Image.open(out) as opened:
        assert np.array_equal(whole, np.asarray(opened))
    for x, y, width, height in places(wide.shape[1], wide.shape[0], random.Random(5)):
        found = ncml_codec.decompress(data, region=(x, y, width, height))
        assert np.array_equal(found, whole[y : y + height, x : x + width]), (x, y, width, height)


@pytest.mark.parametrize("name", sorted(FILES))
def test_regions_of_every_jpeg_file_are_those_of_its_pixels(name: str) -> None:
    data = ncml_codec.compress(FILES[name], level=5)
    try:
        whole = ncml_codec.decompress(data)
    except FormatError:
        with pytest.raises((FormatError, UsageError)):
            ncml_codec.decompress(data, region=(0, 0, 1, 1))
        return
    height, width = whole.shape[:2]
    for region in ((0, 0, 1, 1), (width // 3, height // 2, width // 2, height // 3)):
        x, y, across, down = region
        found = ncml_codec.decompress(data, region=region)
        assert np.array_equal(found, whole[y : y + down, x : x + across])


def test_a_region_decodes_only_the_tiles_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.fromarray(strip(3300)).save(out, "JPEG")
    data = ncml_codec.compress(out.getvalue(), level=1)
    decode, seen = codec.decode, list[int]()

    def counted(*arguments: Any, **named: Any) -> Any:
        seen.append(1)
        return decode(*arguments, **named)

    monkeypatch.setattr(codec, "decode", counted)
    for x, tiles_around in ((10, 1), (1023, 2), (2000, 1), (2060, 2)):
        seen.clear()
        ncml_codec.decompress(data, region=(x, 3, 20, 20))
        assert len(seen) == tiles_around, x
