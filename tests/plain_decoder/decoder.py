"""A plain decoder of `.ncmz` files: FORMAT.md, sections 1, 2, 8, 9 and 13.

Written from FORMAT.md alone; it shares no code with the program, so that where the two differ, the
program, the page or a module here has a bug. It is not fast and does not encode.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.plain_decoder.jpeg import Blocks, tile_places
from tests.plain_decoder.jpeg import decode_tile as decode_jpeg_tile
from tests.plain_decoder.jpeg_model import read_model as read_jpeg_model
from tests.plain_decoder.jpeg_writer import Layout, read_markers, read_recipe, write_file
from tests.plain_decoder.layers import decode_layer, restored
from tests.plain_decoder.model import IntArray, Model, read_model
from tests.plain_decoder.network import decode_tile
from tests.plain_decoder.reading import Reader, decompress, require

MAX_PIXELS = 2**20  # Section 8 leaves the limit to the decoder, and this one is slow.
KINDS = [  # Channels and bit depth.
    *((1, depth) for depth in (1, 2, 4, 8, 16)),
    *((3, depth) for depth in (8, 16)),
    *((1, depth) for depth in (1, 2, 4, 8)),
    *((2, depth) for depth in (8, 16)),
    *((4, depth) for depth in (8, 16)),
]
PHOTOGRAPHS = (3, 5)
STRENGTHS = [*range(8), *range(9, 16)]  # Those of 9 and more are of the body, too.
ADAPTATIONS = {  # By the number of planes; grey has no colour modes.
    1: STRENGTHS,
    3: [strength + 16 * mode for mode in range(4) for strength in STRENGTHS],
}
BY_TILE = 255


@dataclass(frozen=True)
class Decoded:
    """An image: `samples` [height, width, channels], and its metadata's records, `IDAT` too."""

    samples: NDArray[Any]
    chunks: list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class LayerHead:
    """What a header says of a layer. lengths: of its payloads, one for each tile."""

    method: int
    planes: int
    lengths: list[int]
    identity: bytes = b""
    adaptation: int = 0
    exponent: int = 0
    turn: int = 0


def decode(data: bytes, models: Sequence[bytes]) -> Decoded:
    """The image in the `.ncmz` file `data`, by those of the `.ncpn` files which it names.

    Raises Refused if the file, or any of the models, is not as FORMAT.md says. Section 1.
    """
    known = {model.identity: model for model in map(read_model, models)}
    file = Reader(data)
    require(file.take(4) == b"\x89NCZ", "the file does not begin with the magic of .ncmz")
    draft, flags = file.take(2)
    require(draft == 3, f"draft {draft}, must be 3")
    require(flags < 128 and flags % 16 < len(KINDS), f"kind and flags {flags}")
    channels, depth = KINDS[flags % 16]
    width, height = file.varint(), file.varint()
    require(1 <= width < 2**24 and 1 <= height < 2**24, f"{width} x {height} pixels")
    sections = []
    if flags & 16:
        sections = [(file.take(1)[0], file.varint()) for _ in range(file.take(1)[0])]
        types = [section for section, _ in sections]
        require(types and types == sorted(set(types)) and types[-1] <= 2, f"sections {types}")
        require(all(length > 0 for _, length in sections), "an empty section")
        require(dict(sections).get(0, 0) <= 4096, "a long preview")
    transform, low_bits = file.take(2) if flags & 32 else (0, 0)
    require(transform <= 2, f"transform {transform}")
    require(low_bits <= (8 if depth == 16 and transform != 1 else 0), f"{low_bits} low bits")
    require(bool(flags & 32) == (transform > 0 or low_bits > 0), "a transform of nothing")
    require((2 in dict(sections)) == (transform > 0), "a table too many or too few")
    planes = (1 if transform == 1 else channels) * (2 if low_bits else 1)
    count = file.take(1)[0] if flags & 64 else 1
    require(not flags & 64 or count > 1, f"{count} layers")
    heads = [read_layer_head(file, width, height, None if flags & 64 else planes)]
    heads += [read_layer_head(file, width, height, None) for _ in range(count - 1)]
    file.check_crc(data[: file.at], "header")
    require(width * height <= MAX_PIXELS, f"{width} x {height} pixels are over {MAX_PIXELS}")
    held = [head.planes for head in heads]
    require(0 not in held and sum(held) == planes, f"layers of {held} planes, of {planes}")
    for head in heads:
        require(head.method != 1 or head.identity in known, f"model {head.identity.hex()}")

    found = {section: file.take_checked(length, "section") for section, length in sections}
    parts: list[IntArray] = []
    for head in heads:
        if head.method == 1:
            parts.append(read_tiles(file, head, known[head.identity], height, width))
        else:
            payload = file.take_checked(head.lengths[0], "layer")
            parts.append(decode_layer(payload, head.method, (height, width, head.planes)))
    together = np.concatenate(parts, axis=2)
    samples = restored(together, transform, low_bits, found.get(2, b""), channels, depth)
    stored = samples.astype("<u2" if depth == 16 else "u1")
    is_photograph = flags % 16 in PHOTOGRAPHS and not flags & 96 and heads[0].method == 1
    if not is_photograph:
        file.check_crc(stored.tobytes(), "samples")
    require(file.at == len(data), "something follows")
    return Decoded(stored, read_chunks(found[1]) if 1 in found else [])


