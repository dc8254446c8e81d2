"""How a `.ncmz` file is read: by its header, which says where everything stands.

`read` gives a whole file. `read_directory` reads the header alone, so that a reader may take a few
sections, or those that are sound. Every claim of a header is checked before anything is allocated
for it. FORMAT.md, section 1.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError, NotThisFormat, Truncated
from ncml_codec.format import kept_file
from ncml_codec.format.container import (
    DRAFT,
    KINDS,
    MAGIC,
    MAX_PREVIEW,
    MAX_SIDE,
    TURN_BIT,
    Container,
    Flag,
    Header,
    Layer,
    Method,
    Section,
    Transform,
)
from ncml_codec.format.kept_file import KeptHead
from ncml_codec.format.sections import Reader
from ncml_codec.format.tiles import (
    BY_TILE,
    MAX_TILES,
    PLANES,
    TILE_EXPONENTS,
    Tile,
    TileLayout,
    Tiles,
)
from ncml_codec.network.adaptation import Adaptation
from ncml_codec.network.model_file import IDENTITY_BYTES
from ncml_codec.picture import orientation
from ncml_codec.picture.kinds import GREY, RGB, Kind

_KIND = Flag.SECTIONS - 1  # bits of the kind byte that hold the image's kind


@dataclass(frozen=True)
class LayerHead:
    """What a header says of a layer.

    at: where it begins in the file. lengths: of its payloads, one for each tile. layout: of a
    network's layer, None for other methods. adaptation: of all its tiles, None if each has its own.
    """

    method: Method
    planes: int
    at: int
    lengths: Sequence[int]
    layout: TileLayout | None = None
    adaptation: Adaptation | None = None

    @property
    def payload_bytes(self) -> int:
        return sum(self.lengths)

    @property
    def bytes_around(self) -> int:
        """What stands around each payload: its checksums and, if by tile, its adaptation."""
        if self.layout is None:
            return 4
        return 9 if self.adaptation is None else 8

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.at + self.payload_bytes + self.bytes_around * len(self.lengths)

    def tile_begins(self) -> list[int]:
        """Where each tile begins, and where the last one ends."""
        sizes = (length + self.bytes_around for length in self.lengths)
        return list(itertools.accumulate(sizes, initial=self.at))

    def tile(self, data: bytes, number: int, at: int) -> Tile:
        """The tile of this number in a network's layer. at: where it begins, see `tile_begins`.

        Raises FormatError.
        """
        assert self.layout is not None
        own = 1 if self.adaptation is None else 0
        reader = Reader(data, at)
        section = reader.section(f"tile {number}", own + self.lengths[number])
        adaptation = self.adaptation or self.layout.adaptation(f"tile {number}", section[0])
        (crc,) = struct.unpack("<I", reader.take(f"tile {number}'s samples checksum", 4))
        return Tile(section[own:], crc, adaptation)


@dataclass(frozen=True)
class Directory:
    """Where everything stands in a file, by its header alone.

    sections: where each one begins, and its length without its checksum. kept: of a file that comes
    back byte for byte, which has no section but a preview and no layers; `header` is that of its
    pixels.
    """

    header: Header
    sections: Mapping[Section, tuple[int, int]]
    layers: Sequence[LayerHead]
    kept: KeptHead | None = None

    @property
    def tiled(self) -> LayerHead | None:
        """The only layer of a photograph: the network codes all samples as they are. Else None."""
        is_plain = self.header.kind.suits_network and not self.header.is_transformed
        is_tiled = len(self.layers) == 1 and self.layers[0].layout is not None
        return self.layers[0] if is_plain and is_tiled else None

    @property
    def end(self) -> int:
        """How long the file is."""
        if self.kept is not None:
            return self.kept.end
        return self.layers[-1].end + (4 if self.tiled is None else 0)

    def section(self, data: bytes, section: Section) -> bytes:
        """A section's content, empty if the file has none. Raises FormatError."""
        if section not in self.sections:
            return b""
        at, length = self.sections[section]
        return bytes(Reader(data, at).section(section.name.lower(), length))

    def layer(self, data: bytes, index: int) -> Layer | Tiles:
        """A layer, checked against its checksums. Raises FormatError."""
        head = self.layers[index]
        if head.layout is not None:
            tiles = [
                head.tile(data, number, at) for number, at in enumerate(head.tile_begins()[:-1])
            ]
            return Tiles(head.layout, tiles)
        payload = Reader(data, head.at).section(f"layer {index}", head.lengths[0])
        return Layer(head.method, head.planes, payload)

    def samples_crc(self, data: bytes) -> int | None:
        """The checksum of all samples; None if the file is `tiled`, whose tiles have theirs."""
        if self.tiled is not None:
            return None
        reader = Reader(data, self.layers[-1].end)
        (crc,) = struct.unpack("<I", reader.take("the samples' checksum", 4))
        return int(crc)

    def read(self, data: bytes) -> Container:
        """A whole file with layers, every section checked against its checksum.

        Raises FormatError that names what is wrong: cut short, damaged where, or too long; also
        for a JPEG file, which has no layers.
        """
        if self.kept is not None:
            raise FormatError("the file holds a JPEG file, and no image in layers")
        metadata = self.section(data, Section.METADATA)
        table = self.section(data, Section.TABLE)
        layers = [self.layer(data, index) for index in range(len(self.layers))]
        preview = self.section(data, Section.PREVIEW)
        crc = self.samples_crc(data)
        if self.end != len(data):
            raise FormatError(f"{len(data) - self.end} bytes follow the end of the last section")
        return Container(self.header, metadata, table, layers, crc, preview)


