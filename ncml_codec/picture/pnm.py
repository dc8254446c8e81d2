"""PBM, PGM and PPM, read exactly: 1, 8 and 16 bits a sample.

Pillow would scale other maxima than 255 to 8 or 16 bits. Source: the netpbm manual pages pbm(5),
pgm(5), ppm(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ncml_codec.errors import InputError, UnsupportedImage
from ncml_codec.picture import kinds
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples

SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
HEADER_MAX = 1 << 16  # bytes in which a header must end, its comments included
_WHITESPACE, _DIGITS = b" \t\n\r\v\f", b"0123456789"
_GAPS = tuple(bytes([code]) for code in _WHITESPACE + b"#")
_NUMBERS = tuple(bytes([code]) for code in b"123456")
_LONGEST = 9  # digits of a number in a header
_PIECE = 1 << 16  # bytes of text that are parsed at a time
_AT_ONCE = 1 << 18  # samples that are copied at a time
_DEPTHS = {1: 1, 255: 8, 65535: 16}  # by the largest value


@dataclass(frozen=True)
class Header:
    """What a PBM, PGM or PPM says before its samples.

    number: of its magic, P1 to P6; maximum: the largest value, 1 in a PBM; start: the offset of the
    samples; has_comments: whether the header holds any.
    """

    number: int
    width: int
    height: int
    maximum: int
    start: int
    has_comments: bool

    @property
    def planes(self) -> int:
        return 3 if self.number in (3, 6) else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of samples that are not text."""
        if self.number == 4:
            return (self.width + 7) // 8
        return self.width * self.planes * (2 if self.maximum > 255 else 1)

    @property
    def end(self) -> int:
        """The offset behind samples that are not text."""
        return self.start + self.row_bytes * self.height


def is_pnm(data: bytes) -> bool:
    """Whether a file begins as one of these."""
    return data[:1] == b"P" and data[1:2] in _NUMBERS and data[2:3] in _GAPS


def read_header(data: bytes, name: str) -> Header:
    """The header at the beginning of a PBM, PGM or PPM. name: of the file, for errors.

    Looks at HEADER_MAX bytes at most. Raises InputError if the header does not end within them, or
    is damaged.
    """
    head, number = data[:HEADER_MAX], int(data[1:2])
    words, at = [], 2
    for _ in range(2 if number in (1, 4) else 3):
        word, at = _word(head, at)
        words.append(word)
    if at >= HEADER_MAX:
        raise InputError(
            f"{name}: its header is longer than {HEADER_MAX} bytes; take out its comments"
        )
    # Before samples that are not text stands one byte of whitespace.
    is_whole = head[at : at + 1].isspace() or (number <= 3 and head[at : at + 1] == b"#")
    if not is_whole or not all(1 <= len(word) <= _LONGEST for word in words):
        raise InputError(f"{name}: its header is no PNM's, or was cut short; it is damaged")
    width, height, *maximum = map(int, words)
    if 0 in (width, height):
        raise InputError(f"{name}: an image of {width} x {height} pixels; it is damaged")
    start = at + 1 if number > 3 else at
    return Header(number, width, height, maximum[0] if maximum else 1, start, b"#" in head[:at])


def kind_of(header: Header, name: str) -> Kind:
    """The kind of an image. Raises UnsupportedImage if its samples are of another range."""
    if header.maximum not in _DEPTHS:
        raise UnsupportedImage(
            f"{name}: samples from 0 to {header.maximum}; only 0 to 1, 255 and 65535 are handled"
        )
    kind = Kind(kinds.RGB if header.planes == 3 else kinds.GREY, _DEPTHS[header.maximum])
    if not kinds.exists(kind.colour_type, kind.bit_depth):
        raise UnsupportedImage(f"{name}: a PPM of {kind.bit_depth} bit a sample")
    return kind


def read(data: bytes, name: str) -> Picture:
    """The picture of a file that `is_pnm`. name: of the file, for errors.

    Raises InputError if it is cut short, UnsupportedImage for several images, for another maximum
    than 1, 255 and 65535.
    """
    header = read_header(data, name)
    kind = kind_of(header, name)
    if header.number <= 3:
        samples, not_kept = _text(data, header, kind, name)
    else:
        samples = _binary(data, header, name)
        not_kept = behind(data[header.end : header.end + 64], len(data) - header.end, name)
    if samples.size and int(samples.max()) > header.maximum:
        raise InputError(f"{name}: samples beyond 0 to {header.maximum}; it is damaged")
    if header.number in (1, 4):
        samples ^= 1  # in a PBM, 1 is black
    comments = ["comments"] if header.has_comments and "comments" not in not_kept else []
    shaped = samples.reshape(header.height, header.width, header.planes)
    return Picture(shaped, [], kind, not_kept=(*comments, *not_kept))


def behind(beginning: bytes, count: int, name: str) -> list[str]:
    """What is not kept of `count` bytes behind the samples, for `Picture.not_kept`.

    beginning: of these bytes. Raises UnsupportedImage if they are a further image.
    """
    if is_pnm(beginning.lstrip()):
        raise UnsupportedImage(f"{name}: several images in one file; only one is handled")
    return [f"{count} byte{'' if count == 1 else 's'} behind its samples"] if count else []


