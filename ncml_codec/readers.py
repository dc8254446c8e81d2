"""Image files read band by band: large PPM, PGM and PNG are never in memory whole.

That is, of 8-bit grey and RGB. Everything else, and small images, are read whole by
`pixels.decode_file`; so are PNG files that are interlaced, whose first band needs the whole file.
"""

from __future__ import annotations

import copy
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ncml_codec import kinds, png, png_rows
from ncml_codec.errors import FormatError, InputError
from ncml_codec.files import read_file
from ncml_codec.kinds import Kind
from ncml_codec.picture import Picture, Samples, Source
from ncml_codec.pixels import MAX_PIXELS, check_size, decode_file, png_problem, refuse

WHOLE = 1 << 22  # pixels up to which an image is read whole
_HEAD = 1 << 12  # bytes in which a header is looked for
_PIECE = 1 << 20  # bytes read at a time
_ROWS = 1 << 22  # bytes of rows unfiltered at a time
_PNM = re.compile(
    rb"P([56])(?:\s|#[^\n]*\n)+(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*255\s"
)


def size_of(path: Path) -> int | None:
    """Pixels that an image file says it has, by its first bytes; None if they do not tell.

    For planning only: nothing is checked. Knows PNG, PPM and PGM. Pipes are not opened.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if head.startswith(png.SIGNATURE) and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        return int(width * height)
    found = _PNM.match(head)
    return int(found[2]) * int(found[3]) if found else None


def open_image(path: Path, max_pixels: int = MAX_PIXELS, decoded: bool = False) -> Source:
    """The image in a file, whole or to be read by rows as they are asked for.

    decoded: as of `pixels.decode_file`. Raises InputError if it is damaged, no image or larger than
    max_pixels, UnsupportedImage if the codec cannot hold it; damaged pixels of a large file are
    found when their rows are asked for.
    """
    if (size_of(path) or 0) > WHOLE:
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
                found = _PNM.match(head)
                if found:
                    return _pnm(path, found, os.fstat(file.fileno()).st_size, max_pixels)
                opened = _png(path, file, max_pixels)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if opened:
            return opened
    return decode_file(read_file(path), str(path), max_pixels, decoded)


def stripped(source: Source) -> Source:
    """The same image without the metadata that its pixels and their look do not depend on.

    See `png.needed`. No rows of the original may be asked for afterwards.
    """
    chunks = png.needed(source.chunks)
    if isinstance(source, PngFile):
        bare = copy.copy(source)
        bare.chunks = chunks
        return bare
    assert isinstance(source, Picture | PnmFile)
    return replace(source, chunks=chunks)


def _pnm(path: Path, found: re.Match[bytes], size: int, max_pixels: int) -> PnmFile:
    width, height, planes = int(found[2]), int(found[3]), 1 if found[1] == b"5" else 3
    check_size(width, height, str(path), max_pixels)
    need = found.end() + width * height * planes
    if size < need:
        raise InputError(f"{path}: {size} bytes, but its header says {need}; it was cut short")
    return PnmFile(path, height, width, planes, found.end())


@dataclass(frozen=True)
class PnmFile:
    """A PPM or PGM of 8 bits a sample; see `pixels.Source`."""

    path: Path
    height: int
    width: int
    planes: int
    start: int
    chunks: Sequence[png.Chunk] = ()
    packed_bytes: None = None

    @property
    def kind(self) -> Kind:
        return kinds.of_samples(self.planes, np.uint8)

    def whole(self) -> Picture:
        pixels = self.width * self.height
        picture = decode_file(read_file(self.path), str(self.path), pixels)
        return replace(picture, chunks=self.chunks)

    def rows(self, top: int, stop: int) -> Samples:
        stride = self.width * self.planes
        samples = np.empty((stop - top, self.width, self.planes), np.uint8)
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + top * stride)
                count = file.readinto(samples.data.cast("B"))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        if count != samples.size:
            raise InputError(f"{self.path}: it was cut short while it was read")
        return samples


def _png(path: Path, file: io.BufferedReader, max_pixels: int) -> PngFile | None:
    """The PNG, all its chunks checked, or None if it has to be read whole."""
    name = str(path)
    pieces: list[tuple[int, int]] = []
    # The file without its image data: `png.split` checks the rest as it does for small files.
    skeleton = bytearray(png.SIGNATURE)
    file.seek(len(png.SIGNATURE))
    for kind, content, length in _chunks(file, name):
        if kind == png.PIXELS:
            if not pieces:
                skeleton += png.chunk(kind, b"")
            pieces.append((file.tell() - length - 4, length))
        else:
            skeleton += png.chunk(kind, content)
    header, chunks = png.split(bytes(skeleton), name)
    problem = png_problem(header, chunks)
    if problem:
        raise refuse(name, problem)
    check_size(header.width, header.height, name, max_pixels)
    if header.interlaced or not header.kind.is_first_version:
        return None
    return PngFile(path, header, chunks if len(chunks) > 1 else [], pieces)


def _chunks(file: io.BufferedReader, name: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Every chunk's type, content (not that of image data) and length; the file stands after it."""
    while True:
        at = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise InputError(f"{name}: cut short at offset {at}, before the PNG's end")
        length, kind = struct.unpack(">I4s", head)
        content, left, checksum = bytearray(), length, zlib.crc32(kind)
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise InputError(f"{name}: the chunk at offset {at} is cut short")
            checksum = zlib.crc32(piece, checksum)
            left -= len(piece)
            if kind != png.PIXELS:
                content += piece
        tail = file.read(4)
        if len(tail) < 4:
            raise InputError(f"{name}: the chunk at offset {at} is cut short")
        if struct.unpack(">I", tail) != (checksum,):
            label = kind.decode("ascii", "replace")
            raise InputError(f"{name}: chunk {label} at offset {at} is damaged (checksum)")
        yield kind, bytes(content), length
        if kind == b"IEND":
            return


