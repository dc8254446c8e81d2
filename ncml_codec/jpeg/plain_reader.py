"""The specification of how coded bytes become coefficients; slow and plain.

ITU T.81, annexes F and G, plus notes of what an encoder might have done otherwise: `native` does
the same, faster. A unit is a minimum coded unit (MCU).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ncml_codec.jpeg.huffman import HuffmanTable
from ncml_codec.jpeg.records import Coefficients, Scan, ScanComponent, ScanNotes, ScanReading

LONGEST_RUN = 0x7FFF  # blocks' ends that one symbol codes
COEFFICIENT_MAX = 0x7FFF
_MARKER = re.compile(rb"\xff(?!\x00)")  # also a lone last byte, which may be half of anything


class Damaged(Exception):
    """Bytes that no encoder writes, or that end too soon; never leaves the package."""


def read_scan(
    data: bytes, start: int, scan: Scan, coefficients: Sequence[Coefficients], notes_max: int
) -> ScanReading:
    """Fill coefficients from a scan's bytes, which begin at `start`.

    Where they are damaged, or need notes_max notes, `units` of the result is less than the scan's.
    Sequential scans then keep the units before, and `end` is the byte in which the next unit
    begins. Of progressive scans nothing is kept: see `erase`.
    """
    return _Reader(data, start, scan, coefficients, notes_max).run()


def unit_blocks(scan: Scan, unit: int) -> Iterator[tuple[ScanComponent, int, int]]:
    """The blocks of a unit in coding order: component, block row, block column."""
    row, column = divmod(unit, scan.columns)
    for part in scan.components:
        for down in range(part.vertical):
            for across in range(part.horizontal):
                yield part, row * part.vertical + down, column * part.horizontal + across


class _Reader:
    def __init__(
        self,
        data: bytes,
        start: int,
        scan: Scan,
        coefficients: Sequence[Coefficients],
        notes_max: int,
    ) -> None:
        self.data, self.scan, self.coefficients = data, scan, coefficients
        self.notes_max = notes_max
        self.codes = {id(t): _by_code(t) for p in scan.components for t in (p.dc, p.ac) if t}
        self.block = 0  # number of the block at work
        self.padding = bytearray()
        self.breaks: list[int] = []
        self.zero_runs: list[tuple[int, int]] = []
        self.restarts: list[tuple[int, bytes]] = []
        self.begin_segment(start)

    def begin_segment(self, start: int) -> None:
        """A segment lasts up to the next marker."""
        found = _MARKER.search(self.data, start)
        self.start, self.end = start, found.start() if found else len(self.data)
        self.bits = _Bits(self.data[start : self.end].replace(b"\xff\x00", b"\xff"))
        self.predicted = [0] * len(self.coefficients)
        self.run_left = 0  # blocks that still end before they begin (progressive)
        self.run_length: int | None = None  # of the run that the last block ended with, so far

    def run(self) -> ScanReading:
        scan = self.scan
        for unit in range(scan.mcus):
            first_block, began = self.block, self.bits.position
            try:
                for part, row, column in unit_blocks(scan, unit):
                    self.read_block(part, self.coefficients[part.index][row, column])
                    self.block += 1
                noted = len(self.breaks) + len(self.zero_runs) + len(self.restarts)
                if noted >= self.notes_max:  # so that there is room for a restart marker
                    raise Damaged
                number = unit + 1
                if number == scan.mcus or (scan.interval and number % scan.interval == 0):
                    if self.run_left:
                        raise Damaged
                    ends = self.file_position(-(-self.bits.position // 8))
                    restart = b"" if number == scan.mcus else self.restart_marker(ends)
                    self.padding += self.bits.rest_of_byte()
                    if number == scan.mcus:
                        return ScanReading(self.notes(), ends, number)
                    index = number // scan.interval - 1
                    if restart != bytes([0xFF, 0xD0 + index % 8]):
                        self.restarts.append((index, restart))
                    self.begin_segment(ends + len(restart))
            except Damaged:
                if not scan.progressive:
                    for part, row, column in unit_blocks(scan, unit):
                        self.coefficients[part.index][row, column] = 0
                self.zero_runs = [run for run in self.zero_runs if run[0] < first_block]
                return ScanReading(self.notes(), self.file_position(began // 8), unit)
        raise AssertionError("a scan of no unit")

    def notes(self) -> ScanNotes:
        return ScanNotes(
            trimmed(bytes(self.padding)),
            tuple(self.breaks),
            tuple(self.zero_runs),
            tuple(self.restarts),
        )

    def file_position(self, at: int) -> int:
        """Where in the file byte `at` of the segment without stuffing stands."""
        return self.start + at + self.bits.data[:at].count(0xFF)

    def restart_marker(self, at: int) -> bytes:
        """The bytes from `at` to the end of the restart marker that ends the segment."""
        end = self.end
        while end < len(self.data) and self.data[end] == 0xFF:
            end += 1
        if end == len(self.data) or not 0xD0 <= self.data[end] <= 0xD7:
            raise Damaged
        return self.data[at : end + 1]

    def symbol(self, table: HuffmanTable | None) -> int:
        assert table is not None
        return self.bits.symbol(self.codes[id(table)])

    def read_block(self, part: ScanComponent, block: Coefficients) -> None:
        scan = self.scan
        if not scan.progressive:
            self.read_dc(part, block)
            self.read_band(part, block)
        elif scan.first == 0 and scan.high == 0:
            self.read_dc(part, block)
        elif scan.first == 0:
            block[0] |= self.bits.take(1) << scan.low
        elif scan.high == 0:
            self.read_band(part, block)
        else:
            self.refine_band(part, block)

    def read_dc(self, part: ScanComponent, block: Coefficients) -> None:
        size = self.symbol(part.dc)
        if size > 15:
            raise Damaged
        value = self.predicted[part.index] + self.bits.signed(size)
        if not -COEFFICIENT_MAX - 1 <= value << self.scan.low <= COEFFICIENT_MAX:
            raise Damaged
        self.predicted[part.index] = value
        block[0] = value << self.scan.low

    def read_band(self, part: ScanComponent, block: Coefficients) -> None:
        """AC coefficients of a sequential file, or their first scan in a progressive one."""
        last, low = self.scan.last, self.scan.low
        position, zero_runs, ended = max(self.scan.first, 1), 0, False
        if self.run_left:
            self.run_left -= 1
            return
        while position <= last:
            run, size = divmod(self.symbol(part.ac), 16)
            if size:
                position, zero_runs = position + run, 0
                value = self.bits.signed(size)
                magnitude = abs(value) << low
                if position > last or magnitude > COEFFICIENT_MAX:
                    raise Damaged
                block[position] = magnitude if value > 0 else -magnitude
                position += 1
            elif run == 15:
                position, zero_runs = position + 16, zero_runs + 1
            else:
                self.begin_run(run, position == self.scan.first)
                ended = True
                break
        if position > last + 1:
            raise Damaged
        self.finish_block(zero_runs, ended)

    def refine_band(self, part: ScanComponent, block: Coefficients) -> None:
        """One more bit of AC coefficients that are known, and those that become 1 in it."""
        first, last, low = self.scan.first, self.scan.last, self.scan.low
        if self.run_left:
            self.run_left -= 1
            self.correct(block, first, 64)
            return
        position, zero_runs, ended, began = first, 0, False, True
        while position <= last:
            run, size = divmod(self.symbol(part.ac), 16)
            if size > 1:
                raise Damaged
            value = 0
            if size:
                value = (1 if self.bits.take(1) else -1) << low
                zero_runs = 0
            elif run == 15:
                zero_runs += 1
            else:
                self.begin_run(run, began)
                ended = True
                self.correct(block, position, 64)
                break
            position = self.correct(block, position, run)
            if position > last:
                raise Damaged
            if value:
                block[position] = value
            position, began = position + 1, False
        self.finish_block(zero_runs, ended)

    def correct(self, block: Coefficients, position: int, zeros: int) -> int:
        """Read a bit for each non-zero from `position` until so many zeros are passed.

        The position of the zero behind them, or behind the band.
        """
        low = self.scan.low
        while position <= self.scan.last:
            if block[position]:
                if self.bits.take(1):
                    block[position] += (1 << low) if block[position] > 0 else -(1 << low)
            elif zeros == 0:
                break
            else:
                zeros -= 1
            position += 1
        return position

    def begin_run(self, category: int, at_first: bool) -> None:
        """An end of block has been read, and how many blocks end with this one is to be read."""
        if category and not self.scan.progressive:
            raise Damaged
        length = (1 << category) + self.bits.take(category)
        if at_first and self.run_length is not None and self.run_length < LONGEST_RUN:
            self.breaks.append(self.block)
        self.run_left, self.run_length = length, length

    def finish_block(self, zero_runs: int, ended: bool) -> None:
        if zero_runs:
            self.zero_runs.append((self.block, 2 * zero_runs + (not ended)))
        if ended:
            self.run_left -= 1
        if not ended or not self.scan.progressive:
            self.run_length = None


class _Bits:
    """Bits of bytes without stuffing, highest first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            at, bit = divmod(self.position, 8)
            if at >= len(self.data):
                raise Damaged
            value = 2 * value + (self.data[at] >> (7 - bit) & 1)
            self.position += 1
        return value

    def signed(self, size: int) -> int:
        """T.81, EXTEND: the values of `size` bits without those of fewer."""
        value = self.take(size)
        return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1

    def symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 17):
            code = 2 * code + self.take(1)
            if (code, length) in codes:
                return codes[code, length]
        raise Damaged

    def rest_of_byte(self) -> bytes:
        return bytes(self.take(1) for _ in range(-self.position % 8))


def trimmed(padding: bytes) -> bytes:
    """The shortest bits that mean the same, as `ScanNotes.padding` says."""
    short = padding.rstrip(padding[-1:]) + padding[-1:]
    return b"" if short == b"\1" else short


def _by_code(table: HuffmanTable) -> dict[tuple[int, int], int]:
    return {code: symbol for symbol, code in table.codes().items()}
