"""The laws of `ncml_codec.jpeg` for any bytes, checked by tests and by fuzzing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ncml_codec import jpeg
from ncml_codec.errors import FormatError, UnreadableJpeg
from ncml_codec.jpeg.jpeg_file import why_not_native
from ncml_codec.jpeg.records import Coefficients

ENGINES = ("python", *(("native",) if why_not_native() is None else ()))


def read_and_written(data: bytes, engine: str) -> jpeg.Jpeg | None:
    """The file as it was read; None if it was refused.

    What is read is written again to the same bytes, and its recipe survives packing. Nothing but
    UnreadableJpeg is raised.
    """
    try:
        read = jpeg.read(data, engine=engine)
    except UnreadableJpeg:
        return None
    packed = read.recipe.pack()
    assert jpeg.Recipe.unpack(packed) == read.recipe
    assert jpeg.layout(read.recipe).shapes == tuple(array.shape for array in read.coefficients)
    assert jpeg.write(read, engine=engine) == data, f"engine {engine}: other bytes came back"
    return read


def read_alike(data: bytes) -> jpeg.Jpeg | None:
    """As `read_and_written`, by every engine; all give the same coefficients and recipe."""
    first, *others = [read_and_written(data, engine) for engine in ENGINES]
    for other in others:
        assert (first is None) == (other is None), "one engine refused what another read"
        if first is not None and other is not None:
            assert other.recipe == first.recipe
            for ours, theirs in zip(first.coefficients, other.coefficients, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    return first


def recipe_alike(
    packed: bytes,
    blocks_max: int,
    coefficients: Sequence[Coefficients],
    engines: Sequence[str] = ENGINES,
) -> bool:
    """Of any bytes for a recipe: whether every engine wrote a file by them, the same one.

    coefficients: where they have another shape, zeros. Nothing but FormatError is raised.
    """
    written: list[bytes | None] = []
    try:
        recipe = jpeg.Recipe.unpack(packed)
        layout = jpeg.layout(recipe, blocks_max=blocks_max)
    except FormatError:
        return False
    arrays = tuple(coefficients)
    if tuple(array.shape for array in arrays) != layout.shapes:
        arrays = tuple(np.zeros(shape, np.int16) for shape in layout.shapes)
    for engine in engines:
        try:
            written.append(jpeg.write(jpeg.Jpeg(layout, arrays, recipe), engine=engine))
        except FormatError:
            written.append(None)
    assert all(one == written[0] for one in written), "engines wrote different files"
    return written[0] is not None
