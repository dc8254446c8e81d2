"""Many pictures or files at once, by an engine that walks tiles of one size together.

The bytes are those of `codec.encode`, one by one, at every level. For GPUs, which are idle with
one image; on CPUs processes are faster (`ncml_cli.batch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ncml_codec import lattice, levels, png
from ncml_codec.batch_walks import Alike, BatchEngine, decode_tiles, encode_tiles
from ncml_codec.codec import TILE_EXPONENT, Progress, Samples, samples_crc
from ncml_codec.colours import cell_count
from ncml_codec.container import Container, Header, Tile, write_container
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.levels import Level
from ncml_codec.model import Model
from ncml_codec.network import Network, named_layers
from ncml_codec.pixels import Picture
from ncml_codec.strength import BODY, STATIC, colour_mode, learning
from ncml_codec.turns import UPRIGHT, restored, turned, turned_sides

# Pixels that are walked together, enough for a GPU; a parameter of which every image has its own
# counts as one. On the CPU `photo` takes 24 to 366 bytes for each, the most for small images that
# do not learn: bench/notebook/engines.md.
TOGETHER = 1 << 24
CELLS = 4  # of colours, 12 bytes each, take the place of a parameter


def encode(
    pictures: Sequence[Picture],
    model: Model,
    engine: BatchEngine,
    tile_exponent: int = TILE_EXPONENT,
    level: int | Level = levels.DEFAULT,
    progress: Progress = lambda pixels: None,
    turns: Sequence[int] | None = None,
) -> list[bytes]:
    """Every picture's file: the bytes of `codec.encode` at this level.

    turns: of each picture, the one in which it is coded; None for all upright.
    """
    strengths = levels.at(level).strengths
    headers = [
        Header(one.width, one.height, one.planes, model.identity, tile_exponent, turn)
        for one, turn in zip(pictures, turns or [UPRIGHT] * len(pictures), strict=True)
    ]
    tile_turns = [header.turn for header in headers for _ in header.tiles()]
    parts = [
        picture.samples[top : top + height, left : left + width]
        for picture, header in zip(pictures, headers, strict=True)
        for top, left, height, width in header.tiles()
    ]
    tiles: list[Tile] = [Tile(b"", 0)] * len(parts)
    tried = [levels.candidates(strengths, lattice.modes(part)) for part in parts]
    laid = [turned(part, turn) for part, turn in zip(parts, tile_turns, strict=True)]
    # A tile that is tried in all colour modes has the cells of the one that has most.
    alike = [
        Alike(part.shape[0], part.shape[1], part.shape[2], max(candidates))
        for part, candidates in zip(laid, tried, strict=True)
    ]
    for group in _groups(alike, model.network):
        samples = np.stack([laid[index] for index in group])
        found = encode_tiles(engine, samples, tried[group[0]], progress)
        for index, (adaptation, payload) in zip(group, found, strict=True):
            crc = samples_crc(parts[index])
            tiles[index] = Tile(payload, crc, adaptation, tile_turns[index])
    files, at = [], 0
    for picture, header in zip(pictures, headers, strict=True):
        own = tiles[at : at + header.tile_count()]
        at += len(own)
        files.append(write_container(Container(header, png.pack_chunks(picture.chunks), own)))
    return files


def decode(
    files: Sequence[Container], engine: BatchEngine, progress: Progress = lambda pixels: None
) -> list[Samples | FormatError]:
    """Every file's samples [height, width, planes], or what is wrong with its payload.

    All files must have been made with the engine's model.
    """
    found: list[Samples | FormatError] = [
        np.empty((one.header.height, one.header.width, one.header.planes), np.uint8)
        for one in files
    ]
    places = [
        (number, place, tile)
        for number, file in enumerate(files)
        for place, tile in zip(file.header.tiles(), file.tiles, strict=True)
    ]
    alike = [
        Alike(*turned_sides(height, width, tile.turn), files[number].header.planes, tile.adaptation)
        for number, (_, _, height, width), tile in places
    ]
    for group in _groups(alike, engine.network):
        payloads = [places[index][2].payload for index in group]
        results = decode_tiles(engine, alike[group[0]], payloads, progress)
        for index, result in zip(group, results, strict=True):
            number, (top, left, height, width), tile = places[index]
            whole = found[number]
            if isinstance(whole, FormatError):
                continue
            if isinstance(result, FormatError):
                found[number] = result
                continue
            samples = restored(result, tile.turn)
            if samples_crc(samples) != tile.samples_crc:
                found[number] = ChecksumMismatch(
                    f"tile at row {top}, column {left}: the decoded samples do not match their"
                    " checksum: that one is damaged, or the encoder or this decoder was at fault"
                )
            else:
                whole[top : top + height, left : left + width] = samples
    return found


def _groups(alike: Sequence[Alike], network: Network) -> Iterator[list[int]]:
    """Indices of tiles that are alike, no more of them together than TOGETHER allows."""
    found: dict[Alike, list[int]] = {}
    for index, one in enumerate(alike):
        found.setdefault(one, []).append(index)
    for one, indices in found.items():
        size = one.height * one.width + _own_parameters(network, one.strength)
        step = max(1, TOGETHER // size)
        for at in range(0, len(indices), step):
            yield indices[at : at + step]


def _own_parameters(network: Network, strength: int) -> int:
    """About how many parameters learn, so that every image has its own; and CELLS are one more."""
    cells = cell_count(colour_mode(strength)) // CELLS
    if learning(strength) == STATIC:
        return cells
    learn = "" if learning(strength) > BODY else "heads."
    layers = [layer for name, layer in named_layers(network) if name.startswith(learn)]
    return cells + sum(layer.weight.size for layer in layers)
