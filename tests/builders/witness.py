"""The plain decoder, written from FORMAT.md alone, as a witness of what the program writes."""

from __future__ import annotations

import numpy as np

from ncml_codec.network.model_file import Model, write_model
from tests.builders.photographs import encoded
from tests.builders.pictures import Samples
from tests.plain_decoder import decoder as plain_decoder


def comes_back(array: Samples, model: Model, byte: int, tile_exponent: int = 11) -> bytes:
    """The file, after the plain decoder has given the pixels back."""
    data = encoded(array, model, byte, tile_exponent)
    decoded = plain_decoder.decode(data, [write_model(model.network)])
    assert np.array_equal(decoded.samples, array)
    return data
