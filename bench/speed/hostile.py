"""What hostile files take: CPU time and memory of files that are small and claim much.

Each file is decoded in a process of its own, with everything that can be read of it (`salvage`), so
that a wrong checksum does not end the work early. JPEG files are restored.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import zstandard
from PIL import Image

from ncml_codec import jpeg, zstd_frames
from ncml_codec.coefficients import released_models as coefficients
from ncml_codec.coefficients import tiles
from ncml_codec.decode.effort import TILE_EXPONENT
from ncml_codec.decode.file_info import inspect_bytes
from ncml_codec.errors import FormatError
from ncml_codec.format import kept_file
from ncml_codec.format.container import (
    Container,
    Header,
    Layer,
    Method,
    Transform,
    of_tiles,
    write,
)
from ncml_codec.format.kept_file import Coding, KeptFile, digest_of
from ncml_codec.format.tiles import Tile, TileLayout, Tiles
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC, Adaptation, heads_learn, network_learns
from ncml_codec.picture.kinds import RGB_ALPHA, Kind

# Seconds of the processor and MiB, before and after decoding; VmHWM is the peak of this program.
_CHILD = """
import json, sys, time
from ncml_codec.coefficients import released_models as jpeg_models
from ncml_codec.decode import jpeg_decoder, salvage
from ncml_codec.format import directory
from ncml_codec.network import released_models
from ncml_codec.errors import FormatError
def peak():
    lines = open("/proc/self/status").readlines()
    return [int(line.split()[1]) for line in lines if line.startswith("VmHWM")][0] / 1024
data = open(sys.argv[1], "rb").read()
for name in released_models.released():
    released_models.load(name)
jpeg_models.load()
before, began, outcome = peak(), time.process_time(), "decoded"
try:
    kept = directory.read_directory(data).kept
    if kept is not None:
        jpeg_decoder.restore(kept, data)
    else:
        found = salvage.open_file(data)
        for band in found.opened.bands:
            pass
        outcome = "checksum wrong" if found.losses else outcome
except FormatError as error:
    outcome = type(error).__name__
print(json.dumps([time.process_time() - began, before, peak(), outcome]))
"""


@dataclass(frozen=True)
class Case:
    """A hostile file and what it is."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Taken:
    """What decoding took: seconds of the processor; MiB before, and at the peak."""

    seconds: float
    before: float
    peak: float
    outcome: str


def cases(pixels: int) -> Iterator[Case]:
    """Files that claim about so many pixels, square ones and thin ones."""
    side = isqrt(pixels)
    for model, adaptation, words in (
        ("fast", STATIC, "fast, nothing learns"),
        ("photo", STATIC, "photo, nothing learns"),
        ("photo", heads_learn(3), "photo, heads learn"),
        ("photo", STATIC.with_colours(3), "photo, colours by triples"),
        ("max", network_learns(3), "max, the whole network learns"),
    ):
        for width, height in ((side, side), (pixels, 1), (1, pixels)):
            data = _tiles(width, height, adaptation, model)
            yield Case(f"{words}, {width} x {height}", data)
    yield Case(
        f"max, learns, tiles of 32, {side} x {side}",
        _tiles(side, side, network_learns(3), "max", 5),
    )
    for width, height in ((side, side), (pixels, 1)):
        yield Case(f"16-bit RGBA by mixing, {width} x {height}", _mixed(width, height))
    yield Case("8 x 8, metadata of 2^28 zeros", _tiles(8, 8, STATIC, "fast", metadata=1 << 28))
    yield Case(f"JPEG file, grey, {side} x {side}", _jpeg(side))
    whole = zstandard.ZstdCompressor(19).compress(bytes(1 << 28))
    yield Case("JPEG file kept whole, 2^28 zeros", _kept(1, 1, Coding.WHOLE, b"", [whole]))


def measured(case: Case) -> Taken:
    """The case decoded in a process of its own. Linux only."""
    with tempfile.NamedTemporaryFile(suffix=".ncmz") as file:
        file.write(case.data)
        file.flush()
        command = [sys.executable, "-c", _CHILD, file.name]
        run = subprocess.run(command, capture_output=True, check=True, text=True)
    return Taken(*json.loads(run.stdout))


def table(found: Sequence[tuple[Case, Taken]]) -> str:
    """The measurements in Markdown."""
    rows = [
        "| file | bytes | work | CPU seconds | MiB more | outcome |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for case, taken in found:
        try:
            work = f"{inspect_bytes(case.data).work or 0:.1e}"
        except FormatError:
            work = ""
        rows.append(
            f"| {case.name} | {len(case.data)} | {work} | {taken.seconds:.2f} |"
            f" {taken.peak - taken.before:.0f} | {taken.outcome} |"
        )
    return "\n".join(rows)


def _tiles(
    width: int,
    height: int,
    adaptation: Adaptation,
    model: str,
    exponent: int = TILE_EXPONENT,
    metadata: int = 0,
) -> bytes:
    layout = TileLayout(width, height, 3, released_models.load(model).identity, exponent)
    packed = zstandard.ZstdCompressor(19).compress(_records(metadata)) if metadata else b""
    tiles = [Tile(b"", 0, adaptation)] * layout.tile_count()
    return write(of_tiles(Tiles(layout, tiles), packed))


def _records(length: int) -> bytes:
    """Metadata of one chunk, `length` bytes with its marker of the pixels."""
    chunk = length - 16
    return (
        (0).to_bytes(4, "little") + b"IDAT" + chunk.to_bytes(4, "little") + b"zzZz" + bytes(chunk)
    )


def _jpeg(side: int) -> bytes:
    """A JPEG file with every coefficient coded, all the same: it learns them and stays small."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    recipe = jpeg.read(out.getvalue()).recipe
    at = recipe.markers.index(b"\xff\xc0") + 5
    size = struct.pack(">HH", side, side)
    markers = recipe.markers[:at] + size + recipe.markers[at + 4 :]
    recipe = replace(recipe, size=1 << 30, markers=markers)
    layout = jpeg.layout(recipe)
    same = [np.ones(shape, np.int16) for shape in layout.shapes]
    payloads = tiles.encode(same, layout, coefficients.load().network)
    packed = zstd_frames.pack(recipe.pack())
    return _kept(side, side, Coding.LEARNING, packed, payloads)


def _kept(
    width: int, height: int, coding: Coding, recipe: bytes, payloads: Sequence[bytes]
) -> bytes:
    identity = b"" if coding == Coding.WHOLE else coefficients.load().identity
    file = KeptFile(width, height, True, coding, digest_of(b""), identity, recipe, payloads)
    return kept_file.write(file)


def _mixed(width: int, height: int) -> bytes:
    """All bits of eight planes, with everything that the mixing coder has."""
    payload = bytes([7, 16, 16, 16, 16])
    header = Header(width, height, Kind(RGB_ALPHA, 16), Transform.SAMPLES, 8)
    return write(Container(header, b"", b"", [Layer(Method.MIXING, 8, payload)], 0))
