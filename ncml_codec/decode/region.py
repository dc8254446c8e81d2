"""A rectangle of an image, from a file of which as little as possible is decoded.

Of a photograph only the tiles that the rectangle touches are looked at: their checksums and those
of header and metadata are checked, all others are not. Of a baseline JPEG file only the tiles
around it are decoded, and the digest of the whole is not checked. Any other file is one piece: it
is decoded and checked whole, then cut. FORMAT.md, section 1.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncml_codec.decode import costs, image_decoder, jpeg_decoder, memory
from ncml_codec.decode.effort import Effort, engine_for, within
from ncml_codec.decode.image_decoder import Opened
from ncml_codec.decode.tile_decoder import Place, decode_tile
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.errors import UsageError
from ncml_codec.format import directory
from ncml_codec.format.container import Section
from ncml_codec.format.kept_file import KeptHead
from ncml_codec.format.tiles import Tile, TileLayout
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.picture import Samples


@dataclass(frozen=True)
class Region:
    """x, y: column and row of its upper left pixel, from 0; width, height: at least 1."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    def check(self, width: int, height: int) -> None:
        """Raise UsageError unless it lies in an image of this size."""
        if self.x + self.width > width or self.y + self.height > height:
            raise UsageError(
                f"region {self}: ends before column {self.x + self.width} and row"
                f" {self.y + self.height}, but the image has {width} x {height} pixels"
            )

    def within(self, place: Place) -> tuple[slice, slice]:
        """The rows and columns that it shares with a tile, as the tile counts them; maybe none."""
        top, left, height, width = place
        rows = slice(max(self.y - top, 0), min(self.y + self.height - top, height))
        return rows, slice(max(self.x - left, 0), min(self.x + self.width - left, width))

    def touches(self, place: Place) -> bool:
        """Whether it shares a pixel with a tile."""
        return all(part.start < part.stop for part in self.within(place))


def region_of(numbers: Iterable[int]) -> Region:
    """The region of four numbers x, y, width, height. Raises UsageError."""
    found = list(numbers)
    try:
        x, y, width, height = map(operator.index, found)
    except (TypeError, ValueError) as error:
        raise UsageError(f"region {found}: not four whole numbers x, y, width, height") from error
    region = Region(x, y, width, height)
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise UsageError(f"region {region}: x and y must be 0 or more, width and height 1 or more")
    return region


def open_file(
    data: bytes,
    region: Region,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
    max_work: int | None = None,
) -> Opened:
    """As `images.open_file`, of an image that is the region alone; metadata is that of the whole.

    max_pixels, max_work: of the whole image. Raises FormatError, UsageError for a region that is
    not inside.
    """
    effort = effort or Effort()
    found = directory.read_directory(data, max_pixels)
    header, tiled = found.header, found.tiled
    region.check(header.width, header.height)
    if found.kept is not None:
        kept = _of_jpeg(found.kept, data, region, effort, max_pixels, max_work)
        if kept is not None:
            return kept
    if tiled is None or tiled.layout is None:
        opened = image_decoder.open_file(data, models, effort, max_pixels, max_work)
        place = (0, 0, opened.height, opened.width)
        cut = (band[region.within(place)] for band in opened.bands)  # there is one band
        return replace(opened, width=region.width, height=region.height, bands=cut)
    section = found.section(data, Section.METADATA)
    held = memory.of_metadata(section)
    memory.check(effort.memory, held)
    chunks = png_chunks.unpack_chunks(section)
    layout = tiled.layout
    touched = [
        (index, place, tiled.tile(data, index, begin))
        for index, (place, begin) in enumerate(
            zip(layout.tiles(), tiled.tile_begins(), strict=False)  # the last begin is an end
        )
        if region.touches(place)
    ]
    _, model = released_models.find(layout.identity, models)
    costs.of_network(layout, tiled.adaptation, model.network).check(max_work)
    bands = _bands(layout, region, touched, model, effort, held)
    return Opened(region.width, region.height, header.kind, chunks, bands, model)


def _of_jpeg(
    kept: KeptHead,
    data: bytes,
    region: Region,
    effort: Effort,
    max_pixels: int,
    max_work: int | None,
) -> Opened | None:
    """The region of a JPEG file, by the blocks around it; None if it has to be decoded whole."""
    place = (region.y, region.x, region.height, region.width)
    found = jpeg_decoder.part(kept, data, place, (), effort, max_pixels, max_work)
    if found is None:
        return None
    file, (top, left, _, _) = found
    opened = image_decoder.of_jpeg(file, max_pixels, effort)
    rows = slice(region.y - top, region.y - top + region.height)
    columns = slice(region.x - left, region.x - left + region.width)
    cut = (band[rows, columns] for band in opened.bands)
    return replace(opened, width=region.width, height=region.height, bands=cut)


def _bands(
    layout: TileLayout,
    region: Region,
    touched: Sequence[tuple[int, Place, Tile]],
    model: Model,
    effort: Effort,
    held: int,
) -> Iterator[Samples]:
    """The region's samples, a row of tiles at a time. held: bytes of metadata."""
    colours = any(tile.adaptation.colour_mode for _, _, tile in touched)
    effort = within(effort, layout, model, held, encoding=False, colours=colours)
    engine, at_once = engine_for(effort, model, [place[2:] for _, place, _ in touched])

    def one(item: tuple[int, Place, Tile]) -> tuple[Place, Samples]:
        index, place, tile = item
        return place, decode_tile(engine, layout, place, index, tile, effort.advance)

    decoded = in_order(one, touched, at_once)
    for _, row in itertools.groupby(decoded, key=lambda item: item[0][0]):
        yield np.concatenate([samples[region.within(place)] for place, samples in row], axis=1)
