"""PNG chunks: what a PNG holds beside its pixels, taken out whole and put back whole.

The pixels themselves are not its business: see `png_rows`, `readers`, `writers`. Source: PNG
specification, third edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ncml_codec.errors import FormatError, InputError, UnsupportedImage
from ncml_codec.picture import kinds
from ncml_codec.picture.kinds import Kind
from ncml_codec.zstd_frames import pack, unpack

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_METADATA = 1 << 28
PACKING = 6  # bytes of memory by byte of metadata that is packed or unpacked
# By chunk, and what zstd's level 19 takes besides, at most and by byte (`python -m bench memory`).
_CHUNK, _PACKER, _PACKER_BYTE = 256, 92 << 20, 27
MAX_CHUNKS = 1 << 16  # beside the pixels: each takes a hundred bytes of memory, even if empty
PIXELS = b"IDAT"  # in a list of chunks: where the pixels stand, with no data
TRAILER = b"IEND"  # at the end of a list of chunks: the bytes that follow the PNG's end
# Of the chunks that a viewer may ignore, those that say how colours and pixels are to be shown. As
# oxipng's --strip safe, but with cHRM, gAMA, cLLI and mDCV, without which colours change, too.
_SHOWN = {b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"cLLI", b"mDCV", b"pHYs"}

Chunk = tuple[bytes, bytes]


@dataclass(frozen=True)
class ImageHeader:
    """IHDR. colour_type: see `kinds`."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool

    @property
    def kind(self) -> Kind:
        return Kind(self.colour_type, self.bit_depth)


def split(data: bytes, name: str) -> tuple[ImageHeader, list[Chunk]]:
    """The header and the other chunks of a PNG in order, one empty `PIXELS` for its image data.

    Bytes that follow the PNG's end are one more, a `TRAILER`. name: of the file, for errors. Raises
    InputError for what is not a sound PNG, UnsupportedImage for more than MAX_CHUNKS.
    """
    chunks = _chunks(data, name)
    first, fields = next(chunks)
    if first != b"IHDR" or len(fields) != 13:
        raise InputError(f"{name}: a PNG that does not begin with its header; it is damaged")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", fields
    )
    if not kinds.exists(colour, depth) or compression or filtering or interlace > 1:
        raise InputError(f"{name}: a PNG header that no PNG can have; it is damaged")
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise InputError(f"{name}: a PNG of {width} x {height} pixels; it is damaged")
    header = ImageHeader(width, height, depth, colour, interlace == 1)
    kept: list[Chunk] = []
    found = False
    for kind, content in chunks:
        if kind == PIXELS:
            if not found:
                kept.append((PIXELS, b""))
            found = True
        elif kind != TRAILER or content:
            kept.append((kind, content))
        if len(kept) > MAX_CHUNKS:
            raise UnsupportedImage(f"{name}: more than {MAX_CHUNKS} chunks, which is not handled")
    if not found:
        raise InputError(f"{name}: a PNG without image data; it is damaged")
    return header, kept


