"""Which way an image is coded: a quick look first, then trials, of which the smallest is kept.

The look is at some rows alone, so that a photograph pays next to nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ncml_codec.decode import layers as methods
from ncml_codec.decode import memory
from ncml_codec.decode.layers import Method, Tools
from ncml_codec.decode.tile_walk import Effort
from ncml_codec.encode import levels, orientation_search, tile_encoder
from ncml_codec.format import byte_planes, layered_container
from ncml_codec.format.byte_planes import Planes, Transformed
from ncml_codec.format.layered_container import SAMPLES, General, Header, Layer
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks, png_rows
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples, Source
from ncml_codec.zstd_frames import pack

TRIED = 1 << 26  # pixels beyond which an image that version 1 holds is not tried otherwise
_SMALL = 1 << 12  # pixels up to which everything is tried: it takes no time, and headers matter
_BANDS, _ROWS = (1, 3, 5), 32  # eighths of the height where rows are looked at, and how many
# Share of pixels that equal their left neighbour: at most 0.19 in Kodak
# (bench/notebook/context-mixing.md).
_EQUAL = 0.25
_NOISE = 0.1  # less of them, and WebP is behind the network and zstd
_THOROUGH = 9  # the level from which on everything is tried
_COLOURS = 256  # of all rows looked at; photographs have thousands
# A file of this share of what quickly filtered rows take may be larger than the best PNG.
_EXPECTED = 0.85
# Bytes of planes up to which mixing is tried at level 1 and above, at half a microsecond to five
# each. Where it is tried, WebP is not: WebP takes longer and is hardly ever smaller
# (bench/notebook/context-mixing.md, "Which ways are tried").
_QUICK, _MIXED = 1 << 17, 1 << 25
_LEVELS = 24  # different bytes of a plane, below which a network for photographs has no chance


def encoding_tools(
    models: Sequence[Model], effort: Effort, level: int = levels.DEFAULT, wide: bool = False
) -> Tools:
    """What layers are encoded with; see `layers.Tools`."""
    return Tools(models, effort, level, wide, _encode_planes)


def may_be_drawing(picture: Source) -> bool:
    """Whether other ways than the network may be better for an 8-bit grey or RGB image."""
    if is_small(picture):
        return True
    if picture.width * picture.height > TRIED:
        return False
    rows = np.concatenate(list(_looked_at(picture)))
    if _equal(rows) > _EQUAL:
        return True
    keys = rows.astype(np.uint32) @ (256 ** np.arange(picture.planes, dtype=np.uint32))
    return len(byte_planes.distinct(keys)) <= (_COLOURS if picture.planes > 1 else _LEVELS)


def is_small(picture: Source) -> bool:
    """Whether an image is so small that everything may be tried."""
    return picture.width * picture.height <= _SMALL


def is_as_small_as_expected(picture: Source, size: int) -> bool:
    """Whether no PNG of the image is likely to be smaller than `size` bytes, by a quick estimate.

    The PNG that it was read from is compared as it is.
    """
    if picture.packed_bytes is not None and picture.packed_bytes <= size:
        return False
    if picture.width * picture.height > TRIED:
        return True
    estimate = rows = 0
    for band in _looked_at(picture):
        flat = np.ascontiguousarray(band).reshape(len(band), -1)
        filtered = png_rows.filter_rows(flat[1:], flat[:-1], picture.planes, 4)
        estimate += len(pack(filtered.tobytes(), level=1))
        rows += len(filtered)
    return rows == 0 or size <= _EXPECTED * estimate * picture.height / rows


def smallest(picture: Picture, tools: Tools) -> General:
    """The smallest file of version 2 of all that are tried; none that version 1 is shorter for."""
    kind, metadata = picture.kind, png_chunks.pack_chunks(picture.chunks)
    crc = byte_planes.samples_crc(picture.samples)
    found: list[tuple[int, General]] = []

    def add(made: Transformed, layers: Sequence[Layer]) -> None:
        header = Header(picture.width, picture.height, kind, made.transform, made.low_bits)
        file = General(header, metadata, made.table, layers, crc)
        size = len(made.table) + sum(len(layer.payload) + 6 for layer in layers)
        found.append((size, file))

    for made in byte_planes.choices(picture.samples, kind):
        for edges in cuts(made, kind):
            parts = [made.planes[:, :, start:stop] for start, stop in pairwise(edges)]
            wide = made.low_bits == 8 and len(parts) == 1
            # The network's as the only layer is a file of version 1, shorter without more around.
            is_first = kind.is_first_version and made.transform == SAMPLES and len(parts) == 1
            skipped = {methods.NETWORK} if is_first else set()
            wide_tools = replace(tools, wide=wide)
            add(made, [_smallest_layer(part, wide_tools, skipped) for part in parts])
    if picture.image_data is not None:
        wide = kind.bit_depth == 16
        planes = kind.channels * (2 if wide else 1)
        payload = methods.kept_stream(picture.image_data, kind.bit_depth)
        kept = Transformed(SAMPLES, 8 if wide else 0, b"", np.empty((0, 0, planes), np.uint8))
        add(kept, [Layer(methods.DEFLATE, planes, payload)])
    return min(found, key=lambda pair: pair[0])[1]


def memory_needed(kind: Kind, size: tuple[int, int], models: Sequence[Model], level: int) -> int:
    """Bytes that `smallest` takes for an image of size (height, width), whatever its samples."""
    byte_planes = kind.channels * (2 if kind.bit_depth == 16 else 1)
    networks = [each.network for each in models]
    pixels = size[0] * size[1]
    layers = [
        memory.of_layer(method.name, *size, planes, True, networks, level)
        for planes in range(1, byte_planes + 1)
        for method in methods.METHODS
        if method.takes((*size, planes))
        and (level >= _THOROUGH or method.number != _left_out(pixels * planes, level))
    ]
    return memory.of_layers(*size, byte_planes, True, layers)


def cuts(made: Transformed, kind: Kind) -> Iterator[list[int]]:
    """Where planes are cut into layers: nowhere, and between colours, alpha and low parts.

    Not the first if a part is the same everywhere, as alpha often is: it costs nothing apart.
    """
    planes = made.planes.shape[2]
    ends = {planes}
    for start in range(0, planes, made.numbers):
        ends |= {
            start,
            start + (kind.colours if made.transform != layered_container.PALETTE else 1),
        }
    edges = sorted(ends)
    parts = [made.planes[:, :, start:stop] for start, stop in pairwise(edges)]
    if len(parts) == 1 or not any((part == part[0, 0]).all() for part in parts):
        yield [0, planes]
    if len(parts) > 1:
        yield edges


def _smallest_layer(planes: Planes, tools: Tools, skipped: set[int]) -> Layer:
    """skipped: methods that are not tried, by their numbers."""
    planes = np.ascontiguousarray(planes)
    hopeless = skipped | (_hopeless(planes, tools.level) if tools.level < _THOROUGH else set())
    payloads = [
        (len(payload), method.number, payload)
        for method in methods.METHODS
        if method.takes(planes.shape) and method.number not in hopeless
        for payload in [_coded(method, planes, tools)]
    ]
    _, number, payload = min(payloads)
    return Layer(number, planes.shape[2], payload)


def _coded(method: Method, planes: Planes, tools: Tools) -> bytes:
    tools.effort.progress(0)
    return method.encode(planes, tools)


def _hopeless(planes: Planes, level: int) -> set[int]:
    """Methods that need not be tried, or are too slow for the level, by their numbers."""
    others = {method.number for method in methods.METHODS} - {methods.ZSTD}
    if (planes == planes[0, 0]).all():
        return others
    found = set()
    if int((np.bincount(planes[:, :, 0].reshape(-1)) > 0).sum()) < _LEVELS:
        found.add(methods.NETWORK)
    if planes[:, :, 0].size > _SMALL and _equal(planes) < _NOISE:
        found |= {methods.WEBP, methods.DEFLATE}
    return found | {_left_out(planes.size, level)}


def _left_out(count: int, level: int) -> int:
    """Of WebP and mixing the one that is not tried for so many bytes, but at the highest level."""
    return methods.WEBP if count <= (_QUICK if level == 1 else _MIXED) else methods.MIXING


def _equal(planes: Planes) -> float:
    """The share of pixels that equal their left neighbour; 1 if there are none."""
    if planes.shape[1] == 1:
        return 1.0
    return float((planes[:, 1:] == planes[:, :-1]).all(axis=2).mean())


def _looked_at(picture: Source) -> Iterator[Samples]:
    """Some rows of an image, from top to bottom."""
    for eighth in _BANDS:
        top = max(0, min(picture.height * eighth // 8, picture.height - _ROWS))
        yield picture.rows(top, min(top + _ROWS, picture.height)).copy()


def _encode_planes(planes: Planes, tools: Tools) -> bytes:
    """One or three byte planes as a file of version 1, by the model that suits them best."""
    picture = Picture(np.ascontiguousarray(planes))
    turn, model = orientation_search.chosen(picture, tools.models, tools.effort)
    return tile_encoder.encode(picture, model, tools.effort, level=tools.level, turn=turn)
