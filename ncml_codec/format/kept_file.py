"""A file that comes back byte for byte: a JPEG file in a `.ncmz` file. FORMAT.md, section 13.

It has a header of its own kind, no layers, and a digest of the bytes that come back.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ncml_codec.errors import ChecksumMismatch, FormatError, Truncated
from ncml_codec.format.container import DRAFT, MAGIC, MAX_PREVIEW, Flag
from ncml_codec.format.sections import Reader, checksum, varint
from ncml_codec.format.tiles import MAX_TILES
from ncml_codec.network.model_file import IDENTITY_BYTES

NUMBER = 15  # of its kind in the kind byte
_GREY = 32  # bit of the kind byte: one component
_FLAGS = _GREY | Flag.SECTIONS
DIGEST_BYTES = 16


class Coding(IntEnum):
    """How the file's bytes are kept."""

    WHOLE = 0  # in one zstd frame
    STATIC = 1  # as coefficients, by a network that does not learn
    LEARNING = 2  # as coefficients, by a network whose biases learn


@dataclass(frozen=True)
class KeptFile:
    """width, height: of the image in pixels, 0 if the file does not say. is_grey: whether it has
    one component. identity: of the model, empty if there is none. recipe: of `jpeg.Recipe`, packed;
    empty for WHOLE. payloads: the zstd frame, or one for each tile of coefficients. digest: see
    `digest_of`. preview: as of `container.Container`.
    """

    width: int
    height: int
    is_grey: bool
    coding: Coding
    digest: bytes
    identity: bytes
    recipe: bytes | memoryview
    payloads: Sequence[bytes | memoryview]
    preview: bytes = b""


@dataclass(frozen=True)
class KeptHead:
    """What a header says of a kept file. preview_at, recipe_at, payload_at: where they begin in the
    file.

    lengths: of the payloads. preview_bytes: 0 if there is no preview.
    """

    width: int
    height: int
    is_grey: bool
    coding: Coding
    digest: bytes
    identity: bytes
    preview_at: int
    preview_bytes: int
    recipe_at: int
    recipe_bytes: int
    payload_at: int
    lengths: Sequence[int]

    @property
    def payload_bytes(self) -> int:
        return sum(self.lengths)

    @property
    def end(self) -> int:
        """How long the file is."""
        return self.payload_at + self.payload_bytes + 4 * len(self.lengths)

    def read(self, data: bytes, damage: dict[int, FormatError] | None = None) -> KeptFile:
        """The whole file, its sections checked against their checksums. Raises FormatError.

        damage: if given, what is wrong with a payload is put there by its number, and the payload
        is empty; then there is no preview, and what `sound_preview` refuses is passed over.
        """
        preview = b"" if damage is not None else self.sound_preview(data)
        recipe: bytes | memoryview = b""
        if self.coding != Coding.WHOLE:
            recipe = Reader(data, self.recipe_at).section("recipe", self.recipe_bytes)
        payloads, at = list[bytes | memoryview](), self.payload_at
        for index, length in enumerate(self.lengths):
            try:
                payloads.append(Reader(data, at).section(f"payload {index}", length))
            except FormatError as error:
                if damage is None:
                    raise
                damage[index] = error
                payloads.append(b"")
            at += length + 4
        size = (self.width, self.height, self.is_grey)
        return KeptFile(*size, self.coding, self.digest, self.identity, recipe, payloads, preview)

    def sound_preview(self, data: bytes) -> bytes:
        """The preview, empty if there is none.

        Raises FormatError if it is damaged, or if the file does not end with its last section.
        """
        if self.end != len(data):
            raise FormatError(f"{len(data) - self.end} bytes follow the end of the last section")
        if not self.preview_bytes:
            return b""
        return bytes(Reader(data, self.preview_at).section("preview", self.preview_bytes))


def is_kept(head: bytes) -> bool:
    """Whether a `.ncmz` file holds a JPEG file, by its first six bytes."""
    return len(head) > 5 and head.startswith(MAGIC + bytes([DRAFT])) and head[5] & ~_FLAGS == NUMBER


def digest_of(data: bytes) -> bytes:
    """BLAKE2b of a file's bytes, 128 bits (RFC 7693)."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def write(file: KeptFile) -> bytes:
    """The `.ncmz` file's bytes."""
    kind = NUMBER | (_GREY if file.is_grey else 0) | (Flag.SECTIONS if file.preview else 0)
    head = MAGIC + bytes([DRAFT, kind]) + varint(file.width) + varint(file.height)
    head += varint(len(file.preview)) if file.preview else b""
    head += bytes([file.coding])
    sections = list(file.payloads)
    if file.coding != Coding.WHOLE:
        head += file.identity + varint(len(file.recipe)) + varint(len(file.payloads))
        sections.insert(0, file.recipe)
    if file.preview:
        sections.insert(0, file.preview)
    head += b"".join(varint(len(payload)) for payload in file.payloads) + file.digest
    parts: list[bytes | memoryview] = [head, checksum(head)]
    for section in sections:
        parts += [section, checksum(section)]
    return b"".join(parts)


def read_head(reader: Reader, kind: int, width: int, height: int) -> KeptHead:
    """The rest of a header. kind: the kind byte. Raises FormatError."""
    if kind & ~_FLAGS != NUMBER:
        raise FormatError(f"header: image kind {kind}, which this version does not know")
    preview_bytes = reader.varint("header") if kind & Flag.SECTIONS else 0
    if kind & Flag.SECTIONS and not 0 < preview_bytes <= MAX_PREVIEW:
        raise FormatError(f"header: a preview of {preview_bytes} bytes, not 1 to {MAX_PREVIEW}")
    (coding,) = reader.take("header", 1)
    if coding not in list(Coding):
        raise FormatError(f"header: a file kept by way {coding}, which this version does not know")
    identity, recipe_bytes, count = b"", 0, 1
    if coding != Coding.WHOLE:
        identity = bytes(reader.take("header", IDENTITY_BYTES))
        recipe_bytes, count = reader.varint("header"), reader.varint("header")
    left = len(reader.data) - reader.at
    if not 0 < count <= MAX_TILES:
        raise FormatError(f"header: {count} tiles of coefficients; 1 to {MAX_TILES} are possible")
    if count > left:
        raise Truncated(f"header: {count} tiles of coefficients, but {left} bytes follow")
    lengths = [reader.varint("header") for _ in range(count)]
    digest = bytes(reader.take("header", DIGEST_BYTES))
    end = reader.at
    (stated,) = struct.unpack("<I", reader.take("header checksum", 4))
    if zlib.crc32(reader.data[:end]) != stated:
        raise ChecksumMismatch("header: its bytes do not match their checksum; the file is damaged")
    preview_at = reader.at
    recipe_at = preview_at + (preview_bytes + 4 if preview_bytes else 0)
    payload_at = recipe_at + (recipe_bytes + 4 if coding != Coding.WHOLE else 0)
    return KeptHead(
        width=width,
        height=height,
        is_grey=bool(kind & _GREY),
        coding=Coding(coding),
        digest=digest,
        identity=identity,
        preview_at=preview_at,
        preview_bytes=preview_bytes,
        recipe_at=recipe_at,
        recipe_bytes=recipe_bytes,
        payload_at=payload_at,
        lengths=lengths,
    )
