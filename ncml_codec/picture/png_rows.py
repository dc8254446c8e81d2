"""PNG's image data: samples as filtered rows, in one zlib stream or, for ours, one zstd frame.

Chunks are not its business (`png`), nor is what samples mean. Everything goes by whole rows or
diagonals, never byte by byte; where a pixel has the bytes of an 8-bit kind, Pillow undoes the
filters, ten times as fast. Source: PNG specification, third edition, sections 7 to 10.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.errors import FormatError
from ncml_codec.picture import png_chunks

Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]  # uint8, or uint16 where a sample has 16 bits

FILTERS = 5  # none, sub, up, average, Paeth
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by bytes of a pixel, those of 8 bits a sample
_WORTH = 1 << 17  # bytes from which Pillow gains more than its import takes
_AT_ONCE = 1 << 22  # bytes handed to Pillow at a time, so that no limit of its is reached
# Adam7: of every 8 x 8 pixels, each pass takes those from (top, left) on in steps of (down, right).
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def stride_of(width: int, channels: int, depth: int) -> int:
    """Bytes of a row without its filter type."""
    return (width * channels * depth + 7) // 8


def size_of(height: int, width: int, channels: int, depth: int, interlaced: bool = False) -> int:
    """Bytes of all filtered rows."""
    return sum(
        rows * (1 + stride_of(columns, channels, depth))
        for rows, columns, _ in _passes(height, width, interlaced)
    )


def read(
    filtered: bytes, height: int, width: int, channels: int, depth: int, interlaced: bool = False
) -> Samples:
    """The samples [height, width, channels] of filtered rows, exactly `size_of` bytes of them.

    depth: bits of a sample; those of 16 come as uint16. Raises FormatError for an unknown filter.
    """
    samples = np.empty((height, width, channels), np.uint16 if depth == 16 else np.uint8)
    at, step = 0, max(1, channels * depth // 8)
    for rows, columns, place in _passes(height, width, interlaced):
        stride = stride_of(columns, channels, depth)
        part = np.frombuffer(filtered, np.uint8, rows * (1 + stride), at)
        at += part.size
        plain = unfilter(part.reshape(rows, 1 + stride), step)
        samples[place] = unpack(plain, columns, channels, depth)
    return samples


def inflate(packed: bytes, need: int) -> tuple[bytes, bool]:
    """The first `need` bytes of a zlib stream, and whether it holds nothing more.

    Unpacks no more than that. Raises FormatError if it is damaged or holds less.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, need) if need else b""
        # The stream's end holds its checksum, which is looked at only if one asks for more.
        more = unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise FormatError(f"its image data is damaged: {error}") from error
    if len(content) < need:
        raise FormatError(f"its image data ends after {len(content)} of {need} bytes")
    if not unpacker.eof and not more:
        raise FormatError("its image data is cut short before its checksum")
    return content, unpacker.eof and not more and not unpacker.unused_data


def pack(samples: Samples, depth: int) -> Bytes:
    """Rows of bytes [height, stride] of samples [height, width, channels], not filtered."""
    height = len(samples)
    if depth == 16:
        return np.ascontiguousarray(samples.astype(">u2")).view(np.uint8).reshape(height, -1)
    flat = np.ascontiguousarray(samples, np.uint8).reshape(height, -1)
    if depth == 8:
        return flat
    bits = flat[:, :, None] >> np.arange(depth - 1, -1, -1, dtype=np.uint8) & 1
    return np.packbits(bits.reshape(height, -1), axis=1)


def unpack(rows: Bytes, width: int, channels: int, depth: int) -> Samples:
    """The samples [height, width, channels] of rows that `pack` made; padding is not looked at."""
    height = len(rows)
    if depth == 16:
        return rows.reshape(-1).view(">u2").astype(np.uint16).reshape(height, width, channels)
    if depth == 8:
        return rows.reshape(height, width, channels)
    bits = np.unpackbits(rows, axis=1)[:, : width * channels * depth]
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint8)
    grouped = bits.reshape(height, width, channels, depth)
    samples: Samples = (grouped * weights).sum(axis=3, dtype=np.uint8)
    return samples


def unfilter(filtered: Bytes, step: int, above: Bytes | None = None) -> Bytes:
    """Rows [n, stride] of filtered ones [n, 1 + stride]. above: the row before them, not filtered.

    step: bytes of a pixel, at least 1. Raises FormatError for an unknown filter.
    """
    kinds, residuals = filtered[:, 0], filtered[:, 1:]
    if filtered.size and int(kinds.max()) >= FILTERS:
        raise FormatError(f"a row of its image data has the unknown filter {int(kinds.max())}")
    rows: Bytes = np.empty(residuals.shape, np.uint8)
    above = np.zeros(residuals.shape[1], np.uint8) if above is None else above
    if step in _COLOUR_TYPES and rows.size >= _WORTH and len(above) <= _AT_ONCE:
        count = _AT_ONCE // len(above)
        for top in range(0, len(rows), count):
            rows[top : top + count] = _unfilter_by_pillow(filtered[top : top + count], step, above)
            above = rows[min(top + count, len(rows)) - 1]
        return rows
    at = 0
    while at < len(rows):
        # Sub and up are sums along or across rows; runs of rows with others need diagonals.
        stop = at
        while stop < len(rows) and kinds[stop] >= 3:
            stop += 1
        if stop > at:
            _unfilter_diagonals(residuals[at:stop], kinds[at:stop], above, rows[at:stop], step)
            at, above = stop, rows[stop - 1]
            continue
        row = residuals[at]
        if kinds[at] == 1:
            pixels = row.reshape(-1, step)
            rows[at] = np.add.accumulate(pixels, axis=0, dtype=np.uint8).reshape(-1)
        else:
            rows[at] = row + above if kinds[at] == 2 else row
        above = rows[at]
        at += 1
    return rows


