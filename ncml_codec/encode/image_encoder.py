"""Pictures of every kind to `.ncmz` bytes, and the proof that they come back.

A photograph, 8-bit grey or RGB, becomes tiles (`tile_encoder`). What may be a drawing, and every
other kind, is tried in several ways, and the smallest file is kept.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np

from ncml_codec.decode import memory
from ncml_codec.decode.image_decoder import open_file
from ncml_codec.decode.tile_walk import TILE_EXPONENT, Effort
from ncml_codec.encode import layer_search, levels, orientation_search, tile_encoder
from ncml_codec.errors import BeyondLimit, RoundTripError
from ncml_codec.format import container, layered_container
from ncml_codec.network.model_file import Model
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Source

_COMPARED = 64  # rows compared at a time, so that the check holds no second band


def encode(
    picture: Source,
    model: Model | None = None,
    effort: Effort | None = None,
    level: int = levels.DEFAULT,
) -> bytes:
    """The file's bytes for a picture of any kind, of version 1 or 2.

    model: None for the level's own, see `levels.of_level`. level: of `levels.LEVELS`. Raises
    UsageError for a level that does not exist.
    """
    effort = effort or Effort()
    told = effort.progress
    # What is tried beside tells of no pixels, but of its being at work: progress may end any work.
    beside = replace(effort, progress=lambda pixels: told(0))
    (models, strengths), *others = levels.of_level(level, model)
    tools = layer_search.encoding_tools(models, beside, level)
    first = None
    if picture.kind.is_first_version:
        is_photograph = not layer_search.may_be_drawing(picture)
        turn, by = orientation_search.chosen(picture, models, effort)
        first = tile_encoder.encode(picture, by, effort, level=strengths, turn=turn)
        if others and (is_photograph or layer_search.is_small(picture)):
            for several, tried in others:
                for each in several:
                    with contextlib.suppress(BeyondLimit):  # of memory, before anything is done
                        more = tile_encoder.encode(picture, each, beside, level=tried, turn=turn)
                        first = min(first, more, key=len)
        if is_photograph and layer_search.is_as_small_as_expected(picture, len(first)):
            return first
    try:
        size = (picture.height, picture.width)
        need = layer_search.memory_needed(picture.kind, size, models, level)
        memory.threads_within(
            effort.memory, 1, lambda threads: need + tile_encoder.held_by(picture)
        )
    except BeyondLimit:
        if first is None:
            raise
        return first
    if effort.memory is not None:  # which is checked: what is tried within takes one thread
        tools = replace(tools, effort=replace(beside, threads=1, memory=None))
    second = layered_container.write(layer_search.smallest(picture.whole(), tools))
    return second if first is None or len(second) < len(first) else first


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
    if kind.is_first_version:
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
    header = container.Header(width, height, kind.channels, model.identity, TILE_EXPONENT)
    return memory.of_tiles(header, model.network, 1, encoding=True, banded=False)