class PngFile:
    """A PNG of 8 bits a sample, not interlaced; see `pixels.Source`.

    Rows that were given are not kept: to ask for earlier ones is to unpack from the beginning.
    """

    def __init__(
        self,
        path: Path,
        header: png.ImageHeader,
        chunks: Sequence[png.Chunk],
        pieces: Sequence[tuple[int, int]],
    ) -> None:
        self.path, self.header, self.chunks, self.pieces = path, header, chunks, pieces
        self.height, self.width = header.height, header.width
        self.kind, self.planes = header.kind, header.kind.channels
        self.packed_bytes = sum(length for _, length in pieces)
        self._begin()

    def whole(self) -> Picture:
        pixels = self.width * self.height
        picture = decode_file(read_file(self.path), str(self.path), pixels)
        return replace(picture, chunks=self.chunks)

    def rows(self, top: int, stop: int) -> Samples:
        if top < self._at:
            self._begin()
        step = max(1, _ROWS // (self.width * self.planes))
        while self._at < top:
            self._next(min(step, top - self._at))
        samples = np.empty((stop - top, self.width, self.planes), np.uint8)
        while self._at < stop:
            at = self._at - top
            band = self._next(min(step, stop - self._at))
            samples[at : at + len(band)] = band
        return samples

    def _begin(self) -> None:
        self._at = 0
        self._above = np.zeros(self.width * self.planes, np.uint8)
        self._data = self._unpacked()
        self._left = bytearray()

    def _next(self, count: int) -> Samples:
        """The next `count` rows."""
        need = count * (1 + self.width * self.planes)
        while len(self._left) < need:
            piece = next(self._data, None)
            if piece is None:
                raise InputError(f"{self.path}: its image data ends before row {self._at + count}")
            self._left += piece
        rows, self._left = bytes(self._left[:need]), self._left[need:]
        filtered = np.frombuffer(rows, np.uint8).reshape(count, -1)
        try:
            plain = png_rows.unfilter(filtered, self.planes, self._above)
        except FormatError as error:
            raise InputError(f"{self.path}: {error}") from error
        self._above = plain[-1].copy()
        self._at += count
        return plain.reshape(count, self.width, self.planes)

    def _unpacked(self) -> Iterator[bytes]:
        """The image data, unpacked, a piece at a time."""
        unpacker = zlib.decompressobj()
        try:
            with self.path.open("rb") as file:
                for start, length in self.pieces:
                    file.seek(start)
                    for at in range(0, length, _PIECE):
                        packed = file.read(min(_PIECE, length - at))
                        while packed and not unpacker.eof:
                            yield unpacker.decompress(packed, _PIECE)
                            packed = unpacker.unconsumed_tail
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        except zlib.error as error:
            raise InputError(f"{self.path}: its image data is damaged: {error}") from error
