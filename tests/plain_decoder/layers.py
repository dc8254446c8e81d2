"""Layers of other methods than the network, and samples out of byte planes.

FORMAT.md, sections 10 and 11. WebP is decoded by Pillow, zstd and zlib by their libraries.
"""

import io
import zlib

import numpy as np
from PIL import Image

from tests.plain_decoder import mixing as plain_mixing
from tests.plain_decoder import png as plain_png
from tests.plain_decoder.model import IntArray
from tests.plain_decoder.reading import Reader, Refused, decompress, require

MAX_TABLE_BYTES = 524_300

# Section 10: from byte planes to samples.


def restored(
    planes: IntArray, transform: int, low_bits: int, table: bytes, channels: int, depth: int
) -> IntArray:
    """The samples [height, width, channels]."""
    numbers = planes
    if low_bits:
        high, low = np.split(planes, 2, axis=2)
        require(int(low.max()) < 2**low_bits, "low bits")
        numbers = (high << low_bits) | low
        require(int(numbers.max()) < 2**16, "a number of more than 16 bits")
    if transform:
        columns = read_table(table, transform, channels, depth)
        picked = []
        for channel, column in enumerate(columns):
            number = numbers[:, :, 0 if transform == 1 else channel]
            require(int(number.max()) < len(column), "a number beyond its column")
            picked.append(np.array(column)[number])
        numbers = np.stack(picked, axis=2)
    require(int(numbers.max()) < 2**depth, "a sample beyond its bit depth")
    return numbers


def read_table(table: bytes, transform: int, channels: int, depth: int) -> list[list[int]]:
    require(len(table) > 0 and table[0] < 2, "the table's first byte")
    content = decompress(table[1:], "table") if table[0] else table[1:]
    require(len(content) <= MAX_TABLE_BYTES, "the table's size")
    reader = Reader(content)
    lengths = [reader.varint() for _ in range(channels)]
    for length in lengths:
        require(1 <= length <= (256 if transform == 1 else 2**depth), f"a column of {length}")
    require(transform == 2 or len(set(lengths)) == 1, "columns of different lengths")
    differences = list(reader.take(sum(lengths)))
    if depth == 16:
        high = reader.take(sum(lengths))
        differences = [low + 256 * top for low, top in zip(differences, high, strict=True)]
    require(reader.at == len(content), "something follows the table")
    modulus = 2**16 if depth == 16 else 2**8
    columns, at = [], 0
    for length in lengths:
        column, value = [], 0
        for index, difference in enumerate(differences[at : at + length]):
            value += difference
            if transform == 1:
                value %= modulus
            else:
                require(value < modulus and (index == 0 or difference > 0), "no ascent")
            column.append(value)
        columns.append(column)
        at += length
    return columns


# Section 11: methods.


def decode_layer(payload: bytes, method: int, shape: tuple[int, int, int]) -> IntArray:
    """A layer's planes [height, width, planes], by another method than the network."""
    height, width, planes = shape
    if method == 2:
        return webp(payload, shape)
    if method == 5:
        try:
            return np.array(plain_mixing.decode(payload, height, width, planes), np.int64)
        except plain_mixing.Refused as error:
            raise Refused(str(error)) from error
    require(len(payload) > 0, "no layout")
    depth, interlaced = payload[0] & 127, payload[0] > 127
    fits = planes == 1 if depth in (1, 2, 4) else depth == 8 or (depth == 16 and planes % 2 == 0)
    require(fits, f"{planes} planes of depth {depth}")
    if method == 3:
        rows = decompress(payload[1:], "rows")
    else:
        unpacker = zlib.decompressobj()
        try:
            rows = unpacker.decompress(payload[1:])
        except zlib.error as error:
            raise Refused(str(error)) from error
        require(unpacker.eof and not unpacker.unused_data, "no whole zlib stream")
    channels = planes // 2 if depth == 16 else planes
    try:
        pixels = plain_png.image(rows, height, width, channels, depth, interlaced)
    except ValueError as error:
        raise Refused(str(error)) from error
    samples: IntArray = np.array(pixels, np.int64)
    return np.concatenate([samples >> 8, samples & 255], axis=2) if depth == 16 else samples


def webp(payload: bytes, shape: tuple[int, int, int]) -> IntArray:
    height, width, planes = shape
    require(planes <= 4 and b"VP8L" in payload[:40], "no lossless WebP")
    with Image.open(io.BytesIO(payload), formats=["WEBP"]) as image:
        require(image.size == (width, height), "a WebP of another size")
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
    chosen = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[planes]
    return pixels[:, :, chosen]
