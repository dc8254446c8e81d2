"""PBM, PGM and PPM, read exactly: 1, 8 and 16 bits a sample.

Pillow would scale other maxima than 255 to 8 or 16 bits. Source: the netpbm manual pages pbm(5),
pgm(5) and ppm(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from ncml_codec import kinds
from ncml_codec.errors import InputError, UnsupportedImage
from ncml_codec.kinds import Kind
from ncml_codec.picture import Picture, Samples

SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})")
_MAXIMUM = re.compile(_GAP + rb"(\d{1,9})\s")
_AT_ONCE = 1 << 18  # samples that are copied at a time
_DEPTHS = {1: 1, 255: 8, 65535: 16}  # by the largest value


def is_pnm(data: bytes) -> bool:
    """Whether a file begins as one of these."""
    return bool(_HEADER.match(data))


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a file that `is_pnm`."""
    found = _HEADER.match(data)
    assert found is not None
    return int(found[2]), int(found[3])


def read(data: bytes, name: str) -> Picture:
    """The picture of a file that `is_pnm`. name: of the file, for errors.

    Raises InputError if it is cut short, UnsupportedImage for another maximum than 1, 255 and
    65535.
    """
    found = _HEADER.match(data)
    assert found is not None
    number, width, height = int(found[1]), int(found[2]), int(found[3])
    if 0 in (width, height):
        raise InputError(f"{name}: an image of {width} x {height} pixels; it is damaged")
    at, maximum = found.end(), 1
    if number in (1, 4):
        at += 1
    else:
        limit = _MAXIMUM.match(data, at)
        if not limit:
            raise InputError(f"{name}: no largest value in its header; it is damaged")
        at, maximum = limit.end(), int(limit[1])
    if maximum not in _DEPTHS:
        raise UnsupportedImage(
            f"{name}: samples from 0 to {maximum}; only 0 to 1, 255 and 65535 are handled"
        )
    kind = Kind(kinds.RGB if number in (3, 6) else kinds.GREY, _DEPTHS[maximum])
    if not kinds.exists(kind.colour_type, kind.bit_depth):
        raise UnsupportedImage(f"{name}: a PPM of {kind.bit_depth} bit a sample")
    values = _text(data[at:], number == 1, name) if number <= 3 else _binary(data, at, number, kind)
    return _picture(values, height, width, kind, number in (1, 4), name)


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


def _text(text: bytes, is_bits: bool, name: str) -> Samples:
    """The numbers of a plain file; in a PBM digits may stand side by side."""
    text = re.sub(rb"#[^\n]*", b"", text)
    words = list(re.sub(rb"\s", b"", text)) if is_bits else text.split()
    try:
        return np.array(words, np.int64) - (48 if is_bits else 0)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{name}: its samples are no numbers; it is damaged") from error


def _binary(data: bytes, at: int, number: int, kind: Kind) -> Samples:
    if number != 4:
        left = (len(data) - at) // (kind.bit_depth // 8)
        return np.frombuffer(data, ">u2" if kind.bit_depth == 16 else np.uint8, left, at)
    width, height = size(data)
    stride = (width + 7) // 8
    rows = min(height, (len(data) - at) // stride)
    packed = np.frombuffer(data, np.uint8, rows * stride, at).reshape(rows, stride)
    return np.unpackbits(packed, axis=1)[:, :width].reshape(-1)


def _picture(
    values: Samples, height: int, width: int, kind: Kind, is_inverted: bool, name: str
) -> Picture:
    need = height * width * kind.channels
    if len(values) < need:
        raise InputError(f"{name}: {len(values)} of {need} samples; it was cut short")
    values = values[:need]
    maximum = 2**kind.bit_depth - 1
    if values.min() < 0 or values.max() > maximum:
        raise InputError(f"{name}: samples beyond 0 to {maximum}; it is damaged")
    samples = values.astype(kind.dtype).reshape(height, width, kind.channels)
    return Picture(1 - samples if is_inverted else samples, [], kind)
