"""Samples out of their tiles: a network's layer in, bands of samples out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ncml_codec.decode.effort import Effort, Progress, Samples, engine_for, samples_crc, within
from ncml_codec.engines import Engine
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.format.tiles import Tile, TileLayout, Tiles
from ncml_codec.network.model_file import Model
from ncml_codec.picture.orientation import restored, turned_sides

LOST = 128  # the grey level of tiles that could not be decoded
Place = tuple[int, int, int, int]  # top, left, height, width


def bands_of(
    layer: Tiles,
    model: Model,
    effort: Effort,
    held: int = 0,
    damage: dict[int, FormatError] | None = None,
) -> Iterator[Samples]:
    """The samples of each row of tiles, from top to bottom: uint8 [rows, width, planes].

    They are decoded as they are asked for, and each is valid until the next is asked for. held:
    bytes of memory that the file takes besides its payloads. Raises FormatError if a tile is not
    sound. damage: what is wrong with the tiles of these numbers, to which tiles that turn out to be
    damaged are added; all of them become grey. None: the first one is raised.
    """
    layout, places = layer.layout, layer.layout.tiles()
    held += 2 * sum(len(tile.payload) for tile in layer.tiles)
    colours = any(tile.adaptation.colour_mode for tile in layer.tiles)
    effort = within(effort, layout, model, held, encoding=False, colours=colours)
    engine, at_once = engine_for(effort, model, [place[2:] for place in places])

    def one(item: tuple[int, Place, Tile]) -> tuple[Place, Samples]:
        index, place, tile = item
        if damage is None:
            return place, decode_tile(engine, layout, place, index, tile, effort.advance)
        if index not in damage:
            try:
                return place, decode_tile(engine, layout, place, index, tile, effort.advance)
            except FormatError as error:
                damage[index] = error
        return place, np.full((*place[2:], layout.planes), LOST, np.uint8)

    items = zip(range(len(places)), places, layer.tiles, strict=True)
    # One band for all rows of tiles: whoever reads it may hold it while the next one is decoded.
    band = np.empty((places[0][2], layout.width, layout.planes), np.uint8)
    for (_, left, height, width), decoded in in_order(one, items, at_once):
        band[:height, left : left + width] = decoded
        if left + width == layout.width:
            yield band[:height]


def decode_tile(
    engine: Engine, layout: TileLayout, place: Place, index: int, tile: Tile, progress: Progress
) -> Samples:
    """The tile's samples [height, width, planes]. Raises FormatError; index: for its message."""
    shape = (*place[2:], layout.planes)
    try:
        decoded = _decoded(engine, shape, tile, layout.turn, progress)
    except FormatError as error:
        raise type(error)(f"tile {index}: {error}") from error
    if samples_crc(decoded) != tile.samples_crc:
        raise ChecksumMismatch(
            f"tile {index}: the decoded samples do not match their checksum: that one is damaged,"
            " or the encoder or this decoder was at fault"
        )
    return decoded


def _decoded(
    engine: Engine, shape: tuple[int, ...], tile: Tile, turn: int, progress: Progress
) -> Samples:
    """A tile of this shape, as it lies in the image."""
    laid = (*turned_sides(shape[0], shape[1], turn), shape[2])
    samples = np.empty(laid, np.uint8)
    for pixels in engine.read(tile.payload, samples, tile.adaptation):
        progress(pixels)
    return restored(samples, turn)
