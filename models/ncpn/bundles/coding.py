"""Real bytes of many small images: one stream for all of them, and a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncml_codec import engines
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import tile_encoder
from ncml_codec.encode.image_encoder import verify
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Decoder, Encoder, Meter
from ncml_codec.errors import RoundTripError
from ncml_codec.network.integer_network import Network
from ncml_codec.network.model_file import identified
from ncml_codec.picture.image_files import from_array
from ncpn.integers.validation import Image

_STATIC_LEVEL = 1  # of `ncml_codec.encode.levels`: no learning from the image


@dataclass(frozen=True)
class Coded:
    """Sizes of a list of images coded with the integer network, decoded again and compared.

    stream_bytes: the coder's words for all images one after the other, no header or checksum in
    it; ideal_bits: the cross-entropy of the integer tables; file_bytes: of complete `.ncmz`
    files, one an image; sub_pixels: of all images.
    """

    images: int
    sub_pixels: int
    ideal_bits: float
    stream_bytes: int
    file_bytes: int

    @property
    def stream_bits(self) -> float:
        """Bits per sub-pixel of the stream."""
        return 8 * self.stream_bytes / self.sub_pixels

    @property
    def file_bits(self) -> float:
        """Bits per sub-pixel of the files."""
        return 8 * self.file_bytes / self.sub_pixels


def coded(network: Network, images: Sequence[Image], engine: str = "auto") -> Coded:
    """What images, uint8 [height, width, 3], become. Raises RoundTripError if they do not return.

    Nothing adapts to the image, so that the bits are those of the network.
    """
    walker, model = engines.load(engine, network), identified(network)
    encoder, meter, file_bytes = Encoder(), Meter(), 0
    for image in images:
        walk_tile(walker, image.shape, image, encoder)
        walk_tile(walker, image.shape, image, meter)
        picture = from_array(image)
        data = tile_encoder.encode(picture, model, Effort(engine), level=_STATIC_LEVEL)
        verify(data, picture, model, Effort(engine))
        file_bytes += len(data)
    stream = encoder.finish()
    decoder = Decoder(stream)
    for index, image in enumerate(images):
        if not np.array_equal(walk_tile(walker, image.shape, None, decoder), image):
            raise RoundTripError(f"image {index} of the common stream decoded to other pixels")
    sub_pixels = sum(image.size for image in images)
    return Coded(len(images), sub_pixels, meter.bits, len(stream), file_bytes)
