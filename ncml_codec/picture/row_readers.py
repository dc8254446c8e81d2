"""Image files read band by band: large PPM, PGM and PNG are never in memory whole.

That is, of 8-bit grey and RGB. Everything else, and small images, are read whole by
`image_files.decode_file`; so are PNG files that are interlaced, whose first band needs the whole
file.
"""

from __future__ import annotations

import copy
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ncml_codec.atomic_files import InputFile
from ncml_codec.errors import FormatError, InputError, UnsupportedImage
from ncml_codec.picture import kinds, png_chunks, png_rows, pnm
from ncml_codec.picture.image_files import (
    IMAGE_DATA_LEFT,
    MAX_PIXELS,
    Admit,
    admit_all,
    check_size,
    decode_file,
    png_problem,
    refuse,
)
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples, Source

WHOLE = 1 << 22  # pixels up to which an image is read whole
_HEAD = pnm.HEADER_MAX  # bytes in which a header is looked for
_PIECE = 1 << 20  # bytes read at a time
_ROWS = 1 << 22  # bytes of rows unfiltered at a time


def size_of(path: Path) -> int | None:
    """Pixels that an image file says it has, by its first bytes; None if they do not tell.

    For planning only: nothing is checked. Knows PNG, PPM and PGM. Pipes are not opened.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return _size_in(file.read(_HEAD), str(path))
    except OSError:
        return None


def open_image(
    source: Path | InputFile,
    max_pixels: int = MAX_PIXELS,
    decoded: bool = False,
    admit: Admit = admit_all,
) -> Source:
    """The image in a file, whole or to be read by rows as they are asked for.

    source: a file that the caller opened stays open, and is read by that descriptor alone. decoded,
    admit: as of `image_files.decode_file`; admit does not hear of images that are read by rows. Of
    other files it hears first before they are read, of a file of this size with one pixel.
    Raises InputError if it is damaged, no image or larger than max_pixels, UnsupportedImage if the
    codec cannot hold it; damaged pixels of a large file are found when their rows are asked for,
    and so is a file that is written into meanwhile.
    """
    if isinstance(source, InputFile):
        return _image(source, max_pixels, decoded, admit)
    opened = InputFile(source)
    try:
        image = _image(opened, max_pixels, decoded, admit)
    except BaseException:
        opened.file.close()
        raise
    if isinstance(image, Picture):
        opened.file.close()
    return image


def _image(opened: InputFile, max_pixels: int, decoded: bool, admit: Admit) -> Source:
    """See `open_image`."""
    name = str(opened.path)
    try:
        opened.file.seek(0)
        head = opened.file.read(_HEAD)
        if (_size_in(head, name) or 0) > WHOLE:
            found = _pnm_header(head, name)
            image: Source | None = None
            if found is None:
                image = _png(opened, max_pixels)
            elif found.number > 4 and found.maximum == 255:
                image = _pnm(opened, found, max_pixels)
            if image:
                return image
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from error
    admit(Kind(kinds.GREY, 8), (1, 1), opened.status.st_size)
    return decode_file(opened.read(), name, max_pixels, decoded, admit)


def stripped(source: Source) -> Source:
    """The same image without the metadata that its pixels and their look do not depend on.

    See `png_chunks.needed`.
    """
    chunks = png_chunks.needed(source.chunks)
    if isinstance(source, PngFile):
        bare = copy.copy(source)
        bare.chunks = chunks
        bare._begin()  # or it would unpack for the original
        return bare
    assert isinstance(source, Picture | PnmFile)
    return replace(source, chunks=chunks)


def _size_in(head: bytes, name: str) -> int | None:
    """See `size_of`."""
    if head.startswith(png_chunks.SIGNATURE) and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        return int(width * height)
    found = _pnm_header(head, name)
    return found.width * found.height if found else None


def _pnm_header(head: bytes, name: str) -> pnm.Header | None:
    """The header of a PBM, PGM or PPM by a file's beginning; None if it is none, or damaged."""
    if not pnm.is_pnm(head):
        return None
    try:
        return pnm.read_header(head, name)
    except InputError:
        return None


