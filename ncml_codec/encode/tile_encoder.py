"""Photographs into tiles: every tile in the adaptation that makes it smallest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ncml_codec.decode import costs, memory
from ncml_codec.decode.tile_walk import (
    TILE_EXPONENT,
    Effort,
    Progress,
    Samples,
    code_survey,
    engine_for,
    samples_crc,
    walk_tile,
    within,
)
from ncml_codec.encode import colour_search, levels
from ncml_codec.encode.levels import Level, Trials
from ncml_codec.engines import Comparer, Engine
from ncml_codec.engines.thread_shares import in_order
from ncml_codec.entropy.coder import Encoder
from ncml_codec.errors import UnsupportedImage
from ncml_codec.format.adaptation import COLOURS
from ncml_codec.format.container import (
    MAX_TILES,
    Container,
    Header,
    Tile,
    write_container,
)
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
    """The file's bytes for a picture. The same for every engine and number of threads.

    level: of `levels.LEVELS`, 1 to 9; turn: in which it is coded, see `orientation`. Rows are asked
    for once, from top to bottom, a row of tiles at a time. Raises UnsupportedImage for other kinds
    than 8-bit grey and RGB: see `image_encoder`.
    """
    if not picture.kind.is_first_version:
        raise UnsupportedImage(f"{picture.kind} samples in format version 1")
    effort = effort or Effort()
    strengths = levels.at(level).strengths
    size = (picture.width, picture.height, picture.planes)
    header = Header(*size, model.identity, tile_exponent, turn)
    if header.tile_count() > MAX_TILES:
        raise UnsupportedImage(f"{header.tile_count()} tiles: a file has at most {MAX_TILES}")
    held, banded = held_by(picture), not isinstance(picture, Picture)
    # Whether colours may be counted, which one thread decides: bytes do not depend on threads.
    most = effort.memory
    with_colours = held + memory.of_tiles(header, model.network, 1, True, True, banded)
    counts = most is None or with_colours <= most
    effort = within(effort, header, model, held, True, counts, banded)
    engine, at_once = engine_for(effort, model, [place[2:] for place in header.tiles()])
    adapts = may_adapt(header, model, strengths)

    def one(samples: Samples) -> Tile:
        return encode_tile(engine, samples, strengths, effort.progress, turn, adapts, counts)

    tiles = list(in_order(one, _samples(picture, header), at_once))
    return write_container(Container(header, png_chunks.pack_chunks(picture.chunks), tiles))


def may_adapt(header: Header, model: Model, strengths: Sequence[int]) -> bool:
    """Whether an image may be coded with these strengths and the most costly of colours, too.

    Fewer may than `Header.may_adapt` lets: no image is to come near the default limit of work.
    """
    colours = 3 * COLOURS if header.planes == 3 else 0
    return header.may_adapt and all(
        costs.of_network(header, strength + colours, model.network).is_honest
        for strength in strengths
    )


def encode_tile(
    engine: Engine,
    samples: Samples,
    strengths: Sequence[int],
    progress: Progress = lambda pixels: None,
    turn: int = UPRIGHT,
    adapts: bool = True,
    counts: bool = True,
) -> Tile:
    """The tile coded with the strength and the colour mode that make it smallest.

    It is never larger than with STATIC. turn: in which it is coded, see `orientation`. adapts:
    False for STATIC alone, see `may_adapt`. counts: whether colours may be counted. progress: hears
    of the pixels once, and of none while more is tried, so that what it raises ends any work soon.
    """
    modes = (colour_search.modes(samples) if counts else (0,)) if adapts else ()
    trials = Trials(levels.candidates(strengths, modes))
    laid = np.ascontiguousarray(turned(samples, turn))

    def silently(pixels: int) -> None:
        progress(0)

    told = progress
    while (adaptation := trials.next()) is not None:
        encoder = Encoder()
        code_lengths: Mapping[int, float] = {}
        unknown = trials.unknown(adaptation)
        if unknown and isinstance(engine, Comparer):
            comparison = engine.compare(laid, adaptation, unknown)
            code_survey(comparison, samples.shape[2], encoder, told)
            code_lengths = comparison.code_lengths
        else:
            walk_tile(engine, laid.shape, laid, encoder, told, adaptation)
        trials.take(adaptation, encoder.finish(), code_lengths)
        told = silently
    kept, payload = trials.smallest()
    return Tile(payload, samples_crc(samples), kept, turn)


def held_by(picture: Source) -> int:
    """Bytes that a picture takes besides coding: its metadata; if it is not read by rows, all."""
    held = png_chunks.held_bytes(picture.chunks)
    if isinstance(picture, Picture):
        held += picture.samples.nbytes + (picture.packed_bytes or 0)
    return held


def _samples(picture: Source, header: Header) -> Iterator[Samples]:
    """The samples of every tile in order, views of one row of tiles after the other."""
    band = _NOTHING
    for top, left, height, width in header.tiles():
        if left == 0:
            band = picture.rows(top, top + height)
        # A copy, so that no tile keeps its band; and the band goes before the next one comes.
        tile = np.ascontiguousarray(band[:, left : left + width])
        if left + width == header.width:
            band = _NOTHING
        yield tile
