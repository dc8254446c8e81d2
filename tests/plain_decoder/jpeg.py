"""A tile of a JPEG file's coefficients: FORMAT.md, sections 15 to 17, in plain Python integers.

Block by block; it uses neither numpy nor floats but for the two tables of section 12.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.plain_decoder.jpeg_model import Model
from tests.plain_decoder.mixing import SQUASH, STRETCH
from tests.plain_decoder.network import RangeDecoder
from tests.plain_decoder.reading import require

Block = list[int]  # 64 coefficients in zigzag order
Blocks = list[list[Block]]  # [row][column]
NEIGHBOURS = [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)]
NONE = [0] * 64


def clip(x: int, m: int) -> int:
    return min(max(x, -m), m)


def leaky(values: list[int]) -> list[int]:
    return [max(v, v >> 3) for v in values]


def dequantised(block: Block, q: list[int]) -> list[int]:
    return [clip(v * step, 2047) for v, step in zip(block, q, strict=True)]


# Section 15: tiles of coefficients.


def tile_places(
    rows: int, columns: int, factors: list[tuple[int, int]]
) -> list[list[tuple[int, int, int, int]]]:
    """Of each tile, of each component: first and end of its rows, first and end of its columns.

    rows, columns: of units. factors: V and H of each component.
    """
    down = max(1, 1024 // (8 * max(v for v, _ in factors)))
    across = max(1, 1024 // (8 * max(h for _, h in factors)))
    return [
        [
            (top * v, min(top + down, rows) * v, left * h, min(left + across, columns) * h)
            for v, h in factors
        ]
        for top in range(0, rows, down)
        for left in range(0, columns, across)
    ]


def decode_tile(
    payload: bytes, model: Model, sizes: list[tuple[int, int]], steps: list[list[int]], learns: bool
) -> list[Blocks]:
    """The blocks of each component. sizes: its rows and columns of blocks."""
    decoder = RangeDecoder(payload)
    found: list[Blocks] = []
    own_steps = [[max(step, 1) for step in each] for each in steps]
    for index, (rows, columns) in enumerate(sizes):
        component = Component(decoder, model, index, rows, columns, own_steps[index], learns)
        if component.chroma:
            component.see(found, own_steps[0])
        for wave in range(columns + 2 * (rows - 1)):
            places = [(i, wave - 2 * i) for i in range(rows) if 0 <= wave - 2 * i < columns]
            if places:
                component.decode_wave(places)
        found.append(component.blocks)
    return found


class Component:
    """One component of a tile while it is decoded."""

    def __init__(
        self,
        decoder: RangeDecoder,
        model: Model,
        index: int,
        rows: int,
        columns: int,
        q: list[int],
        learns: bool,
    ) -> None:
        self.chroma, self.third = index in (1, 2), index == 2
        self.part = model.chroma if self.chroma else model.luma
        self.tables, self.q = model.tables, q
        self.rows, self.columns = rows, columns
        self.blocks: Blocks = [[NONE] * columns for _ in range(rows)]
        self.cross: Blocks = []
        self.size: Blocks = []
        self.other: Blocks = self.blocks
        self.ends, self.numbers = Decisions(decoder, learns), Decisions(decoder, learns)

    def see(self, found: list[Blocks], q: list[int]) -> None:
        """Take what a chroma component sees of those before it. q: steps of the first one."""
        first, r, c = found[0], self.rows, self.columns
        height, width = len(first), len(first[0])
        down = max(1, (2 * height + r) // (2 * r))
        across = max(1, (2 * width + c) // (2 * c))
        for i in range(r):
            self.cross.append([])
            self.size.append([])
            for j in range(c):
                seen = [
                    dequantised(
                        first[min(i * down + u, height - 1)][min(j * across + v, width - 1)], q
                    )
                    for u in range(down)
                    for v in range(across)
                ]
                each = list(zip(*seen, strict=True))
                self.cross[-1].append([sum(d) // len(d) for d in each])
                self.size[-1].append([sum(map(abs, d)) // len(d) for d in each])
        same = self.third and (len(found[1]), len(found[1][0])) == (r, c)
        self.other = found[1] if same else [[NONE] * c for _ in range(r)]

    def decode_wave(self, places: list[tuple[int, int]]) -> None:
        states = [State(self, i, j) for i, j in places]
        for state, e in zip(
            states, self.decode_ends([each.logits() for each in states]), strict=True
        ):
            state.set_end(e)
        for k in range(1, 64):
            here = [state for state in states if state.end >= k]
            values = self.decode_numbers(k, here, [state.end > k for state in here])
            for state, value in zip(here, values, strict=True):
                state.add(k, value)
        values = self.decode_numbers(0, states, [True] * len(states))
        for (i, j), state, value in zip(places, states, values, strict=True):
            state.own[0] = value + state.level
            require(all(-(2**15) <= v < 2**15 for v in state.own), "a coefficient beyond 16 bits")
            self.blocks[i][j] = state.own

    # Section 17.2: decisions.

    def decode_ends(self, logits: list[list[int]]) -> list[int]:
        exponential = self.tables["exponential"]
        masses = [[exponential[min(max(each) - one, 1023)] for one in each] for each in logits]
        ends = [0] * len(logits)
        for b in range(5, -1, -1):
            asked = []
            for e, mass in zip(ends, masses, strict=True):
                node = (e >> (b + 1)) + 2 ** (5 - b)
                both = sum(mass[e : e + 2 ** (b + 1)])
                asked.append(((0, node), sum(mass[e + 2**b : e + 2 ** (b + 1)]), both))
            higher = self.ends.round(asked)
            ends = [e + 2**b if bit else e for e, bit in zip(ends, higher, strict=True)]
        return ends

    def decode_numbers(self, k: int, states: list["State"], can_be_zero: list[bool]) -> list[int]:
        mixtures = [mixture(*state.outputs(k), self.tables) for state in states]
        functions = [each.function for each in mixtures]
        values = [0] * len(states)

        def decide(
            which: list[int], ask: Callable[[int], tuple[int | None, int, int]]
        ) -> list[bool]:
            asked: list[tuple[tuple[int, int] | None, int, int]] = []
            for n in which:
                node, true, both = ask(n)
                asked.append((None if node is None else (k, node), true, both))
            return self.numbers.round(asked)

        maybe = [n for n, can in enumerate(can_be_zero) if can]
        zero = decide(maybe, lambda n: (0, functions[n](1) - functions[n](0), 2**30))
        zeros = {n for n, is_zero in zip(maybe, zero, strict=True) if is_zero}
        others = [n for n in range(len(states)) if n not in zeros]

        def sign(n: int) -> tuple[int, int, int]:
            below, through = functions[n](0), functions[n](1)
            return 1, below, below + 2**30 - through

        negative = dict(zip(others, decide(others, sign), strict=True))

        def g(n: int, b: int) -> int:
            return functions[n](-b) if negative[n] else 2**30 - functions[n](b + 1)

        ranges: dict[int, tuple[int, int]] = {}  # b' and the number of numbers
        unbounded = others
        for d in range(17):
            bound, before = 2**d, 2 ** (d - 1) if d else 0
            inside = decide(
                unbounded,
                lambda n, d=d, bound=bound, before=before: (  # type: ignore[misc]
                    2 + d,
                    g(n, before) - g(n, bound),
                    g(n, before),
                ),
            )
            for n, is_below in zip(unbounded, inside, strict=True):
                if is_below:
                    ranges[n] = before, max(bound - before, 1)
            unbounded = [n for n in unbounded if n not in ranges]
        require(not unbounded, "a number of more than 17 bits")

        def half(n: int) -> tuple[int | None, int, int]:
            least, count = ranges[n]
            c = least + count // 2
            node = 19 if c == 3 else 15 + c if 5 <= c <= 7 else 14 + c if 9 <= c <= 15 else None
            return node, g(n, least) - g(n, c), g(n, least) - g(n, least + count)

        while wide := [n for n in others if ranges[n][1] > 1]:
            for n, is_below in zip(wide, decide(wide, half), strict=True):
                least, count = ranges[n]
                ranges[n] = least if is_below else least + count // 2, count // 2
        for n in others:
            u = ranges[n][0]
            values[n] = -u - 1 if negative[n] else u + 1
        return values


# Section 16: the network.


class State:
    """What the network makes of one block while it is decoded."""

    def __init__(self, component: Component, i: int, j: int) -> None:
        part, q = component.part, component.q
        self.part, self.q, self.logarithm = part, q, component.tables["logarithm"]
        inside = [i + di >= 0 and 0 <= j + dj < component.columns for di, dj in NEIGHBOURS]
        near = [
            list(component.blocks[i + di][j + dj]) if there else list(NONE)
            for (di, dj), there in zip(NEIGHBOURS, inside, strict=True)
        ]
        dc = [block[0] for block, there in zip(near[:2], inside[:2], strict=True) if there]
        self.level = sum(dc) // len(dc) if dc else 0
        for block, there in zip(near, inside, strict=True):
            block[0] -= self.level if there else 0
        inputs = self.parts(near[0]) + self.parts(near[1])
        for block in near[2:]:
            inputs += self.parts(block[: part.far])
        inputs += [self.log(step - 1) for step in q]
        inputs += [64 if there else 0 for there in inside]
        sources = [dequantised(block, q) for block in near]
        if component.chroma:
            cross, other = component.cross[i][j], component.other[i][j]
            inputs += cross + [self.log(m) for m in component.size[i][j]]
            inputs += [*self.parts(other), 64 if component.third else 0]
            sources += [cross, dequantised(other, q)]
        self.h = leaky(part.single["first"](inputs))
        self.sum = [0] * 64
        for source, weights in zip(sources, part.linear[:-1], strict=True):
            for x, row in zip(source, weights, strict=True):
                if x:
                    self.sum = [total + x * w for total, w in zip(self.sum, row, strict=True)]
        self.own = list(NONE)
        self.end = 0
        self.g: list[int] = []

    def log(self, m: int) -> int:
        return self.logarithm[min(m, 2047)]

    def parts(self, values: list[int]) -> list[int]:
        positive = [self.log(v) if v > 0 else 0 for v in values]
        return positive + [self.log(-v) if v < 0 else 0 for v in values]

    def logits(self) -> list[int]:
        return self.part.single["end"](self.h)

    def set_end(self, end: int) -> None:
        self.end = end
        self.g = leaky(self.part.single["second"](self.h, self.part.end_bias[end]))

    def outputs(self, k: int) -> tuple[list[int], int]:
        """o and mean of a coefficient."""
        single = self.part.single
        head = self.part.heads[k - 1] if k else single["dc_head"]
        out = self.part.outs[k - 1] if k else single["dc_out"]
        o = out(leaky(head(self.g + self.parts(self.own[1:]))))
        return o, (self.sum[k] * ((2**25 // self.q[k] + 1) >> 1)) >> 31

    def add(self, k: int, value: int) -> None:
        self.own[k] = value
        x = clip(value * self.q[k], 2047)
        row = self.part.linear[-1][k]
        self.sum = [total + x * w for total, w in zip(self.sum, row, strict=True)]


# Section 17.1: the distribution.


@dataclass(frozen=True)
class Mixture:
    weight: list[int]
    centre: list[int]
    mantissa: list[int]
    shift: list[int]
    logistic: list[int]

    def function(self, v: int) -> int:
        """F."""
        total = 0
        parts = zip(self.weight, self.centre, self.mantissa, self.shift, strict=True)
        for weight, centre, mantissa, shift in parts:
            z = (clip(64 * v - 32 - centre, 2**17) * mantissa) >> shift
            z = min(max(z, -131072), 131071) + 131072
            low, high = self.logistic[z >> 8], self.logistic[(z >> 8) + 1]
            total += weight * (low + (((high - low) * (z & 255) + 128) >> 8))
        return total


def mixture(o: list[int], mean: int, tables: dict[str, list[int]]) -> Mixture:
    k = len(o) // 3
    logits, means, scales = o[:k], o[k : 2 * k], o[2 * k :]
    raw = [tables["exponential"][min(max(logits) - logit, 1023)] for logit in logits]
    weight = [each * 2**14 // sum(raw) for each in raw]
    weight[0] += 2**14 - sum(weight)
    at = [min(max(s, -256), 384) + 256 for s in scales]
    return Mixture(
        weight,
        [clip(m + mean, 2**22) for m in means],
        [tables["scale_mantissa"][each] for each in at],
        [tables["scale_shift"][each] for each in at],
        tables["logistic"],
    )


# Section 17.2, a decision's probability, and section 17.3: learning.


@dataclass
class Cell:
    bias: int = 0
    variance: int = 4 * 2**16
    gain: int = 0
    spread: int = 20 * 2**16

    def learn(self, decisions: list[tuple[int, int, bool]]) -> None:
        """decisions: x, p and the outcome of each."""
        surprises = [((65536 if true else 0) - p, x) for x, p, true in decisions]
        seen = [((p * (65536 - p)) >> 16, x) for x, p, _ in decisions]
        self.variance += sum(s for s, _ in seen)
        self.bias += sum(s for s, _ in surprises) * 2**16 // self.variance
        self.spread += sum((s * x * x) >> 16 for s, x in seen)
        self.gain += sum(s * x for s, x in surprises) * 2**8 // self.spread
        self.bias = clip(self.bias, 2**18)
        self.variance = min(self.variance, 255 * 2**16)
        self.gain = min(max(self.gain, -45875), 65536)
        self.spread = min(self.spread, 1000 * 2**16)


class Decisions:
    """Decodes rounds, and what they have taught, by place and node."""

    def __init__(self, decoder: RangeDecoder, learns: bool) -> None:
        self.decoder, self.learns = decoder, learns
        self.cells: dict[tuple[int, int], Cell] = {}

    def round(self, asked: list[tuple[tuple[int, int] | None, int, int]]) -> list[bool]:
        """asked: of each decision place and node, if it has one, and both masses."""
        used: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
        found = []
        for key, true, both in asked:
            cell = Cell() if key is None else self.cells.setdefault(key, Cell())
            probability = true * 2**16 // both if both else 32768
            x = STRETCH[min(max(probability, 8), 65528) >> 4]
            y = clip(x + ((x * cell.gain) >> 16) + (cell.bias >> 8), 2815)
            p = min(max(SQUASH[y + 2815], 8), 65528)
            outcome = self.decoder.symbol([0, 256 * (65536 - p), 2**24]) == 1
            found.append(outcome)
            if key is not None:
                used.setdefault(key, []).append((x, p, outcome))
        if self.learns:
            for key, decisions in used.items():
                self.cells[key].learn(decisions)
        return found
