"""A walk over a JPEG file's marker segments (ITU T.81, annex B), from scan to scan.

The same walk reads files and what stays of them without the scans' coded bytes: both find the same
scans. It also bounds what a file may claim.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ncml_codec.errors import BeyondLimit, FormatError, Truncated, UnsupportedImage
from ncml_codec.jpeg.huffman import LONGEST, HuffmanTable
from ncml_codec.jpeg.records import (
    Component,
    Frame,
    FrameKind,
    Quantisation,
    Scan,
    ScanComponent,
)

BLOCKS_MAX = 1 << 23  # 1 GiB of coefficients: 178 megapixels at 4:4:4, 357 at 4:2:0

# The DC coefficient takes a bit at least, so a byte of a whole file holds eight blocks at most.
BLOCKS_A_BYTE = 8
# Times that scans pass a block, for each byte of the file: a flat image of eight blocks a byte, in
# libjpeg's usual ten scans, has 48.
VISITS_A_BYTE = 128
VISITS_MAX = 1 << 28  # times that scans pass a block: some seconds; ten scans of BLOCKS_MAX fit
_SLACK = 4096  # bytes, for small files
SEGMENTS_MAX = 1 << 16  # each takes microseconds and may have four bytes

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # no stuffing, fill byte or restart
_SOI, _EOI, _SOS, _DQT, _DNL, _DRI, _DHT = 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xC4
_REFUSED = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE, 0xDF), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
    0xCB: "lossless",
}


class Walk:
    """Where a walk stands: `at`, a position in `data`, and what the segments before it define."""

    def __init__(self, data: bytes, size: int, blocks_max: int = BLOCKS_MAX) -> None:
        """size: of the whole file in bytes."""
        if data[:2] != b"\xff\xd8":
            raise FormatError(f"begins with {data[:2].hex(' ') or 'nothing'}: not a JPEG file")
        self.data, self.size, self.blocks_max = data, size, blocks_max
        self.at = 2
        self.marker = 0  # where the marker at work begins
        self.frame: Frame | None = None
        self.late_height = False  # whether a segment behind the first scan gives it
        self.interval = 0
        self._tables: dict[int, tuple[int, ...]] = {}
        self._latched: dict[int, tuple[int, ...]] = {}  # by component, at its first scan
        self._huffman: dict[int, HuffmanTable] = {}  # by 16 x class + number
        self._levels: dict[int, list[int | None]] = {}  # by component: the bit reached, by position
        self._visits = self._segments = 0

    @property
    def quantisation(self) -> Quantisation:
        """Steps uint16 [components, 64]; of components without a table or scan: ones."""
        assert self.frame is not None
        steps = [self._latched.get(i, (1,) * 64) for i in range(len(self.frame.components))]
        return np.array(steps, np.uint16)

    def next_scan(self) -> Scan | None:
        """The next scan, `at` then being where its coded bytes begin; None at the end of the image.

        The caller moves `at` behind the coded bytes. Raises FormatError, or UnsupportedImage.
        """
        while found := _MARKER.search(self.data, self.at):
            self.marker, code = found.start(), self.data[found.end() - 1]
            self.at = found.end()
            if code == _EOI:
                return None
            if code == 0x01:
                continue
            if code == _SOI or code < 0xC0:
                raise FormatError(f"marker ff {code:02x} at offset {self.marker} has no place here")
            if code in _REFUSED:
                raise UnsupportedImage(f"a JPEG file with {_REFUSED[code]}")
            body = self._segment()
            if code == _SOS:
                return self._scan(body)
            self._define(code, body)
        self.marker = self.at = len(self.data)
        return None

    def _segment(self) -> bytes:
        """The contents of the segment whose length stands at `at`, which moves behind it."""
        length = int.from_bytes(self.data[self.at : self.at + 2], "big")
        body = self.data[self.at + 2 : self.at + length]
        if length < 2 or len(body) != length - 2:
            raise Truncated(
                f"segment at offset {self.marker}: {length} bytes, the file has"
                f" {len(self.data) - self.at}"
            )
        self._segments += 1
        if self._segments > SEGMENTS_MAX:
            raise BeyondLimit(f"more than {SEGMENTS_MAX} segments")
        self.at += length
        return body

    def _define(self, code: int, body: bytes) -> None:
        if code in (FrameKind.BASELINE, FrameKind.EXTENDED, FrameKind.PROGRESSIVE):
            self._set_frame(FrameKind(code), body)
        elif code == _DHT:
            self._set_huffman(body)
        elif code == _DQT:
            self._set_quantisation(body)
        elif code == _DRI:
            _need(body, 2, "restart interval")
            self.interval = int.from_bytes(body[:2], "big")

    def _set_frame(self, kind: FrameKind, body: bytes) -> None:
        if self.frame is not None:
            raise FormatError(f"a second frame at offset {self.marker}")
        _need(body, 6, "frame")
        count = body[5]
        _need(body, 6 + 3 * count, "frame")
        if body[0] != 8:
            raise UnsupportedImage(f"a JPEG file with {body[0]} bits a sample")
        if not 1 <= count <= 4:
            raise UnsupportedImage(f"a JPEG file with {count} components")
        components = tuple(
            Component(body[at], body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
            for at in range(6, 6 + 3 * count, 3)
        )
        for component in components:
            if not (1 <= component.horizontal <= 4 and 1 <= component.vertical <= 4):
                raise FormatError(f"frame: sampling factors of {component}")
        if len({component.identifier for component in components}) < count:
            raise FormatError("frame: two components have the same name")
        height, width = (int.from_bytes(body[at : at + 2], "big") for at in (1, 3))
        if width == 0:
            raise FormatError("frame: no pixel wide")
        self.frame = Frame(kind, width, height, components)

    def _set_huffman(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            kind = body[at]
            counts = body[at + 1 : at + 1 + LONGEST]
            end = at + 1 + LONGEST + sum(counts)
            if kind >> 4 > 1 or kind & 15 > 3 or end > len(body):
                raise FormatError(f"Huffman table at offset {self.marker}: number {kind}, or short")
            self._huffman[kind] = HuffmanTable(counts, body[at + 1 + LONGEST : end])
            at = end

    def _set_quantisation(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            wide, number = body[at] >> 4, body[at] & 15
            end = at + 1 + 64 * (1 + wide)
            if wide > 1 or number > 3 or end > len(body):
                raise FormatError(
                    f"quantisation table at offset {self.marker}: {body[at]}, or short"
                )
            steps = np.frombuffer(body[at + 1 : end], ">u2" if wide else np.uint8)
            self._tables[number] = tuple(steps.tolist())
            at = end

    def _scan(self, body: bytes) -> Scan:
        if self.frame is None:
            raise FormatError(f"a scan at offset {self.marker} before any frame")
        _need(body, 1, "scan")
        count = body[0]
        _need(body, 4 + 2 * count, "scan")
        names = [component.identifier for component in self.frame.components]
        chosen = list(body[1 : 1 + 2 * count : 2])
        if not 1 <= count <= 4 or len(set(chosen)) < count or not set(chosen) <= set(names):
            raise FormatError(f"scan at offset {self.marker}: components {chosen} of {names}")
        if self.frame.height == 0:
            self.frame = replace(self.frame, height=self._height_after_scan())
            self.late_height = True
        first, last, bits = body[1 + 2 * count : 4 + 2 * count]
        high, low = bits >> 4, bits & 15
        if not self.frame.progressive:
            first, last, high, low = 0, 63, 0, 0  # some encoders write other values, unused
        parts = []
        for name, tables in zip(chosen, body[2 : 2 + 2 * count : 2], strict=True):
            index = names.index(name)
            component = self.frame.components[index]
            dc = None if first or high else self._huffman_table(tables >> 4, "DC")
            ac = None if last == 0 else self._huffman_table(16 + (tables & 15), "AC")
            units = (component.horizontal, component.vertical) if count > 1 else (1, 1)
            parts.append(ScanComponent(index, *units, dc, ac))
            if component.table in self._tables:
                self._latched.setdefault(index, self._tables[component.table])
        rows, columns = self.frame.mcus if count > 1 else self.frame.own_blocks(parts[0].index)
        scan = Scan(
            tuple(parts),
            rows,
            columns,
            self.interval,
            self.frame.progressive,
            first,
            last,
            high,
            low,
        )
        self._check_script(scan)
        self._check_claims(scan)
        return scan

    def _huffman_table(self, key: int, kind: str) -> HuffmanTable:
        if key not in self._huffman:
            raise FormatError(f"scan at offset {self.marker}: no {kind} table {key & 15}")
        return self._huffman[key]

    def _height_after_scan(self) -> int:
        """The height from the DNL segment that ends the first scan."""
        found = _MARKER.search(self.data, self.at)
        at = found.end() if found else len(self.data)
        if found is None or self.data[at - 1] != _DNL or self.data[at : at + 2] != b"\0\4":
            raise FormatError("frame: no pixel high, and no height after the first scan")
        height = int.from_bytes(self.data[at + 2 : at + 4], "big")
        if len(self.data) < at + 4 or height == 0:
            raise FormatError(f"height after the first scan: {height}")
        return height

    def _check_script(self, scan: Scan) -> None:
        """Each coefficient must be coded once, then refined bit by bit."""
        first, last, high, low = scan.first, scan.last, scan.high, scan.low
        what = f"scan at offset {self.marker}: coefficients {first} to {last}, bits {high} to {low}"
        if scan.progressive:
            dc = first == 0
            if (last if dc else not first <= last <= 63 or len(scan.components) > 1) or low > 13:
                raise FormatError(what)
            if high and high != low + 1:
                raise FormatError(what)
        for part in scan.components:
            levels = self._levels.setdefault(part.index, [None] * 64)
            if any(level != (high or None) for level in levels[first : last + 1]):
                raise FormatError(f"{what}: not what follows the scans before")
            levels[first : last + 1] = [low] * (last + 1 - first)

    def _check_claims(self, scan: Scan) -> None:
        assert self.frame is not None
        blocks, room = self.frame.blocks, self.size + _SLACK
        if blocks > self.blocks_max:
            raise BeyondLimit(f"{blocks} blocks of coefficients, the limit is {self.blocks_max}")
        if blocks > BLOCKS_A_BYTE * room:
            raise FormatError(f"frame: {blocks} blocks in a file of {self.size} bytes")
        self._visits += scan.blocks
        if self._visits > VISITS_MAX:
            raise BeyondLimit(f"scans pass {self._visits} blocks, the limit is {VISITS_MAX}")
        if self._visits > VISITS_A_BYTE * room:
            raise FormatError(f"scans pass {self._visits} blocks in a file of {self.size} bytes")


def _need(body: bytes, length: int, what: str) -> None:
    if len(body) < length:
        raise FormatError(f"{what}: {len(body)} bytes, needs {length}")
