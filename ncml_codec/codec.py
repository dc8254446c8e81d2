"""Photographs to `.ncmz` bytes of version 1 and back: tiles, each one walk with a coder in hand.

The native engine takes a payload and walks alone (`engines.Reader`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ncml_codec import engines, lattice, levels, library, memory, png
from ncml_codec.coder import Coder, Decoder, Encoder
from ncml_codec.container import (
    MAX_TILES,
    Container,
    Header,
    Tile,
    read_container,
    write_container,
)
from ncml_codec.engines import Comparer, Engine, Reader, Surveyor
from ncml_codec.errors import ChecksumMismatch, FormatError, UnsupportedImage
from ncml_codec.levels import Level, Trials
from ncml_codec.model import Model
from ncml_codec.network import PLANES, Integers
from ncml_codec.picture import Picture, Source
from ncml_codec.pixels import MAX_PIXELS
from ncml_codec.schedule import Shares, in_order, shares
from ncml_codec.strength import STATIC
from ncml_codec.tables import Weights
from ncml_codec.turns import UPRIGHT, restored, turned, turned_sides
from ncml_codec.wave import wave_count, wave_pixels

TILE_EXPONENT = 11  # 2048 x 2048: a border costs nothing measurable, memory stays small

Samples = npt.NDArray[np.uint8]
Progress = Callable[[int], None]
LOST = 128  # the grey level of tiles that could not be decoded
_NOTHING = np.empty((0, 0, 0), np.uint8)
Place = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Effort:
    """How to compute; no choice here changes a pixel, and `memory` alone may change a file's bytes.

    engine: see `engines.load`; threads: over tiles, and over a wave's pixels if there are fewer
    tiles; progress: told the pixels just done; memory: bytes that the process may take by the
    estimates of `memory`, None for any: what needs more has fewer threads or is refused.
    Further trials for a smaller file, see `images.encode`, are left out.
    """

    engine: str = "auto"
    threads: int = 1
    progress: Progress = lambda pixels: None
    memory: int | None = None


def encode(
    picture: Source,
    model: Model,
    effort: Effort | None = None,
    tile_exponent: int = TILE_EXPONENT,
    level: int | Level = levels.DEFAULT,
    turn: int = UPRIGHT,
) -> bytes:
    """The file's bytes for a picture. The same for every engine and number of threads.

    level: of `levels.LEVELS`, 1 to 9; turn: in which it is coded, see `turns`. Rows are asked for
    once, from top to bottom, a row of tiles at a time. Raises UnsupportedImage for other kinds than
    8-bit grey and RGB: see `images`.
    """
    if not picture.kind.is_first_version:
        raise UnsupportedImage(f"{picture.kind} samples in format version 1")
    effort = effort or Effort()
    strengths = levels.at(level).strengths
    size = (picture.width, picture.height, picture.planes)
    header = Header(*size, model.identity, tile_exponent, turn)
    if header.tile_count() > MAX_TILES:
        raise UnsupportedImage(f"{header.tile_count()} tiles: a file has at most {MAX_TILES}")
    effort = within(effort, header, model, held_by(picture), encoding=True)
    engine, at_once = engine_for(effort, model, [place[2:] for place in header.tiles()])

    def one(samples: Samples) -> Tile:
        return encode_tile(engine, samples, strengths, effort.progress, turn, header.may_adapt)

    tiles = list(in_order(one, _samples(picture, header), at_once))
    return write_container(Container(header, png.pack_chunks(picture.chunks), tiles))


def encode_tile(
    engine: Engine,
    samples: Samples,
    strengths: Sequence[int],
    progress: Progress = lambda pixels: None,
    turn: int = UPRIGHT,
    adapts: bool = True,
) -> Tile:
    """The tile coded with the strength and the colour mode that make it smallest.

    It is never larger than with STATIC. turn: in which it is coded, see `turns`. adapts: False for
    STATIC alone, see `Header.may_adapt`. progress: hears of the pixels once, and of none while more
    is tried, so that what it raises ends any work soon.
    """
    modes = lattice.modes(samples) if adapts else ()
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
            _code_survey(comparison, samples.shape[2], encoder, told)
            code_lengths = comparison.code_lengths
        else:
            walk_tile(engine, laid.shape, laid, encoder, told, adaptation)
        trials.take(adaptation, encoder.finish(), code_lengths)
        told = silently
    kept, payload = trials.smallest()
    return Tile(payload, samples_crc(samples), kept, turn)


@dataclass(frozen=True)
class Opened:
    """A file whose header, checksums and metadata are sound, and whose model is at hand.

    chunks: metadata, as in `Picture`. bands: decodes as it is read, once: the samples of each row
    of tiles, from top to bottom, each valid until the next is asked for; raises FormatError if a
    tile is not sound.
    """

    container: Container
    model: Model
    chunks: Sequence[png.Chunk]
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
    chunks = png.unpack_chunks(container.metadata)
    _, model = library.find(header.identity, models)
    return Opened(container, model, chunks, bands_of(container, model, effort))


def walk_tile(
    engine: Engine,
    shape: tuple[int, ...],
    samples: Samples | None,
    coder: Coder,
    progress: Progress = lambda pixels: None,
    strength: int = STATIC,
) -> Samples:
    """Code one tile of shape [height, width, planes]: the walk of both directions, for any engine.

    strength: how the tile adapts, see `strength`.

    samples: the tile when encoding, None when decoding. Returns the tile. A grey tile is fed to
    the network as three equal planes, of which only the first is coded.
    """
    height, width, planes = shape
    if samples is not None and isinstance(engine, Surveyor):
        _code_survey(engine.survey(samples, strength), planes, coder, progress)
        return samples
    values = np.empty(shape, np.uint8) if samples is None else np.ascontiguousarray(samples)
    pixels = values.reshape(height * width, planes)
    walk = engine.walk(height, width, strength)
    for wave in range(wave_count(height, width)):
        count = walk.begin(wave)
        if count == 0:  # odd waves of an image that is one pixel wide
            continue
        here = pixels[wave_pixels(wave, height, width)]
        for plane in range(planes):
            known = None if samples is None else here[:, plane].astype(np.int32)
            high = coder.code(walk.high(plane), None if known is None else known >> 4)
            low = coder.code(walk.low(plane, high), None if known is None else known & 15)
            coded = (high << 4) | low
            if samples is None:
                here[:, plane] = coded
            walk.put(plane, coded)
        for plane in range(planes, PLANES):
            walk.put(plane, coded)
        progress(count)
    return values


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


def _code_survey(
    survey: Iterable[tuple[Weights, Integers]], planes: int, coder: Coder, progress: Progress
) -> None:
    for weights, symbols in survey:
        coder.code(weights, symbols)
        progress(len(symbols) // (2 * planes))


def samples_crc(samples: Samples) -> int:
    """CRC-32 of samples, one byte each, by rows, pixels, planes."""
    return zlib.crc32(np.ascontiguousarray(samples).data)


def engine_for(
    effort: Effort, model: Model, sizes: Sequence[tuple[int, int]]
) -> tuple[Engine, int]:
    """The engine with the threads that it gets within a tile, and the tiles coded at once.

    sizes: (height, width) of every tile, in the order in which they are coded.
    """
    name = engines.chosen(effort.engine)
    share: Shares = shares(sizes, effort.threads, within=name == "native")
    return engines.load(name, model.network, share.threads), share.at_once


def within(effort: Effort, header: Header, model: Model, held: int, encoding: bool) -> Effort:
    """With as many threads as its memory allows. held: bytes besides. Raises BeyondLimit."""

    def need(threads: int) -> int:
        return held + memory.of_tiles(header, model.network, threads, encoding)

    return replace(effort, threads=memory.threads_within(effort.memory, effort.threads, need))


def held_by(picture: Source) -> int:
    """Bytes that a picture takes besides coding: its metadata; if it is not read by rows, all."""
    held = memory.of_chunks(picture.chunks)
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
    effort = within(effort, header, model, held, encoding=False)
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
