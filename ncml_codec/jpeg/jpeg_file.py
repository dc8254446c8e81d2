"""JPEG files as coefficients and a recipe, and back to the very bytes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ncml_codec.errors import FormatError, UnreadableJpeg, UnsupportedImage, UsageError
from ncml_codec.jpeg import plain_reader, plain_writer
from ncml_codec.jpeg.markers import BLOCKS_MAX, Walk
from ncml_codec.jpeg.recipe import Recipe
from ncml_codec.jpeg.records import (
    NOTES_MAX,
    Coefficients,
    Frame,
    Quantisation,
    Scan,
    ScanNotes,
    ScanReading,
)

ENGINES = ("auto", "native", "python")


@dataclass(frozen=True, eq=False)
class Layout:
    """What a recipe says of coefficients before they are known."""

    frame: Frame
    quantisation: Quantisation = field(repr=False)

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of each component's coefficients: [block_rows, block_columns, 64]."""
        return tuple((*self.frame.block_shape(i), 64) for i in range(len(self.frame.components)))

    @property
    def unit(self) -> tuple[int, int]:
        """Height and width in pixels of the smallest part that holds whole blocks of all."""
        if len(self.frame.components) == 1:
            return 8, 8
        return 8 * self.frame.vertical, 8 * self.frame.horizontal

    @property
    def block_sides(self) -> list[tuple[int, int]]:
        """Height and width in pixels that a block of each component covers."""
        if len(self.frame.components) == 1:
            return [(8, 8)]
        down, across = self.unit
        return [
            (down // part.vertical, across // part.horizontal) for part in self.frame.components
        ]


@dataclass(frozen=True, eq=False)
class Jpeg:
    """A JPEG file. coefficients: one array a component, int16 as in `Layout.shapes`, zigzag order.

    Blocks beyond the image's edge are there as they are coded.
    """

    layout: Layout
    coefficients: tuple[Coefficients, ...] = field(repr=False)
    recipe: Recipe


class _Engine(Protocol):
    def read_scan(
        self,
        data: bytes,
        start: int,
        scan: Scan,
        coefficients: Sequence[Coefficients],
        notes_max: int,
    ) -> ScanReading: ...

    def write_scan(
        self,
        scan: Scan,
        coefficients: Sequence[Coefficients],
        notes: ScanNotes,
        units: int,
        limit: int,
    ) -> bytes: ...


def read(data: bytes, *, blocks_max: int = BLOCKS_MAX, engine: str = "auto") -> Jpeg:
    """A JPEG file's coefficients and recipe; `write` gives the bytes again.

    Of a file that is damaged or cut short within its scans, what is sound; the rest is the recipe's
    tail. Whether a strange file comes back is only known when it has been written: the caller
    compares.

    Raises UnreadableJpeg, and for any bytes nothing else: for arithmetic coding, 12 bits, lossless
    and hierarchical files, more blocks than blocks_max, and where nothing can be read.
    """
    try:
        return _read(data, blocks_max, _engine(engine))
    except (FormatError, UnsupportedImage) as error:
        raise UnreadableJpeg(str(error)) from error


def _read(data: bytes, blocks_max: int, engine: _Engine) -> Jpeg:
    walk = Walk(data, len(data), blocks_max)
    coefficients: tuple[Coefficients, ...] = ()
    markers, notes, notes_left = bytearray(), list[ScanNotes](), NOTES_MAX
    kept, cut = 0, None  # all bytes before `kept` are in markers or coefficients
    while True:
        try:
            scan = walk.next_scan()
        except (FormatError, UnsupportedImage):
            if not notes:
                raise
            walk.at = walk.marker
            scan = None
        markers += data[kept : walk.at]
        kept = walk.at
        if scan is None:
            break
        assert walk.frame is not None
        if not coefficients:
            shapes = Layout(walk.frame, walk.quantisation).shapes
            coefficients = tuple(np.zeros(shape, np.int16) for shape in shapes)
        reading = engine.read_scan(data, walk.at, scan, coefficients, notes_left)
        if reading.units < scan.mcus and (scan.progressive or reading.units == 0):
            erase(scan, coefficients)
            break
        if reading.units < scan.mcus and walk.late_height and not notes:
            raise FormatError("damaged in its first scan, behind which its height stands")
        notes.append(reading.notes)
        notes_left -= reading.notes.count
        kept = walk.at = reading.end
        if reading.units < scan.mcus:
            cut = reading.units
            break
    if not notes:
        raise FormatError(f"no scan in {len(data)} bytes that can be read")
    assert walk.frame is not None
    recipe = Recipe(len(data), bytes(markers), tuple(notes), cut, data[kept:])
    return Jpeg(Layout(walk.frame, walk.quantisation), coefficients, recipe)


def write(jpeg: Jpeg, *, blocks_max: int = BLOCKS_MAX, engine: str = "auto") -> bytes:
    """The file's bytes. Raises FormatError if coefficients and recipe do not belong together."""
    data = written(jpeg, blocks_max, engine)
    if len(data) != jpeg.recipe.size:
        raise FormatError(f"JPEG file: {len(data)} bytes written, it had {jpeg.recipe.size}")
    return data


def written(jpeg: Jpeg, blocks_max: int = BLOCKS_MAX, engine: str = "auto") -> bytes:
    """The bytes that coefficients and recipe give, of which recipe.size is only an upper bound."""
    engine_at_work, recipe = _engine(engine), jpeg.recipe
    _check_arrays(jpeg, layout(recipe, blocks_max=blocks_max))
    walk = Walk(recipe.markers, recipe.size, blocks_max)
    parts, left, copied = list[bytes](), recipe.size, 0
    for number, notes in enumerate(recipe.scans):
        scan = walk.next_scan()
        assert scan is not None
        parts.append(recipe.markers[copied : walk.at])
        copied = walk.at
        left -= len(parts[-1])
        last = number == len(recipe.scans) - 1
        units = recipe.cut if last and recipe.cut is not None else scan.mcus
        parts.append(engine_at_work.write_scan(scan, jpeg.coefficients, notes, units, max(left, 0)))
        left -= len(parts[-1])
    return b"".join((*parts, recipe.markers[copied:], recipe.tail))


def layout(recipe: Recipe, *, blocks_max: int = BLOCKS_MAX) -> Layout:
    """Size, sampling, quantisation and the arrays' shapes, from a recipe alone.

    Nothing is allocated. Raises FormatError, or BeyondLimit: a recipe may be anything.
    """
    try:
        return _layout(recipe, blocks_max)
    except UnsupportedImage as error:
        raise FormatError(f"JPEG recipe: {error}") from error


def _layout(recipe: Recipe, blocks_max: int) -> Layout:
    walk = Walk(recipe.markers, recipe.size, blocks_max)
    scan = None
    for number in range(len(recipe.scans)):
        scan = walk.next_scan()
        if scan is None:
            raise FormatError(f"JPEG recipe: {number} scans, notes are of {len(recipe.scans)}")
    if scan is None or walk.frame is None:
        raise FormatError("JPEG recipe: no scan")
    if recipe.cut is not None and (scan.progressive or not 0 < recipe.cut < scan.mcus):
        raise FormatError(f"JPEG recipe: {recipe.cut} of {scan.mcus} units")
    return Layout(walk.frame, walk.quantisation)


def erase(scan: Scan, coefficients: Sequence[Coefficients]) -> None:
    """Make coefficients what they were before a scan, or a part of it, was read."""
    for part in scan.components:
        band = coefficients[part.index][..., scan.first : scan.last + 1]
        if not scan.high:
            band[...] = 0
        elif scan.first == 0:
            band &= ~np.int16(1 << scan.low)
        else:
            magnitude = np.abs(band) & ~np.int16(1 << scan.low)
            band[...] = np.where(band < 0, -magnitude, magnitude)


def why_not_native() -> str | None:
    """Why native code cannot run, or None if it can."""
    try:
        importlib.import_module("ncml_codec.jpeg._native")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            return "the package was installed without a C++17 compiler"
        return f"its module cannot be loaded: {error}"
    return None


class _Python:
    read_scan = staticmethod(plain_reader.read_scan)
    write_scan = staticmethod(plain_writer.write_scan)


class _Native:
    def __init__(self) -> None:
        scans = importlib.import_module("ncml_codec.jpeg.native_scans")
        self.read_scan, self.write_scan = scans.read_scan, scans.write_scan


def _engine(name: str) -> _Engine:
    if name not in ENGINES:
        raise UsageError(f"engine {name!r}: not one of {', '.join(ENGINES)}")
    missing = why_not_native() if name != "python" else None
    if name == "native" and missing:
        raise UsageError(f"engine native: {missing}")
    if name == "python" or missing:
        return _Python()
    return _Native()


def _check_arrays(jpeg: Jpeg, expected: Layout) -> None:
    shapes = tuple(array.shape for array in jpeg.coefficients)
    if shapes != expected.shapes or any(a.dtype != np.int16 for a in jpeg.coefficients):
        raise FormatError(f"JPEG coefficients {shapes}: the recipe asks for {expected.shapes}")