def read(data: bytes, max_pixels: int | None = None) -> Container:
    """A whole file; see `read_directory` and `Directory.read`."""
    return read_directory(data, max_pixels).read(data)


def read_directory(data: bytes, max_pixels: int | None = None) -> Directory:
    """Where everything stands in a file, by its beginning; sections may be missing or damaged.

    Raises FormatError: NotThisFormat for what is no such file or another draft's, Truncated if more
    of the file is needed, BeyondLimit for more than max_pixels, before anything is made for them.
    """
    if not data:
        raise Truncated("the file is empty")
    if not data.startswith(MAGIC[: len(data)]):
        raise NotThisFormat("not an ncmz file: it does not begin as one")
    reader = Reader(data, len(MAGIC))
    (draft,) = reader.take("header", 1)
    check_draft(draft)
    (flags,) = reader.take("header", 1)
    width, height = reader.varint("header"), reader.varint("header")
    if flags & _KIND == kept_file.NUMBER:
        check_pixels(width, height, max_pixels)
        kept = kept_file.read_head(reader, flags, width, height)
        sections = {Section.PREVIEW: (kept.preview_at, kept.preview_bytes)}
        sections = sections if kept.preview_bytes else {}
        header = Header(width, height, Kind(GREY if kept.is_grey else RGB, 8))
        return Directory(header, sections, (), kept)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise FormatError(
            f"header: an image of {width} x {height} pixels; sides are 1 to {MAX_SIDE}"
        )
    check_pixels(width, height, max_pixels)
    kind = flags & _KIND
    if kind >= len(KINDS) or flags >= 2 * Flag.LAYERS:
        raise FormatError(f"header: image kind {flags}, which this version does not know")
    lengths = _section_lengths(reader) if flags & Flag.SECTIONS else {}
    transform, low_bits = reader.take("header", 2) if flags & Flag.TRANSFORM else (0, 0)
    header = _header(width, height, KINDS[kind], transform, low_bits)
    if header.is_transformed != bool(flags & Flag.TRANSFORM):
        raise FormatError("header: a transform that changes nothing")
    has_table = Section.TABLE in lengths
    if has_table != (header.transform != Transform.SAMPLES):
        found = "with" if has_table else "without"
        raise FormatError(f"header: transform {transform} {found} table")
    count = reader.take("header", 1)[0] if flags & Flag.LAYERS else 1
    if flags & Flag.LAYERS and not 2 <= count <= header.byte_planes:
        raise FormatError(f"header: {count} layers of {header.byte_planes} planes")
    heads = [_read_layer_head(reader, header, several=count > 1) for _ in range(count)]
    end = reader.at
    (stated,) = struct.unpack("<I", reader.take("header checksum", 4))
    if zlib.crc32(data[:end]) != stated:
        raise ChecksumMismatch("header: its bytes do not match their checksum; the file is damaged")
    held = [head.planes for head in heads]
    if 0 in held or sum(held) != header.byte_planes:
        raise FormatError(f"header: layers of {held} planes, of {header.byte_planes} in all")
    return _placed(header, lengths, heads, reader.at)


