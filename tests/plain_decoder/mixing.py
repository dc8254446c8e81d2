"""A plain decoder of the mixing coder's payloads: FORMAT.md, section 12, in plain Python.

Written from the page; it shares no code with the program. Pixel by pixel, bit by bit, with
dictionaries for everything that begins with one value; doubles only where section 12.5 has them.
"""

import math
from collections.abc import Iterator

from tests.plain_decoder.network import RangeDecoder

Pixel = tuple[int, int]

TAPS = {
    "W": (0, -1), "N": (-1, 0), "NW": (-1, -1), "NE": (-1, 1), "WW": (0, -2), "NN": (-2, 0),
    "NNE": (-2, 1), "NWW": (-1, -2), "NNW": (-2, -1), "WWW": (0, -3), "NNN": (-3, 0),
    "NNEE": (-2, 2), "NNEEE": (-2, 3), "NNNE": (-3, 1), "NNNW": (-3, -1),
}  # fmt: skip
SIX = ["W", "N", "NW", "NE", "WW", "NN"]
TWELVE = ["NNE", "NWW", "NNW", "WWW", "NNN", "NNEE"]
PAIRS = ["W N", "W NW", "N NE", "N NN", "W WW", "N NW", "NE NNE"]
CANDIDATE = """W N NE NW;  twelve NNNE NNNW NNEEE;  W N NE;  W WW WWW;  N NN NNN;  W N;
    sources equal;  first sources;  six;  twelve;  equal;  sources"""
COMPONENT = """current W N NE NW;  current W N;  current W WW;  current N NE;  current W;
    current N;  current six;  current twelve;  current joint;  gradient before;  current;"""


class Refused(ValueError):
    """The payload is not one that FORMAT.md allows."""


def chains(text: str) -> list[list[str]]:
    return [names.split() for names in text.split(";")]


def fold(a: int, b: int) -> int:
    x = (a + b + 0x7F4A7C15) * 0x9E3779B1 & 0xFFFFFFFF
    return x ^ x >> 15


def fold_all(start: int, items: list[int]) -> int:
    for item in items:
        start = fold(start, item)
    return start


def nearest(value: float) -> int:
    return math.floor(value + 0.5)


STRETCH = [nearest(256 * math.log((2 * i + 1) / (8191 - 2 * i))) for i in range(4096)]
SQUASH = [nearest(65536 / (1 + math.exp(-i / 256))) for i in range(-2815, 2816)]
DISTRIBUTION = [nearest(2**26 / (1 + math.exp(16 - i / 32))) for i in range(1025)]
DISTRIBUTION[0], DISTRIBUTION[1024] = 0, 2**26


def st(p: int) -> int:
    return STRETCH[p >> 4]


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


class Counter:
    """Section 13.4: a probability that learns a group's bits at once."""

    def __init__(self, p: int, n: int, limit: int) -> None:
        self.p, self.n, self.limit = p, n, limit
        self.zeros = self.ones = 0  # the history
        self.t = self.k = 0  # of the group

    def add(self, bit: int) -> None:
        self.t += 1
        self.k += bit

    def learn(self) -> None:
        """Once a group; a second call finds nothing new."""
        t, k = self.t, self.k
        if t == 0:
            return
        change = 2 * (k * (65535 - self.p) - (t - k) * self.p)
        self.p += change // (2 * self.n + 2 * t + 1)
        self.n = min(self.n + t, self.limit)
        if k == t and self.zeros > 2:
            self.zeros = (self.zeros + 2) >> 1
        if k == 0 and self.ones > 2:
            self.ones = (self.ones + 2) >> 1
        self.zeros = min(self.zeros + t - k, 15)
        self.ones = min(self.ones + k, 15)
        self.t = self.k = 0


class WeightSet:
    def __init__(self, weights: list[int]) -> None:
        self.weights, self.v = weights, 0


class Decision:
    """One bit's inputs, and what learns from it."""

    def __init__(self, inputs: list[int], sets: list[WeightSet], counters: list[Counter]) -> None:
        self.inputs, self.sets, self.counters = inputs, sets, counters
        self.g = self.probability = 0


