"""Small files that claim much are refused before memory is taken, or cost what their size lets."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.errors import BeyondLimit, FormatError, UnreadableJpeg
from ncml_codec.jpeg import jpeg_file, markers, recipe, records
from tests.builders.jpeg_law import ENGINES, read_alike, read_and_written

BLOCK_BYTES = 128  # of coefficients


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(height: int, width: int, kind: int = 0xC0, components: int = 1) -> bytes:
    body = struct.pack(">BHHB", 8, height, width, components)
    return segment(kind, body + b"".join(bytes([i, 0x11, 0]) for i in range(components)))


def table(number: int, *symbols: int) -> bytes:
    """A code of eight bits for each symbol; of one bit if there is one symbol."""
    counts = bytearray(16)
    counts[7 if len(symbols) > 1 else 0] = len(symbols)
    return segment(0xC4, bytes([number, *counts, *symbols]))


def scan(first: int, last: int, bits: int, *components: int) -> bytes:
    names = b"".join(bytes([component, 0]) for component in components or (0,))
    return segment(0xDA, bytes([len(names) // 2]) + names + bytes([first, last, bits]))


def peak(work: Callable[[], object]) -> int:
    """Bytes of memory that the work took at most, numpy's included."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [0xC0, 0xC1, 0xC2])
@pytest.mark.parametrize("size", [(65535, 65535), (65535, 1), (4096, 4096), (0, 65535)])
def test_a_header_without_data_is_refused_before_memory_is_taken(
    size: tuple[int, int], kind: int
) -> None:
    head = b"\xff\xd8" + table(0, 0) + table(16, 0) + frame(*size, kind)
    data = head + scan(0, 0 if kind == 0xC2 else 63, 0) + b"\xff\xd9"

    def refused() -> None:
        with pytest.raises(UnreadableJpeg):
            jpeg.read(data)

    # A file may have eight blocks a byte and 4096 bytes more.
    assert peak(refused) < 8 * (len(data) + 4096) * BLOCK_BYTES + (1 << 20)


def test_more_blocks_than_the_limit_are_refused() -> None:
    data = b"\xff\xd8" + table(0, 0) + table(16, 0) + frame(80, 80) + scan(0, 63, 0) + bytes(99)
    assert read_and_written(data, "python") is not None
    with pytest.raises(UnreadableJpeg, match="the limit is 99"):
        jpeg.read(data, blocks_max=99)
    with pytest.raises(BeyondLimit, match="the limit is 99"):
        jpeg.layout(jpeg.read(data).recipe, blocks_max=99)


@pytest.mark.parametrize("engine", ENGINES)
def test_ten_thousand_scans_end_where_the_script_or_the_work_ends(engine: str) -> None:
    """Every scan passes all blocks without taking a bit: a run of blocks' ends is its only code."""
    side = 8 * 16  # 256 blocks
    runs = table(16, *range(0, 0xF0, 16))
    coded = bytes([8]) + b"\x00"  # a run of 2^8 blocks and none more
    scans = b"".join(
        scan(1 + n % 63, 1 + n % 63, 0x0D if n < 63 else 0xED) + coded for n in range(10000)
    )
    data = (
        b"\xff\xd8"
        + frame(side, side, 0xC2)
        + table(0, 0)
        + runs
        + scan(0, 0, 0)
        + bytes(32)
        + scans
    )
    read = read_and_written(data, engine)
    assert read is not None
    assert len(read.recipe.scans) == 1 + 63  # then the bits do not follow each other
    assert len(read.recipe.tail) > len(data) * 0.9


def test_more_visits_of_blocks_than_the_size_allows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = Image.fromarray(np.full((64, 64), 128, np.uint8))
    out = io.BytesIO()
    image.save(out, "JPEG", progressive=True)
    data = out.getvalue()
    sound = jpeg.read(data)
    scans, blocks = len(sound.recipe.scans), sound.layout.frame.blocks
    monkeypatch.setattr(markers, "VISITS_MAX", (scans - 1) * blocks)
    assert len(jpeg.read(data).recipe.scans) == scans - 1
    with pytest.raises(BeyondLimit, match="scans pass"):
        jpeg.layout(sound.recipe)


@pytest.mark.parametrize("engine", ENGINES)
def test_runs_of_a_million_blocks_cost_as_many_blocks_as_the_frame_has(engine: str) -> None:
    """Each of 1000 codes says that 32767 blocks end; the frame has 64 of them."""
    runs = table(16, *range(0, 0xF0, 16))
    coded = b"\x0e\xff\x00\xfc" * 1000
    data = b"\xff\xd8" + frame(64, 64, 0xC2) + table(0, 0) + runs + scan(0, 0, 0) + bytes(8)
    read = read_and_written(data + scan(1, 63, 0) + coded, engine)
    assert read is not None
    assert len(read.recipe.scans) == 1
    assert len(read.recipe.tail) == len(coded)


def test_tables_defined_thousands_of_times_count_once() -> None:
    tables = (table(0, 0) + table(16, 0) + segment(0xDB, bytes(65))) * 2000
    data = b"\xff\xd8" + tables + frame(8, 8) + scan(0, 63, 0) + b"\x3f\xff\xd9"
    assert read_alike(data) is not None
    assert peak(lambda: jpeg.read(data)) < 4 * len(data) + (1 << 20)


def test_segments_are_limited() -> None:
    comments = segment(0xFE, b"") * (
        markers.SEGMENTS_MAX - 4
    )  # the other four: frame, tables, scan
    start = b"\xff\xd8" + frame(8, 8) + table(0, 0) + table(16, 0)
    image = scan(0, 63, 0) + b"\x3f"
    assert read_and_written(start + comments + image + b"\xff\xd9", "auto") is not None
    with pytest.raises(UnreadableJpeg, match="segments"):
        jpeg.read(start + comments + segment(0xFE, b"") + image + b"\xff\xd9")
    behind = read_and_written(start + image + comments + segment(0xFE, b"") * 9, "auto")
    assert behind is not None
    assert len(behind.recipe.tail) == 9 * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_notes_are_limited(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block has 16 unneeded zeros: a bit of the file would take 100 bytes of memory."""
    head = b"\xff\xd8" + frame(64, 64) + table(0, 0) + table(16, 0xF0, 0)
    coded = int("0" + "00000000" + "00000001", 2)  # DC 0, 16 zeros, end of block
    bits = f"{coded:017b}" * 64
    data = head + scan(0, 63, 0) + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"
    sound = read_and_written(data, engine)
    assert sound is not None
    assert sound.recipe.scans[0].count == 64
    for module in (records, jpeg_file, recipe):
        monkeypatch.setattr(module, "NOTES_MAX", 20)
    limited = read_and_written(data, engine)
    assert limited is not None
    assert limited.recipe.cut == 19
    with pytest.raises(FormatError, match="more than 20 notes"):
        jpeg.Recipe.unpack(sound.recipe.pack())


def test_a_recipe_may_claim_no_more_than_the_limits() -> None:
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(out, "JPEG")
    recipe = jpeg.read(out.getvalue()).recipe
    at = recipe.markers.index(b"\xff\xc0") + 5
    changed = recipe.markers[:at] + b"\xff\xff\xff\xff" + recipe.markers[at + 4 :]

    def refused() -> None:
        with pytest.raises(BeyondLimit, match="blocks"):
            jpeg.layout(jpeg.Recipe(2**62, changed, recipe.scans))

    assert peak(refused) < 1 << 20
