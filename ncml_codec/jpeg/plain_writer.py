"""The specification of how coefficients become the coded bytes that they came from; slow, plain.

An encoder's choices are made as libjpeg makes them, except where notes say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from ncml_codec.errors import FormatError
from ncml_codec.jpeg.huffman import HuffmanTable
from ncml_codec.jpeg.plain_reader import LONGEST_RUN, unit_blocks
from ncml_codec.jpeg.records import Coefficients, Scan, ScanComponent, ScanNotes


def write_scan(
    scan: Scan, coefficients: Sequence[Coefficients], notes: ScanNotes, units: int, limit: int
) -> bytes:
    """A scan's bytes; of its first `units` units only whole bytes, if these are not all.

    Raises FormatError where a table has no code for a coefficient, or beyond `limit` bytes.
    """
    writer = _Writer(scan, coefficients, notes, limit)
    writer.write_units(units)
    return bytes(writer.out)


class _Writer:
    def __init__(
        self, scan: Scan, coefficients: Sequence[Coefficients], notes: ScanNotes, limit: int
    ) -> None:
        self.scan, self.coefficients, self.limit = scan, coefficients, limit
        self.codes = {id(t): t.codes() for p in scan.components for t in (p.dc, p.ac) if t}
        self.breaks, self.zero_runs = set(notes.breaks), dict(notes.zero_runs)
        self.restarts = dict(notes.restarts)
        self.padding, self.padded = notes.padding or b"\1", 0
        self.block = 0
        self.out = bytearray()
        self.byte, self.filled = 0, 0  # bits of the byte at work
        self.reset()

    def reset(self) -> None:
        self.predicted = [0] * len(self.coefficients)
        self.run = 0  # blocks whose end is not written yet
        self.run_table: HuffmanTable | None = None
        self.corrections = bytearray()  # bits that follow the run's symbol, one a byte

    def write_units(self, units: int) -> None:
        scan = self.scan
        for unit in range(units):
            for part, row, column in unit_blocks(scan, unit):
                self.write_block(part, self.coefficients[part.index][row, column])
                self.block += 1
                if len(self.out) > self.limit:
                    raise FormatError(f"JPEG scan: more than the {self.limit} bytes it was")
            number = unit + 1
            if number == scan.mcus:
                self.pad()
            elif scan.interval and number % scan.interval == 0:
                self.pad()
                index = number // scan.interval - 1
                self.out += self.restarts.get(index, bytes([0xFF, 0xD0 + index % 8]))
                self.reset()

    def write_block(self, part: ScanComponent, block: Coefficients) -> None:
        scan = self.scan
        if not scan.progressive:
            self.write_dc(part, int(block[0]))
            self.write_band(part, block)
        elif scan.first == 0 and scan.high == 0:
            self.write_dc(part, int(block[0]))
        elif scan.first == 0:
            self.put(int(block[0]) >> scan.low & 1, 1)
        elif scan.high == 0:
            self.write_band(part, block)
        else:
            self.refine_band(part, block)

    def write_dc(self, part: ScanComponent, value: int) -> None:
        value >>= self.scan.low
        difference = value - self.predicted[part.index]
        self.predicted[part.index] = value
        self.put_symbol(part.dc, 0, difference)

    def write_band(self, part: ScanComponent, block: Coefficients) -> None:
        scan, zeros = self.scan, 0
        if self.block in self.breaks:
            self.end_run()
        for position in range(max(scan.first, 1), scan.last + 1):
            value = int(block[position])
            value = value >> scan.low if value > 0 else -(-value >> scan.low)
            if value == 0:
                zeros += 1
                continue
            while zeros > 15:
                self.put_symbol(part.ac, 0xF0)
                zeros -= 16
            self.put_symbol(part.ac, 16 * zeros, value)
            zeros = 0
        runs, no_end = divmod(self.zero_runs.get(self.block, 0), 2)
        for _ in range(runs):
            self.put_symbol(part.ac, 0xF0)
        if zeros and not no_end:
            self.end_block(part, b"")

    def refine_band(self, part: ScanComponent, block: Coefficients) -> None:
        first, last, low = self.scan.first, self.scan.last, self.scan.low
        if self.block in self.breaks:
            self.end_run()
        known = [abs(int(value)) >> low > 1 for value in block]
        position = first
        for at in range(first, last + 1):
            if abs(int(block[at])) >> low != 1:
                continue
            zeros = known[position:at].count(False)
            while zeros > 15:
                position = self.skip(part.ac, block, known, position)
                zeros -= 16
            self.put_symbol(part.ac, 16 * zeros + 1)
            self.put(int(block[at] > 0), 1)
            self.put_bits(self.corrections_of(block, known, position, at))
            position = at + 1
        runs, no_end = divmod(self.zero_runs.get(self.block, 0), 2)
        for _ in range(runs):
            position = self.skip(part.ac, block, known, position)
        if position <= last and not no_end:
            self.end_block(part, self.corrections_of(block, known, position, last + 1))

    def skip(
        self, table: HuffmanTable | None, block: Coefficients, known: list[bool], position: int
    ) -> int:
        """Write a run of 16 zeros from `position`; where it ends."""
        end, zeros = position, 16
        while zeros and end <= self.scan.last:
            zeros -= not known[end]
            end += 1
        self.put_symbol(table, 0xF0)
        self.put_bits(self.corrections_of(block, known, position, end))
        return end

    def corrections_of(self, block: Coefficients, known: list[bool], begin: int, end: int) -> bytes:
        """The next bit of each coefficient that is known, one a byte."""
        return bytes(
            abs(int(block[at])) >> self.scan.low & 1 for at in range(begin, end) if known[at]
        )

    def end_block(self, part: ScanComponent, corrections: bytes) -> None:
        if not self.scan.progressive:
            self.put_symbol(part.ac, 0)
            return
        self.run += 1
        self.run_table = part.ac
        self.corrections += corrections
        if self.run == LONGEST_RUN:
            self.end_run()

    def end_run(self) -> None:
        """Write the symbol of the blocks that have ended since the last one."""
        if not self.run:
            return
        run, self.run = self.run, 0
        category = run.bit_length() - 1
        self.put_symbol(self.run_table, 16 * category)
        self.put(run - (1 << category), category)
        self.put_bits(bytes(self.corrections))
        self.corrections.clear()

    def put_symbol(self, table: HuffmanTable | None, high: int, value: int = 0) -> None:
        """The symbol of high + the value's size, and the value."""
        self.end_run()
        assert table is not None
        size = abs(value).bit_length()
        if size > 15 or high + size not in self.codes[id(table)]:
            raise FormatError(f"JPEG scan: no code for symbol {high:#04x}, value {value}")
        self.put(*self.codes[id(table)][high + size])
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def put_bits(self, bits: bytes) -> None:
        for bit in bits:
            self.put(bit, 1)

    def put(self, value: int, count: int) -> None:
        for bit in range(count - 1, -1, -1):
            self.byte = 2 * self.byte + (value >> bit & 1)
            self.filled += 1
            if self.filled == 8:
                self.out.append(self.byte)
                if self.byte == 0xFF:
                    self.out.append(0)
                self.byte = self.filled = 0

    def pad(self) -> None:
        """Fill the byte at work, behind what is not yet written."""
        self.end_run()
        while self.filled:
            self.put(self.padding[min(self.padded, len(self.padding) - 1)], 1)
            self.padded += 1