def _pnm(opened: InputFile, found: pnm.Header, max_pixels: int) -> PnmFile:
    name, size = str(opened.path), opened.state.size
    check_size(found.width, found.height, name, max_pixels)
    if size < found.end:
        raise InputError(f"{name}: {size} bytes, but its header says {found.end}; it was cut short")
    opened.file.seek(found.end)
    not_kept = pnm.behind(opened.file.read(64), size - found.end, name)
    comments = ["comments"] if found.has_comments else []
    return PnmFile(opened, found, not_kept=(*comments, *not_kept))


@dataclass(frozen=True)
class PnmFile:
    """A PPM or PGM of 8 bits a sample; see `pixels.Source`."""

    file: InputFile
    header: pnm.Header
    chunks: Sequence[png_chunks.Chunk] = ()
    packed_bytes: None = None
    not_kept: Sequence[str] = ()

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def width(self) -> int:
        return self.header.width

    @property
    def planes(self) -> int:
        return self.header.planes

    @property
    def kind(self) -> Kind:
        return kinds.of_samples(self.planes, np.uint8)

    def whole(self) -> Picture:
        pixels = self.width * self.height
        picture = decode_file(self.file.read(), str(self.file.path), pixels)
        return replace(picture, chunks=self.chunks)

    def rows(self, top: int, stop: int) -> Samples:
        stride = self.width * self.planes
        samples = np.empty((stop - top, self.width, self.planes), np.uint8)
        path, file = self.file.path, self.file.file
        try:
            file.seek(self.header.start + top * stride)
            count = file.readinto(samples.reshape(-1).data)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if count != samples.size:
            raise InputError(f"{path}: it was cut short while it was read")
        self.file.check_unchanged()
        return samples


def _png(opened: InputFile, max_pixels: int) -> PngFile | None:
    """The PNG, all its chunks checked, or None if it has to be read whole."""
    file, name, first, packed_bytes = opened.file, str(opened.path), 0, 0
    # The file without its image data: `png_chunks.split` checks the rest as it does for small
    # files.
    skeleton = bytearray(png_chunks.SIGNATURE)
    file.seek(len(png_chunks.SIGNATURE))
    for kind, content, length in _chunks(file, name):
        if kind == png_chunks.PIXELS:
            if not first:
                skeleton += png_chunks.chunk(kind, b"")
                first = file.tell() - length - 12
            packed_bytes += length
        else:
            skeleton += png_chunks.chunk(kind, content)
        _check_metadata(len(skeleton), name)
    while piece := file.read(_PIECE):  # what follows the PNG's end
        skeleton += piece
        _check_metadata(len(skeleton), name)
    header, chunks = png_chunks.split(bytes(skeleton), name)
    problem = png_problem(header, chunks)
    if problem:
        raise refuse(name, problem)
    check_size(header.width, header.height, name, max_pixels)
    if header.interlaced or not header.kind.suits_network:
        return None
    return PngFile(opened, header, chunks if len(chunks) > 1 else [], first, packed_bytes)


def _check_metadata(count: int, name: str) -> None:
    """Raise UnsupportedImage for more bytes beside the image data than a `.ncmz` file holds."""
    if count > png_chunks.MAX_METADATA:
        raise UnsupportedImage(
            f"{name}: more than {png_chunks.MAX_METADATA} bytes beside its pixels, which is not"
            " handled"
        )


