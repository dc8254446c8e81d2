"""Pictures of every kind to `.ncmz` bytes, and the proof that they come back.

What is tried, and which file is kept, the `evaluator` decides.
"""

from __future__ import annotations

import numpy as np

from ncml_codec.decode import memory
from ncml_codec.decode.effort import TILE_EXPONENT, Effort
from ncml_codec.decode.image_decoder import open_file
from ncml_codec.encode import layer_search, levels
from ncml_codec.encode.evaluator import Evaluator, Verdict
from ncml_codec.encode.preview import with_preview
from ncml_codec.errors import RoundTripError
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network.model_file import Model
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Source

_COMPARED = 64  # rows compared at a time, so that the check holds no second band


def encode(
    picture: Source,
    model: Model | None = None,
    effort: Effort | None = None,
    level: int = levels.DEFAULT,
    preview_side: int | None = None,
) -> bytes:
    """The file's bytes for a picture of any kind.

    model: None for the level's own, see `levels.of_level`. level: of `levels.LEVELS`. preview_side:
    see `preview.with_preview`. Raises UsageError for a level that does not exist.
    """
    trials = Evaluator(picture, model, effort or Effort(), level)
    verdict = trials.verdict()
    if verdict != Verdict.DRAWING:
        trials.try_tiles(alone=verdict == Verdict.PHOTOGRAPH)
    if verdict != Verdict.PHOTOGRAPH or trials.may_be_beaten():
        trials.try_layers()
    return with_preview(trials.smallest(), picture, preview_side)


def check_memory(
    most: int | None,
    level: int,
    model: Model | None,
    kind: Kind,
    size: tuple[int, int],
    held: int,
) -> None:
    """Raise BeyondLimit if to encode an image takes more than `most` bytes, by its header alone.

    size: height, width; held: bytes that its file and its samples take besides.
    """
    (models, _), *_ = levels.of_level(level, model)
    if kind.suits_network:
        need = min(_of_tiles(kind, *size, each) for each in models)
    else:
        need = layer_search.memory_needed(kind, size, models, level)
    memory.threads_within(most, 1, lambda threads: held + need)


def verify(
    data: bytes, picture: Source, model: Model | None = None, effort: Effort | None = None
) -> None:
    """Raise RoundTripError unless decoding `data` gives `picture` back: samples, kind, metadata.

    model: None for a released one.
    """
    models = [] if model is None else [model]
    opened = open_file(data, models, effort, max_pixels=picture.width * picture.height)
    if opened.shape != (picture.height, picture.width, picture.planes):
        raise RoundTripError("decoding gave an image of another size; nothing was written")
    if opened.kind != picture.kind:
        raise RoundTripError(f"decoding gave {opened.kind} samples; nothing was written")
    top = 0
    for band in opened.bands:
        for at in range(0, len(band), _COMPARED):
            rows = band[at : at + _COMPARED]
            if not np.array_equal(rows, picture.rows(top, top + len(rows))):
                raise RoundTripError("decoding gave other pixels; nothing was written")
            top += len(rows)
    if list(opened.chunks) != list(picture.chunks):
        raise RoundTripError("decoding gave other metadata; nothing was written")


def _of_tiles(kind: Kind, height: int, width: int, model: Model) -> int:
    layout = TileLayout(width, height, kind.channels, model.identity, TILE_EXPONENT)
    return memory.of_tiles(layout, model.network, 1, encoding=True, banded=False)
