"""Wave order: which pixels are coded together, and which neighbours a layer may read.

Pixel (i, j), row i and column j, belongs to wave s = j + 2 i. A neighbour at offset
(di, dj) was coded before the pixel exactly if dj + 2 di < 0. Sums of such offsets are such
offsets, so any number of layers keeps the order.
"""

from __future__ import annotations

Tap = tuple[int, int]

SKEW = 2


def lag(tap: Tap) -> int:
    """Waves between a pixel and its neighbour at `tap`; positive if the neighbour is earlier."""
    return -(tap[1] + SKEW * tap[0])


def wave_count(height: int, width: int) -> int:
    """Number of waves of an image: width + 2 (height - 1)."""
    return width + SKEW * (height - 1)


def wave_rows(wave: int, height: int, width: int) -> tuple[int, int]:
    """First row and one past the last row of the wave's pixels; the pixel of row i is in column
    wave - 2 i."""
    first = max(0, -((width - 1 - wave) // SKEW))
    return first, min(height - 1, wave // SKEW) + 1


def wave_pixels(wave: int, height: int, width: int) -> slice:
    """Where a wave that is not empty lies among the image's pixels in row-major order."""
    first, stop = wave_rows(wave, height, width)
    # A row on is two columns back. Waves of an image of one or two columns have one pixel.
    step = max(width - SKEW, 1)
    start = first * width + wave - SKEW * first
    return slice(start, start + (stop - first - 1) * step + 1, step)


def window_taps() -> list[Tap]:
    """Neighbours that the first layer sees: three rows up, and the reachable part of the row below.

    The columns -4 to 3, as far as they are earlier, nearest rows last.
    """
    taps = [(di, dj) for di in (-3, -2, -1, 0) for dj in range(-4, 4) if lag((di, dj)) > 0]
    return [*taps, (1, -5), (1, -4), (1, -3)]


def near_taps() -> list[Tap]:
    """The window's taps within two rows and columns: seen again at finer scales."""
    return [(di, dj) for di, dj in window_taps() if di <= 0 and max(-di, abs(dj)) <= 2]


def block_taps() -> list[Tap]:
    """Neighbours of a residual block; the pixel's own hidden features (0, 0) come last."""
    return [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0)]