def read_layer_head(file: Reader, width: int, height: int, planes: int | None) -> LayerHead:
    """What the header says of a layer. planes: of the only layer, None if it states them."""
    method = file.take(1)[0]
    require(1 <= method <= 5, f"method {method}")
    planes = file.take(1)[0] if planes is None else planes
    if method != 1:
        return LayerHead(method, planes, [file.varint()])
    require(planes in (1, 3), f"{planes} planes by the network")
    identity = file.take(4)
    adaptation, tile = file.take(2)
    exponent, turn = tile % 16, tile // 16
    require(5 <= exponent <= 14, f"tile exponent {exponent}, must be 5 to 14")
    require(turn <= 7, f"turn {turn}")
    count = -(-height >> exponent) * -(-width >> exponent)
    require(count <= 2**16, f"{count} tiles, must be at most 65536")
    lengths = [file.varint() for _ in range(count)]
    return LayerHead(method, planes, lengths, identity, adaptation, exponent, turn)


# Section 13: JPEG files.


def restore(data: bytes, models: Sequence[bytes]) -> bytes:
    """The JPEG file that was kept in the `.ncmz` file `data`, by one of the `.ncjp` files.

    Raises Refused as `decode` does.
    """
    file = Reader(data)
    require(file.take(4) == b"\x89NCZ", "the file does not begin with the magic of .ncmz")
    draft, kind = file.take(2)
    require(draft == 3, f"draft {draft}, must be 3")
    require(kind & ~48 == 15, f"kind {kind}: not of a JPEG file")
    width, height = file.varint(), file.varint()
    preview_length = file.varint() if kind & 16 else 0
    require(not kind & 16 or 1 <= preview_length <= 4096, f"a preview of {preview_length} bytes")
    way = file.take(1)[0]
    require(way <= 2, f"kept in way {way}")
    identity, recipe_length, count = b"", 0, 1
    if way:
        identity, recipe_length, count = file.take(4), file.varint(), file.varint()
        require(1 <= count <= 2**16, f"{count} tiles of coefficients")
    lengths = [file.varint() for _ in range(count)]
    digest = file.take(16)
    file.check_crc(data[: file.at], "header")
    if kind & 16:
        file.take_checked(preview_length, "preview")
    packed = file.take_checked(recipe_length, "recipe") if way else b""
    payloads = [file.take_checked(length, "payload") for length in lengths]
    require(file.at == len(data), "something follows")
    if way:
        recipe = read_recipe(decompress(packed, "recipe"))
        layout = read_markers(recipe)
        require((layout.width, layout.height) == (width, height), "another size in the recipe")
        coefficients = read_coefficients(payloads, layout, identity, models, way == 2)
        found = write_file(recipe, layout, coefficients)
    else:
        found = decompress(payloads[0], "payload")
    require(hashlib.blake2b(found, digest_size=16).digest() == digest, "another BLAKE2b")
    return found


