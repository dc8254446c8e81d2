"""Image files written band by band, so that no image need be in memory whole.

PNG: chunks as they are given (see `png`), one IDAT for each piece that zlib gives out; each row's
filter is the one with the least sum of absolute residuals, the PNG specification's own advice
(third edition, 12.7). PPM and PGM: the header, then the samples.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ncml_codec import png

Samples = npt.NDArray[np.uint8]

_GREY, _RGB = 0, 2  # PNG's colour types
_PIECE = 1 << 16  # bytes of an IDAT chunk, at least
_AT_ONCE = 1 << 18  # samples that are filtered or copied at a time: a few megabytes at work


def pnm_parts(shape: tuple[int, int, int], bands: Iterable[Samples]) -> Iterator[bytes]:
    """A PPM's (RGB) or PGM's (grey) bytes. shape: height, width, planes; bands: rows in order."""
    height, width, planes = shape
    yield b"P%d\n%d %d\n255\n" % (5 if planes == 1 else 6, width, height)
    step = max(1, _AT_ONCE // (width * planes))
    for band in bands:
        for top in range(0, len(band), step):
            yield band[top : top + step].tobytes()


def png_parts(
    shape: tuple[int, int, int], chunks: Sequence[png.Chunk], bands: Iterable[Samples]
) -> Iterator[bytes]:
    """A PNG's bytes. shape: height, width, planes; chunks: as of `Picture`; bands: rows."""
    height, width, planes = shape
    colour = _GREY if planes == 1 else _RGB
    before, after = png.around_pixels(chunks)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    yield png.SIGNATURE + png.chunk(b"IHDR", header) + before
    packer = zlib.compressobj()
    pending = bytearray()
    for rows in _filtered(bands, width * planes, planes):
        pending += packer.compress(rows)
        if len(pending) >= _PIECE:
            yield png.chunk(png.PIXELS, bytes(pending))
            pending.clear()
    yield png.chunk(png.PIXELS, bytes(pending + packer.flush())) + after


def _filtered(bands: Iterable[Samples], stride: int, planes: int) -> Iterator[bytes]:
    """Every row's filter type and residuals, some rows at a time."""
    above = np.zeros((1, stride), np.uint8)
    step = max(1, _AT_ONCE // stride)
    for band in bands:
        for top in range(0, len(band), step):
            rows = band[top : top + step].reshape(-1, stride)
            yield _filter(rows, np.concatenate([above, rows[:-1]]), planes).tobytes()
            above = rows[-1:].copy()


def _filter(rows: Samples, above: Samples, planes: int) -> Samples:
    """[n, 1 + stride] of rows [n, stride] and the rows above them: types 0 to 4, residuals."""
    blank = np.zeros((len(rows), planes), np.uint8)
    left = np.concatenate([blank, rows[:, :-planes]], axis=1)
    corner = np.concatenate([blank, above[:, :-planes]], axis=1)
    mean = ((left.astype(np.uint16) + above) >> 1).astype(np.uint8)
    choices = [
        rows,
        rows - left,
        rows - above,
        rows - mean,
        rows - _paeth(left, above, corner),
    ]
    # Residuals are signed: 255 is as near to 0 as 1 is.
    costs = np.stack(
        [np.minimum(choice, 0 - choice).sum(axis=1, dtype=np.int64) for choice in choices]
    )
    best = costs.argmin(axis=0)
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    out[:, 0] = best
    for kind, choice in enumerate(choices):
        out[best == kind, 1:] = choice[best == kind]
    return out


def _paeth(left: Samples, above: Samples, corner: Samples) -> Samples:
    """Whichever of the three is nearest to left + above - corner; ties in this order."""
    a, b, c = (side.astype(np.int16) for side in (left, above, corner))
    # With p = a + b - c: |p - a| = |b - c| and so on.
    to_left, to_above = abs(b - c), abs(a - c)
    to_corner = abs(a + b - 2 * c)
    chosen = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, chosen)
