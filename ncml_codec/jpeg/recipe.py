"""What is needed besides coefficients to write a JPEG file's bytes again, and its packed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ncml_codec.errors import BeyondLimit, FormatError, Truncated
from ncml_codec.jpeg.markers import SEGMENTS_MAX
from ncml_codec.jpeg.records import NOTES_MAX, ScanNotes

# Packed notes of all scans, padding and restart markers among them: NOTES_MAX notes take half of
# it. Unpacking them takes up to NOTE_MEMORY times as many bytes.
NOTES_BYTES_MAX = 1 << 23
NOTE_MEMORY = 64
_ZERO_RUNS_MAX = 9  # 2 x 4 runs of 16, + 1


@dataclass(frozen=True)
class Recipe:
    """markers: all bytes but the scans' coded ones, in order, to the end of the image.

    size: of the file, in bytes. scans: of those that coefficients hold. cut: how many units of the
    last one are sound; None if all. tail: what follows: bytes behind the end of the image, or from
    the first damage on.
    """

    size: int
    markers: bytes = field(repr=False)
    scans: tuple[ScanNotes, ...] = field(repr=False)
    cut: int | None = None
    tail: bytes = field(default=b"", repr=False)

    def pack(self) -> bytes:
        """Bytes for `unpack`: not compressed, so that one zstd frame can hold them with others.

        Raises BeyondLimit for notes that `unpack` would refuse.
        """
        out = bytearray()
        cut = 0 if self.cut is None else self.cut + 1
        _put(out, (self.size, len(self.scans), cut, len(self.markers)))
        for notes in self.scans:
            padding, bits = _bits(notes.padding), len(notes.padding)
            _put(out, (bits, *padding, len(notes.breaks), *_steps(notes.breaks)))
            _put(out, (len(notes.zero_runs), *_steps(block for block, _ in notes.zero_runs)))
            _put(out, (runs for _, runs in notes.zero_runs))
            _put(out, (len(notes.restarts), *_steps(number for number, _ in notes.restarts)))
            for _, marker in notes.restarts:
                _put(out, (len(marker), *marker))
        _check_notes(len(out), NOTES_BYTES_MAX)
        return bytes(out) + self.markers + self.tail

    @classmethod
    def unpack(cls, data: bytes, notes_bytes: int = NOTES_BYTES_MAX) -> Recipe:
        """The recipe. Raises FormatError: data may be anything.

        notes_bytes: at most so many are taken for notes. Raises BeyondLimit for more of them.
        """
        source = _Source(data, min(notes_bytes, NOTES_BYTES_MAX))
        size, scans, cut, markers = (source.number() for _ in range(4))
        notes, left = list[ScanNotes](), NOTES_MAX
        if scans > SEGMENTS_MAX:
            raise BeyondLimit(f"JPEG recipe: {scans} scans, more than {SEGMENTS_MAX} segments")
        for _ in range(source.at_most_left(scans)):
            notes.append(_notes(source, left))
            left -= notes[-1].count
        if cut > 0 and not notes:
            raise FormatError("JPEG recipe: no scan to be cut")
        if markers > len(data) - source.at:
            raise Truncated(f"JPEG recipe: {markers} bytes of markers, {len(data)} in all")
        end = source.at + markers
        return cls(size, data[source.at : end], tuple(notes), cut - 1 if cut else None, data[end:])


class _Source:
    def __init__(self, data: bytes, most: int) -> None:
        self.data, self.at, self.most = data, 0, most

    def number(self) -> int:
        """A varint of at most 63 bits: seven a byte, lowest first; the highest bit: more follow."""
        value = 0
        for shift in range(0, 63, 7):
            _check_notes(self.at + 1, self.most)
            if self.at == len(self.data):
                raise Truncated(f"JPEG recipe: ends at byte {self.at} within a number")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise FormatError(f"JPEG recipe: a number of more than 63 bits at byte {self.at}")

    def at_most_left(self, count: int) -> int:
        """The count, if there are as many bytes, and as many may be taken."""
        _check_notes(self.at + count, self.most)
        if count > len(self.data) - self.at:
            raise Truncated(
                f"JPEG recipe: {count} items at byte {self.at}, {len(self.data)} bytes in all"
            )
        return count

    def numbers(self, count: int) -> list[int]:
        return [self.number() for _ in range(self.at_most_left(count))]

    def ascending(self, count: int) -> list[int]:
        values, value = [], -1
        for step in self.numbers(count):
            value += step + 1
            values.append(value)
        if value >= 1 << 32:
            raise FormatError(f"JPEG recipe: block {value}")
        return values


def _notes(source: _Source, most: int) -> ScanNotes:
    """Those of a scan, at most so many."""

    def ascending() -> list[int]:
        nonlocal most
        count = source.number()
        most -= count
        if most < 0:
            raise BeyondLimit(f"JPEG recipe: more than {NOTES_MAX} notes")
        return source.ascending(count)

    bits = source.number()
    packed = source.numbers(-(-bits // 8))
    padding = bytes(packed[at // 8] >> at % 8 & 1 for at in range(bits))
    breaks = ascending()
    blocks = ascending()
    runs = source.numbers(len(blocks))
    if not all(2 <= value <= _ZERO_RUNS_MAX for value in runs):
        raise FormatError(f"JPEG recipe: zero runs {max(runs)}")
    numbers = ascending()
    markers = [bytes(map(_byte, source.numbers(source.number()))) for _ in numbers]
    return ScanNotes(
        padding,
        tuple(breaks),
        tuple(zip(blocks, runs, strict=True)),
        tuple(zip(numbers, markers, strict=True)),
    )


def _check_notes(length: int, most: int) -> None:
    if length > most:
        raise BeyondLimit(f"JPEG recipe: notes of its scans take more than {most} bytes")


def _byte(value: int) -> int:
    if value > 255:
        raise FormatError(f"JPEG recipe: a byte of {value}")
    return value


def _put(out: bytearray, values: Iterable[int]) -> None:
    for value in values:
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)


def _bits(bits: bytes) -> list[int]:
    """Eight bits a number, lowest first."""
    return [
        sum(bit << place for place, bit in enumerate(bits[at : at + 8]))
        for at in range(0, len(bits), 8)
    ]


def _steps(values: Iterable[int]) -> list[int]:
    """Of ascending numbers: how many each leaves out."""
    steps, before = [], -1
    for value in values:
        steps.append(value - before - 1)
        before = value
    return steps
