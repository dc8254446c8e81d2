"""The smallest file of an image in layers, of all ways that are tried: see `evaluator`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ncml_codec.decode import layers, memory
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import CODERS, Tools
from ncml_codec.encode import excerpt, levels, orientation_search, tile_encoder
from ncml_codec.format import byte_planes
from ncml_codec.format.byte_planes import Planes, Transformed
from ncml_codec.format.container import (
    Container,
    Header,
    Layer,
    Method,
    Transform,
    layer_bytes,
    write,
)
from ncml_codec.format.tiles import Tiles
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture

_SMALL = 1 << 12  # pixels of a plane up to which WebP and deflate are tried on noise
_NOISE = 0.1  # less of them, and WebP is behind the network and zstd
_THOROUGH = 9  # the level from which on everything is tried
# Bytes of planes up to which mixing is tried at level 1 and above, at half a microsecond to five
# each. Where it is tried, WebP is not: WebP takes longer and is hardly ever smaller
# (bench/notebook/context-mixing.md, "Which ways are tried").
_QUICK, _MIXED = 1 << 17, 1 << 25
LEVELS = 24  # different bytes of a plane, below which a network for photographs has no chance


def encoding_tools(
    models: Sequence[Model], effort: Effort, level: int = levels.DEFAULT, wide: bool = False
) -> Tools:
    """What layers are encoded with; see `layers.Tools`."""
    return Tools(models, effort, level, wide, encode_network=_encode_planes)


def smallest(picture: Picture, tools: Tools) -> bytes:
    """The smallest file of all that are tried; none that is a photograph's (`tile_encoder`)."""
    kind, metadata = picture.kind, png_chunks.pack_chunks(picture.chunks)
    crc = byte_planes.samples_crc(picture.samples)
    smallest_so_far = b""

    def add(made: Transformed, coded: Sequence[Layer | Tiles]) -> None:
        nonlocal smallest_so_far
        header = Header(picture.width, picture.height, kind, made.transform, made.low_bits)
        data = write(Container(header, metadata, made.table, coded, crc))
        if not smallest_so_far or len(data) < len(smallest_so_far):
            smallest_so_far = data

    for made in byte_planes.choices(picture.samples, kind):
        for edges in cuts(made, kind):
            parts = [made.planes[:, :, start:stop] for start, stop in pairwise(edges)]
            wide = made.low_bits == 8 and len(parts) == 1
            is_plain = made.transform == Transform.SAMPLES and not made.low_bits
            is_photograph = is_plain and len(parts) == 1 and kind.suits_network
            skipped = {Method.NETWORK} if is_photograph else set()
            wide_tools = replace(tools, wide=wide)
            add(made, [_smallest_layer(part, wide_tools, skipped) for part in parts])
    if picture.image_data is not None:
        wide = kind.bit_depth == 16
        planes = kind.channels * (2 if wide else 1)
        nothing = np.empty((0, 0, planes), np.uint8)
        kept = Transformed(Transform.SAMPLES, 8 if wide else 0, b"", nothing)
        add(kept, [layers.kept_stream(picture.image_data, planes, kind.bit_depth)])
    return smallest_so_far


def memory_needed(
    kind: Kind,
    size: tuple[int, int],
    models: Sequence[Model],
    level: int,
    methods: Collection[Method] | None = None,
) -> int:
    """Bytes that `smallest` takes for an image of size (height, width), whatever its samples.

    methods: as of `layers.Tools`.
    """
    byte_planes = kind.channels * (2 if kind.bit_depth == 16 else 1)
    networks = [each.network for each in models]
    pixels = size[0] * size[1]
    found = [
        memory.of_layer(method, *size, planes, True, networks, level)
        for planes in range(1, byte_planes + 1)
        for method, coder in CODERS.items()
        if coder.takes((*size, planes))
        and (methods is None or method in methods)
        and (level >= _THOROUGH or method != _left_out(pixels * planes, level))
    ]
    return memory.of_layers(*size, byte_planes, True, found)


def cuts(made: Transformed, kind: Kind) -> Iterator[list[int]]:
    """Where planes are cut into layers: nowhere, and between colours, alpha and low parts.

    Not the first if a part is the same everywhere, as alpha often is: it costs nothing apart.
    """
    planes = made.planes.shape[2]
    ends = {planes}
    for start in range(0, planes, made.numbers):
        ends |= {
            start,
            start + (kind.colours if made.transform != Transform.PALETTE else 1),
        }
    edges = sorted(ends)
    parts = [made.planes[:, :, start:stop] for start, stop in pairwise(edges)]
    if len(parts) == 1 or not any((part == part[0, 0]).all() for part in parts):
        yield [0, planes]
    if len(parts) > 1:
        yield edges


def _smallest_layer(planes: Planes, tools: Tools, skipped: set[Method]) -> Layer | Tiles:
    """skipped: methods that are not tried."""
    planes = np.ascontiguousarray(planes)
    hopeless = skipped | (_hopeless(planes, tools.level) if tools.level < _THOROUGH else set())
    smallest_so_far: Layer | Tiles | None = None
    for method, coder in CODERS.items():
        is_wanted = tools.methods is None or method in tools.methods
        if is_wanted and coder.takes(planes.shape) and method not in hopeless:
            tools.effort.check()
            made = coder.encode(planes, tools)
            if smallest_so_far is None or layer_bytes(made) < layer_bytes(smallest_so_far):
                smallest_so_far = made
    return smallest_so_far or CODERS[Method.ZSTD].encode(planes, tools)


def _hopeless(planes: Planes, level: int) -> set[Method]:
    """Methods that need not be tried, or are too slow for the level."""
    others = set(Method) - {Method.ZSTD}
    if (planes == planes[0, 0]).all():
        return others
    found = set()
    if int((np.bincount(planes[:, :, 0].reshape(-1)) > 0).sum()) < LEVELS:
        found.add(Method.NETWORK)
    if planes[:, :, 0].size > _SMALL and equal_neighbours(planes) < _NOISE:
        found |= {Method.WEBP, Method.DEFLATE}
    return found | {_left_out(planes.size, level)}


def _left_out(count: int, level: int) -> Method:
    """Of WebP and mixing the one that is not tried for so many bytes, but at the highest level."""
    return Method.WEBP if count <= (_QUICK if level == 1 else _MIXED) else Method.MIXING


def equal_neighbours(planes: Planes) -> float:
    """The share of pixels that equal their left neighbour; 1 if there are none."""
    if planes.shape[1] == 1:
        return 1.0
    return float((planes[:, 1:] == planes[:, :-1]).all(axis=2).mean())


def _encode_planes(planes: Planes, tools: Tools) -> Tiles:
    """One or three byte planes in tiles, by the model that suits them best."""
    picture = Picture(np.ascontiguousarray(planes))
    turn, model = orientation_search.chosen(excerpt.of(picture), tools.models, tools.effort)
    return tile_encoder.encode_layer(picture, model, tools.effort, level=tools.level, turn=turn)
