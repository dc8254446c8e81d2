"""A plain reader of PNG image data, byte by byte in plain integers: the PNG specification's text.

It shares no code with the program, whose reader goes by rows and diagonals.
"""

from collections.abc import Iterator

Pixel = list[int]

PASSES = [
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
]  # first row, first column, and the steps of rows and columns, of Adam7


def image(
    content: bytes, height: int, width: int, channels: int, depth: int, interlaced: bool
) -> list[list[Pixel]]:
    """Pixels [row][column][channel] of filtered rows. Raises ValueError for anything amiss."""
    pixels = [[[0] * channels for _ in range(width)] for _ in range(height)]
    at = 0
    for top, left, down, right in PASSES if interlaced else [(0, 0, 1, 1)]:
        rows, columns = range(top, height, down), range(left, width, right)
        if not rows or not columns:
            continue
        stride = -(-len(columns) * channels * depth // 8)
        above = bytes(stride)
        for i in rows:
            line = content[at : at + 1 + stride]
            if len(line) < 1 + stride:
                raise ValueError("too little image data")
            at += len(line)
            above = unfiltered(line[0], line[1:], above, max(1, channels * depth // 8))
            values = samples(above, depth)
            for j in columns:
                pixels[i][j] = [next(values) for _ in range(channels)]
    if at != len(content):
        raise ValueError("too much image data")
    return pixels


def unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """A row before its filter. step: bytes of a pixel."""
    out: list[int] = []
    for x, residual in enumerate(line):
        a = out[x - step] if x >= step else 0
        b = above[x]
        c = above[x - step] if x >= step else 0
        guess = {0: 0, 1: a, 2: b, 3: (a + b) // 2, 4: paeth(a, b, c)}.get(kind)
        if guess is None:
            raise ValueError(f"filter {kind}")
        out.append((residual + guess) % 256)
    return bytes(out)


def paeth(a: int, b: int, c: int) -> int:
    """The nearest of the three to a + b - c, in this order."""
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def samples(line: bytes, depth: int) -> Iterator[int]:
    """The numbers of `depth` bits in a row, high bits first."""
    bits = int.from_bytes(line, "big")
    for at in range(8 * len(line) - depth, -1, -depth):
        yield bits >> at & ((1 << depth) - 1)