def _chunks(file: io.BufferedReader, name: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Every chunk's type, content (not that of image data) and length; the file stands after it."""
    while True:
        at = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise InputError(f"{name}: cut short at offset {at}, before the PNG's end")
        length, kind = struct.unpack(">I4s", head)
        if kind != png_chunks.PIXELS:
            _check_metadata(length, name)
        content, left, checksum = bytearray(), length, zlib.crc32(kind)
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise InputError(f"{name}: the chunk at offset {at} is cut short")
            checksum = zlib.crc32(piece, checksum)
            left -= len(piece)
            if kind != png_chunks.PIXELS:
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
        file: InputFile,
        header: png_chunks.ImageHeader,
        chunks: Sequence[png_chunks.Chunk],
        first: int,
        packed_bytes: int,
    ) -> None:
        """first: offset of the first chunk of image data; packed_bytes: of all of them."""
        self.file, self.header, self.chunks = file, header, chunks
        self._first, self.packed_bytes = first, packed_bytes
        self.height, self.width = header.height, header.width
        self.kind, self.planes = header.kind, header.kind.channels
        self._not_kept: Sequence[str] | None = None
        self._begin()

    @property
    def not_kept(self) -> Sequence[str]:
        """See `pixels.Source`. Known once the last row was read: it is read now if it was not."""
        if self._not_kept is None:
            self.rows(self.height - 1, self.height)
        return self._not_kept or ()

    def whole(self) -> Picture:
        pixels = self.width * self.height
        picture = decode_file(self.file.read(), str(self.file.path), pixels)
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
        self.file.check_unchanged()
        return samples

    def _begin(self) -> None:
        self._at = 0
        self._above = np.zeros(self.width * self.planes, np.uint8)
        self._stream = _Stream()
        # No method of this object, or the two would keep each other, and the file open.
        self._data = _unpacked(self.file, self._first, self.packed_bytes, self._stream)
        self._left = bytearray()

    def _next(self, count: int) -> Samples:
        """The next `count` rows."""
        need = count * (1 + self.width * self.planes)
        while len(self._left) < need:
            piece = next(self._data, None)
            if piece is None:
                raise InputError(
                    f"{self.file.path}: its image data ends before row {self._at + count}"
                )
            self._left += piece
        rows, self._left = bytes(self._left[:need]), self._left[need:]
        filtered = np.frombuffer(rows, np.uint8).reshape(count, -1)
        try:
            plain = png_rows.unfilter(filtered, self.planes, self._above)
        except FormatError as error:
            raise InputError(f"{self.file.path}: {error}") from error
        self._above = plain[-1].copy()
        self._at += count
        if self._at == self.height:
            self._end()
        return plain.reshape(count, self.width, self.planes)

    def _end(self) -> None:
        """Find out what is behind the last row. Raises InputError if its checksum is wrong."""
        more = self._left or next((piece for piece in self._data if piece), b"")
        if not (more or self._stream.unpacker.eof):
            raise InputError(f"{self.file.path}: its image data is cut short before its checksum")
        is_exact = (
            not more
            and self._stream.fed - len(self._stream.unpacker.unused_data) == self.packed_bytes
        )
        self._not_kept = () if is_exact else (IMAGE_DATA_LEFT,)


@dataclass
class _Stream:
    """How far `_unpacked` has come. fed: bytes that the unpacker was given."""

    unpacker: Any = field(default_factory=zlib.decompressobj)
    fed: int = 0


def _unpacked(opened: InputFile, first: int, packed_bytes: int, stream: _Stream) -> Iterator[bytes]:
    """The image data of a PNG, unpacked, a piece at a time. See `PngFile`."""
    unpacker = stream.unpacker
    try:
        for packed in _packed(opened, first, packed_bytes):
            stream.fed += len(packed)
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _PIECE)
                packed = unpacker.unconsumed_tail
            if unpacker.eof:
                return
    except OSError as error:
        raise InputError(f"{opened.path}: {error.strerror or error}") from error
    except zlib.error as error:
        raise InputError(f"{opened.path}: its image data is damaged: {error}") from error


def _packed(opened: InputFile, first: int, packed_bytes: int) -> Iterator[bytes]:
    """The image data as it stands in the file, a piece at a time."""
    left, at, file = packed_bytes, first, opened.file

    def read(count: int) -> bytes:
        nonlocal at
        file.seek(at)
        found = file.read(count)
        at += len(found)
        return found

    while left > 0:
        head = read(8)
        if len(head) < 8:
            raise InputError(f"{opened.path}: it was cut short while it was read")
        length, kind = struct.unpack(">I4s", head)
        if kind == png_chunks.PIXELS:
            left -= length
            for begin in range(0, length, _PIECE):
                yield read(min(_PIECE, length - begin))
            at += 4
        else:
            at += length + 4