def check_draft(draft: int) -> None:
    """Raise NotThisFormat, which names the release that reads it, for another draft than DRAFT."""
    if draft == DRAFT:
        return
    by = "ncml-codec 0.1 reads it" if 0 < draft < DRAFT else "a newer ncml-codec may read it"
    raise NotThisFormat(
        f"draft {draft} of the format, and this program reads draft {DRAFT}: {by}, or the file is"
        " damaged"
    )


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Raise BeyondLimit for an image of more pixels; None: any number is allowed."""
    if max_pixels is not None and width * height > max_pixels:
        raise BeyondLimit(
            f"an image of {width} x {height} pixels, beyond the limit of {max_pixels} (max_pixels)"
        )


def _section_lengths(reader: Reader) -> dict[Section, int]:
    (count,) = reader.take("header", 1)
    found: dict[Section, int] = {}
    for _ in range(count):
        (number,) = reader.take("header", 1)
        if number not in list(Section) or number <= max(found, default=-1):
            raise FormatError(f"header: section {number}, which this version does not know here")
        found[Section(number)] = reader.varint("header")
    if not found or 0 in found.values():
        raise FormatError("header: an empty section")
    if found.get(Section.PREVIEW, 0) > MAX_PREVIEW:
        raise FormatError(f"header: a preview of more than {MAX_PREVIEW} bytes")
    return found


def _header(width: int, height: int, kind: Kind, transform: int, low_bits: int) -> Header:
    if transform not in list(Transform):
        raise FormatError(f"header: transform {transform}, which this version does not know")
    most = 8 if kind.bit_depth == 16 and transform != Transform.PALETTE else 0
    if low_bits > most:
        raise FormatError(f"header: {low_bits} low bits of {kind.bit_depth}, at most {most}")
    return Header(width, height, kind, Transform(transform), low_bits)


def _read_layer_head(reader: Reader, header: Header, several: bool) -> LayerHead:
    """As the header states it; where it begins is not known yet."""
    (number,) = reader.take("header", 1)
    if number not in list(Method):
        raise FormatError(f"a layer is coded by method {number}, which this version does not know")
    planes = reader.take("header", 1)[0] if several else header.byte_planes
    if number != Method.NETWORK:
        return LayerHead(Method(number), planes, 0, [reader.varint("header")])
    if planes not in PLANES:
        raise FormatError(f"header: a network's layer of {planes} planes, which must be 1 or 3")
    identity = bytes(reader.take("header", IDENTITY_BYTES))
    byte, tile_byte = reader.take("header", 2)
    exponent, turn = tile_byte % (1 << TURN_BIT), tile_byte >> TURN_BIT
    if exponent not in TILE_EXPONENTS:
        raise FormatError(f"header: tiles of side 2**{exponent}, which this version does not know")
    if turn >= orientation.COUNT:
        raise FormatError(f"header: turn {turn}, which this version does not know")
    layout = TileLayout(header.width, header.height, planes, identity, exponent, turn)
    count, left = layout.tile_count(), len(reader.data) - reader.at
    if count > MAX_TILES:
        raise FormatError(f"header: {count} tiles; at most {MAX_TILES} are allowed")
    if count > left:
        raise Truncated(f"header: {count} tiles, but {left} bytes follow")
    lengths = [reader.varint("header") for _ in range(count)]
    adaptation = None if byte == BY_TILE else layout.adaptation("header", byte)
    return LayerHead(Method.NETWORK, planes, 0, lengths, layout, adaptation)


def _placed(
    header: Header, lengths: Mapping[Section, int], heads: Sequence[LayerHead], at: int
) -> Directory:
    """With the places that follow from the lengths. at: where the first section begins."""
    sections, layers = {}, []
    for section, length in lengths.items():
        sections[section] = (at, length)
        at += length + 4
    for head in heads:
        layers.append(replace(head, at=at))
        at = layers[-1].end
    return Directory(header, sections, layers)