def parts(shape: tuple[int, int, int], kind: Kind, bands: Iterable[Samples]) -> Iterator[bytes]:
    """A file's bytes: PBM for 1 bit, PGM for grey, PPM for RGB. shape: height, width, planes."""
    height, width, planes = shape
    if kind.bit_depth == 1:
        yield b"P4\n%d %d\n" % (width, height)
        for band in bands:
            yield np.packbits(1 - band[:, :, 0], axis=1).tobytes()
        return
    maximum = 2**kind.bit_depth - 1
    yield b"P%d\n%d %d\n%d\n" % (5 if planes == 1 else 6, width, height, maximum)
    step = max(1, _AT_ONCE // (width * planes))
    for band in bands:
        for top in range(0, len(band), step):
            rows = band[top : top + step]
            yield (rows if kind.bit_depth == 8 else rows.astype(">u2")).tobytes()


def _word(head: bytes, at: int) -> tuple[bytes, int]:
    """The digits after whitespace and comments, at most one more than a number may have, and where
    they end."""
    while at < len(head) and (head[at] in _WHITESPACE or head[at] == ord("#")):
        if head[at] in _WHITESPACE:
            at += 1
        else:
            line_end = head.find(b"\n", at)
            at = len(head) if line_end < 0 else line_end
    end = at
    while end < len(head) and end - at <= _LONGEST and head[end] in _DIGITS:
        end += 1
    return head[at:end], end


def _binary(data: bytes, header: Header, name: str) -> Samples:
    """All samples, flat."""
    if len(data) < header.end:
        raise InputError(f"{name}: {len(data)} of {header.end} bytes; it was cut short")
    packed = np.frombuffer(data, np.uint8, header.end - header.start, header.start)
    if header.number == 4:
        rows = packed.reshape(header.height, header.row_bytes)
        return np.unpackbits(rows, axis=1, count=header.width).reshape(-1)
    return packed.view(">u2").astype(np.uint16) if header.maximum > 255 else packed.copy()


def _text(data: bytes, header: Header, kind: Kind, name: str) -> tuple[Samples, list[str]]:
    """All samples of a plain file, flat, and what is not kept. Parses some text at a time."""
    need = header.height * header.width * header.planes
    is_bits = header.number == 1
    # Digits of a PBM may stand side by side.
    if len(data) - header.start < (need if is_bits else 2 * need - 1):
        raise InputError(f"{name}: its text is too short for {need} samples; it was cut short")
    samples, at = np.empty(need, kind.dtype), 0
    not_kept: list[str] = []
    for words, rest, had_comments in _words(data, header.start, is_bits):
        if had_comments and not not_kept:
            not_kept.append("comments")
        if words:
            values = (
                np.frombuffer(words, np.uint8) - ord("0")
                if is_bits
                else np.fromstring(words, np.int64, sep=" ")
            )
            taken = values[: need - at]
            if taken.size and int(taken.max()) > header.maximum:
                raise InputError(f"{name}: samples beyond 0 to {header.maximum}; it is damaged")
            samples[at : at + len(taken)] = taken
            at += len(taken)
            if at == need and len(taken) < len(values):
                return samples, [*not_kept, "text behind its samples"]
        if rest and at < need:
            raise InputError(f"{name}: its samples are no numbers; it is damaged")
        if rest:
            behind(rest, 0, name)
            return samples, [*not_kept, "text behind its samples"]
    if at < need:
        raise InputError(f"{name}: {at} of {need} samples; it was cut short")
    return samples, not_kept


def _words(data: bytes, at: int, is_bits: bool) -> Iterator[tuple[bytes, bytes, bool]]:
    """Pieces of text that hold whole numbers, what in a piece follows that is none, and whether
    comments were left out.

    is_bits: each digit is a number, and whitespace is left out.
    """
    left, in_comment = b"", False
    while at < len(data):
        piece = data[at : at + _PIECE]
        at += len(piece)
        had_comment = in_comment or b"#" in piece
        if in_comment:
            piece = piece[piece.find(b"\n") :] if b"\n" in piece else b""
        if had_comment:
            in_comment = piece.rfind(b"#") > piece.rfind(b"\n") or (in_comment and not piece)
            piece = re.sub(rb"#[^\n]*", b" ", piece)
        piece = left + piece
        odd = re.search(rb"[^\d\s]", piece)
        rest = piece[odd.start() : odd.start() + 64] if odd else b""
        piece = piece[: odd.start()] if odd else piece
        if is_bits:
            words = piece.translate(None, _WHITESPACE)
        else:
            whole = len(piece) if odd or at >= len(data) else len(piece.rstrip(_DIGITS))
            left, words = piece[whole:], piece[:whole].strip()
            if len(left) > _LONGEST:  # no number: it would grow with every piece
                left, rest = b"", left[:64]
        yield words, rest, had_comment
