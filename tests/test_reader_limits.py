"""Readers are bounded before they allocate: hostile image files within a limit of address space."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ncml_codec.picture import png_chunks
from tests.limited import run_limited

pytest.importorskip("resource")

MEGABYTES = 200  # the interpreter with all that readers import takes 130 of them
_READ = """
import json, sys
from pathlib import Path
import PIL.Image, ncml_codec.picture.pillow_formats
from ncml_codec.picture import row_readers as readers
from ncml_codec.errors import InputError

said = {{}}
for path in sorted(Path({folder!r}).iterdir()):
    try:
        readers.size_of(path)
        said[path.name] = f"read {{readers.open_image(path, {max_pixels}).width}}"
    except (InputError, MemoryError) as error:
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
    """A TIFF of one directory: tags as (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + more


def rgb_tags(side: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]


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
    # More of something than an image has.
    "chunks": (
        lambda: png_of(9, 9, png_chunks.chunk(b"tEXt", b"") * 2_000_000, _IDAT, _IEND),
        "more than 65536 chunks",
    ),
    "tags of one value": (many_tags_of_one_value, "damaged"),
    "tags": (lambda: tiff_of([(at, 3, 1, 0) for at in range(65535)]), "65535 tags"),
    "strips": (strips_of_one_byte, "strips or tiles"),
}
# Within the file's claim nothing is wrong: the caller's limit has to come first.
LIMITED = {
    "png": png_of(_SIDE, _SIDE, _IDAT, _IEND, depth=16, colour=6),
    "webp": webp_of(16384, 16384),
    "bmp": bmp_of(_SIDE, _SIDE, 8, 1),
    "tiff": tiff_of([*rgb_tags(_SIDE), (259, 3, 1, 5), (273, 4, 1, 8), (279, 4, 1, 8)]),
    "pnm": b"P4 %d %d\n" % (_SIDE, _SIDE) + bytes(_SIDE * _SIDE // 8),
}


def outcomes(folder: Path, files: Mapping[str, bytes], max_pixels: int) -> dict[str, str]:
    """What one child process within the limit says of each file."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    result = run_limited(_READ.format(folder=str(folder), max_pixels=max_pixels), MEGABYTES)
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
