"""What is tried for an image, in which order, and what wins: the smallest file.

A photograph is coded by the network, in tiles, and nothing else is tried. What may be a drawing is
first coded on some bands of rows, by the network and in layers. Levels up to `_BOUNDED` spend on
layers at most as much work as on tiles, counted and not timed, so that bytes do not depend on the
machine; unless the bands say that the image is no photograph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from enum import Enum

import numpy as np

from ncml_codec.decode import costs, memory
from ncml_codec.decode.effort import TILE_EXPONENT, Effort
from ncml_codec.decode.layers import method_of
from ncml_codec.encode import excerpt, layer_search, levels, orientation_search, tile_encoder
from ncml_codec.encode.excerpt import Excerpt
from ncml_codec.encode.layer_search import LEVELS, equal_neighbours
from ncml_codec.encode.tile_encoder import held_by
from ncml_codec.errors import BeyondLimit
from ncml_codec.format import byte_planes, directory
from ncml_codec.format.container import Method
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network.adaptation import STATIC
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_rows
from ncml_codec.picture.picture import Source
from ncml_codec.zstd_frames import pack

_TRIED = 1 << 26  # pixels beyond which an image that suits the network is tried in no other way
_SMALL = 1 << 12  # pixels up to which everything is tried: it takes no time, and headers matter
# Share of pixels that equal their left neighbour: at most 0.19 in Kodak
# (bench/notebook/context-mixing.md).
_EQUAL = 0.25
_COLOURS = 256  # of all rows looked at; photographs have thousands
# A file of this share of what quickly filtered rows take may be larger than the best PNG.
_EXPECTED = 0.85
_BOUNDED = 5  # the level up to which trials are bounded by the work of the level's own coding
_NO_PHOTOGRAPH = 0.8  # layers that take less than this share of the tiles' bytes on the bands
# Work of an encoder by byte of planes, in the unit of `costs`: zstd and deflate with their filters.
_ENCODING = {Method.ZSTD: 75_000, Method.DEFLATE: 15_000, Method.MIXING: 600_000}
_WEBP, _BEST_WEBP = 14_000, 370_000  # its two settings, see `layers.WebP`


class Verdict(Enum):
    """What an image is coded as."""

    PHOTOGRAPH = "tiles"
    DRAWING = "layers"
    EITHER = "both, to keep the smaller one"


class Evaluator:
    """The trials for one image. model: None for the level's own, see `levels.of_level`.

    Raises UsageError for a level that does not exist.
    """

    def __init__(self, picture: Source, model: Model | None, effort: Effort, level: int) -> None:
        self._picture, self._effort, self._level = picture, effort, level
        (self._models, self._way), *self._more = levels.of_level(level, model)
        self._tools = layer_search.encoding_tools(self._models, effort.silent(), level)
        self._seen = excerpt.of(picture) if picture.kind.suits_network else None
        self._compared = False
        self._smallest: bytes | None = None

    @property
    def models(self) -> Sequence[Model]:
        """Those of which one codes the image in tiles."""
        return self._models

    def smallest(self) -> bytes:
        """The smallest file so far, of which there must be one."""
        assert self._smallest is not None
        return self._smallest

    def verdict(self) -> Verdict:
        """What the image is, by its size, its kind and its excerpt."""
        if self._seen is None:
            return Verdict.DRAWING
        pixels = self._picture.width * self._picture.height
        if pixels <= _SMALL:
            return Verdict.EITHER
        if pixels > _TRIED or not may_be_drawing(self._seen) or not self._layers_fit():
            return Verdict.PHOTOGRAPH
        return self._by_bands(self._seen) if self._level <= _BOUNDED else Verdict.EITHER

    def try_tiles(self, alone: bool) -> None:
        """Code the image in tiles by the model that suits it, and so by the level's other models.

        alone: whether the image is a photograph; only then, or if it is small, the level's second
        way is tried.
        """
        assert self._seen is not None
        turn, model = orientation_search.chosen(self._seen, self._models, self._effort)
        by = self._way
        self._take(tile_encoder.encode(self._picture, model, self._effort, level=by, turn=turn))
        if not (alone or self._picture.width * self._picture.height <= _SMALL):
            return
        silent = self._effort.silent()
        for models, way in self._more:
            for each in models:
                with contextlib.suppress(BeyondLimit):  # of memory, before anything is done
                    more = tile_encoder.encode(self._picture, each, silent, level=way, turn=turn)
                    self._take(more)

    def may_be_beaten(self) -> bool:
        """Whether a PNG of the image may be smaller than the file, by a quick estimate.

        The PNG that the image was read from is compared as it is.
        """
        size, picture = len(self.smallest()), self._picture
        if picture.packed_bytes is not None and picture.packed_bytes <= size:
            return True
        if self._compared or self._seen is None or picture.width * picture.height > _TRIED:
            return False
        return size > _EXPECTED * filtered_bytes(self._seen, picture.height)

    def try_layers(self) -> None:
        """Code the image in layers, if memory suffices. Raises BeyondLimit if nothing else is there
        to keep."""
        picture, effort = self._picture, self._effort
        if self._smallest is not None and not self._layers_fit():
            return
        need = self._layers_need()
        memory.threads_within(effort.memory, 1, lambda threads: need)
        if effort.memory is not None:  # which is checked: what is tried within takes one thread
            self._tools = replace(
                self._tools, effort=replace(effort.silent(), threads=1, memory=None)
            )
        self._take(layer_search.smallest(picture.whole(), self._tools))

    def affordable(self, methods: Collection[Method], model: Model) -> bool:
        """Whether to encode by these methods takes no more than the tiles: work and memory."""
        planes, side = self._picture.planes, 1 << TILE_EXPONENT
        tile = TileLayout(side, side, planes, model.identity, TILE_EXPONENT)
        held = memory.of_tiles(tile, model.network, 1, encoding=True) + held_by(self._picture)
        return self.trial_work(methods, model) <= self._own_work(model) and (
            self._layers_need(methods) <= held
        )

    def trial_work(self, methods: Collection[Method], model: Model) -> int:
        """The work of encoding all planes by each of the methods, in the unit of `costs`."""
        count = self._picture.height * self._picture.width * self._picture.planes
        webp = _BEST_WEBP if self._level >= 5 else _WEBP
        by_byte = _ENCODING | {Method.WEBP: webp}
        others = sum(count * by_byte[each] for each in methods if each != Method.NETWORK)
        return others + (self._own_work(model) if Method.NETWORK in methods else 0)

    def _own_work(self, model: Model) -> int:
        """The work of coding the image in tiles once."""
        picture = self._picture
        size = (picture.width, picture.height, picture.planes)
        layout = TileLayout(*size, model.identity, TILE_EXPONENT)
        adaptation = self._way.adaptations[0] if layout.may_adapt else STATIC
        return costs.of_network(layout, adaptation, model.network).multiply_adds

    def _layers_need(self, methods: Collection[Method] | None = None) -> int:
        """Bytes of memory that coding in layers takes. methods: None for all that may pay."""
        picture = self._picture
        size = (picture.height, picture.width)
        need = layer_search.memory_needed(picture.kind, size, self._models, self._level, methods)
        return need + held_by(picture)

    def _layers_fit(self) -> bool:
        return self._effort.memory is None or self._layers_need() <= self._effort.memory

    def _take(self, data: bytes) -> None:
        if self._smallest is None or len(data) < len(self._smallest):
            self._smallest = data

    def _by_bands(self, seen: Excerpt) -> Verdict:
        """The verdict on what may be a drawing: both ways are tried on the excerpt's bands."""
        self._compared = True
        bands, silent = seen.picture, self._effort.silent()
        turn, model = orientation_search.chosen(seen, self._models, silent)
        tiles = len(tile_encoder.encode(bands, model, silent, level=self._way, turn=turn))
        data = layer_search.smallest(bands, self._tools)
        if len(data) < _NO_PHOTOGRAPH * tiles:
            return Verdict.DRAWING
        methods = frozenset(map(method_of, directory.read(data).layers))
        if len(data) >= tiles or not self.affordable(methods, model):
            return Verdict.PHOTOGRAPH
        self._tools = replace(self._tools, methods=methods)
        return Verdict.EITHER


def may_be_drawing(seen: Excerpt) -> bool:
    """Whether other ways than the network may be better for an 8-bit grey or RGB image."""
    rows = seen.picture.samples
    if equal_neighbours(rows) > _EQUAL:
        return True
    keys = rows.astype(np.uint32) @ (256 ** np.arange(rows.shape[2], dtype=np.uint32))
    return len(byte_planes.distinct(keys)) <= (_COLOURS if rows.shape[2] > 1 else LEVELS)


def filtered_bytes(seen: Excerpt, height: int) -> float:
    """About what an image of this height takes as quickly filtered rows in zstd."""
    estimate = rows = 0
    for band in seen.bands:
        flat = np.ascontiguousarray(band).reshape(len(band), -1)
        filtered = png_rows.filter_rows(flat[1:], flat[:-1], band.shape[2], 4)
        estimate += len(pack(filtered.tobytes(), level=1))
        rows += len(filtered)
    return estimate * height / rows if rows else float("inf")
