"""How surprising an image is to a model: bits per sub-pixel, and a p-value against known images.

The codec's model is a density, and densities find anomalies and adversarial changes (PixelDefend,
Song et al. 2018). Nothing is coded: bits are those of an ideal coder and of the model as it is,
without learning from the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ncml_codec import engines
from ncml_codec.decode.effort import TILE_EXPONENT, Effort
from ncml_codec.encode.tile_encoder import code_survey
from ncml_codec.entropy.coder import Meter
from ncml_codec.errors import UnsupportedImage, UsageError
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network.model_file import Model
from ncml_codec.picture.picture import Picture


def bits_per_sub_pixel(picture: Picture, model: Model, effort: Effort | None = None) -> float:
    """The picture's ideal code length, upright, in the tiles that a file would have.

    Raises UnsupportedImage unless it is 8-bit grey or RGB, which is what networks know.
    """
    if not picture.kind.suits_network:
        raise UnsupportedImage(f"{picture.kind} samples: 8-bit grey and RGB can be scored")
    effort = effort or Effort()
    engine = engines.load(effort.engine, model.network, effort.threads)
    size = (picture.width, picture.height, picture.planes)
    layout = TileLayout(*size, model.identity, TILE_EXPONENT)
    meter = Meter()
    for top, left, height, width in layout.tiles():
        samples = picture.samples[top : top + height, left : left + width]
        survey = engine.survey(np.ascontiguousarray(samples))
        code_survey(survey, samples.shape[2], meter, effort.advance)
    return meter.bits / picture.samples.size


def p_value(bits: float, reference: Sequence[float]) -> float:
    """The probability of being at least so surprising, if the image is one of the reference's kind.

    PixelDefend's permutation test: of the n + 1 images, the share that takes at least as many bits,
    this one included. Never below 1 / (n + 1).
    """
    if not reference:
        raise UsageError("no reference images: a p-value needs some")
    return (1 + sum(other >= bits for other in reference)) / (len(reference) + 1)


def p_value_of_either_side(bits: float, reference: Sequence[float]) -> float:
    """The same for being so surprising or so unsurprising: flat images take too few bits."""
    below = p_value(-bits, [-other for other in reference])
    return min(1.0, 2 * min(p_value(bits, reference), below))
