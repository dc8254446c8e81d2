"""Many pictures or files at once, by an engine that walks tiles of one size together.

The bytes are those of `codec.encode` and `codec.decode`, one by one. For GPUs, which are idle with
one image; on CPUs processes are faster (`ncml_cli.batch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from ncml_codec import png
from ncml_codec.codec import TILE_EXPONENT, Progress, Samples, samples_crc
from ncml_codec.coder import Decoder, Encoder
from ncml_codec.container import Container, Header, Tile, write_container
from ncml_codec.errors import ChecksumMismatch, FormatError, NcmlError, UsageError
from ncml_codec.model import Model
from ncml_codec.network import PLANES, Integers
from ncml_codec.pixels import Picture
from ncml_codec.strength import STATIC
from ncml_codec.tables import Weights
from ncml_codec.wave import wave_count, wave_pixels

# Pixels that are walked together: enough for a GPU, and about 2 GiB of its memory for `photo`.
TOGETHER = 1 << 24

T = TypeVar("T")


class BatchWalk(Protocol):
    """Images of one size, wave by wave; see `engines.batch.BatchWalk`."""

    def begin(self, wave: int) -> int: ...

    def high(self, plane: int) -> Weights: ...

    def low(self, plane: int, high: Integers) -> Weights: ...

    def put(self, plane: int, values: Integers) -> None: ...

    def known(self, wave: int, values: Integers) -> Weights: ...


class BatchEngine(Protocol):
    """See `engines.batch.BatchEngine`."""

    def walk(self, count: int, height: int, width: int) -> BatchWalk: ...


def encode(
    pictures: Sequence[Picture],
    model: Model,
    engine: BatchEngine,
    tile_exponent: int = TILE_EXPONENT,
    progress: Progress = lambda pixels: None,
) -> list[bytes]:
    """Every picture's file: the bytes of `codec.encode` at level 1, without learning."""
    headers = [
        Header(one.width, one.height, one.planes, model.identity, tile_exponent) for one in pictures
    ]
    parts = [
        picture.samples[top : top + height, left : left + width]
        for picture, header in zip(pictures, headers, strict=True)
        for top, left, height, width in header.tiles()
    ]
    tiles: list[Tile] = [Tile(b"", 0)] * len(parts)
    for group in _groups([part.shape for part in parts]):
        samples = np.stack([parts[index] for index in group])
        for index, payload in zip(group, _encode(engine, samples, progress), strict=True):
            tiles[index] = Tile(payload, samples_crc(parts[index]))
    found, at = [], 0
    for picture, header in zip(pictures, headers, strict=True):
        own = tiles[at : at + header.tile_count()]
        at += len(own)
        found.append(write_container(Container(header, png.pack_chunks(picture.chunks), own)))
    return found


def decode(
    files: Sequence[Container], engine: BatchEngine, progress: Progress = lambda pixels: None
) -> list[Samples | NcmlError]:
    """Every file's samples [height, width, planes], or what is wrong with its payload.

    All files must have been made with the engine's model. One that adapts to its image gives
    UsageError: here all images have the same parameters.
    """
    found: list[Samples | NcmlError] = []
    places = []
    for number, file in enumerate(files):
        header = file.header
        if any(tile.adaptation != STATIC for tile in file.tiles):
            found.append(
                UsageError(
                    "only files whose network does not learn (level 1) can be decoded together;"
                    " leave out --device"
                )
            )
            continue
        found.append(np.empty((header.height, header.width, header.planes), np.uint8))
        places += [
            (number, place, tile) for place, tile in zip(header.tiles(), file.tiles, strict=True)
        ]
    shapes = [(*place[2:], files[number].header.planes) for number, place, _ in places]
    for group in _groups(shapes):
        payloads = [places[index][2].payload for index in group]
        results = _decode(engine, shapes[group[0]], payloads, progress)
        for index, result in zip(group, results, strict=True):
            number, (top, left, height, width), tile = places[index]
            whole = found[number]
            if isinstance(whole, NcmlError):
                continue
            if isinstance(result, FormatError):
                found[number] = result
            elif samples_crc(result) != tile.samples_crc:
                found[number] = ChecksumMismatch(
                    f"tile at row {top}, column {left}: the decoded samples do not match their"
                    " checksum; the file was not written by a correct encoder, or this decoder"
                    " is at fault"
                )
            else:
                whole[top : top + height, left : left + width] = result
    return found


def _groups(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Indices of equal shapes, no more of them together than TOGETHER allows."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(index)
    for shape, indices in by_shape.items():
        step = max(1, TOGETHER // (shape[0] * shape[1]))
        for at in range(0, len(indices), step):
            yield indices[at : at + step]


def _encode(engine: BatchEngine, samples: Samples, progress: Progress) -> list[bytes]:
    """The payloads of tiles [image, height, width, planes]."""
    count, height, width, planes = samples.shape
    pixels = samples.reshape(count, height * width, planes)
    encoders = [Encoder() for _ in range(count)]
    walk = engine.walk(count, height, width)
    for wave in range(wave_count(height, width)):
        # The slice of an odd wave of a one pixel wide image, which is empty, is not empty.
        if width == 1 and wave % 2:
            continue
        values = pixels[:, wave_pixels(wave, height, width)].astype(np.int32)
        weights = walk.known(wave, values)
        # [image, plane, high and low, pixel]
        symbols = np.stack([values >> 4, values & 15], axis=1).transpose(0, 3, 1, 2)
        for encoder, own, known in zip(encoders, weights, symbols, strict=True):
            encoder.code(own, known.reshape(-1))
        progress(count * values.shape[1])
    return [encoder.finish() for encoder in encoders]


def _decode(
    engine: BatchEngine,
    shape: tuple[int, ...],
    payloads: Sequence[bytes | memoryview],
    progress: Progress,
) -> list[Samples | FormatError]:
    """Tiles of one shape [height, width, planes], or what is wrong with their payloads."""
    height, width, planes = shape
    count = len(payloads)
    values = np.zeros((count, height * width, planes), np.uint8)
    decoders = [_Stream(payload) for payload in payloads]
    walk = engine.walk(count, height, width)
    for wave in range(wave_count(height, width)):
        pixels = walk.begin(wave)
        if pixels == 0:
            continue
        here = values[:, wave_pixels(wave, height, width)]
        for plane in range(planes):
            high = _all(decoders, walk.high(plane))
            coded = (high << 4) | _all(decoders, walk.low(plane, high))
            here[:, :, plane] = coded
            walk.put(plane, coded)
        for plane in range(planes, PLANES):
            walk.put(plane, coded)
        progress(count * pixels)
    shaped = values.reshape(count, height, width, planes)
    return [
        samples if decoder.error is None else decoder.error
        for decoder, samples in zip(decoders, shaped, strict=True)
    ]


class _Stream:
    """A decoder whose failure is kept, so that the others can go on beside it."""

    def __init__(self, payload: bytes | memoryview) -> None:
        self.error: FormatError | None = None
        try:
            self._decoder = Decoder(payload)
        except FormatError as error:
            self.error = error

    def code(self, weights: Weights) -> Integers:
        if self.error is None:
            try:
                return self._decoder.code(weights, None)
            except FormatError as error:
                self.error = error
        return np.zeros(len(weights), np.int32)


def _all(decoders: Sequence[_Stream], weights: Weights) -> Integers:
    """The next symbols of every image, [image, pixels]."""
    parts = [decoder.code(own) for decoder, own in zip(decoders, weights, strict=True)]
    return np.stack(parts)
