"""A plain decoder of `.ncmz` files of version 2: FORMAT.md, sections 9 to 13, in plain integers.

Written from FORMAT.md alone, as `decoder` is, which reads what it shares with version 1. WebP
is decoded by Pillow, zstd and zlib by their libraries.
"""

import io
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder import mixing as plain_mixing
from tests.plain_decoder import png as plain_png
from tests.plain_decoder.decoder import (
    MAX_PIXELS,
    Decoded,
    Reader,
    decompress,
    read_chunks,
    require,
)

IntArray = NDArray[np.int64]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
MAX_TABLE_BYTES = 524_300


def decode(data: bytes, models: Sequence[bytes]) -> Decoded:
    """The image in a file of either version. Raises Refused. Section 9."""
    if data[4:5] != b"\2":
        return plain_decoder.decode(data, models)
    file = Reader(data)
    require(file.take(4) == b"\x89NCZ", "the file does not begin with the magic of .ncmz")
    _, colour_type, depth, flags = file.take(4)
    require(depth in DEPTHS.get(colour_type, ()), f"colour type {colour_type} of {depth} bits")
    require(flags <= 1, f"flags {flags}")
    channels = CHANNELS[colour_type]
    width, height = file.varint(), file.varint()
    require(1 <= width < 2**24 and 1 <= height < 2**24, f"{width} x {height} pixels")
    section_length = file.varint() if flags else 0
    require(section_length > 0 or not flags, "an empty metadata section")
    transform, low_bits = file.take(2)
    require(transform <= 2, f"transform {transform}")
    require(low_bits <= (8 if depth == 16 and transform != 1 else 0), f"{low_bits} low bits")
    table_length = file.varint() if transform else 0
    layers = []
    for _ in range(file.take(1)[0]):
        method, planes = file.take(2)
        require(planes > 0, "a layer without planes")
        layers.append((method, planes, file.varint()))
    file.check_crc(data[: file.at], "header")
    require(width * height <= MAX_PIXELS, f"{width} x {height} pixels are over {MAX_PIXELS}")
    numbers = 1 if transform == 1 else channels
    held = sum(planes for _, planes, _ in layers)
    require(held == numbers * (2 if low_bits else 1), f"{held} planes")

    chunks = read_chunks(file.take_checked(section_length, "metadata")) if flags else []
    table = file.take_checked(table_length, "table") if transform else b""
    parts = [
        layer(file.take_checked(length, "layer"), method, (height, width, planes), models)
        for method, planes, length in layers
    ]
    samples = restored(np.concatenate(parts, axis=2), transform, low_bits, table, channels, depth)
    stored = samples.astype("<u2" if depth == 16 else "u1")
    file.check_crc(stored.tobytes(), "samples")
    require(file.at == len(data), "something follows")
    return Decoded(stored, chunks)


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


def layer(
    payload: bytes, method: int, shape: tuple[int, int, int], models: Sequence[bytes]
) -> IntArray:
    """A layer's planes [height, width, planes]."""
    height, width, planes = shape
    if method == 1:
        require(payload[5:6] != b"" and not payload[5] & 2, "a network's file with metadata")
        found = plain_decoder.decode(payload, models).samples.astype(np.int64)
        require(found.shape == shape, "a network's file of another size")
        return found
    if method == 2:
        return webp(payload, shape)
    if method == 5:
        try:
            return np.array(plain_mixing.decode(payload, height, width, planes), np.int64)
        except plain_mixing.Refused as error:
            raise plain_decoder.Refused(str(error)) from error
    require(method in (3, 4), f"method {method}")
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
            raise plain_decoder.Refused(str(error)) from error
        require(unpacker.eof and not unpacker.unused_data, "no whole zlib stream")
    channels = planes // 2 if depth == 16 else planes
    try:
        pixels = plain_png.image(rows, height, width, channels, depth, interlaced)
    except ValueError as error:
        raise plain_decoder.Refused(str(error)) from error
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
