"""What a file holds beside its image comes back, or is named: nothing is dropped without a word."""

from __future__ import annotations

import gc
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip import decompression
from ncml_cli.zip.ncmlzip import main
from ncml_codec.decode import image_decoder
from ncml_codec.encode import image_encoder
from ncml_codec.errors import InputError, RoundTripError, UnsupportedImage, UsageError
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks, row_readers
from ncml_codec.picture.image_files import WRITABLE, decode_file, encode_file, from_array, not_held
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture
from tests.builders.pictures import GOLDEN, valley
from tests.plain_decoder import decoder as plain_decoder

TRAILER = b"a film of 200 kB, as some telephones append it"


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(valley(0, 0, 9, 12)).convert(mode).save(out, kind, **options)
    return out.getvalue()


def with_image_data(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A PNG with its zlib stream changed."""
    stream = change(png_chunks.image_data(data))
    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:start] + png_chunks.chunk(b"IDAT", stream) + data[end:]


def bmp_of_32_bits(pixels: bytes) -> bytes:
    """Two by two pixels of 32 bits of which 24 are said to be colour."""
    fields = (b"BM", 0, 0, 0, 54, 40, 2, 2, 1, 32, 0, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHIIiiHHIIiiII", *fields) + pixels


NOT_KEPT = [
    ("png", with_image_data(saved("PNG"), lambda s: s + b"x"), "image data behind the last row"),
    (
        "png",
        with_image_data(saved("PNG"), lambda s: zlib.compress(zlib.decompress(s) + b"x")),
        "image data behind the last row",
    ),
    ("ppm", b"P6 # by hand\n1 1 255\nabc", "comments"),
    ("ppm", b"P3 1 1 255\n1 2 # blue follows\n3\n", "comments"),
    ("ppm", b"P6 1 1 255\nabc\n", "1 byte behind its samples"),
    ("ppm", b"P3 1 1 255\n1 2 3 4", "text behind its samples"),
    ("ppm", b"P3 1 1 255\n1 2 3 and so on", "text behind its samples"),
    ("bmp", saved("BMP", dpi=(72, 72)), "resolution"),
    ("bmp", saved("BMP", dpi=(0, 0)) + b"and more", "8 bytes behind its end"),
    ("bmp", bmp_of_32_bits(bytes(range(16))), "bits of its pixels that are no colour"),
    ("tif", saved("TIFF", dpi=(72, 72)), "resolution"),
    ("tif", saved("TIFF", description="a hill"), "tag ImageDescription"),
    ("tif", saved("TIFF", artist="somebody"), "tag Artist"),
    ("tif", saved("TIFF", tiffinfo={33550: (1.0, 2.0, 0.0)}), "tag ModelPixelScaleTag"),
    ("tif", saved("TIFF", tiffinfo={60001: b"private"}), "tag 60001"),
    ("tif", saved("TIFF") + b"and more", "8 bytes behind its end"),
    ("webp", saved("WEBP", lossless=True, xmp=b"<x/>"), "chunk XMP"),
    ("webp", saved("WEBP", lossless=True) + b"and more", "8 bytes behind its end"),
]


@pytest.mark.parametrize(("suffix", "data", "named"), NOT_KEPT)
@pytest.mark.parametrize("whole", [0, row_readers.WHOLE])
def test_what_does_not_come_back_is_named(
    suffix: str,
    data: bytes,
    named: str,
    whole: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", whole)
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(data)
    assert list(row_readers.open_image(path).not_kept) == [named]
    assert list(row_readers.stripped(row_readers.open_image(path)).not_kept) == [named]


def jpeg_with(*segments: tuple[int, bytes], late: bool = False, **options: object) -> bytes:
    """A JPEG file with more segments, behind its beginning or behind its first scan."""
    data = saved("JPEG", **options)
    more = b"".join(
        struct.pack(">BBH", 0xFF, kind, 2 + len(content)) + content for kind, content in segments
    )
    at = data.rindex(b"\xff\xd9") if late else 2
    return data[:at] + more + data[at:]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (saved("JPEG") + b"and more", ["8 bytes behind its end"]),
        (2 * saved("JPEG"), [f"{len(saved('JPEG'))} bytes behind its end"]),
        (saved("JPEG", dpi=(300, 300)), ["resolution"]),
        (saved("JPEG", comment=b"a hill"), ["comment"]),
        (jpeg_with((0xFE, b"a hill"), late=True), ["comment"]),
        (saved("JPEG", xmp=b"<x/>"), ["XMP"]),
        (jpeg_with((0xED, b"Photoshop 3.0\0 and so on")), ["Photoshop's data"]),
        (jpeg_with((0xEB, b"JP content credentials")), ["segment APP11"]),
        (jpeg_with((0xE1, b"Exif\0\0II*\0\x08\0\0\0"), late=True), ["segment APP1"]),
        (jpeg_with((0xE0, b"JFXX\0\x10")), ["thumbnail"]),
        (saved("JPEG", exif=b"Exif\0\0II*\0\x08" + bytes(9), icc_profile=b"icc" * 9), []),
        (saved("JPEG", progressive=True, restart_marker_blocks=1), []),
    ],
)
def test_what_a_jpeg_file_holds_beside_its_pixels_is_named_where_they_alone_are_taken(
    data: bytes, named: list[str]
) -> None:
    assert list(decode_file(data, "x", decoded=True).not_kept) == named


def test_a_jpeg_file_with_a_second_image_stays_where_its_pixels_alone_are_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "two.jpg"
    path.write_bytes(2 * saved("JPEG"))
    result = compress("--rm", "--decoded", path)
    assert result.exit_code == 1
    assert "behind its end" in result.stderr
    assert path.exists()
    assert compress("--rm", "-f", path).exit_code == 0  # as it is kept, it may go


def test_a_jpeg_file_of_more_segments_than_the_limit_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="segments"):
        decode_file(b"\xff\xd8" + b"\xff\xfe\0\2" * (1 << 16), "x", decoded=True)


@pytest.mark.parametrize(
    "data",
    [
        saved("PNG", dpi=(72, 72), icc_profile=b"icc" * 9) + TRAILER,
        saved("PNG", "P"),
        saved("BMP", dpi=(0, 0)),
        saved("BMP", "P", dpi=(0, 0)),
        saved("TIFF", icc_profile=b"icc" * 9),
        saved("TIFF", compression="tiff_lzw"),
        saved("TIFF", "P", compression="packbits"),
        saved("TIFF", "1", compression="group4"),
        saved("WEBP", lossless=True, icc_profile=b"icc" * 9, exif=b"Exif\0\0II*\0\x08\0\0\0"),
        b"P6\n1 1\n255\nabc",
        b"P1\n2 2\n01\n10\n",
    ],
)
def test_nothing_is_named_where_all_comes_back(data: bytes) -> None:
    assert list(decode_file(data, "x").not_kept) == []


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_what_we_write_is_kept_whole_when_it_is_read(suffix: str) -> None:
    data = encode_file(from_array(valley(0, 0, 9, 12)), "x" + suffix)
    assert list(decode_file(data, "x").not_kept) == []


@pytest.mark.parametrize("whole", [0, row_readers.WHOLE])
def test_a_trailer_comes_back_behind_the_end(
    whole: int, tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", whole)
    path = tmp_path / "x.png"
    path.write_bytes(saved("PNG") + TRAILER)
    source = row_readers.open_image(path)
    assert isinstance(source, Picture) == (whole > 0)
    data = image_encoder.encode(source, tiny, level=1)
    image_encoder.verify(data, source, tiny)
    picture = image_decoder.decode(data, [tiny])
    assert encode_file(picture, "y.png").endswith(png_chunks.chunk(b"IEND", b"") + TRAILER)
    models = [(GOLDEN / "tiny.ncpn").read_bytes()]
    assert plain_decoder.decode(data, models).chunks[-1] == (b"IEND", TRAILER)
    assert TRAILER not in encode_file(picture, "y.bmp")
    assert list(row_readers.stripped(source).chunks) == []


@pytest.mark.parametrize("suffix", ["png", "ppm"])
def test_a_file_read_by_rows_is_closed_with_its_last_reference(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", 0)
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(encode_file(from_array(valley(0, 0, 9, 12)), path.name))
    gc.disable()
    try:
        source = row_readers.open_image(path)
        assert isinstance(source, row_readers.PngFile | row_readers.PnmFile)
        source.rows(0, 3)
        file = source.file.file
        del source
        assert file.closed
    finally:
        gc.enable()


def test_another_trailer_fails_the_check(tiny: Model) -> None:
    picture = decode_file(saved("PNG") + TRAILER, "x.png")
    other = decode_file(saved("PNG") + TRAILER[1:], "x.png")
    with pytest.raises(RoundTripError, match="other metadata"):
        image_encoder.verify(image_encoder.encode(picture, tiny, level=1), other, tiny)


@pytest.mark.parametrize(
    "data",
    [
        b"P6 1 1 255\nabcP6 1 1 255\nabc",
        b"P6 1 1 255\nabc\nP5 1 1 255\na",
        b"P4 1 1\n\0P4 1 1\n\0",
        b"P3 1 1 255\n1 2 3\nP3 1 1 255\n1 2 3\n",
    ],
)
@pytest.mark.parametrize("whole", [0, row_readers.WHOLE])
def test_several_images_in_a_pnm_are_refused(
    data: bytes, whole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", whole)
    path = tmp_path / "x.ppm"
    path.write_bytes(data)
    with pytest.raises(UnsupportedImage, match="several images in one file"):
        row_readers.open_image(path)


def test_a_tiff_with_samples_that_pillow_drops_is_refused() -> None:
    """Four samples a pixel, the fourth of no stated meaning, which Pillow reads as RGB."""
    data = bytearray(saved("TIFF", "RGBX"))
    assert decode_file(saved("TIFF", "RGBA"), "x").kind == Kind(6, 8)
    with pytest.raises(UnsupportedImage, match="4 samples a pixel"):
        decode_file(bytes(data), "x")


def test_a_tiff_with_alpha_multiplied_in_is_refused() -> None:
    data = saved("TIFF", "RGBA")
    alpha = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert alpha in data
    with pytest.raises(UnsupportedImage, match="multiplied in"):
        decode_file(data.replace(alpha, struct.pack("<HHIHH", 338, 3, 1, 1, 0)), "x")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("decoded", [True, False])
def test_an_animated_webp_is_called_an_animation(lossless: bool, decoded: bool) -> None:
    frames = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 200)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", lossless=lossless, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImage, match="animated WebP"):
        decode_file(out.getvalue(), "x.webp", decoded=decoded)


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm"])
def test_a_format_is_named_where_it_cannot_hold_an_image(suffix: str) -> None:
    deep = from_array(np.full((2, 2, 4), 40000, np.uint16))
    with pytest.raises(UsageError, match=f"a {suffix} file cannot hold"):
        encode_file(deep, f"x.{suffix}")


def test_a_name_without_suffix_is_said_to_have_none() -> None:
    with pytest.raises(UsageError, match="without suffix"):
        encode_file(from_array(valley(0, 0, 2, 2)), "x")


def test_a_chunk_iend_with_content_is_refused() -> None:
    data = saved("PNG").replace(
        png_chunks.chunk(b"IEND", b""), png_chunks.chunk(b"IEND", b"hidden")
    )
    with pytest.raises(InputError, match="IEND"):
        decode_file(data, "x.png")


def test_a_stream_cut_before_its_checksum_is_refused_in_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", 0)
    path = tmp_path / "x.png"
    path.write_bytes(with_image_data(saved("PNG"), lambda stream: stream[:-3]))
    with pytest.raises(InputError, match="checksum"):
        row_readers.open_image(path).rows(0, 9)


def compress(*arguments: object) -> Result:
    tiny = GOLDEN / "tiny.ncpn"
    return CliRunner().invoke(main, ["compress", "-1", "-m", str(tiny), *map(str, arguments)])


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    path.write_bytes(saved("TIFF", dpi=(300, 300), artist="somebody"))
    return path


def test_what_is_not_kept_is_named_once_a_file(scan: Path) -> None:
    result = compress(scan)
    assert result.exit_code == 0
    assert result.stderr.count("not kept: resolution, tag Artist") == 1
    assert "not kept" not in compress("-f", "-q", scan).stderr


@pytest.mark.parametrize("more", [(), ("-j", "2")])
def test_an_input_that_holds_more_than_is_kept_stays(scan: Path, more: tuple[str, ...]) -> None:
    other = scan.with_name("other.tif")
    other.write_bytes(saved("TIFF"))
    result = compress("--rm", *more, scan, other)
    assert result.exit_code == 1
    assert "resolution, tag Artist" in result.stderr
    assert "--strip" in result.stderr
    assert scan.exists()
    assert Path(f"{scan}.ncmz").exists()
    assert not other.exists()


def test_strip_lets_go_what_is_not_kept(scan: Path) -> None:
    result = compress("--rm", "--strip", scan)
    assert result.exit_code == 0
    assert not scan.exists()
    assert "not kept: resolution, tag Artist" in result.stderr


@pytest.mark.parametrize(("option", "status"), [("--keep", "done"), ("--rm", "failed")])
def test_json_lists_what_is_not_kept(scan: Path, option: str, status: str) -> None:
    other = scan.with_name("other.tif")
    other.write_bytes(saved("TIFF"))
    records = [
        json.loads(line) for line in compress("--json", option, scan, other).stdout.splitlines()
    ]
    assert [record["status"] for record in records] == [status, "done"]
    assert [record["not_kept"] for record in records] == [["resolution", "tag Artist"], []]
    assert all(Path(record["output"]).exists() for record in records)


METADATA = [
    (b"iCCP", b"ICC profile\0\0" + zlib.compress(b"icc" * 9)),
    (b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0"),
    (b"pHYs", bytes(9)),
    (b"tEXt", b"Title\0hill"),
    (png_chunks.PIXELS, b""),
    (b"tEXt", b"Author\0somebody"),
    (png_chunks.TRAILER, TRAILER),
]
ALL_NAMED = [
    "colour profile",
    "EXIF",
    "resolution",
    "chunk tEXt",
    f"trailer of {len(TRAILER)} bytes",
]


def held(picture: Picture, suffix: str) -> list[bytes]:
    """Contents of what comes back from a file of the format."""
    chunks = decode_file(encode_file(picture, "x" + suffix), "x").chunks
    return [
        png_chunks.icc_profile(chunks) or b"",
        png_chunks.exif(chunks) or b"",
        *(c for _, c in chunks),
    ]


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("one", [each for each in METADATA if each[0] != png_chunks.PIXELS])
def test_what_a_format_does_not_hold_is_named(suffix: str, one: png_chunks.Chunk) -> None:
    is_last = one[0] == png_chunks.TRAILER
    chunks = [(png_chunks.PIXELS, b""), one] if is_last else [one, (png_chunks.PIXELS, b"")]
    picture = Picture(valley(0, 0, 3, 4), chunks)
    named = not_held(picture.chunks, picture.kind, "x" + suffix)
    content = png_chunks.icc_profile(chunks) or one[1]
    assert len(named) == (content not in held(picture, suffix))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_a_palette_is_held_and_a_suggested_one_named(suffix: str) -> None:
    chunks = [(b"PLTE", bytes(range(9))), (png_chunks.PIXELS, b"")]
    picture = Picture(np.zeros((3, 4, 1), np.uint8), chunks, Kind(3, 8))
    assert not_held(chunks, picture.kind, "x" + suffix) == []
    assert any(content.startswith(bytes(range(9))) for content in held(picture, suffix))
    suggested = [] if suffix == ".png" else ["chunk PLTE"]
    assert not_held(chunks, Kind(2, 8), "x" + suffix) == suggested


def test_a_second_profile_is_named() -> None:
    assert not_held(METADATA[:1] * 2, Kind(2, 8), "x.webp") == ["colour profile"]


def decompress(*arguments: object) -> Result:
    tiny = GOLDEN / "tiny.ncpn"
    return CliRunner().invoke(main, ["decompress", "-m", str(tiny), *map(str, arguments)])


@pytest.fixture
def archived(tmp_path: Path) -> Path:
    """A `.ncmz` file with all kinds of metadata, and beside it one with none."""
    for name, chunks in (("a.png", METADATA), ("b.png", [])):
        (tmp_path / name).write_bytes(encode_file(Picture(valley(0, 0, 9, 12), chunks), name))
        assert compress("--rm", tmp_path / name).exit_code == 0
    return tmp_path / "a.png.ncmz"


@pytest.mark.parametrize("small", [0, 1 << 21])
@pytest.mark.parametrize("more", [(), ("-j", "2")])
def test_an_archive_that_holds_more_than_the_image_written_stays(
    archived: Path, monkeypatch: pytest.MonkeyPatch, small: int, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr(decompression, "SMALL", small)
    other = archived.with_name("b.png.ncmz")
    result = decompress("--rm", "--to", "ppm", *more, archived, other)
    assert result.exit_code == 1
    assert result.stderr.count(", ".join(ALL_NAMED)) == 1
    assert "--strip lets them go" in result.stderr
    assert archived.exists()
    assert archived.with_name("a.ppm").exists()
    assert not other.exists()


def test_an_archive_goes_where_all_comes_back_or_strip_is_given(archived: Path) -> None:
    data = archived.read_bytes()
    result = decompress("--rm", "--strip", "--to", "ppm", archived)
    assert result.exit_code == 0, result.output
    assert "not kept: colour profile, resolution\n" in result.stderr
    assert not archived.exists()
    archived.write_bytes(data)
    assert decompress("--rm", archived).exit_code == 0
    assert not archived.exists()
    assert png_chunks.split(archived.with_suffix("").read_bytes(), "a.png")[1] == METADATA


def test_strip_leaves_metadata_out_of_a_restored_png(archived: Path) -> None:
    assert decompress("--strip", archived).exit_code == 0
    found = png_chunks.split(archived.with_suffix("").read_bytes(), "a.png")[1]
    assert [kind for kind, _ in found] == [b"iCCP", b"pHYs", png_chunks.PIXELS]


@pytest.mark.parametrize(("option", "status"), [("--keep", "done"), ("--rm", "failed")])
def test_json_lists_what_the_image_written_does_not_hold(
    archived: Path, option: str, status: str
) -> None:
    result = decompress("--json", option, "--to", "bmp", archived)
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (record["status"], record["not_kept"]) == (status, ALL_NAMED)
    assert result.exit_code == (status == "failed")


def test_what_standard_output_does_not_hold_is_named(archived: Path) -> None:
    result = decompress("-c", "--to", "ppm", archived)
    assert result.exit_code == 0
    assert result.stderr.count(f"{archived}: not kept: {', '.join(ALL_NAMED)}") == 1
    assert "not kept" not in decompress("-c", archived).stderr


def test_info_calls_a_trailer_so(archived: Path) -> None:
    result = CliRunner().invoke(main, ["info", "--json", str(archived)])
    assert json.loads(result.stdout)[0]["metadata"][-1] == "trailer"
