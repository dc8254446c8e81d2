"""Small images of every kind that PNG has, and PNG files of them that our writer has no hand in."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ncml_codec.picture import kinds, png_chunks, png_rows
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples

ALL = [Kind(colour, depth) for colour, depths in kinds.DEPTHS.items() for depth in depths]
HEADER_BYTES = 70  # at most, of a file's header, its checksums and the metadata's frame


def picture(kind: Kind, height: int, width: int, seed: int = 1) -> Picture:
    """Steps, noise and flat parts, with the chunks that the kind needs, and some more."""
    random = np.random.default_rng(seed)
    shape = (height, width, kind.channels)
    rows, columns = np.mgrid[0:height, 0:width]
    slope = ((rows * 3 + columns * 5) * 2**kind.bit_depth // 97)[:, :, None] * np.ones(
        shape[2], int
    )
    noise = random.integers(0, 2**kind.bit_depth, shape)
    samples = np.where((rows // 3 % 2 == 0)[:, :, None], slope, noise) % 2**kind.bit_depth
    samples[:, : width // 4] = samples[0, 0]
    chunks: list[png_chunks.Chunk] = [(b"gAMA", b"\0\0\xb1\x8f")]
    if kind.colour_type == kinds.PALETTE:
        chunks.append((b"PLTE", random.bytes(3 * 2**kind.bit_depth)))
        chunks.append((b"tRNS", b"\x80\0"))
    if kind.colour_type == kinds.GREY:
        chunks.append((b"tRNS", b"\0\1"))
    chunks += [(png_chunks.PIXELS, b""), (b"tEXt", b"Title\0after the pixels")]
    return Picture(samples.astype(kind.dtype), chunks, kind)


def png_file(made: Picture, interlaced: bool = False, seed: int = 1) -> bytes:
    """A PNG with a random filter for every row, in one IDAT."""
    kind = made.kind
    random = np.random.default_rng(seed)
    step = max(1, kind.channels * kind.bit_depth // 8)
    content = b""
    for samples in _parts(made.samples, interlaced):
        rows = png_rows.pack(samples, kind.bit_depth)
        above = np.concatenate([np.zeros((1, rows.shape[1]), np.uint8), rows[:-1]])
        for row, over in zip(rows, above, strict=True):
            filtered = png_rows.filter_rows(row[None], over[None], step, int(random.integers(5)))
            content += filtered.tobytes()
    ihdr = struct.pack(
        ">IIBBBBB",
        *(made.width, made.height, kind.bit_depth, kind.colour_type, 0, 0, int(interlaced)),
    )
    before, after = png_chunks.around_pixels(made.chunks)
    pixels = png_chunks.chunk(png_chunks.PIXELS, zlib.compress(content))
    return png_chunks.SIGNATURE + png_chunks.chunk(b"IHDR", ihdr) + before + pixels + after


def _parts(samples: Samples, interlaced: bool) -> list[Samples]:
    if not interlaced:
        return [samples]
    parts = [samples[top::down, left::right] for top, left, down, right in png_rows.ADAM7]
    return [part for part in parts if part.size]
