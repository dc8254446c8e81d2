"""Random JPEG files: any tables, scan scripts, samplings, restarts and markers (ITU T.81)."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.builders.jpeg_scans import (
    Blocks,
    DrawnScan,
    Habits,
    Part,
    codes_of,
    random_code,
    scan_bytes,
    symbols_of,
)


@dataclass(frozen=True)
class DrawnJpeg:
    """A file and the coefficients that its scans hold."""

    data: bytes
    coefficients: list[Blocks]


@dataclass(frozen=True)
class _Frame:
    kind: int
    height: int
    width: int
    names: tuple[int, ...]
    sampling: tuple[tuple[int, int], ...]  # horizontal, vertical

    @property
    def largest(self) -> tuple[int, int]:
        return max(h for h, _ in self.sampling), max(v for _, v in self.sampling)

    def units(self, indices: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of units of a scan of these components (T.81, A.1.1 and A.2)."""
        horizontal, vertical = self.largest
        if len(indices) > 1:
            return -(-self.height // (8 * vertical)), -(-self.width // (8 * horizontal))
        h, v = self.sampling[indices[0]]
        rows, columns = -(-self.height * v // vertical), -(-self.width * h // horizontal)
        return -(-rows // 8), -(-columns // 8)

    def blocks(self, index: int) -> tuple[int, int]:
        if len(self.names) == 1:
            return self.units((0,))
        rows, columns = self.units(tuple(range(len(self.names))))
        return rows * self.sampling[index][1], columns * self.sampling[index][0]


def drawn_jpeg(chance: random.Random) -> DrawnJpeg:
    """A sound JPEG file. Few choices come from `chance` itself, so that hypothesis can shrink."""
    bulk = random.Random(chance.getrandbits(32))
    frame = _drawn_frame(chance)
    coefficients = [_drawn_blocks(frame.blocks(i), bulk) for i in range(len(frame.names))]
    held = [np.zeros_like(blocks) for blocks in coefficients]
    padding = chance.choice((lambda: 1, lambda: 1, lambda: 0, lambda: bulk.getrandbits(1)))
    habits = Habits(*(chance.choice((0.0, 0.0, 0.2, 1.0)) for _ in range(3)), padding)
    late_height = chance.random() < 0.15
    strange = chance.random() < 0.4  # markers
    out = bytearray(b"\xff\xd8" + _strange_segments(bulk, strange))
    out += _quantisation(bulk) + _strange_segments(bulk, strange)
    out += _frame_segment(frame, late_height)
    interval = 0
    for number, script in enumerate(_script(frame, chance, bulk)):
        indices, first, last, high, low = script
        if chance.random() < 0.3:
            interval = chance.choice((0, 1, 2, 3, 5, 7, 255, 65535))
            out += _segment(0xDD, struct.pack(">H", interval))
        out += _strange_segments(bulk, strange)
        if strange and bulk.random() < 0.1:
            out += _quantisation(bulk)
        scan = _drawn_scan(frame, indices, interval, (first, last, high, low), bulk)
        intervals = symbols_of(scan, coefficients, habits, bulk)
        tables = _tables(scan, intervals, bulk)
        for table, (counts, symbols) in tables.items():
            out += _segment(0xC4, bytes([table]) + counts + symbols)
        out += _scan_segment(frame, scan)
        codes = {table: codes_of(*code) for table, code in tables.items()}
        out += scan_bytes(intervals, codes, habits, bulk)
        if number == 0 and late_height:
            out += _segment(0xDC, struct.pack(">H", frame.height))
        elif strange and bulk.random() < 0.1:
            out += b"junk"
        _hold(scan, coefficients, held)
    out += _strange_segments(bulk, strange)
    if chance.random() < 0.9:
        out += b"\xff\xd9"
        if chance.random() < 0.2:
            out += bulk.randbytes(chance.choice((1, 20))) + b"\xff\xd8\xff\xd9"
    return DrawnJpeg(bytes(out), held)


def _drawn_frame(chance: random.Random) -> _Frame:
    count = chance.choice((1, 1, 2, 3, 3, 4))
    most = chance.choice((1, 2, 2, 3, 4))
    sampling = tuple((chance.randint(1, most), chance.randint(1, most)) for _ in range(count))
    if chance.random() < 0.3:
        sampling = ((2, 2), (1, 1), (1, 1), (2, 2))[:count]
    longest = 60 if most < 3 else 40
    height, width = (chance.choice((1, 8, chance.randint(1, longest))) for _ in range(2))
    names = chance.choice(((1, 2, 3, 4), (0, 255, 7, 1), (82, 71, 66, 65)))[:count]
    return _Frame(chance.choice((0xC0, 0xC1, 0xC2, 0xC2)), height, width, names, sampling)


def _drawn_blocks(shape: tuple[int, int], bulk: random.Random) -> Blocks:
    """Sparse or dense coefficients; DC such that differences have at most 15 bits."""
    random_numbers = np.random.default_rng(bulk.getrandbits(32))
    spread = 2.0 ** bulk.choice((0, 1, 2, 4, 8, 15))
    values = random_numbers.laplace(0, spread, (*shape, 64)).clip(-32767, 32767)
    values *= random_numbers.random((*shape, 64)) < bulk.choice((0.02, 0.1, 0.5, 1.0))
    values[random_numbers.random(shape) < bulk.choice((0.0, 0.5, 0.95)), 1:] = 0
    values[..., 0] = values[..., 0].clip(-16383, 16383)
    return values.astype(np.int16)


Script = tuple[tuple[int, ...], int, int, int, int]  # components; first, last, high, low


def _script(frame: _Frame, chance: random.Random, bulk: random.Random) -> Iterator[Script]:
    """Scans in which each coefficient is coded once and then refined bit by bit."""
    everything = tuple(range(len(frame.names)))
    if frame.kind != 0xC2:
        for group in _groups(everything, chance):
            yield group, 0, 63, 0, 0
        return
    # Each chain must keep its order; what comes next is any chain's next scan.
    chains: list[list[Script]] = [[]]
    low = chance.choice((0, 1, 2, 13))
    for high in (0, *range(low, 0, -1)):
        for group in _groups(everything, chance):
            chains[0].append((group, 0, 0, high, high - 1 if high else low))
    for index in everything:
        for first, last in _bands(chance):
            deepest = chance.choice((0, 0, 1, 2, 13))
            bits = [(0, deepest), *((high, high - 1) for high in range(deepest, 0, -1))]
            if bulk.random() < 0.1:
                del bits[bulk.randint(1, len(bits)) :]  # the lowest bits are never coded
            chains.append([((index,), first, last, *pair) for pair in bits])
    while chains:
        chain = bulk.choice(chains[:3])
        yield chain.pop(0)
        chains = [chain for chain in chains if chain]


def _groups(indices: tuple[int, ...], chance: random.Random) -> list[tuple[int, ...]]:
    """The components in one scan, or parted at random."""
    if len(indices) < 2 or chance.random() < 0.5:
        return [indices]
    at = chance.randint(1, len(indices) - 1)
    return [indices[:at], *_groups(indices[at:], chance)]


def _bands(chance: random.Random) -> Iterator[tuple[int, int]]:
    first = 1
    while first < 64:
        last = chance.choice((63, 63, first, min(first + 4, 63), chance.randint(first, 63)))
        if chance.random() < 0.95:
            yield first, last
        first = last + 1


def _drawn_scan(
    frame: _Frame,
    indices: tuple[int, ...],
    interval: int,
    what: tuple[int, int, int, int],
    bulk: random.Random,
) -> DrawnScan:
    several = len(indices) > 1
    parts = tuple(
        Part(
            index,
            *(frame.sampling[index] if several else (1, 1)),
            bulk.randint(0, 3),
            bulk.randint(0, 3),
        )
        for index in indices
    )
    return DrawnScan(parts, *frame.units(indices), interval, frame.kind == 0xC2, *what)


def _tables(
    scan: DrawnScan, intervals: list[list[tuple[int, int, str]]], bulk: random.Random
) -> dict[int, tuple[bytes, bytes]]:
    used: dict[int, set[int]] = {}
    for part in scan.parts:
        if scan.first == 0 and scan.high == 0:
            used.setdefault(part.dc, set())
        if scan.last:
            used.setdefault(16 + part.ac, set())
    for symbols in intervals:
        for table, symbol, _ in symbols:
            if table >= 0:
                used[table].add(symbol)
    return {table: random_code(symbols or {0}, bulk) for table, symbols in used.items()}


def _hold(scan: DrawnScan, coefficients: list[Blocks], held: list[Blocks]) -> None:
    """Put into `held` what the scan says of the coefficients."""
    for part in scan.parts:
        rows, columns = scan.rows * part.vertical, scan.columns * part.horizontal
        source = coefficients[part.index][:rows, :columns].astype(np.int32)
        target = held[part.index][:rows, :columns]
        if not scan.progressive or (scan.first == 0 and scan.high == 0):
            target[..., 0] = source[..., 0] >> scan.low << scan.low
        elif scan.first == 0:
            target[..., 0] |= (source[..., 0] & (1 << scan.low)).astype(np.int16)
        if scan.last:
            band = source[..., max(scan.first, 1) : scan.last + 1]
            values = np.sign(band) * (np.abs(band) >> scan.low << scan.low)
            target[..., max(scan.first, 1) : scan.last + 1] = values


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def _frame_segment(frame: _Frame, late_height: bool) -> bytes:
    body = struct.pack(
        ">BHHB", 8, 0 if late_height else frame.height, frame.width, len(frame.names)
    )
    for number, (name, (h, v)) in enumerate(zip(frame.names, frame.sampling, strict=True)):
        body += bytes([name, 16 * h + v, number % 2])
    return _segment(frame.kind, body)


def _scan_segment(frame: _Frame, scan: DrawnScan) -> bytes:
    body = bytes([len(scan.parts)])
    for part in scan.parts:
        body += bytes([frame.names[part.index], 16 * part.dc + part.ac])
    return _segment(0xDA, body + bytes([scan.first, scan.last, 16 * scan.high + scan.low]))


def _quantisation(bulk: random.Random) -> bytes:
    """Both tables, each of bytes or of 16-bit steps, in one segment or in two."""
    bodies = []
    for number in (0, 1):
        steps = [bulk.randint(1, 255) for _ in range(64)]
        if bulk.random() < 0.3:
            wide = [bulk.randint(1, 65535) for _ in range(64)]
            bodies.append(bytes([16 + number]) + struct.pack(">64H", *wide))
        else:
            bodies.append(bytes([number, *steps]))
    if bulk.random() < 0.5:
        return _segment(0xDB, b"".join(bodies))
    return b"".join(_segment(0xDB, body) for body in bodies)


def _strange_segments(bulk: random.Random, strange: bool) -> bytes:
    """Application data, comments, unknown segments, fill bytes, TEM; mostly nothing."""
    if not strange:
        return b""
    out = b""
    while bulk.random() < 0.4:
        marker = bulk.choice((0xE0, 0xE1, 0xEF, 0xFE, 0xC8, 0xF0, 0xFD))
        out += bulk.choice((b"", b"", b"\xff", b"\xff" * 5, b"\xff\x01", b"junk"))
        body = bulk.randbytes(bulk.choice((0, 1, 9))) + bulk.choice((b"", b"\xff\xda\0", b"\xff"))
        out += _segment(marker, body)
    return out