class Fit:
    """Section 13.5, for one component: x and y, and the sums of every row."""

    def __init__(self, x: float, y: float, inputs: int) -> None:
        self.x, self.y, self.n = x, y, inputs
        self.a: dict[int, list[float]] = {}
        self.b: dict[int, list[float]] = {}

    def nothing(self) -> list[float]:
        return [0.0] * (self.n * (self.n + 1) // 2 + self.n)

    def predict(self, row: int, v: list[float]) -> float:
        n = self.n
        own, above = self.a.get(row, self.nothing()), self.b.get(row - 1, self.nothing())
        sums = [a + self.y * b for a, b in zip(own, above, strict=True)]
        matrix = [[sums[r * (r + 1) // 2 + q] for q in range(r + 1)] for r in range(n)]
        for r in range(n):
            matrix[r][r] += 1
        right = sums[-n:]
        factor = [[0.0] * n for _ in range(n)]
        pivot = [0.0] * n
        for k in range(n):
            pivot[k] = max(matrix[k][k], 0.5)
            for r in range(k + 1, n):
                factor[r][k] = matrix[r][k] / pivot[k]
            for r in range(k + 1, n):
                for q in range(k + 1, r + 1):
                    matrix[r][q] = matrix[r][q] - factor[r][k] * matrix[q][k]
                right[r] = right[r] - factor[r][k] * right[k]
        right = [right[k] / pivot[k] for k in range(n)]
        for k in range(n - 1, 0, -1):
            for q in range(k):
                right[q] = right[q] - factor[k][q] * right[k]
        prediction = right[0] * v[0]
        for k in range(1, n):
            prediction = prediction + right[k] * v[k]
        return prediction

    def learn(self, wave: list[tuple[int, list[float], float]]) -> None:
        """The wave's rows, with the inputs and s of each."""
        before = dict(self.b)
        for row, v, s in wave:
            new = [v[r] * v[q] for r in range(self.n) for q in range(r + 1)] + [r * s for r in v]
            old = self.a.get(row, self.nothing())
            self.a[row] = [a * self.x + e for a, e in zip(old, new, strict=True)]
            above = before.get(row - 1, self.nothing())
            self.b[row] = [a + self.y * b for a, b in zip(self.a[row], above, strict=True)]


def decode(data: bytes, height: int, width: int, planes: int) -> list[list[list[int]]]:
    """The bytes [row][column][plane] of a payload. Raises Refused."""
    if not data or data[0] > 7:
        raise Refused("flags")
    wide = data[0] & 1
    if wide and planes % 2:
        raise Refused("wide with an odd number of planes")
    count = planes // 2 if wide else planes
    depths = list(data[1 : 1 + count])
    words = data[1 + count :]
    if len(depths) < count or max(depths) > (16 if wide else 8) or len(words) % 4:
        raise Refused("depths or length")
    decoder = RangeDecoder(words)
    walk = Walk(height, width, depths, bool(data[0] & 2), bool(data[0] & 4), decoder)
    walk.run()
    image = []
    for i in range(height):
        row = []
        for j in range(width):
            samples = [walk.sample(c, (i, j)) for c in range(count)]
            high = [sample >> 8 for sample in samples]
            row.append(high + [sample & 255 for sample in samples] if wide else samples)
        image.append(row)
    return image


class Walk:
    def __init__(
        self, height: int, width: int, depths: list[int], candidates: bool, fitted: bool,
        decoder: RangeDecoder,
    ) -> None:  # fmt: skip
        self.height, self.width, self.depths = height, width, depths
        self.candidates, self.fitted, self.decoder = candidates, fitted, decoder
        self.samples: list[dict[Pixel, int]] = [{} for _ in depths]
        self.errors: list[dict[Pixel, int]] = [{} for _ in depths]
        self.hashes: dict[Pixel, int] = {}
        self.bits = clamp((6 * height * width * len(depths) - 1).bit_length(), 10, 20)
        self.counters: dict[tuple[int, int], Counter] = {}
        self.states: dict[tuple[int, int, int, int], Counter] = {}
        self.sets: dict[tuple[str, int, int], WeightSet] = {}
        self.maps: dict[tuple[str, int, int, int], Counter] = {}
        self.followers: list[dict[int, Pixel]] = [{}, {}]
        self.scales: dict[tuple[int, int, int], list[int]] = {}
        self.fits = []
        for c in range(len(depths)):
            n = 6 + (3 if c > 0 else 0) + (c > 1) + (c > 2)
            self.fits.append([Fit(0.875, 0.625, n), Fit(0.96875, 0.90625, n)])

    def sample(self, component: int, pixel: Pixel | None) -> int:
        return self.samples[component].get(pixel, 0) if pixel else 0

    def hash(self, pixel: Pixel | None) -> int:
        return self.hashes[pixel] if pixel else 0

    def place(self, value: int) -> int:
        return value >> (32 - self.bits)

    def neighbour(self, pixel: Pixel, name: str) -> Pixel | None:
        (i, j), (di, dj) = pixel, TAPS[name]
        row = max(i + di, 0)
        column = min(j + dj, j + 2 * (i - row) - 1, self.width - 1)
        if column < 0 and row < i:
            column = 0
        if column < 0:
            return (i - 1, 0) if i > 0 else None
        return (row, column)

    def waves(self) -> Iterator[list[Pixel]]:
        for s in range(self.width + 2 * (self.height - 1)):
            yield [(i, s - 2 * i) for i in range(self.height) if 0 <= s - 2 * i < self.width]

    def run(self) -> None:
        for wave in self.waves():
            items = {pixel: self.items(pixel) for pixel in wave}
            known: set[Pixel] = set()
            if self.candidates:
                self.guess(wave, items, known)
            for c in range(len(self.depths)):
                if self.depths[c] > 0:
                    self.component(c, wave, items, known)
                for pixel in wave:
                    value = self.samples[c].setdefault(pixel, 0)
                    items[pixel]["current"] = fold(items[pixel]["current"], value + 1)
            for pixel in wave:
                self.hashes[pixel] = items[pixel]["current"]
                self.followers[0][self.place(items[pixel]["twelve"])] = pixel
                self.followers[1][self.place(items[pixel]["six"])] = pixel

    def items(self, pixel: Pixel) -> dict[str, int]:
        items = {name: self.hash(self.neighbour(pixel, name)) for name in TAPS}
        items["six"] = fold_all(1, [items[name] for name in SIX])
        items["twelve"] = fold_all(items["six"], [items[name] for name in TWELVE])
        items["current"] = 0
        return items

    def guess(
        self, wave: list[Pixel], items: dict[Pixel, dict[str, int]], known: set[Pixel]
    ) -> None:
        candidates: dict[Pixel, list[Pixel | None]] = {}
        for pixel in wave:
            item, found = items[pixel], candidates.setdefault(pixel, [])
            sources: list[tuple[bool, Pixel | None]] = []
            for table, name in zip(self.followers, ("twelve", "six"), strict=True):
                place = self.place(item[name])
                sources.append((place in table, table.get(place)))
            sources += [(True, self.neighbour(pixel, name)) for name in ("W", "N", "NE", "NW")]
            ranks: list[int] = []
            for k, (there, source) in enumerate(sources):
                rank = 3
                same = [
                    earlier
                    for earlier in range(k)
                    if there and sources[earlier][0]
                    and self.hash(sources[earlier][1]) == self.hash(source)
                ]  # fmt: skip
                if same:
                    rank = ranks[same[0]]
                elif there and len(found) < 3:
                    rank = len(found)
                    found.append(source)
                ranks.append(rank)
            item["sources"] = sum(rank * 4**k for k, rank in enumerate(ranks))
            pairs = [pair.split() for pair in PAIRS]
            item["equal"] = sum(2**k for k, (a, b) in enumerate(pairs) if item[a] == item[b])
            item["first"] = self.hash(found[0])
        for k in range(3):
            group = [p for p in wave if p not in known and len(candidates[p]) > k]
            decisions = []
            for pixel in group:
                hashes = [
                    fold(fold_all(1 + q, [items[pixel][name] for name in names]), k + 1)
                    for q, names in enumerate(chains(CANDIDATE))
                ]
                decisions.append(self.judge(k, k, hashes, [0] * 4))
            for pixel, bit in zip(group, self.code(decisions), strict=True):
                if bit:
                    known.add(pixel)
                    for c in range(len(self.depths)):
                        self.samples[c][pixel] = self.sample(c, candidates[pixel][k])

    def component(
        self, c: int, wave: list[Pixel], items: dict[Pixel, dict[str, int]], known: set[Pixel]
    ) -> None:
        depth, top = self.depths[c], 2 ** self.depths[c]
        inputs = {pixel: self.inputs(c, pixel) for pixel in wave} if self.fitted else {}
        left_over = [pixel for pixel in wave if pixel not in known]
        centres, contexts, scales, bases = {}, {}, {}, {}
        for pixel in left_over:
            centre = self.centres(c, pixel, inputs.get(pixel))
            e = {name: self.error(c, self.neighbour(pixel, name)) for name in SIX}
            t = (2 * e["W"] + 2 * e["N"] + e["NW"] + e["NE"] + e["WW"] + e["NN"] >> 1) + 4
            k = t.bit_length() - 1
            energy = min(4 * k + (t >> (k - 2) & 3) - 8, 63)
            earlier = self.error(c - 1, pixel) if c > 0 else 0
            contexts[pixel] = 4 * energy + sum(earlier >= step for step in (8, 32, 128))
            scales[pixel] = []
            for expert in range(4):
                first = ((4 + energy % 4) * 2 ** (energy // 4) + 2) // 2
                s, n = self.scales.setdefault((c, expert, contexts[pixel]), [first, 2])
                scales[pixel].append(max(3 * s // (4 * n), 3))
            item = items[pixel]
            west, north, north_west = (
                self.sample(c, self.neighbour(pixel, name)) for name in ("W", "N", "NW")
            )
            item["joint"] = centre[2] >> 4
            item["gradient"] = (west + north - north_west) >> max(depth - 8, 0)
            item["before"] = 0
            if c > 0:
                item["before"] = self.sample(c - 1, pixel) >> max(self.depths[c - 1] - 8, 0) >> 2
            bases[pixel] = [
                fold_all(1 + q + 12 * (1 + c), [item[name] for name in names])
                for q, names in enumerate(chains(COMPONENT))
            ]
            centres[pixel] = centre
        low = dict.fromkeys(left_over, 0)
        for level in range(depth):
            left = depth - level
            decisions = []
            for pixel in left_over:
                m = low[pixel] + 2 ** (left - 1)
                centre, scale = centres[pixel], scales[pixel]
                hashes = [fold(base, 2**level + (low[pixel] >> left)) for base in bases[pixel]]
                position = 100 + clamp(centre[0] - 16 * m + 8 >> left, -40, 40)
                spread = min(max(scale[0] >> left, 1).bit_length() - 1, 15)
                hashes[11] = fold_all(bases[pixel][11], [position, spread, left])
                experts = []
                for expert in range(4):
                    edges = [
                        distribution(value, centre[expert], scale[expert], top)
                        for value in (low[pixel], m, low[pixel] + 2**left)
                    ]
                    share = ((edges[2] - edges[1] + 32) << 16) // (edges[2] - edges[0] + 64)
                    experts.append(st(min(share, 65535)))
                decisions.append(self.judge(3 + 16 * c + level, 3 + c, hashes, experts))
            for pixel, bit in zip(left_over, self.code(decisions), strict=True):
                low[pixel] += bit * 2 ** (left - 1)
        for pixel in left_over:
            self.samples[c][pixel] = low[pixel]
            for expert in range(4):
                error = abs(16 * low[pixel] - centres[pixel][expert])
                scale = self.scales[c, expert, contexts[pixel]]
                scale[0] += error
                scale[1] += 1
                if expert == 0:
                    self.errors[c][pixel] = error
        for scale in self.scales.values():
            while scale[1] > 400:
                scale[0] >>= 1
                scale[1] >>= 1
        for fit in self.fits[c] if self.fitted else []:
            fit.learn(
                [(p[0], inputs[p], self.samples[c][p] - self.mean(c, p)) for p in wave]
            )  # fmt: skip

    def error(self, c: int, pixel: Pixel | None) -> int:
        return self.errors[c].get(pixel, 0) if pixel else 0

    def mean(self, c: int, pixel: Pixel) -> float:
        w, n, nw, ne = (
            self.sample(c, self.neighbour(pixel, name)) for name in ("W", "N", "NW", "NE")
        )
        return ((2 * w + 2 * n + nw + ne) * 4 // 6) * 0.25

    def inputs(self, c: int, pixel: Pixel) -> list[float]:
        def near(component: int, name: str) -> float:
            value = self.sample(component, self.neighbour(pixel, name))
            return value - self.mean(component, pixel)

        found = [near(c, name) for name in SIX]
        for other in range(c - 1, max(c - 4, -1), -1):
            found.append(self.sample(other, pixel) - self.mean(other, pixel))
            if other == c - 1:
                found += [near(other, "W"), near(other, "N")]
        return found

    def centres(self, c: int, pixel: Pixel, inputs: list[float] | None) -> list[int]:
        top = 2 ** self.depths[c]
        w, n, nw, ne = (
            self.sample(c, self.neighbour(pixel, name)) for name in ("W", "N", "NW", "NE")
        )
        mean = 8 * (w + n) + 4 * (ne - nw)
        median = 16 * sorted([w, n, w + n - nw])[1]
        joint = mean
        if c > 0:
            w1, n1 = (self.sample(c - 1, self.neighbour(pixel, name)) for name in ("W", "N"))
            joint = 16 * clamp(self.sample(c - 1, pixel) + (w - w1 + n - n1 >> 1), 0, top - 1)
        if inputs is None:
            return [median, mean, joint, median]
        fitted = []
        for fit in self.fits[c]:
            prediction = fit.predict(pixel[0], inputs) + self.mean(c, pixel)
            limited = min(max(prediction, 0.0), float(top - 1))
            fitted.append(math.floor(limited * 16 + 0.5))
        return [*fitted, joint, median]

    def judge(self, kind: int, stage: int, hashes: list[int], experts: list[int]) -> Decision:
        direct, expected, used, known = [], [], [], 0
        for q, value in enumerate(hashes):
            counter = self.counters.setdefault((q, self.place(value)), Counter(32768, 0, 255))
            z, o = counter.zeros, counter.ones
            first = Counter((65535 * (5 * o + 2)) // (5 * (z + o) + 4), 4 if z + o else 0, 255)
            state = self.states.setdefault((q, kind, z, o), first)
            direct.append(st(counter.p) if counter.n else 0)
            expected.append(st(state.p))
            known += counter.n > 0
            used += [counter, state]
        inputs = [*direct, *expected, *experts, 256]
        fresh = WeightSet([3276] * 24 + [19660] * 4 + [0])
        sets = [
            self.sets.setdefault(("kind", kind, 0), fresh),
            self.sets.setdefault(("stage", stage, known), WeightSet([0] * 29)),
        ]
        decision = Decision(inputs, sets, used)
        total = sum(
            (a + b) * x
            for a, b, x in zip(sets[0].weights, sets[1].weights, inputs, strict=True)
        )  # fmt: skip
        logit = clamp(total >> 16, -2815, 2815)
        decision.g = SQUASH[logit + 2815]
        x = clamp(logit, -2047, 2047) + 2048
        i, w = x >> 7, x & 127
        mapped = 2 * decision.g
        level = 0 if kind < 3 else 4 * known // 13
        for name, first_key, second_key in (("kind", kind, level), ("hash", hashes[5] >> 20, 0)):
            low, high = (
                self.maps.setdefault(
                    (name, first_key, second_key, at),
                    Counter(SQUASH[(at - 16) * 128 + 2815], 4, 127),
                )
                for at in (i, i + 1)
            )
            mapped += (low.p * (128 - w) + high.p * w) >> 7
            used.append(high if w >= 64 else low)
        decision.probability = clamp(mapped >> 2, 1, 65535)
        return decision

    def code(self, decisions: list[Decision]) -> list[int]:
        """The group's bits, learnt."""
        bits = [
            self.decoder.symbol([0, 2**24 - 256 * d.probability, 2**24]) for d in decisions
        ]  # fmt: skip
        groups: dict[int, tuple[WeightSet, list[int]]] = {}
        for at, (decision, bit) in enumerate(zip(decisions, bits, strict=True)):
            for counter in decision.counters:
                counter.add(bit)
            for weights in decision.sets:
                groups.setdefault(id(weights), (weights, []))[1].append(at)
        for decision in decisions:
            for counter in decision.counters:
                counter.learn()
        for weights, members in groups.values():
            rate = 66 + 8192 // (50 + min(weights.v, 65535))
            m = max(len(members), 16) * 2**20
            for q in range(29):
                e = sum(
                    (65536 * bits[at] - decisions[at].g) * decisions[at].inputs[q]
                    for at in members
                )  # fmt: skip
                moved = weights.weights[q] + (e * rate + m // 2) // m
                weights.weights[q] = clamp(moved, -(2**20), 2**20)
            weights.v += 1
        return bits


def distribution(value: int, centre: int, scale: int, top: int) -> int:
    """F of section 12.3."""
    if value <= 0:
        return 0
    if value >= top:
        return 2**26
    z = clamp((16 * value - 8 - centre) * 2**17 // scale + 2**21, 0, 2**22 - 1)
    u, w = z >> 12, z & 4095
    return DISTRIBUTION[u] + ((DISTRIBUTION[u + 1] - DISTRIBUTION[u]) * w >> 12)
