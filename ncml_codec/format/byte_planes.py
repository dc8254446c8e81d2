"""Samples of any kind to byte planes and back: what is left to code has few and small numbers.

A transform replaces samples by numbers (none, the index in a table of the colours used, the rank
among the values that its channel uses); numbers beyond a byte are cut into high and low parts.
FORMAT.md, section 10.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec import zstd_frames
from ncml_codec.errors import FormatError
from ncml_codec.format.container import Transform
from ncml_codec.format.sections import Reader, varint
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Samples

Planes = npt.NDArray[np.uint8]  # [height, width, planes]
Numbers = npt.NDArray[Any]
Columns = list[npt.NDArray[np.int64]]

MOST_COLOURS = 256
_SPOT_CHECK = 1 << 14  # pixels that are looked at first: most images have too many colours there
_SMALL = 1 << 16  # samples up to which everything is tried
_RAW, _ZSTD = 0, 1
_MAX_TABLE = 4 * (2 * 65536 + 3)


@dataclass(frozen=True)
class Transformed:
    """planes: all high parts, then, if low_bits is not 0, all low parts. table: as in a file."""

    transform: Transform
    low_bits: int
    table: bytes
    planes: Planes

    @property
    def numbers(self) -> int:
        """Numbers of a pixel."""
        return int(self.planes.shape[2]) // (2 if self.low_bits else 1)


def choices(samples: Samples, kind: Kind) -> Iterator[Transformed]:
    """What is worth to be tried for an image [height, width, channels].

    Of a large image only the way that promises most: a palette, else ranks if they save more than
    their table takes, else the samples.
    """
    is_small = samples.size <= _SMALL
    colours = colours_of(samples) if kind.channels > 1 else None
    if colours is not None:
        packed, used = colours
        indices = np.searchsorted(used, packed).astype(np.uint8)[:, :, None]
        palette = [column.astype(np.int64) for column in _unkeyed(used, kind).T]
        yield from _split(Transform.PALETTE, indices, _write_table(palette, kind))
        if not is_small:
            return
    ranks, columns = _ranked(samples)
    table = _write_table(columns, kind)
    if _saved_bits(columns) * samples.shape[0] * samples.shape[1] > 8 * len(table):
        yield from _split(Transform.VALUES, ranks, table)
        if not is_small:
            return
    yield from _split(Transform.SAMPLES, samples, b"")


def restored(transformed: Transformed, kind: Kind) -> Samples:
    """The samples [height, width, channels]. Raises FormatError for numbers beyond the tables."""
    numbers = _joined(transformed.planes, transformed.low_bits)
    limit = 1 << kind.bit_depth
    if transformed.transform == Transform.SAMPLES:
        samples = numbers
    else:
        columns = _read_table(transformed.table, kind, transformed.transform)
        per_number = len(columns) if transformed.transform == Transform.VALUES else 1
        for place in range(per_number):
            if numbers[:, :, place].max() >= len(columns[place]):
                raise FormatError("a number is beyond the transform's table")
        if transformed.transform == Transform.VALUES:
            found = [column[numbers[:, :, place]] for place, column in enumerate(columns)]
        else:
            found = [column[numbers[:, :, 0]] for column in columns]
        samples = np.stack(found, axis=2)
    if samples.max() >= limit:
        raise FormatError(f"a sample of {kind.bit_depth} bits is {samples.max()}")
    return np.ascontiguousarray(samples, kind.dtype)


def samples_crc(samples: Samples) -> int:
    """CRC-32 of samples by rows, pixels, channels; those of 16 bits with the low byte first."""
    little = samples.astype("<u2") if samples.dtype == np.uint16 else samples
    return zlib.crc32(np.ascontiguousarray(little).data.cast("B"))


def colours_of(samples: Samples) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]] | None:
    """Every pixel's colour as one number, and those used, ascending; None beyond MOST_COLOURS."""
    flat = samples.reshape(-1, samples.shape[2])
    some = _keyed(flat[:: max(1, len(flat) // _SPOT_CHECK)])
    if len(distinct(some)) > MOST_COLOURS:
        return None
    packed = _keyed(samples)
    used = distinct(packed)
    return None if len(used) > MOST_COLOURS else (packed, used)


def distinct(keys: Numbers) -> Numbers:
    """The different numbers, ascending: numpy's `unique`, without all that it imports."""
    ordered = np.sort(keys, axis=None)
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def _keyed(samples: Samples) -> npt.NDArray[np.uint64]:
    """Pixels [..., channels] as numbers: 16 bits a channel, the first one on top."""
    key = np.zeros(samples.shape[:-1], np.uint64)
    for channel in range(samples.shape[-1]):
        key = (key << np.uint64(16)) | samples[..., channel]
    return key


def _unkeyed(keys: npt.NDArray[np.uint64], kind: Kind) -> npt.NDArray[np.uint64]:
    places = 16 * np.arange(kind.channels - 1, -1, -1, dtype=np.uint64)
    return (keys[:, None] >> places) & np.uint64(65535)


def _ranked(samples: Samples) -> tuple[Numbers, Columns]:
    """Ranks of the same shape, and the values that each channel uses, ascending."""
    ranks, columns = np.empty(samples.shape, np.uint16), []
    for channel in range(samples.shape[2]):
        used = np.bincount(samples[:, :, channel].reshape(-1)) > 0
        columns.append(np.flatnonzero(used))
        ranks[:, :, channel] = (np.cumsum(used) - 1)[samples[:, :, channel]]
    return ranks, columns


def _saved_bits(columns: Columns) -> float:
    """About what ranks instead of values save of a pixel, if every value is as likely."""
    return float(sum(np.log2((int(column[-1]) + 1) / len(column)) for column in columns))


def _split(transform: Transform, numbers: Numbers, table: bytes) -> Iterator[Transformed]:
    """The numbers as bytes; if they need more, with the low eight bits apart, and with as few."""
    largest = int(numbers.max())
    if largest < 256:
        yield Transformed(transform, 0, table, np.ascontiguousarray(numbers, np.uint8))
        return
    for low_bits in sorted({8, largest.bit_length() - 8}, reverse=True):
        high, low = numbers >> low_bits, numbers & ((1 << low_bits) - 1)
        yield Transformed(
            transform, low_bits, table, np.concatenate([high, low], axis=2).astype(np.uint8)
        )


def _joined(planes: Planes, low_bits: int) -> Numbers:
    if not low_bits:
        return planes
    numbers = planes.shape[2] // 2
    high, low = planes[:, :, :numbers].astype(np.uint16), planes[:, :, numbers:]
    if low.max() >= 1 << low_bits or int(high.max()) << low_bits >= 1 << 16:
        raise FormatError(f"a number's part is beyond its {low_bits} low or 16 bits")
    joined: Numbers = (high << low_bits) | low
    return joined


def _write_table(columns: Columns, kind: Kind) -> bytes:
    """Lengths, then all differences: of 16 bits the low bytes of all, then the high bytes."""
    differences = np.concatenate([np.diff(column, prepend=0) for column in columns])
    low = (differences & 255).astype(np.uint8).tobytes()
    high = (differences >> 8 & 255).astype(np.uint8).tobytes() if kind.bit_depth == 16 else b""
    raw = b"".join(varint(len(column)) for column in columns) + low + high
    packed = zstd_frames.pack(raw)
    return bytes([_ZSTD]) + packed if len(packed) < len(raw) else bytes([_RAW]) + raw


def _read_table(table: bytes, kind: Kind, transform: Transform) -> Columns:
    if not table or table[0] not in (_RAW, _ZSTD):
        raise FormatError("table: written in a way that this version does not know")
    raw = table[1:]
    if table[0] == _ZSTD:
        raw = zstd_frames.unpack(raw, "table", at_most=_MAX_TABLE)
    reader = Reader(raw, 0)
    lengths = [reader.varint("table") for _ in range(kind.channels)]
    most = MOST_COLOURS if transform == Transform.PALETTE else 1 << kind.bit_depth
    if (
        min(lengths) < 1
        or max(lengths) > most
        or (transform == Transform.PALETTE and len({*lengths}) > 1)
    ):
        raise FormatError(f"table: columns of {lengths} numbers, 1 to {most} are possible")
    total = sum(lengths)
    differences = np.frombuffer(reader.take("table", total), np.uint8).astype(np.int64)
    if kind.bit_depth == 16:
        high = np.frombuffer(reader.take("table", total), np.uint8).astype(np.int64)
        differences = differences + (high << 8)
    if reader.at != len(raw):
        raise FormatError(f"table: {len(raw) - reader.at} bytes follow its end")
    columns, at = [], 0
    for length in lengths:
        column = np.cumsum(differences[at : at + length])
        at += length
        if transform == Transform.PALETTE:
            column &= (1 << (16 if kind.bit_depth == 16 else 8)) - 1
        elif (np.diff(column) < 1).any():
            raise FormatError("table: values that do not ascend")
        columns.append(column)
    return columns
