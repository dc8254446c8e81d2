"""Where in an image the bits go: the ideal code length of every pixel, and small pictures of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.codecs.subjects import Subject
from ncml_codec import engines
from ncml_codec.decode.effort import TILE_EXPONENT
from ncml_codec.encode import orientation_search
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.model_file import Model
from ncml_codec.network.wave_order import wave_count, wave_pixels
from ncml_codec.picture.orientation import restored, turned
from ncml_codec.picture.picture import Picture

FULL_SCALE_BITS = 16.0  # a pixel's, white in a cost map; noise of all 24 bits is clipped
SIDE = 192  # of small pictures, pixels

Costs = npt.NDArray[np.float64]


def bits_by_pixel(model: Model, samples: npt.NDArray[np.uint8], engine: str) -> Costs:
    """Ideal bits of each pixel, [height, width], of the static codec; their sum is the Meter's.

    samples: uint8 [height, width, planes], 1 or 3 planes, coded in the turn that the codec takes.
    """
    height, width, planes = samples.shape
    walker = engines.load(engine, model.network)
    bits = np.zeros((height, width))
    turn = orientation_search.turn_of(Picture(samples))
    for top, left, rows, columns in TileLayout(
        width, height, planes, model.identity, TILE_EXPONENT
    ).tiles():
        tile = turned(samples[top : top + rows, left : left + columns], turn)
        meter = _PixelMeter(*tile.shape)
        walk_tile(walker, tile.shape, tile, meter)
        found = restored(meter.bits.reshape(tile.shape[:2]), turn)
        bits[top : top + rows, left : left + columns] = found
    return bits


def cost_picture(bits: Costs) -> str:
    """The costs as a small grey PNG in base64: black 0, white FULL_SCALE_BITS and more a pixel."""
    small = Image.fromarray(bits.astype(np.float32))
    small = small.resize(_small(bits.shape[1], bits.shape[0]), Image.Resampling.BOX)
    # 32 greys: a quarter of the bytes, and a step is half a bit
    levels = np.rint(np.clip(np.asarray(small) / FULL_SCALE_BITS, 0, 1) * 31)
    return _base64(Image.fromarray((levels * 255 / 31).astype(np.uint8)), "PNG", optimize=True)


def thumbnail(subject: Subject) -> str:
    """The image, small, as a JPEG in base64; 16 bits are cut, alpha is left out."""
    samples = subject.samples
    if samples.dtype == np.uint16:
        # the range that is used: medical images fill a small part of 16 bits
        low, high = float(samples.min()), float(samples.max())
        samples = (255 * ((samples - low) / max(1.0, high - low))).astype(np.uint8)
    planes = samples.shape[2]
    colours = samples[:, :, :3] if planes >= 3 else samples[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(colours))
    small = image.resize(_small(image.width, image.height), Image.Resampling.BOX)
    return _base64(small, "JPEG", quality=80)


class _PixelMeter:
    """A coder that writes down every symbol's ideal bits at its pixel, in the walk's order."""

    def __init__(self, height: int, width: int, planes: int) -> None:
        self.bits = np.zeros(height * width)
        self._places = _coding_order(height, width, planes)

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        chosen = np.take_along_axis(weights, symbols[:, None], axis=1)[:, 0].astype(float) + 1
        self.bits[next(self._places)] += 24 - np.log2(chosen)
        return symbols


def _coding_order(height: int, width: int, planes: int) -> Iterator[slice]:
    """The pixels of each call of a coder: every wave, for each plane high and low nibbles."""
    pixels = np.arange(height * width)
    for wave in range(wave_count(height, width)):
        here = wave_pixels(wave, height, width)
        if width > 1 or wave % 2 == 0:  # odd waves of an image that is one pixel wide are empty
            assert len(pixels[here])
            for _ in range(2 * planes):
                yield here


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _base64(image: Image.Image, kind: str, **options: object) -> str:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return base64.b64encode(out.getvalue()).decode("ascii")
