"""Photographs out of their tiles: container in, bands of samples out.

The native engine takes a payload and walks alone (`engines.Reader`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ncml_codec.decode import memory
from ncml_codec.decode.tile_walk import (
    Effort,
    Progress,
    Samples,
    engine_for,
    samples_crc,
    walk_tile,
    within,
)
from ncml_codec.engines import Engine, Reader
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.entropy.coder import Decoder
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.format.adaptation import colour_mode
from ncml_codec.format.container import (
    Container,
    Header,
    Tile,
    read_container,
)
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.orientation import restored, turned_sides

LOST = 128  # the grey level of tiles that could not be decoded
Place = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Opened:
    """A file whose header, checksums and metadata are sound, and whose model is at hand.

    chunks: metadata, as in `Picture`. bands: decodes as it is read, once: the samples of each row
    of tiles, from top to bottom, each valid until the next is asked for; raises FormatError if a
    tile is not sound.
    """

    container: Container
    model: Model
    chunks: Sequence[png_chunks.Chunk]
    bands: Iterator[Samples]

    @property
    def header(self) -> Header:
        return self.container.header


def open_file(
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Opened:
    """A file's bytes, ready to be decoded. models: looked at before the released ones.

    Raises FormatError (its kinds say which) for anything but a sound file whose model is at hand.
    """
    effort = effort or Effort()
    container = read_container(data, max_pixels)
    header = container.header
    memory.check(effort.memory, memory.of_metadata(container.metadata))
    chunks = png_chunks.unpack_chunks(container.metadata)
    _, model = released_models.find(header.identity, models)
    return Opened(container, model, chunks, bands_of(container, model, effort))


def bands_of(
    container: Container,
    model: Model,
    effort: Effort,
    damage: dict[int, FormatError] | None = None,
) -> Iterator[Samples]:
    """See `Opened.bands`.

    damage: what is wrong with the tiles of these numbers, to which tiles that turn out to be
    damaged are added; all of them become grey. None: the first one is raised.
    """
    header = container.header
    held = 2 * sum(len(tile.payload) for tile in container.tiles)
    held += 2 * len(container.metadata) + memory.of_metadata(container.metadata)
    colours = any(colour_mode(tile.adaptation) for tile in container.tiles)
    effort = within(effort, header, model, held, encoding=False, colours=colours)
    engine, at_once = engine_for(effort, model, [place[2:] for place in header.tiles()])

    def one(item: tuple[int, Place, Tile]) -> tuple[Place, Samples]:
        index, place, tile = item
        shape = (*place[2:], header.planes)
        if damage is None:
            return place, decode_tile(engine, shape, index, tile, effort.progress)
        if index not in damage:
            try:
                return place, decode_tile(engine, shape, index, tile, effort.progress)
            except FormatError as error:
                damage[index] = error
        return place, np.full(shape, LOST, np.uint8)

    places = header.tiles()
    items = zip(range(len(places)), places, container.tiles, strict=True)
    # One band for all rows of tiles: whoever reads it may hold it while the next one is decoded.
    band = np.empty((places[0][2], header.width, header.planes), np.uint8)
    for (_, left, height, width), decoded in in_order(one, items, at_once):
        band[:height, left : left + width] = decoded
        if left + width == header.width:
            yield band[:height]


def decode_tile(
    engine: Engine, shape: tuple[int, ...], index: int, tile: Tile, progress: Progress
) -> Samples:
    """Samples of shape [height, width, planes]. Raises FormatError; index: for its message."""
    try:
        decoded = _decoded(engine, shape, tile, progress)
    except FormatError as error:
        raise type(error)(f"tile {index}: {error}") from error
    if samples_crc(decoded) != tile.samples_crc:
        raise ChecksumMismatch(
            f"tile {index}: the decoded samples do not match their checksum: that one is damaged,"
            " or the encoder or this decoder was at fault"
        )
    return decoded


def _decoded(engine: Engine, shape: tuple[int, ...], tile: Tile, progress: Progress) -> Samples:
    """A tile of this shape, as it lies in the image."""
    laid = (*turned_sides(shape[0], shape[1], tile.turn), shape[2])
    if not isinstance(engine, Reader):
        found = walk_tile(engine, laid, None, Decoder(tile.payload), progress, tile.adaptation)
        return restored(found, tile.turn)
    samples = np.empty(laid, np.uint8)
    for pixels in engine.read(tile.payload, samples, tile.adaptation):
        progress(pixels)
    return restored(samples, tile.turn)