def _unfilter_by_pillow(filtered: Bytes, step: int, above: Bytes) -> Bytes:
    """As `unfilter`: a PNG of 8 bits a sample, the row above in front of the others."""
    from PIL.PngImagePlugin import PngImageFile

    width = len(above) // step
    header = struct.pack(">IIBBBBB", width, len(filtered) + 1, 8, _COLOUR_TYPES[step], 0, 0, 0)
    content = zlib.compress(b"\0" + above.tobytes() + filtered.tobytes(), 0)
    data = (
        png_chunks.SIGNATURE
        + png_chunks.chunk(b"IHDR", header)
        + png_chunks.chunk(png_chunks.PIXELS, content)
    )
    with PngImageFile(io.BytesIO(data + png_chunks.chunk(b"IEND", b""))) as image:
        return np.asarray(image).reshape(len(filtered) + 1, -1)[1:]


def _unfilter_diagonals(
    residuals: Bytes, kinds: Bytes, above: Bytes, rows: Bytes, step: int
) -> None:
    """Average and Paeth: a pixel needs its left, upper and upper left neighbour, so that all
    pixels of a diagonal, row + column = const, are done at once. Fills `rows`."""
    height, width = rows.shape[0], rows.shape[1] // step
    source = np.ascontiguousarray(residuals).reshape(-1, step)
    target = rows.reshape(-1, step)  # a view: rows are contiguous
    first = above.reshape(-1, step).astype(np.int16)
    paeth = np.repeat(kinds[:, None] == 4, step, axis=1)
    some_paeth, some_average = bool((kinds == 4).any()), bool((kinds == 3).any())
    # The last diagonals by row, one row more at the top for the row above.
    before, last, now = (np.zeros((height + 1, step), np.int16) for _ in range(3))
    last[0] = first[0]
    hop = max(1, width - 1)
    for diagonal in range(width + height - 1):
        low, high = max(0, diagonal - width + 1), min(height, diagonal + 1)
        start = diagonal + low * (width - 1)
        places = slice(start, start + (high - low - 1) * hop + 1, hop)
        left, up, corner = last[low + 1 : high + 1], last[low:high], before[low:high]
        if some_average:
            guess = (left + up) >> 1
        if some_paeth:
            across, down = up - corner, left - corner
            to_left, to_up, to_corner = abs(across), abs(down), abs(across + down)
            nearest = np.where(to_up <= to_corner, up, corner)
            closest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
            guess = np.where(paeth[low:high], closest, guess) if some_average else closest
        value = (source[places] + guess) & 255
        target[places] = value
        now[low + 1 : high + 1] = value
        if diagonal + 1 < width:
            now[0] = first[diagonal + 1]
        before, last, now = last, now, before


def _passes(
    height: int, width: int, interlaced: bool
) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Rows and columns of every part that has pixels, and where they stand."""
    if not interlaced:
        yield height, width, (slice(None), slice(None))
        return
    for top, left, down, right in ADAM7:
        rows, columns = -(-(height - top) // down), -(-(width - left) // right)
        if rows > 0 and columns > 0:
            yield rows, columns, (slice(top, None, down), slice(left, None, right))


def filter_rows(rows: Bytes, above: Bytes, step: int, kind: int | None = None) -> Bytes:
    """[n, 1 + stride] of rows [n, stride] and the rows above them: filter types, residuals.

    kind: the filter of all rows; None, for each the one with the least sum of absolute residuals,
    the PNG specification's own advice (12.7). step: bytes of a pixel.
    """
    if kind is not None:
        chosen = _residuals(rows, above, step, kind)
        return np.concatenate([np.full((len(rows), 1), kind, np.uint8), chosen], axis=1)
    choices = [_residuals(rows, above, step, each) for each in range(FILTERS)]
    # Residuals are signed: 255 is as near to 0 as 1 is.
    costs = np.stack(
        [np.minimum(choice, 0 - choice).sum(axis=1, dtype=np.int64) for choice in choices]
    )
    best = costs.argmin(axis=0)
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    out[:, 0] = best
    for each, choice in enumerate(choices):
        out[best == each, 1:] = choice[best == each]
    return out


def _residuals(rows: Bytes, above: Bytes, step: int, kind: int) -> Bytes:
    if kind == 0:
        return rows
    if kind == 2:
        return rows - above
    blank = np.zeros((len(rows), step), np.uint8)
    left: Bytes = np.concatenate([blank, rows[:, :-step]], axis=1)
    if kind == 1:
        return rows - left
    if kind == 3:
        mean: Bytes = ((left.astype(np.uint16) + above) >> 1).astype(np.uint8)
        return rows - mean
    corner = np.concatenate([blank, above[:, :-step]], axis=1)
    return rows - _paeth(left, above, corner)


def _paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """Whichever of the three is nearest to left + above - corner; ties in this order."""
    a, b, c = (side.astype(np.int16) for side in (left, above, corner))
    # With p = a + b - c: |p - a| = |b - c| and so on.
    to_left, to_above = abs(b - c), abs(a - c)
    to_corner = abs(a + b - 2 * c)
    chosen = np.where(to_above <= to_corner, above, corner)
    closest: Bytes = np.where((to_left <= to_above) & (to_left <= to_corner), left, chosen)
    return closest
