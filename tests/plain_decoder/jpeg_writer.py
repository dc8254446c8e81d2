"""The bytes of a JPEG file from its recipe and coefficients: FORMAT.md, section 14."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from tests.plain_decoder.jpeg import Block, Blocks
from tests.plain_decoder.reading import Reader, Refused, require

Table = dict[int, tuple[int, int]]  # By symbol: its code, and the code's length.
REFUSED = [*range(0x02, 0xC0), 0xD8, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB]
REFUSED += [0xCD, 0xCE, 0xCF, 0xDE, 0xDF]


@dataclass
class Notes:
    """padding: bits. zero_runs: by block. restarts: by number."""

    padding: list[int]
    breaks: list[int]
    zero_runs: dict[int, int]
    restarts: dict[int, bytes]


@dataclass
class Recipe:
    size: int
    cut: int
    notes: list[Notes]
    markers: bytes
    tail: bytes


def number(file: Reader) -> int:
    value = 0
    for place in range(9):
        (byte,) = file.take(1)
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value
    raise Refused(f"the number before {file.at} is longer than nine bytes")


def numbers(file: Reader, count: int) -> list[int]:
    require(count <= len(file.data) - file.at, f"recipe: {count} numbers at {file.at}")
    return [number(file) for _ in range(count)]


def ascending(file: Reader) -> list[int]:
    found, value = [], -1
    for step in numbers(file, number(file)):
        value += step + 1
        found.append(value)
    require(value < 2**32, f"recipe: block {value}")
    return found


def read_recipe(data: bytes) -> Recipe:
    file = Reader(data)
    size, scans, cut, length = numbers(file, 4)
    require(scans >= 1, "recipe: no scan")
    notes = []
    require(scans <= len(data), f"recipe: {scans} scans")
    for _ in range(scans):
        bits = number(file)
        packed = numbers(file, ceil(bits / 8))
        padding = [(packed[at // 8] >> at % 8) & 1 for at in range(bits)]
        breaks, blocks = ascending(file), ascending(file)
        runs = numbers(file, len(blocks))
        require(all(2 <= each <= 9 for each in runs), f"recipe: zero runs {runs}")
        odd = ascending(file)
        markers = [numbers(file, number(file)) for _ in odd]
        require(all(byte < 256 for marker in markers for byte in marker), "recipe: no byte")
        restarts = dict(zip(odd, map(bytes, markers), strict=True))
        notes.append(Notes(padding, breaks, dict(zip(blocks, runs, strict=True)), restarts))
    count = sum(len(n.breaks) + len(n.zero_runs) + len(n.restarts) for n in notes)
    require(count <= 2**21, f"recipe: {count} notes")
    return Recipe(size, cut, notes, file.take(length), file.data[file.at :])


# Section 14.1: markers.


@dataclass
class Part:
    """A component of a scan. rows, columns: of its blocks in a unit."""

    index: int
    rows: int
    columns: int
    dc: Table
    ac: Table


@dataclass
class Scan:
    """end: of its segment in the markers. rows, columns: of units."""

    end: int
    parts: list[Part]
    rows: int
    columns: int
    interval: int
    progressive: bool
    first: int
    last: int
    high: int
    low: int

    def unit(self, n: int) -> Iterator[tuple[Part, int, int]]:
        """The blocks of unit n: component, row, column."""
        i, j = divmod(n, self.columns)
        for part in self.parts:
            for down in range(part.rows):
                for across in range(part.columns):
                    yield part, i * part.rows + down, j * part.columns + across


@dataclass
class Layout:
    """What markers say, up to the last scan. factors: V and H; tables: of each component."""

    progressive: bool = False
    height: int = 0
    width: int = 0
    names: list[int] = field(default_factory=list)
    factors: list[tuple[int, int]] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    steps: dict[int, list[int]] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)

    def units(self, indices: list[int]) -> tuple[int, int]:
        """Rows and columns of units of a scan of these components."""
        most_v, most_h = (max(each) for each in zip(*self.factors, strict=True))
        if len(indices) > 1:
            return -(-self.height // (8 * most_v)), -(-self.width // (8 * most_h))
        v, h = self.factors[indices[0]]
        rows, columns = -(-self.height * v // most_v), -(-self.width * h // most_h)
        return -(-rows // 8), -(-columns // 8)

    @property
    def all_factors(self) -> list[tuple[int, int]]:
        """V and H, but 1 and 1 if there is one component."""
        return self.factors if len(self.factors) > 1 else [(1, 1)]

    @property
    def all_units(self) -> tuple[int, int]:
        return self.units(list(range(len(self.factors))))


def read_markers(recipe: Recipe) -> Layout:
    """The scans that the recipe has notes of, and the frame."""
    data, at = recipe.markers, 2
    require(data[:2] == b"\xff\xd8", "markers: do not begin with FF D8")
    layout = Layout()
    huffman: dict[int, Table] = {}
    steps: dict[int, list[int]] = {}
    interval = 0
    reached: dict[tuple[int, int], int] = {}  # low, by component and coefficient
    while len(layout.scans) < len(recipe.notes):
        at = next_marker(data, at)
        code = data[at - 1]
        require(code != 0xD9, f"markers: {len(layout.scans)} scans, notes of {len(recipe.notes)}")
        require(code not in REFUSED, f"marker {code:02x}")
        if code == 1:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        body = Reader(data[at + 2 : at + length])
        at += length
        require(length >= 2 and at <= len(data), f"markers: a segment of {length} bytes")
        if code in (0xC0, 0xC1, 0xC2):
            require(not layout.names, "markers: a second frame")
            read_frame(body, layout, code == 0xC2)
        elif code == 0xC4:
            while body.at < len(body.data):
                kind = body.take(1)[0]
                require(kind // 16 < 2 and kind % 16 < 4, f"Huffman table {kind}")
                counts = body.take(16)
                huffman[kind] = huffman_table(counts, body.take(sum(counts)))
        elif code == 0xDB:
            while body.at < len(body.data):
                wide, table = divmod(body.take(1)[0], 16)
                require(wide < 2 and table < 4, f"quantisation table {table}")
                size = 1 + wide
                steps[table] = [int.from_bytes(body.take(size), "big") for _ in range(64)]
        elif code == 0xDD:
            interval = int.from_bytes(body.take(2), "big")
        elif code == 0xDA:
            if layout.height == 0:
                behind = next_marker(data, at)
                require(data[behind - 1 : behind + 2] == b"\xdc\0\4", "markers: no height")
                layout.height = int.from_bytes(data[behind + 2 : behind + 4], "big")
            scan = read_scan(body, layout, huffman, interval, at)
            layout.scans.append(scan)
            for part in scan.parts:
                for k in range(scan.first, scan.last + 1):
                    before = reached.get((part.index, k))
                    require(before == (scan.high or None), f"coefficient {k}: {before} before")
                    reached[part.index, k] = scan.low
                table = layout.tables[part.index]
                if table in steps:
                    layout.steps.setdefault(part.index, steps[table])
    last = layout.scans[-1]
    if recipe.cut:
        sound = 0 < recipe.cut - 1 < last.rows * last.columns
        require(sound and not last.progressive, f"recipe: a cut of {recipe.cut}")
    return layout


def next_marker(data: bytes, at: int) -> int:
    """Behind the next marker."""
    while at + 1 < len(data):
        if data[at] == 0xFF and (1 <= data[at + 1] <= 0xCF or 0xD8 <= data[at + 1] <= 0xFE):
            return at + 2
        at += 1
    raise Refused("markers: end before the last scan")


def read_frame(body: Reader, layout: Layout, progressive: bool) -> None:
    bits = body.take(1)[0]
    layout.height, layout.width = (int.from_bytes(body.take(2), "big") for _ in range(2))
    count = body.take(1)[0]
    require(bits == 8 and 1 <= count <= 4 and layout.width > 0, "frame: bits or components")
    layout.progressive = progressive
    for _ in range(count):
        name, factors, table = body.take(3)
        h, v = divmod(factors, 16)
        require(1 <= h <= 4 and 1 <= v <= 4, f"frame: sampling factors {h} and {v}")
        require(name not in layout.names, f"frame: two components {name}")
        layout.names.append(name)
        layout.factors.append((v, h))
        layout.tables.append(table)


def huffman_table(counts: bytes, symbols: bytes) -> Table:
    """T.81, annex C; of several codes for a symbol the first one."""
    table: Table = {}
    code, left = 0, list(symbols)
    require(len(left) <= 256, "Huffman table: more than 256 symbols")
    for length, count in enumerate(counts, 1):
        code *= 2
        for _ in range(count):
            table.setdefault(left.pop(0), (code, length))
            code += 1
        require(code <= 2**length, "Huffman table: too many codes")
    return table


def read_scan(
    body: Reader, layout: Layout, huffman: dict[int, Table], interval: int, end: int
) -> Scan:
    require(layout.height > 0, "a scan before the frame, or no height")
    count = body.take(1)[0]
    require(1 <= count <= 4, f"a scan of {count} components")
    chosen = [tuple(body.take(2)) for _ in range(count)]
    names = [name for name, _ in chosen]
    require(len(set(names)) == count and set(names) <= set(layout.names), f"a scan of {names}")
    first, last, bits = body.take(3)
    high, low = divmod(bits, 16)
    if not layout.progressive:
        first, last, high, low = 0, 63, 0, 0
    elif first == 0:
        require(last == 0, f"a scan from 0 to {last}")
    else:
        require(first <= last <= 63 and count == 1, f"a scan from {first} to {last}")
    require(low <= 13 and high in (0, low + 1), f"a scan of bits {high} to {low}")
    parts = []
    for name, tables in chosen:
        index = layout.names.index(name)
        dc, ac = tables // 16, 16 + tables % 16
        require(dc in huffman or first > 0 or high > 0, f"no DC table {dc}")
        require(ac in huffman or last == 0, f"no AC table {ac}")
        rows, columns = layout.factors[index] if count > 1 else (1, 1)
        parts.append(Part(index, rows, columns, huffman.get(dc, {}), huffman.get(ac, {})))
    units = layout.units([part.index for part in parts])
    return Scan(end, parts, *units, interval, layout.progressive, first, last, high, low)


# Section 14.2: scans.


def write_file(recipe: Recipe, layout: Layout, coefficients: list[Blocks]) -> bytes:
    data, written = b"", 0
    for scan, notes in zip(layout.scans, recipe.notes, strict=True):
        data += recipe.markers[written : scan.end]
        written = scan.end
        writer = ScanWriter(scan, notes, coefficients)
        cut = recipe.cut if scan is layout.scans[-1] else 0
        writer.write(cut - 1 if cut else scan.rows * scan.columns)
        data += writer.out
    data += recipe.markers[written:] + recipe.tail
    require(len(data) == recipe.size, f"{len(data)} bytes, the recipe says {recipe.size}")
    return data


class ScanWriter:
    def __init__(self, scan: Scan, notes: Notes, coefficients: list[Blocks]) -> None:
        self.scan, self.notes, self.coefficients = scan, notes, coefficients
        self.out = bytearray()
        self.byte: list[int] = []  # bits
        self.padded = 0
        self.block = -1
        self.reset()

    def reset(self) -> None:
        self.predictions = [0] * len(self.coefficients)
        self.run = 0
        self.run_table: Table = {}
        self.run_corrections: list[int] = []

    def write(self, units: int) -> None:
        scan = self.scan
        for n in range(units):
            for part, i, j in scan.unit(n):
                self.block += 1
                self.write_block(part, self.coefficients[part.index][i][j])
            if n + 1 == scan.rows * scan.columns:
                self.pad()
            elif scan.interval and (n + 1) % scan.interval == 0:
                self.pad()
                restart = (n + 1) // scan.interval - 1
                usual = bytes([0xFF, 0xD0 + restart % 8])
                self.out += self.notes.restarts.get(restart, usual)
                self.reset()

    def pad(self) -> None:
        self.end_run()
        bits = self.notes.padding or [1]
        while self.byte:
            self.put(bits[min(self.padded, len(bits) - 1)], 1)
            self.padded += 1

    def put(self, value: int, count: int) -> None:
        """The low bits of a value."""
        for place in range(count - 1, -1, -1):
            self.byte.append((value >> place) & 1)
            if len(self.byte) == 8:
                byte = int("".join(map(str, self.byte)), 2)
                self.out += bytes([byte, 0] if byte == 0xFF else [byte])
                self.byte = []

    def put_all(self, bits: list[int]) -> None:
        for bit in bits:
            self.put(bit, 1)

    def symbol(self, table: Table, s: int) -> None:
        self.end_run()
        require(s in table, f"no code for symbol {s}")
        self.put(*table[s])

    def value(self, v: int) -> None:
        require(size(v) <= 15, f"value {v}")
        self.put(v if v >= 0 else v - 1, size(v))

    def end_run(self) -> None:
        if self.run:
            n, self.run = self.run, 0
            b = n.bit_length() - 1
            self.symbol(self.run_table, 16 * b)
            self.put(n - 2**b, b)
            self.put_all(self.run_corrections)
            self.run_corrections = []

    def end_block(self, part: Part, corrections: list[int]) -> None:
        if not self.scan.progressive:
            self.symbol(part.ac, 0)
            return
        self.run, self.run_table = self.run + 1, part.ac
        self.run_corrections += corrections
        if self.run == 32767:
            self.end_run()

    def write_block(self, part: Part, block: Block) -> None:
        first, high = self.scan.first, self.scan.high
        if not self.scan.progressive:
            self.write_dc(part, block[0])
            self.write_band(part, block)
        elif first == 0 and high == 0:
            self.write_dc(part, block[0])
        elif first == 0:
            self.put(block[0] >> self.scan.low, 1)
        elif high == 0:
            self.write_band(part, block)
        else:
            self.refine(part, block)

    def write_dc(self, part: Part, dc: int) -> None:
        value = dc >> self.scan.low
        d = value - self.predictions[part.index]
        self.predictions[part.index] = value
        self.symbol(part.dc, size(d))
        self.value(d)

    def zero_runs(self) -> tuple[int, int]:
        """How many, and 1 if no end of block follows."""
        return divmod(self.notes.zero_runs.get(self.block, 0), 2)

    def write_band(self, part: Part, block: Block) -> None:
        low, z = self.scan.low, 0
        if self.block in self.notes.breaks:
            self.end_run()
        for place in range(max(self.scan.first, 1), self.scan.last + 1):
            c = block[place] >> low if block[place] >= 0 else -(-block[place] >> low)
            if c == 0:
                z += 1
                continue
            for _ in range(z // 16):
                self.symbol(part.ac, 0xF0)
            self.symbol(part.ac, 16 * (z % 16) + size(c))
            self.value(c)
            z = 0
        runs, no_end = self.zero_runs()
        for _ in range(runs):
            self.symbol(part.ac, 0xF0)
        if z > 0 and not no_end:
            self.end_block(part, [])

    def refine(self, part: Part, block: Block) -> None:
        last = self.scan.last
        if self.block in self.notes.breaks:
            self.end_run()
        m = [abs(c) >> self.scan.low for c in block]
        position = self.scan.first
        for place in range(self.scan.first, last + 1):
            if m[place] != 1:
                continue
            z = sum(m[at] <= 1 for at in range(position, place))
            for _ in range(z // 16):
                position = self.run_of_zeros(part, m, position)
            self.symbol(part.ac, 16 * (z % 16) + 1)
            self.put(int(block[place] > 0), 1)
            self.put_all(corrections(m[position:place]))
            position = place + 1
        runs, no_end = self.zero_runs()
        for _ in range(runs):
            position = self.run_of_zeros(part, m, position)
        if position <= last and not no_end:
            self.end_block(part, corrections(m[position : last + 1]))

    def run_of_zeros(self, part: Part, m: list[int], position: int) -> int:
        """The new position."""
        unknown = [at for at in range(position, self.scan.last + 1) if m[at] <= 1]
        end = unknown[15] + 1 if len(unknown) > 15 else self.scan.last + 1
        self.symbol(part.ac, 0xF0)
        self.put_all(corrections(m[position:end]))
        return end


def corrections(m: list[int]) -> list[int]:
    return [each & 1 for each in m if each > 1]


def size(v: int) -> int:
    return abs(v).bit_length()
