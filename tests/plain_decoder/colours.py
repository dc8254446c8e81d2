"""Counts by colours for the plain decoder: FORMAT.md, section 6.1, in plain Python.

Written from FORMAT.md alone, as `decoder` is. Python's floats are the doubles of that page,
and its quotient of two integers is rounded once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor

Function = Callable[[int], int]
Cell = tuple[str, int, int]

OPEN = 2**14
PRIOR = {"P": 25165824, "D": 2621440, "T": 6291456}
STAGES = {  # By mode and plane, in their order.
    (1, 2): "D",
    (2, 1): "P",
    (2, 2): "D",
    (3, 1): "P",
    (3, 2): "DT",
}


@dataclass
class Coloured:
    """The masses of one sample's distribution: z of the levels of open groups, Z of all groups.

    used: for each stage, every cell with its q before that stage.
    """

    z: dict[int, int]
    sums: list[int]
    used: list[dict[int, tuple[Cell, int]]] = field(default_factory=list)

    def high_counts(self) -> list[int]:
        """C(0) = 0, ..., C(16) = 2^24 of the high nibbles."""
        return counts(self.sums)

    def is_open(self, high: int) -> bool:
        return 16 * high in self.z

    def low_counts(self, high: int) -> list[int]:
        """The same of the low nibbles, if the group of this high nibble is open."""
        return counts([self.z[16 * high + n] for n in range(16)])


def counts(masses: Sequence[int]) -> list[int]:
    s = [sum(masses[:n]) for n in range(17)]
    if s[16] == 0:
        return [n * 2**20 for n in range(17)]
    ratio = (2**24 - 16) / s[16]
    return [floor(s[n] * ratio) + n for n in range(16)] + [2**24]


class Colours:
    """The cells of a tile, as (stage, first, second); each has [seen, expected]."""

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.cells: defaultdict[Cell, list[int]] = defaultdict(lambda: [0, 0])

    def stages(self, c: int) -> str:
        """Those of plane c, in order."""
        return STAGES.get((self.mode, c), "")

    def coloured(self, c: int, f: Function, x: Sequence[int]) -> Coloured:
        """The masses for plane c, given F and the samples x of the planes before."""
        groups = [(f(16 * n + 16) >> 6) - (f(16 * n) >> 6) for n in range(16)]
        levels = [v for v in range(256) if groups[v >> 4] >= OPEN]
        q = {v: (f(v + 1) >> 6) - (f(v) >> 6) for v in levels}
        result = Coloured(q, groups)
        for number, stage in enumerate(self.stages(c)):
            if number > 0:
                scale = 2**24 / sum(result.sums)
                q = {v: floor(result.z[v] * scale) for v in levels}
                groups = with_levels([floor(each * scale) for each in result.sums], q)
            used = {v: (cell_of(stage, v, x), q[v]) for v in levels}
            z = {v: floor(q[v] * self.factor(used[v][0])) for v in levels}
            result = Coloured(z, with_levels(groups, z), [*result.used, used])
        return result

    def factor(self, cell: Cell) -> float:
        seen, expected = self.cells[cell]
        prior = PRIOR[cell[0]]
        ratio = (seen * 2**24 + prior) / (expected + prior)
        return min(max(ratio, 2.0**-12), 2.0**12)

    def learn(self, coloured: Sequence[Coloured], samples: Sequence[int]) -> None:
        """What a wave's samples of a plane teach."""
        for each, sample in zip(coloured, samples, strict=True):
            for used in each.used:
                for v, (cell, q) in used.items():
                    self.cells[cell][0] += v == sample
                    self.cells[cell][1] += q


def cell_of(stage: str, v: int, x: Sequence[int]) -> Cell:
    if stage == "P":
        return (stage, x[0], v)
    if stage == "D":
        return (stage, x[1] - x[0], v - x[1])
    return (stage, ((256 * x[0] + x[1]) * 2654435761 % 2**32) >> 18, v)


def with_levels(groups: list[int], levels: dict[int, int]) -> list[int]:
    """Masses of groups, of the open ones as the sums of their levels."""
    members = [[levels[v] for v in range(16 * n, 16 * n + 16) if v in levels] for n in range(16)]
    return [sum(own) if own else group for own, group in zip(members, groups, strict=True)]
