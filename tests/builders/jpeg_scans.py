"""An independent writer of JPEG scans, which chooses at random wherever the format leaves a choice.

It shares nothing with `ncml_codec.jpeg` and follows ITU T.81, annexes C, F and G. The random
choices are those that an encoder may make: lengths of codes, where a run of blocks' ends stops,
unneeded runs of 16 zeros, padding bits, fill bytes before a restart marker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Blocks = npt.NDArray[np.int16]  # [block_rows, block_columns, 64], zigzag order
_LONGEST_RUN = 0x7FFF


@dataclass(frozen=True)
class Part:
    """A component of a scan. horizontal, vertical: its blocks in a unit; dc, ac: its tables."""

    index: int
    horizontal: int
    vertical: int
    dc: int
    ac: int


@dataclass(frozen=True)
class DrawnScan:
    """rows, columns: of units; interval: units between restarts, or 0; the rest as in SOS."""

    parts: tuple[Part, ...]
    rows: int
    columns: int
    interval: int
    progressive: bool
    first: int
    last: int
    high: int
    low: int

    def units(self) -> Iterator[list[tuple[Part, int, int]]]:
        """Of each unit its blocks in order: component, block row, block column."""
        for row in range(self.rows):
            for column in range(self.columns):
                yield [
                    (part, row * part.vertical + down, column * part.horizontal + across)
                    for part in self.parts
                    for down in range(part.vertical)
                    for across in range(part.horizontal)
                ]


@dataclass(frozen=True)
class Habits:
    """How often an encoder does what libjpeg does not, from 0 to 1.

    end_early: ends a run of blocks' ends; zero_run: writes 16 zeros before an end of block;
    strange_restart: writes another restart marker than the expected one.
    padding: gives each padding bit.
    """

    end_early: float = 0.0
    zero_run: float = 0.0
    strange_restart: float = 0.0
    padding: Callable[[], int] = field(default=lambda: 1)


Symbol = tuple[int, int, str]  # table (16 x class + number), symbol, bits that follow


class _Coding:
    """The symbols of one restart interval."""

    def __init__(self, scan: DrawnScan, habits: Habits, chance: random.Random) -> None:
        self.scan, self.habits, self.chance = scan, habits, chance
        self.symbols: list[Symbol] = []
        self.predicted: dict[int, int] = {}
        self.run, self.run_table, self.run_bits = 0, 0, ""

    def put(self, table: int, symbol: int, bits: str = "") -> None:
        self.end_run()
        self.symbols.append((table, symbol, bits))

    def end_run(self) -> None:
        if self.run:
            category = self.run.bit_length() - 1
            bits = f"{self.run:b}"[1:] + self.run_bits
            self.symbols.append((self.run_table, 16 * category, bits))
            self.run, self.run_bits = 0, ""

    def end_block(self, table: int, bits: str = "") -> None:
        if not self.scan.progressive:
            self.put(table, 0)
            return
        self.run, self.run_table, self.run_bits = self.run + 1, table, self.run_bits + bits
        if self.run == _LONGEST_RUN or self.chance.random() < self.habits.end_early:
            self.end_run()

    def block(self, part: Part, block: list[int]) -> None:
        scan = self.scan
        if not scan.progressive or (scan.first == 0 and scan.high == 0):
            value = block[0] >> scan.low
            difference = value - self.predicted.get(part.index, 0)
            self.predicted[part.index] = value
            self.put(part.dc, abs(difference).bit_length(), _signed(difference))
        elif scan.first == 0:
            self.symbols.append((-1, 0, str(block[0] >> scan.low & 1)))
        if scan.last:
            band = [_shifted(value, scan.low) for value in block]
            if scan.high:
                self.refinement(16 + part.ac, band)
            else:
                self.band(16 + part.ac, band)

    def band(self, table: int, band: list[int]) -> None:
        position, last = max(self.scan.first, 1), self.scan.last
        for at in range(position, last + 1):
            if band[at]:
                while at - position > 15:
                    self.put(table, 0xF0)
                    position += 16
                size = abs(band[at]).bit_length()
                self.put(table, 16 * (at - position) + size, _signed(band[at]))
                position = at + 1
        while last + 1 - position >= 16 and self.chance.random() < self.habits.zero_run:
            self.put(table, 0xF0)
            position += 16
        if position <= last:
            self.end_block(table)

    def refinement(self, table: int, band: list[int]) -> None:
        position, last = self.scan.first, self.scan.last
        new = [at for at in range(position, last + 1) if abs(band[at]) == 1]
        while new:
            zeros = [at for at in range(position, new[0]) if band[at] == 0]
            if len(zeros) > 15:
                self.put(table, 0xF0, _corrections(band, position, zeros[15]))
                position = zeros[15] + 1
            else:
                at = new.pop(0)
                sign = "1" if band[at] > 0 else "0"
                self.put(table, 16 * len(zeros) + 1, sign + _corrections(band, position, at))
                position = at + 1
        while self.chance.random() < self.habits.zero_run:
            zeros = [at for at in range(position, last + 1) if band[at] == 0]
            if len(zeros) < 16:
                break
            self.put(table, 0xF0, _corrections(band, position, zeros[15]))
            position = zeros[15] + 1
        if position <= last:
            self.end_block(table, _corrections(band, position, last + 1))


def symbols_of(
    scan: DrawnScan, coefficients: list[Blocks], habits: Habits, chance: random.Random
) -> list[list[Symbol]]:
    """Of each restart interval the symbols to be written."""
    intervals: list[list[Symbol]] = []
    coding = _Coding(scan, habits, chance)
    for number, unit in enumerate(scan.units()):
        if number and scan.interval and number % scan.interval == 0:
            coding.end_run()
            intervals.append(coding.symbols)
            coding = _Coding(scan, habits, chance)
        for part, row, column in unit:
            coding.block(part, coefficients[part.index][row, column].tolist())
    coding.end_run()
    return [*intervals, coding.symbols]


def scan_bytes(
    intervals: list[list[Symbol]],
    codes: dict[int, dict[int, str]],
    habits: Habits,
    chance: random.Random,
) -> bytes:
    """The coded bytes with padding, stuffing and restart markers. codes: by table and symbol."""
    parts = []
    for number, symbols in enumerate(intervals):
        if number:
            parts.append(_restart(number - 1, habits, chance))
        coded = "".join(
            (codes[table][symbol] if table >= 0 else "") + bits for table, symbol, bits in symbols
        )
        coded += "".join(str(habits.padding()) for _ in range(-len(coded) % 8))
        data = bytes(int(coded[at : at + 8], 2) for at in range(0, len(coded), 8))
        parts.append(data.replace(b"\xff", b"\xff\x00"))
    return b"".join(parts)


def random_code(used: set[int], chance: random.Random) -> tuple[bytes, bytes]:
    """Counts and symbols of a random prefix code that has codes for the used symbols.

    It may be complete, have unused symbols, and symbols that come twice.
    """
    symbols = list(used)
    others = [symbol for symbol in range(256) if symbol not in used]
    symbols += chance.sample(others, min(len(others), chance.choice((0, 0, 1, 3, 255))))
    chance.shuffle(symbols)
    again = chance.choice((0, 0, 0, 5))
    symbols = [*symbols, *(chance.choice(symbols) for _ in range(again))][:256]
    spare = chance.choice((0, 1))
    lengths = [0]
    while len(lengths) < max(len(symbols) + spare, 2):
        at = chance.randrange(len(lengths))
        if chance.random() < 0.5:
            at = min(range(len(lengths)), key=lengths.__getitem__)  # or codes only grow longer
        if lengths[at] < 16:
            lengths[at] += 1
            lengths.append(lengths[at])
    kept = sorted(lengths)[: len(symbols)]
    return bytes(kept.count(length) for length in range(1, 17)), bytes(symbols)


def codes_of(counts: bytes, symbols: bytes) -> dict[int, str]:
    """By symbol its first code, in digits."""
    codes: dict[int, str] = {}
    code, at = 0, 0
    for length, count in enumerate(counts, 1):
        code *= 2
        for symbol in symbols[at : at + count]:
            codes.setdefault(symbol, f"{code:0{length}b}")
            code += 1
        at += count
    return codes


def _restart(number: int, habits: Habits, chance: random.Random) -> bytes:
    if chance.random() >= habits.strange_restart:
        return bytes([0xFF, 0xD0 + number % 8])
    before = chance.choice((b"", b"\0", b"junk"))
    return before + b"\xff" * chance.randint(1, 3) + bytes([chance.randint(0xD0, 0xD7)])


def _shifted(value: int, low: int) -> int:
    """Towards zero."""
    return value >> low if value > 0 else -(-value >> low)


def _signed(value: int) -> str:
    size = abs(value).bit_length()
    return f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""


def _corrections(band: list[int], begin: int, end: int) -> str:
    """The next bit of coefficients that were not zero before."""
    return "".join(str(abs(band[at]) & 1) for at in range(begin, end) if abs(band[at]) > 1)
