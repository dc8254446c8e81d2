"""Photographs into tiles: every tile in the adaptation that makes it smallest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ncml_codec.decode import costs, memory
from ncml_codec.decode.effort import (
    TILE_EXPONENT,
    Effort,
    Progress,
    Samples,
    engine_for,
    samples_crc,
    within,
)
from ncml_codec.encode import colour_search, levels
from ncml_codec.encode.levels import Level, Trials
from ncml_codec.engines import Engine, Survey
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.entropy.coder import Coder, Encoder
from ncml_codec.errors import UnsupportedImage
from ncml_codec.format.container import of_tiles, write
from ncml_codec.format.tiles import MAX_TILES, Tile, TileLayout, Tiles
from ncml_codec.network.adaptation import Adaptation
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.orientation import UPRIGHT, turned
from ncml_codec.picture.picture import Picture, Source

_NOTHING = np.empty((0, 0, 0), np.uint8)


def encode(
    picture: Source,
    model: Model,
    effort: Effort | None = None,
    tile_exponent: int = TILE_EXPONENT,
    level: int | Level = levels.DEFAULT,
    turn: int = UPRIGHT,
) -> bytes:
    """The bytes of a file that holds the picture in tiles; see `encode_layer`."""
    tiles = encode_layer(picture, model, effort, tile_exponent, level, turn)
    return write(of_tiles(tiles, png_chunks.pack_chunks(picture.chunks)))


def encode_layer(
    picture: Source,
    model: Model,
    effort: Effort | None = None,
    tile_exponent: int = TILE_EXPONENT,
    level: int | Level = levels.DEFAULT,
    turn: int = UPRIGHT,
) -> Tiles:
    """The picture's samples in tiles. The same for every engine and number of threads.

    level: of `levels.LEVELS`, 1 to 9; turn: in which it is coded, see `orientation`. Rows are asked
    for once, from top to bottom, a row of tiles at a time. Raises UnsupportedImage for other kinds
    than 8-bit grey and RGB: see `image_encoder`.
    """
    if not picture.kind.suits_network:
        raise UnsupportedImage(f"{picture.kind} samples, which the network does not code")
    effort = effort or Effort()
    learning = levels.at(level).adaptations
    size = (picture.width, picture.height, picture.planes)
    layout = TileLayout(*size, model.identity, tile_exponent, turn)
    if layout.tile_count() > MAX_TILES:
        raise UnsupportedImage(f"{layout.tile_count()} tiles: a file has at most {MAX_TILES}")
    held, banded = held_by(picture), not isinstance(picture, Picture)
    # Whether colours may be counted, which one thread decides: bytes do not depend on threads.
    most = effort.memory
    with_colours = held + memory.of_tiles(layout, model.network, 1, True, True, banded)
    counts = most is None or with_colours <= most
    effort = within(effort, layout, model, held, True, counts, banded)
    engine, at_once = engine_for(effort, model, [place[2:] for place in layout.tiles()])
    adapts = may_adapt(layout, model, learning)

    def one(samples: Samples) -> Tile:
        return encode_tile(engine, samples, learning, effort, turn, adapts, counts)

    return Tiles(layout, list(in_order(one, _samples(picture, layout), at_once)))


def may_adapt(layout: TileLayout, model: Model, learning: Sequence[Adaptation]) -> bool:
    """Whether an image may be coded with any of these and the most costly of colours, too.

    Fewer may than `TileLayout.may_adapt` lets: no image is to come near the default limit of work.
    """
    mode = 3 if layout.planes == 3 else 0
    return layout.may_adapt and all(
        costs.of_network(layout, each.with_colours(mode), model.network).is_honest
        for each in learning
    )


def encode_tile(
    engine: Engine,
    samples: Samples,
    learning: Sequence[Adaptation],
    effort: Effort | None = None,
    turn: int = UPRIGHT,
    adapts: bool = True,
    counts: bool = True,
) -> Tile:
    """The tile coded with the learning and the colour mode that make it smallest.

    It is never larger than with STATIC. effort: its progress hears of the pixels once; its check
    may end the work. turn: in which it is coded, see `orientation`. adapts: False for STATIC alone,
    see `may_adapt`. counts: whether colours may be counted.
    """
    effort = effort or Effort()
    modes = (colour_search.modes(samples) if counts else (0,)) if adapts else ()
    trials = Trials(levels.candidates(learning, modes))
    laid = np.ascontiguousarray(turned(samples, turn))
    while (adaptation := trials.next()) is not None:
        encoder = Encoder()
        survey = engine.survey(laid, adaptation, trials.unknown(adaptation))
        code_survey(survey, samples.shape[2], encoder, effort.advance)
        trials.take(adaptation, encoder.finish(), survey.code_lengths)
        effort = effort.silent()
    kept, payload = trials.smallest()
    return Tile(payload, samples_crc(samples), kept)


def code_survey(survey: Survey, planes: int, coder: Coder, progress: Progress) -> None:
    """Hand all weights and symbols of a whole tile to the coder, wave by wave."""
    for weights, symbols in survey:
        coder.code(weights, symbols)
        progress(len(symbols) // (2 * planes))


def held_by(picture: Source) -> int:
    """Bytes that a picture takes besides coding: its metadata; if it is not read by rows, all."""
    held = png_chunks.held_bytes(picture.chunks)
    if isinstance(picture, Picture):
        held += picture.samples.nbytes + (picture.packed_bytes or 0)
    return held


def _samples(picture: Source, layout: TileLayout) -> Iterator[Samples]:
    """The samples of every tile in order, views of one row of tiles after the other."""
    band = _NOTHING
    for top, left, height, width in layout.tiles():
        if left == 0:
            band = picture.rows(top, top + height)
        # A copy, so that no tile keeps its band; and the band goes before the next one comes.
        tile = np.ascontiguousarray(band[:, left : left + width])
        if left + width == layout.width:
            band = _NOTHING
        yield tile
