"""Pictures to `.ncmz` bytes and back: tiles, each one walk along the waves with a coder in hand."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ncml_codec import engines, library, png
from ncml_codec.adaptation import STATIC
from ncml_codec.coder import Coder, Decoder, Encoder
from ncml_codec.container import (
    Container,
    Header,
    Tile,
    read_container,
    write_container,
)
from ncml_codec.engines import Engine, Surveyor
from ncml_codec.errors import ChecksumMismatch, FormatError, RoundTripError
from ncml_codec.model import Model
from ncml_codec.network import PLANES
from ncml_codec.pixels import Picture
from ncml_codec.wave import wave_count, wave_pixels

TILE_EXPONENT = 11  # 2048 x 2048: a border costs nothing measurable, memory stays small
MAX_PIXELS = 1 << 29

Samples = npt.NDArray[np.uint8]
Progress = Callable[[int], None]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Effort:
    """How to compute; no choice here changes a byte of a file or a pixel.

    engine: see `engines.load`; threads: over tiles, and over a wave's pixels if there are fewer
    tiles; progress: told the pixels just done.
    """

    engine: str = "auto"
    threads: int = 1
    progress: Progress = lambda pixels: None


def encode(
    picture: Picture,
    model: Model,
    effort: Effort | None = None,
    tile_exponent: int = TILE_EXPONENT,
) -> bytes:
    """The file's bytes for a picture. The same for every engine and number of threads."""
    effort = effort or Effort()
    header = Header(picture.width, picture.height, picture.planes, model.identity, tile_exponent)
    at_once = min(effort.threads, len(header.tiles()))
    engine = engines.load(effort.engine, model.network, effort.threads // at_once)

    def one(place: tuple[int, int, int, int]) -> Tile:
        top, left, height, width = place
        samples = picture.samples[top : top + height, left : left + width]
        encoder = Encoder()
        walk_tile(engine, samples.shape, samples, encoder, effort.progress)
        return Tile(encoder.finish(), samples_crc(samples))

    tiles = _map(one, header.tiles(), at_once)
    return write_container(Container(header, png.pack_chunks(picture.chunks), tiles))


def decode(
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """The picture in a file's bytes. models: looked at before the released ones.

    Raises FormatError (its kinds say which) for anything but a sound file whose model is at hand.
    """
    effort = effort or Effort()
    container = read_container(data)
    header = container.header
    if header.width * header.height > max_pixels:
        raise FormatError(
            f"an image of {header.width} x {header.height} pixels, beyond the limit of"
            f" {max_pixels} (max_pixels)"
        )
    chunks = png.unpack_chunks(container.metadata)
    _, model = library.find(header.identity, models)
    at_once = min(effort.threads, len(container.tiles))
    engine = engines.load(effort.engine, model.network, effort.threads // at_once)
    samples = np.empty((header.height, header.width, header.planes), np.uint8)

    def one(place: tuple[tuple[int, int, int, int], tuple[int, Tile]]) -> None:
        (top, left, height, width), (index, tile) = place
        decoder = Decoder(tile.payload)
        shape = (height, width, header.planes)
        decoded = walk_tile(engine, shape, None, decoder, effort.progress)
        if samples_crc(decoded) != tile.samples_crc:
            raise ChecksumMismatch(
                f"tile {index}: the decoded samples do not match their checksum; the file was not"
                " written by a correct encoder, or this decoder is at fault"
            )
        samples[top : top + height, left : left + width] = decoded

    places = zip(header.tiles(), enumerate(container.tiles), strict=True)
    _map(one, list(places), at_once)
    return Picture(samples, chunks)


def verify(data: bytes, picture: Picture, model: Model, effort: Effort | None = None) -> None:
    """Raise RoundTripError unless decoding `data` gives `picture` back, metadata included."""
    decoded = decode(data, [model], effort, max_pixels=picture.width * picture.height)
    if not np.array_equal(decoded.samples, picture.samples):
        raise RoundTripError("decoding gave other pixels; nothing was written")
    if list(decoded.chunks) != list(picture.chunks):
        raise RoundTripError("decoding gave other metadata; nothing was written")


def walk_tile(
    engine: Engine,
    shape: tuple[int, ...],
    samples: Samples | None,
    coder: Coder,
    progress: Progress = lambda pixels: None,
    strength: int = STATIC,
) -> Samples:
    """Code one tile of shape [height, width, planes]; the one walk for both directions.

    samples: the tile when encoding, None when decoding. Returns the tile. A grey tile is fed to
    the network as three equal planes, of which only the first is coded.
    """
    height, width, planes = shape
    if samples is not None and isinstance(engine, Surveyor):
        for weights, symbols in engine.survey(samples, strength):
            coder.code(weights, symbols)
            progress(len(symbols) // (2 * planes))
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


def samples_crc(samples: Samples) -> int:
    """CRC-32 of samples, one byte each, by rows, pixels, planes."""
    return zlib.crc32(np.ascontiguousarray(samples).tobytes())


def _map(function: Callable[[A], B], items: list[A], threads: int) -> list[B]:
    if threads <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
