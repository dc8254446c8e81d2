"""What a JPEG file consists of: frame, scans, coefficients.

Nothing here reads or writes bytes: see `markers`, `recipe` and `jpeg_file`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ncml_codec.jpeg.huffman import HuffmanTable

Coefficients = npt.NDArray[np.int16]  # [block_rows, block_columns, 64], zigzag order, quantised
Quantisation = npt.NDArray[np.uint16]  # [components, 64], zigzag order


class FrameKind(IntEnum):
    """The second byte of the frame's marker."""

    BASELINE = 0xC0
    EXTENDED = 0xC1
    PROGRESSIVE = 0xC2


@dataclass(frozen=True)
class Component:
    """One plane of the image. horizontal, vertical: sampling factors, 1 to 4.

    table: number of its quantisation table.
    """

    identifier: int
    horizontal: int
    vertical: int
    table: int


@dataclass(frozen=True)
class Frame:
    """Size in pixels and components."""

    kind: FrameKind
    width: int
    height: int
    components: tuple[Component, ...]

    @property
    def progressive(self) -> bool:
        return self.kind is FrameKind.PROGRESSIVE

    @property
    def horizontal(self) -> int:
        """The largest horizontal sampling factor."""
        return max(component.horizontal for component in self.components)

    @property
    def vertical(self) -> int:
        return max(component.vertical for component in self.components)

    @property
    def mcus(self) -> tuple[int, int]:
        """Rows and columns of minimum coded units, in scans of several components."""
        return _ceil(self.height, 8 * self.vertical), _ceil(self.width, 8 * self.horizontal)

    def own_blocks(self, index: int) -> tuple[int, int]:
        """Rows and columns of blocks that a scan of this component alone holds."""
        component = self.components[index]
        rows = _ceil(self.height * component.vertical, self.vertical)
        columns = _ceil(self.width * component.horizontal, self.horizontal)
        return _ceil(rows, 8), _ceil(columns, 8)

    def block_shape(self, index: int) -> tuple[int, int]:
        """Rows and columns of a component's coefficients: whole units if there are several
        components."""
        if len(self.components) == 1:
            return self.own_blocks(index)
        component, (rows, columns) = self.components[index], self.mcus
        return rows * component.vertical, columns * component.horizontal

    @property
    def blocks(self) -> int:
        """Of all components."""
        shapes = [self.block_shape(index) for index in range(len(self.components))]
        return sum(rows * columns for rows, columns in shapes)


@dataclass(frozen=True)
class ScanComponent:
    """index: in the frame. horizontal, vertical: its blocks in a unit. Tables: None if unused."""

    index: int
    horizontal: int
    vertical: int
    dc: HuffmanTable | None
    ac: HuffmanTable | None


@dataclass(frozen=True)
class Scan:
    """What a scan codes, and how. rows, columns: of units; interval: units between restarts, or 0.

    first, last: zigzag positions (0 and 63 in sequential files). high, low: the bit positions of
    successive approximation; high is 0 in a coefficient's first scan.
    """

    components: tuple[ScanComponent, ...]
    rows: int
    columns: int
    interval: int
    progressive: bool
    first: int
    last: int
    high: int
    low: int

    @property
    def mcus(self) -> int:
        return self.rows * self.columns

    @property
    def blocks(self) -> int:
        return self.mcus * sum(part.horizontal * part.vertical for part in self.components)


# Notes of all scans of a file but its padding, each of about 100 bytes in memory. An encoder that
# ends every block on its own takes one a block and scan: 12 megapixels have a million.
NOTES_MAX = 1 << 21


@dataclass(frozen=True)
class ScanNotes:
    """What coefficients do not tell about a scan's bytes: nearly always nothing.

    padding: the bits that fill bytes before markers, one a byte; the last one repeats for ever;
    empty means ones. breaks: blocks before which a run of blocks' ends stops, although it could go
    on (progressive). zero_runs: blocks with unneeded runs of 16 zeros at their end: (block,
    2 x runs, + 1 if no end of block follows). restarts: restart
    markers that are not the expected two bytes: (number, bytes).
    Blocks are numbered in the scan's order. All ascending.
    """

    padding: bytes = b""
    breaks: tuple[int, ...] = ()
    zero_runs: tuple[tuple[int, int], ...] = ()
    restarts: tuple[tuple[int, bytes], ...] = ()

    @property
    def count(self) -> int:
        """As NOTES_MAX counts them."""
        return len(self.breaks) + len(self.zero_runs) + len(self.restarts)


@dataclass(frozen=True)
class ScanReading:
    """end: where in the file its bytes end, or where damage begins; units: how many are sound."""

    notes: ScanNotes
    end: int
    units: int


def _ceil(value: int, step: int) -> int:
    return -(-value // step)