def read_coefficients(
    payloads: list[bytes], layout: Layout, identity: bytes, models: Sequence[bytes], learns: bool
) -> list[Blocks]:
    """The blocks of each component. Section 15."""
    known = {model.identity: model for model in map(read_jpeg_model, models)}
    require(identity in known, f"model {identity.hex()}")
    factors, (rows, columns) = layout.all_factors, layout.all_units
    require(64 * rows * columns <= MAX_PIXELS, f"{rows} x {columns} units")
    places = tile_places(rows, columns, factors)
    require(len(places) == len(payloads), f"{len(payloads)} tiles, must be {len(places)}")
    steps = [layout.steps.get(index, [1] * 64) for index in range(len(factors))]
    whole: list[Blocks] = [[[[]] * (columns * h) for _ in range(rows * v)] for v, h in factors]
    for payload, place in zip(payloads, places, strict=True):
        sizes = [(bottom - top, right - left) for top, bottom, left, right in place]
        parts = decode_jpeg_tile(payload, known[identity], sizes, steps, learns)
        for blocks, part, (top, _, left, right) in zip(whole, parts, place, strict=True):
            for row, found in enumerate(part, top):
                blocks[row][left:right] = found
    return whole


# Section 9: tiles.


def read_tiles(file: Reader, head: LayerHead, model: Model, height: int, width: int) -> IntArray:
    """The planes [height, width, planes] of a layer that the network codes."""
    side, turn = 2**head.exponent, head.turn
    heights = [min(side, height - top) for top in range(0, height, side)]
    widths = [min(side, width - left) for left in range(0, width, side)]
    waves = sum(b + 2 * (a - 1) if turn < 4 else a + 2 * (b - 1) for a in heights for b in widths)
    short = 16 * waves > width * height and waves**2 > 729 * width * height
    by_tile = head.adaptation == BY_TILE
    samples = np.zeros((height, width, head.planes), dtype=np.uint8)
    for index, length in enumerate(head.lengths):
        top, left = index // len(widths) * side, index % len(widths) * side
        where = f"tile at row {top}, column {left}"
        payload = file.take_checked(length + by_tile, f"payload of the {where}")
        adaptation = payload[0] if by_tile else head.adaptation
        payload = payload[by_tile:]
        known = adaptation in ADAPTATIONS[head.planes]
        require(known, f"{where}: adaptation {adaptation} is reserved")
        require(adaptation == 0 or not short, f"{where}: adaptation {adaptation} with short waves")
        tile = samples[top : top + side, left : left + side]
        laid = tile[::-1] if turn & 1 else tile
        laid = laid[:, ::-1] if turn & 2 else laid
        laid = laid.transpose(1, 0, 2) if turn & 4 else laid
        laid[:] = decode_tile(payload, model, *laid.shape, adaptation)
        file.check_crc(tile.tobytes(), where)
    return samples.astype(np.int64)


# Section 2: metadata.


def read_chunks(section: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a metadata section, in order."""
    content = Reader(decompress(section, "metadata"))
    chunks = []
    while content.at < len(content.data):
        length, kind = content.u32(), content.take(4)
        chunks.append((kind, content.take(length)))
    marks = [data for kind, data in chunks if kind == b"IDAT"]
    require(marks == [b""], "metadata: must have one record IDAT, and that empty")
    require(len(chunks) <= 2**16, f"metadata: {len(chunks)} records, must be at most 2^16")
    kinds = [kind for kind, _ in chunks]
    require(b"IHDR" not in kinds, "metadata: a record IHDR")
    require(b"IEND" not in kinds[:-1], "metadata: a record IEND that is not the last")
    require(chunks[-1] != (b"IEND", b""), "metadata: an empty record IEND")
    return chunks