def image_data(data: bytes) -> bytes:
    """The zlib stream of a PNG that `split` takes, put together."""
    return b"".join(content for kind, content in _chunks(data, "") if kind == PIXELS)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file."""
    checksum = struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    return struct.pack(">I", len(content)) + kind + content + checksum


def around_pixels(chunks: Sequence[Chunk]) -> tuple[bytes, bytes]:
    """What a PNG with these chunks holds between its header and its pixels, and after them."""
    trailer = b"".join(content for kind, content in chunks if kind == TRAILER)
    inside = [one for one in chunks if one[0] != TRAILER]
    at = inside.index((PIXELS, b"")) if (PIXELS, b"") in inside else len(inside)
    before, after = inside[:at], [*inside[at + 1 :], (b"IEND", b"")]
    return b"".join(chunk(*one) for one in before), b"".join(chunk(*one) for one in after) + trailer


def pack_chunks(chunks: Iterable[Chunk]) -> bytes:
    """A file's metadata section: the chunks, packed; empty if they say nothing.

    Raises UnsupportedImage if they are more than `unpack_chunks` takes.
    """
    records = list(chunks)
    if all(kind == PIXELS for kind, _ in records):
        return b""
    size = sum(8 + len(content) for _, content in records)
    if len(records) > MAX_CHUNKS or size > MAX_METADATA:
        raise UnsupportedImage(
            f"metadata: {len(records)} chunks of {size} bytes in all; at most {MAX_CHUNKS} of"
            f" {MAX_METADATA} bytes are handled"
        )
    return pack(b"".join(struct.pack("<I", len(c)) + kind + c for kind, c in records))


def unpack_chunks(section: bytes) -> list[Chunk]:
    """The chunks of a metadata section. Raises FormatError."""
    if not section:
        return []
    data = unpack(section, "metadata", at_most=MAX_METADATA)
    chunks: list[Chunk] = []
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise FormatError(f"metadata: {len(data) - at} bytes at offset {at} are no record")
        (length,) = struct.unpack_from("<I", data, at)
        if length > len(data) - at - 8:
            raise FormatError(f"metadata: a record of {length} bytes at offset {at} is cut short")
        if len(chunks) == MAX_CHUNKS:
            raise FormatError(f"metadata: more than {MAX_CHUNKS} records")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 8 + length
    if [content for kind, content in chunks if kind == PIXELS] != [b""]:
        raise FormatError("metadata: not one empty record IDAT, which says where the pixels stand")
    if any(kind in (b"IHDR", TRAILER) for kind, _ in chunks[:-1]) or chunks[-1][0] == b"IHDR":
        raise FormatError("metadata: a record IHDR, or a record IEND that is not the last")
    if chunks[-1] == (TRAILER, b""):
        raise FormatError("metadata: an empty record IEND")
    return chunks


def needed(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The chunks without those that only say something about the image: text, times, EXIF, ...

    Nor the trailer. Empty if only the pixels' place is left.
    """
    critical = [one for one in chunks if one[0] in _SHOWN or not one[0][0] & 32]
    kept = [one for one in critical if one[0] != TRAILER]
    return kept if any(kind != PIXELS for kind, _ in kept) else []


def held_bytes(chunks: Iterable[Chunk]) -> int:
    """The memory that chunks take while they are packed and checked."""
    sizes = [len(content) for _, content in chunks]
    packer = min(_PACKER, _PACKER_BYTE * (sum(sizes) + 8 * len(sizes)))
    return PACKING * sum(sizes) + _CHUNK * len(sizes) + packer


def icc_chunk(profile: bytes) -> Chunk:
    """An ICC profile as an iCCP chunk."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)


def icc_profile(chunks: Iterable[Chunk]) -> bytes | None:
    """The ICC profile that the chunks hold, if any and if it is sound."""
    for kind, content in chunks:
        if kind == b"iCCP":
            _, _, rest = content.partition(b"\0")
            try:
                unpacker = zlib.decompressobj()
                return unpacker.decompress(rest[1:], MAX_METADATA)
            except zlib.error:
                return None
    return None


def exif(chunks: Iterable[Chunk]) -> bytes | None:
    """The EXIF block that the chunks hold, if any."""
    return next((content for kind, content in chunks if kind == b"eXIf"), None)


def _chunks(data: bytes, name: str) -> Iterator[Chunk]:
    """Every chunk up to IEND; in place of its content, which is empty, what follows it."""
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise InputError(f"{name}: cut short at offset {at}, before the PNG's end")
        length, kind = struct.unpack_from(">I4s", data, at)
        if length > len(data) - at - 12:
            raise InputError(f"{name}: the chunk at offset {at} is cut short")
        content = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(kind + content) != checksum:
            label = kind.decode("ascii", "replace")
            raise InputError(f"{name}: chunk {label} at offset {at} is damaged (checksum)")
        at += 12 + length
        if kind != b"IEND":
            yield kind, content
            continue
        if content:
            raise InputError(f"{name}: its chunk IEND holds {length} bytes; it is damaged")
        yield TRAILER, data[at:]
        return
