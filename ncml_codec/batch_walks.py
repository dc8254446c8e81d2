"""Tiles of one size coded together: one walk for all of them, and a coder for each.

What `codec.encode_tile` and `codec.decode_tile` do for one. Where tiles learn, each learns from
itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ncml_codec.codec import Progress, Samples
from ncml_codec.coder import Decoder, Encoder
from ncml_codec.errors import FormatError
from ncml_codec.levels import Trials
from ncml_codec.network import PLANES, Integers, Network
from ncml_codec.strength import STATIC
from ncml_codec.tables import Doubles, Weights
from ncml_codec.wave import wave_count, wave_pixels


@dataclass(frozen=True)
class Alike:
    """What tiles have in common that are coded together. strength: see `strength`; when several are
    tried, the one that takes the most memory."""

    height: int
    width: int
    planes: int
    strength: int


def encode_tiles(
    engine: BatchEngine, samples: Samples, candidates: Sequence[int], progress: Progress
) -> list[tuple[int, bytes]]:
    """For tiles [image, height, width, planes], the adaptation and payload that make each smallest.

    candidates: as for `Trials`; progress: as for `codec.encode_tile`, whose choice this is.
    """
    trials = [Trials(candidates) for _ in samples]

    def silently(pixels: int) -> None:
        progress(0)

    told = progress
    while (wanted := [one.next() for one in trials]) != [None] * len(trials):
        for adaptation in sorted({each for each in wanted if each is not None}):
            chosen = [index for index, each in enumerate(wanted) if each == adaptation]
            comparing = any(STATIC in trials[index].unknown(adaptation) for index in chosen)
            payloads, bits = _encode(engine, samples[chosen], adaptation, comparing, told)
            for index, payload, static in zip(chosen, payloads, bits, strict=True):
                known = {STATIC: float(static)} if comparing else {}
                trials[index].take(adaptation, payload, known)
        told = silently
    return [one.smallest() for one in trials]


def _encode(
    engine: BatchEngine, samples: Samples, strength: int, comparing: bool, progress: Progress
) -> tuple[list[bytes], Doubles]:
    """The tiles' payloads; and, comparing, their code lengths at STATIC, else zeros."""
    count, height, width, planes = samples.shape
    pixels = samples.reshape(count, height * width, planes)
    encoders = [Encoder() for _ in range(count)]
    walk = engine.walk_together(count, height, width, strength)
    for wave in range(wave_count(height, width)):
        # The slice of an odd wave of a one pixel wide image, which is empty, is not empty.
        if width == 1 and wave % 2:
            continue
        values = pixels[:, wave_pixels(wave, height, width)].astype(np.int32)
        weights = walk.compared(wave, values) if comparing else walk.known(wave, values)
        # [image, plane, high and low, pixel]
        symbols = np.stack([values >> 4, values & 15], axis=1).transpose(0, 3, 1, 2)
        for encoder, own, known in zip(encoders, weights, symbols, strict=True):
            encoder.code(own, known.reshape(-1))
        progress(count * values.shape[1])
    return [encoder.finish() for encoder in encoders], walk.static_bits


def decode_tiles(
    engine: BatchEngine,
    alike: Alike,
    payloads: Sequence[bytes | memoryview],
    progress: Progress,
) -> list[Samples | FormatError]:
    """The samples [height, width, planes] of each tile, or what is wrong with its payload."""
    height, width, planes = alike.height, alike.width, alike.planes
    count = len(payloads)
    values = np.zeros((count, height * width, planes), np.uint8)
    decoders = [_Stream(payload) for payload in payloads]
    walk = engine.walk_together(count, height, width, alike.strength)
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


class BatchWalk(Protocol):
    """Images of one size, wave by wave; see `engines.torch_walk.BatchWalk`."""

    def begin(self, wave: int) -> int: ...

    def high(self, plane: int) -> Weights: ...

    def low(self, plane: int, high: Integers) -> Weights: ...

    def put(self, plane: int, values: Integers) -> None: ...

    def known(self, wave: int, values: Integers) -> Weights: ...

    def compared(self, wave: int, values: Integers) -> Weights: ...

    @property
    def static_bits(self) -> Doubles: ...


class BatchEngine(Protocol):
    """See `engines.torch_engine.TorchEngine`."""

    network: Network

    def walk_together(self, count: int, height: int, width: int, strength: int) -> BatchWalk: ...


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
