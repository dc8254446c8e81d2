"""Readers are bounded before they allocate: hostile image files within a limit of address space."""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from ncml_codec.picture import png_chunks
from tests.builders.limited import run_limited

pytest.importorskip("resource")

MEGABYTES = 200  # the interpreter with all that readers import takes 130 of them
_READ = """
import json, sys
from pathlib import Path
import PIL.Image, ncml_codec.picture.pillow_formats
from ncml_codec.picture import row_readers as readers
from ncml_codec.decode import memory
from ncml_codec.errors import InputError, NcmlError

def admit(kind, size, held):
    memory.check({memory}, held)

said = {{}}
for path in sorted(Path({folder!r}).iterdir()):
    try:
        readers.size_of(path)
        said[path.name] = f"read {{readers.open_image(path, {max_pixels}, True, admit).width}}"
    except (NcmlError, MemoryError) as error:
        said[path.name] = f"{{type(error).__name__}} {{error}}"
print(json.dumps(said))
"""
_SIDE = 16000  # of images that claim 256 megapixels, below the limit that holds by itself


def png_of(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png_chunks.SIGNATURE + png_chunks.chunk(b"IHDR", header) + b"".join(chunks)


def bmp_of(width: int, height: int, bits: int, compression: int = 0) -> bytes:
    fields = (b"BM", 0, 0, 0, 54, 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHIIiiHHIIiiII", *fields)


def tiff_of(tags: list[tuple[int, int, int, int]], more: bytes = b"") -> bytes:
    """A TIFF of one directory: tags as (number, type, count, value), the last of each number."""
    tags = list({tag[0]: tag for tag in tags}.values())
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + more


def rgb_tags(side: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]


def packed_tiff(compression: int, more: bytes = b"", side: int = _SIDE) -> bytes:
    """A TIFF that claims side x side RGB pixels in one strip of a few bytes."""
    at = 10 + 12 * 10 + 4
    tags = [*rgb_tags(side), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    tags += [(273, 4, 1, at), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, len(more) or 8)]
    return tiff_of(tags, (more or b"abcdefgh") + bytes(200))


def tiled_tiff() -> bytes:
    """A TIFF of 100 x 100 pixels whose one tile claims 32000 x 32000."""
    tags = [*rgb_tags(100), (259, 3, 1, 5), (322, 4, 1, 32000), (323, 4, 1, 32000)]
    return tiff_of([*tags, (324, 4, 1, 8), (325, 4, 1, 8)], bytes(200))


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG of 8 x 8 pixels whose header claims more, its end included."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    data = bytearray(out.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def blank_webp(side: int) -> bytes:
    """A sound WebP of one colour, a few hundred bytes."""
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "WEBP", lossless=True, quality=0, method=0)
    return out.getvalue()


def webp_of(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", 6)
    return b"RIFF" + struct.pack("<I", len(body) + 6) + body + b"\x2f\0\0\0\0\0"


def many_tags_of_one_value() -> bytes:
    """Each of 4,000 tags claims the same two megabytes, which Pillow would read 4,000 times."""
    count = 4000
    tags = [(1000 + at, 7, 1 << 21, 10 + 12 * count) for at in range(count)]
    return tiff_of(tags, bytes(1 << 21))


def strips_of_one_byte() -> bytes:
    count = 1 << 21
    tags = [*rgb_tags(100), (273, 4, count, 200), (278, 3, 1, 1), (279, 4, count, 200)]
    return tiff_of(tags, bytes(4 * count + 200))


_IDAT, _IEND = png_chunks.chunk(b"IDAT", zlib.compress(bytes(99))), png_chunks.chunk(b"IEND", b"")

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    # The header's comments and gaps, 30 MB of them.
    "comments": (lambda: b"P6" + b"\n#" * (15 << 20) + b"\n1 1 255\nabc", "longer than"),
    "one comment": (lambda: b"P6\n#" + b"x" * (30 << 20) + b"\n1 1 255\nabc", "longer than"),
    "whitespace": (lambda: b"P6" + b"\n" * (30 << 20) + b"1 1 255\nabc", "longer than"),
    "digits": (lambda: b"P6 " + b"1" * (30 << 20), "header"),
    # Text: samples, comments, and a number that does not end.
    "text": (lambda: b"P3 2000 1000 255\n" + b"7 " * 6_000_000, "read 2000"),
    "bits as text": (lambda: b"P1 2000 5000\n" + b"1" * 10_000_000, "read 2000"),
    "comments in text": (
        lambda: b"P2 1 1 255 " + (b"#" + b"x" * 99 + b"\n") * 200_000 + b"7",
        "read 1",
    ),
    "a number": (lambda: b"P2 1 1 255 " + b"0" * (20 << 20), "no numbers"),
    # Claims that the file does not hold.
    "claim of text": (lambda: b"P3 %d %d 255\n1 2 3" % (_SIDE, _SIDE), "too short"),
    "claim of bits": (lambda: b"P1 %d %d\n1 0 1" % (_SIDE, _SIDE), "too short"),
    "claim of binary": (lambda: b"P6 %d %d 255\nabc" % (_SIDE, _SIDE), "cut short"),
    "claim of deep": (lambda: b"P6 %d %d 65535\nabc" % (_SIDE, _SIDE), "cut short"),
    "claim of packed": (lambda: b"P4 %d %d\nabc" % (_SIDE, _SIDE), "cut short"),
    "png": (lambda: png_of(_SIDE, _SIDE, _IDAT, _IEND, depth=16, colour=6), "ends after"),
    "png in bands": (lambda: png_of(_SIDE, _SIDE, _IDAT, _IEND), "read 16000"),
    "png of bits": (lambda: png_of(_SIDE, _SIDE, _IDAT, _IEND, depth=1, colour=0), "ends after"),
    "bmp": (lambda: bmp_of(_SIDE, _SIDE, 24), "damaged"),
    "bmp of 32 bits": (lambda: bmp_of(_SIDE, _SIDE, 32), "damaged"),
    "tiff": (
        lambda: tiff_of([*rgb_tags(_SIDE), (273, 4, 1, 8), (278, 4, 1, _SIDE), (279, 4, 1, 8)]),
        "cut short",
    ),
    # Packed pixels, of which a few bytes cannot give so many.
    "bmp of runs": (lambda: bmp_of(_SIDE, _SIDE, 8, 1) + bytes(2000), "too short"),
    "bmp of short runs": (lambda: bmp_of(_SIDE, _SIDE, 4, 2) + bytes(2000), "too short"),
    "tiff by PackBits": (lambda: packed_tiff(32773), "too short"),
    "tiff by LZW": (lambda: packed_tiff(5), "too short"),
    "tiff by deflate": (lambda: packed_tiff(8), "too short"),
    "tiff by old deflate": (lambda: packed_tiff(32946), "too short"),
    "tiff of a huge tile": (tiled_tiff, "tiles of 32000 x 32000"),
    "jpeg": (lambda: jpeg_of(_SIDE, _SIDE), "too short"),
    # More of something than an image has.
    "chunks": (
        lambda: png_of(9, 9, png_chunks.chunk(b"tEXt", b"") * 2_000_000, _IDAT, _IEND),
        "more than 65536 chunks",
    ),
    "tags of one value": (many_tags_of_one_value, "damaged"),
    "tags": (lambda: tiff_of([(at, 3, 1, 0) for at in range(65535)]), "65535 tags"),
    "strips": (strips_of_one_byte, "strips or tiles"),
}
# Whose packed pixels may be so many, for all that is known before they are unpacked.
ADMITTED: dict[str, Callable[[], bytes]] = {
    "webp": lambda: blank_webp(6000),
    "claim of webp": lambda: webp_of(16384, 16384),
    "tiff by LZMA": lambda: packed_tiff(34925),
    "tiff by zstd": lambda: packed_tiff(50000),
    "tiff by LZW": lambda: packed_tiff(5, bytes(40000), 6000),
    "bmp of runs": lambda: bmp_of(6000, 6000, 8, 1) + bytes(36_000_000 // 128),
    "jpeg": lambda: jpeg_of(6000, 6000) + bytes(36_000_000 // 512),
    "png": lambda: png_of(6000, 6000, _IDAT, _IEND, depth=16, colour=6),
    "pnm": lambda: b"P5 10000 8000 1\n" + bytes(80_000_000),
    "a file larger than the limit": lambda: b"P3 1 1 255 " + b" " * (100 << 20) + b"1 2 3",
}
# Within the file's claim nothing is wrong: the caller's limit has to come first.
LIMITED = {
    "png": png_of(_SIDE, _SIDE, _IDAT, _IEND, depth=16, colour=6),
    "webp": webp_of(16384, 16384),
    "bmp": bmp_of(_SIDE, _SIDE, 8, 1) + bytes(_SIDE * _SIDE // 128),
    "tiff": packed_tiff(34925),
    "jpeg": jpeg_of(_SIDE, _SIDE) + bytes(_SIDE * _SIDE // 512),
    "pnm": b"P4 %d %d\n" % (_SIDE, _SIDE) + bytes(_SIDE * _SIDE // 8),
}


def outcomes(
    folder: Path, files: Mapping[str, bytes], max_pixels: int, memory: int | None = None
) -> dict[str, str]:
    """What one child process within the limit says of each file. memory: in bytes, as --memory."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    code = _READ.format(folder=str(folder), max_pixels=max_pixels, memory=memory)
    result = run_limited(code, MEGABYTES)
    assert result.returncode == 0, result.stderr
    said: dict[str, str] = json.loads(result.stdout)
    return said


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = {name: made() for name, (made, _) in HOSTILE.items()}
    return outcomes(tmp_path_factory.mktemp("hostile"), files, 1 << 29)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return outcomes(tmp_path_factory.mktemp("limited"), LIMITED, 1 << 20)


@pytest.fixture(scope="module")
def admitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = {name: made() for name, made in ADMITTED.items()}
    return outcomes(tmp_path_factory.mktemp("admitted"), files, 1 << 29, 120 << 20)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_read_or_refused_within_the_limit(
    name: str, hostile: dict[str, str]
) -> None:
    assert HOSTILE[name][1] in hostile[name]


@pytest.mark.parametrize("name", LIMITED)
def test_the_limit_of_pixels_holds_before_anything_is_allocated(
    name: str, limited: dict[str, str]
) -> None:
    assert "beyond the limit of 1048576" in limited[name]


@pytest.mark.parametrize("name", ADMITTED)
def test_the_limit_of_memory_holds_before_anything_is_allocated(
    name: str, admitted: dict[str, str]
) -> None:
    assert "needs about" in admitted[name]


def test_an_image_that_takes_too_much_is_a_message_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name, data in (
        ("a.webp", blank_webp(9000)),
        ("b.tif", packed_tiff(50000)),
        ("c.pgm", b"P5 4 4 255\n" + bytes(16)),
    ):
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-m", "ncml_cli.zip.ncmlzip", "compress", "-1", "-j1", "-T1"]
    done = run_limited([*command, "-r", str(tmp_path)], 400)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("a.webp", "b.tif"):
        assert f"{tmp_path / name}: " in done.stderr
    assert [path.name for path in tmp_path.glob("*.ncmz")] == ["c.pgm.ncmz"]
