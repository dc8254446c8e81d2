"""PNG files written band by band, so that no image need be in memory whole.

Chunks as they are given (see `png_chunks`), one IDAT for each piece that zlib gives out; not
interlaced. Rows are filtered by `png_rows`: samples of 8 and 16 bits each by the filter that suits
it, palettes and fewer bits by none (PNG specification, third edition, 12.7).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ncml_codec.picture import kinds, png_chunks, png_rows
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Samples

_PIECE = 1 << 16  # bytes of an IDAT chunk, at least
_AT_ONCE = 1 << 18  # bytes of rows that are filtered at a time: a few megabytes at work


def png_parts(
    shape: tuple[int, int, int],
    kind: Kind,
    chunks: Sequence[png_chunks.Chunk],
    bands: Iterable[Samples],
) -> Iterator[bytes]:
    """A PNG's bytes. shape: height, width, planes; chunks: as of `Picture`; bands: rows."""
    height, width, _ = shape
    before, after = png_chunks.around_pixels(chunks)
    header = struct.pack(">IIBBBBB", width, height, kind.bit_depth, kind.colour_type, 0, 0, 0)
    yield png_chunks.SIGNATURE + png_chunks.chunk(b"IHDR", header) + before
    packer = zlib.compressobj()
    pending = bytearray()
    for rows in _filtered(bands, width, kind):
        pending += packer.compress(rows)
        if len(pending) >= _PIECE:
            yield png_chunks.chunk(png_chunks.PIXELS, bytes(pending))
            pending.clear()
    yield png_chunks.chunk(png_chunks.PIXELS, bytes(pending + packer.flush())) + after


def _filtered(bands: Iterable[Samples], width: int, kind: Kind) -> Iterator[bytes]:
    """Every row's filter type and residuals, some rows at a time."""
    stride = png_rows.stride_of(width, kind.channels, kind.bit_depth)
    pixel = max(1, kind.channels * kind.bit_depth // 8)
    is_plain = kind.colour_type == kinds.PALETTE or kind.bit_depth < 8
    above = np.zeros((1, stride), np.uint8)
    step = max(1, _AT_ONCE // stride)
    for band in bands:
        for top in range(0, len(band), step):
            rows = png_rows.pack(band[top : top + step], kind.bit_depth)
            over = np.concatenate([above, rows[:-1]])
            yield png_rows.filter_rows(rows, over, pixel, 0 if is_plain else None).tobytes()
            above = rows[-1:].copy()
