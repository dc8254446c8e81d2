"""`python -m bench memory`: what `ncmlzip` takes of memory, against the estimate of `--memory`.

Each call runs in a process of its own, with a limit that is never reached, so that all that fits
without a limit is done. The estimate is the largest that the call compared with its limit. It is
without the tables of colours (60 MiB a thread), but for images that have them.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench import record
from bench.speed.speed import write_photograph
from ncml_codec.picture import png_chunks

# Notes every estimate, and the peak since this program began.
_CHILD = """
import json, sys
from ncml_codec.decode import memory
if sys.argv.pop(1) == "plain":
    memory._COLOURS = 0
estimates, threads_within = [], memory.threads_within
def noting(most, threads, need):
    count = threads_within(most, threads, need)
    estimates.append(need(count))
    return count
memory.threads_within = noting
from ncml_cli.zip.ncmlzip import main
main(sys.argv[1:], standalone_mode=False)
lines = open("/proc/self/status").readlines()
peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")][0] << 10
print(json.dumps([peak, max(estimates)]))
"""
MIB = 1 << 20
_PIECE = 1 << 20  # bytes of a text chunk


@dataclass(frozen=True)
class Case:
    """An image, and how it is coded. minutes: it takes that long. suffix: of its format. lattice:
    its colours are counted."""

    name: str
    write: Callable[[Path], None]
    level: int
    threads: int
    minutes: bool = False
    suffix: str = ".png"
    lattice: bool = False


@dataclass(frozen=True)
class Taken:
    """Bytes at the peak and by the estimate, of compressing (with its check) or decompressing."""

    case: Case
    what: str
    peak: int
    estimate: int


def cases(photograph: Path) -> Iterator[Case]:
    """Photographs of one and of four tiles, other kinds, and metadata."""

    def photo(width: int, height: int) -> Callable[[Path], None]:
        return lambda path: write_photograph(photograph, path, width, height)

    for level, threads in ((1, 1), (1, 2), (5, 1), (5, 2), (8, 1)):
        yield Case("photograph, 2048 x 1365", photo(2048, 1365), level, threads)
    for level, threads in ((1, 1), (1, 2), (5, 2), (8, 2)):
        yield Case("photograph, 4096 x 4096", photo(4096, 4096), level, threads, level > 1)
    for level in (1, 5):
        yield Case("16-bit RGBA, 1500 x 1500", _deep, level, 1, level > 1)
        yield Case("palette, 1500 x 1500", _palette, level, 1)
        yield Case("photograph in grey, 2048 x 1365", _grey(photograph), level, 1)
    # Of so many samples lossless WebP is tried, and mixing is not.
    yield Case("photograph with doubled pixels, 4096 x 4096", _doubled(photograph), 5, 1, True)
    for suffix in (".webp", ".bmp", ".tif"):
        name = f"photograph, 2048 x 1365, through {suffix[1:]}"
        yield Case(name, photo(2048, 1365), 1, 1, suffix=suffix)
    yield Case("photograph with few colours, 2048 x 1365", _lattice(photograph), 1, 1, lattice=True)
    random = np.random.default_rng(0)
    for name, data in (
        ("zeros", bytes(64 * MIB)),
        ("text", _words(random, 32 * MIB)),
        ("noise", random.bytes(32 * MIB)),
        ("noise", random.bytes(4 * MIB)),
    ):
        write = _with_metadata([data[at : at + _PIECE] for at in range(0, len(data), _PIECE)])
        yield Case(f"64 x 64, metadata of {len(data) // MIB} MiB: {name}", write, 1, 1)
    yield Case("64 x 64, 60,000 chunks of 9 bytes", _with_metadata([b"comment\0x"] * 60000), 1, 1)


def run(
    photograph: Path,
    only: Sequence[str],
    levels: Sequence[int],
    minutes: bool,
    say: Callable[[str], None],
) -> list[Taken]:
    """only: words, of which a case's name holds one; levels: of cases, all if empty; minutes: the
    cases that take long, too."""
    found = []
    for case in cases(photograph):
        if levels and case.level not in levels:
            continue
        if (only and not any(word in case.name for word in only)) or case.minutes > minutes:
            continue
        for taken in measured(case):
            say(_row(taken))
            found.append(taken)
    return found


def measured(case: Case) -> Iterator[Taken]:
    """Of compressing the case, then of decompressing it, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        names = (f"a{case.suffix}", "a.ncmz", f"b{case.suffix}")
        image, coded, back = (Path(name) / one for one in names)
        case.write(image)
        common = ["-q", f"--memory={1 << 40}", f"--threads={case.threads}"]
        for what, arguments in (
            ("compress", ["compress", f"-{case.level}", *common, str(image), "-o", str(coded)]),
            ("decompress", ["decompress", *common, str(coded), "-o", str(back)]),
        ):
            colours = "lattice" if case.lattice else "plain"
            command = [sys.executable, "-c", _CHILD, colours, *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            yield Taken(case, what, *json.loads(done.stdout))


def table(found: Sequence[Taken]) -> str:
    """The measurements in Markdown, and what they were measured on."""
    rows = [
        "| image | level | threads | | peak, MiB | estimate, MiB | ratio |",
        "|---|---:|---:|---|---:|---:|---:|",
        *map(_row, found),
    ]
    return "\n".join(rows) + f"\n\nMeasured on {record.describe(record.machine())}.\n"


def _row(taken: Taken) -> str:
    case = taken.case
    return (
        f"| {case.name} | {case.level} | {case.threads} | {taken.what} | {taken.peak / MIB:.0f} |"
        f" {taken.estimate / MIB:.0f} | {taken.estimate / taken.peak:.2f} |"
    )


def _lattice(photograph: Path) -> Callable[[Path], None]:
    """The photograph with every fourth level alone, whose colours are counted."""

    def write(path: Path) -> None:
        write_photograph(photograph, path, 2048, 1365)
        with Image.open(path) as image:
            samples = np.asarray(image) & 0xFC
        Image.fromarray(samples).save(path)

    return write


def _doubled(photograph: Path) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_photograph(photograph, path, 2048, 2048)
        with Image.open(path) as image:
            samples = np.asarray(image).repeat(2, axis=0).repeat(2, axis=1)
        Image.fromarray(samples).save(path)

    return write


def _grey(photograph: Path) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_photograph(photograph, path, 2048, 1365)
        with Image.open(path) as image:
            grey = image.convert("L")
        grey.save(path)

    return write


def _deep(path: Path) -> None:
    """A slope with noise in its low bits, as scanners give."""
    side, random = 1500, np.random.default_rng(0)
    slope = np.add.outer(np.arange(side), np.arange(side))[:, :, None] * np.array([3, 5, 7, 0])
    samples = (slope + random.integers(0, 64, slope.shape) + 20000).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    path.write_bytes(_png(header, [], rows))


def _palette(path: Path) -> None:
    random = np.random.default_rng(0)
    blocks = np.kron(random.integers(0, 200, (150, 150)), np.ones((10, 10), int))
    image = Image.fromarray(blocks.astype(np.uint8))
    image.putpalette(random.bytes(768))  # which makes it one of a palette
    image.save(path)


def _words(random: np.random.Generator, length: int) -> bytes:
    """Text of two thousand different words by chance, which packs to about a third."""
    words = np.array([random.bytes(6).hex()[: random.integers(2, 12)] for _ in range(2000)])
    return " ".join(words[random.integers(0, 2000, length // 6)]).encode()[:length]


def _with_metadata(contents: Sequence[bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
        path.write_bytes(_png(header, contents, bytes(65 * 64)))

    return write


def _png(header: bytes, contents: Sequence[bytes], rows: bytes) -> bytes:
    chunks = [(b"IHDR", header), *((b"zzZz", content) for content in contents)]
    chunks += [(b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
    return png_chunks.SIGNATURE + b"".join(png_chunks.chunk(*chunk) for chunk in chunks)
