"""Pictures of every kind to `.ncmz` bytes and back; the version is chosen here.

A photograph, 8-bit grey or RGB, becomes a file of version 1 (`codec`). What may be a drawing, and
every other kind, is tried in several ways, and the smallest file is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncml_codec import (
    choice,
    codec,
    container,
    costs,
    general,
    levels,
    library,
    look,
    memory,
    methods,
    png,
    transforms,
)
from ncml_codec.codec import Effort
from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError, RoundTripError
from ncml_codec.general import General
from ncml_codec.kinds import Kind
from ncml_codec.methods import Tools
from ncml_codec.model import Model
from ncml_codec.picture import Picture, Samples, Source
from ncml_codec.pixels import MAX_PIXELS
from ncml_codec.transforms import Transformed

Header = container.Header | general.Header  # both have width, height, planes and kind
_COMPARED = 64  # rows compared at a time, so that the check holds no second band


def encode(
    picture: Source,
    model: Model | None = None,
    effort: Effort | None = None,
    level: int = levels.DEFAULT,
) -> bytes:
    """The file's bytes for a picture of any kind, of version 1 or 2.

    model: None for the level's own, see `library.of_level`. level: of `levels.LEVELS`. Raises
    UsageError for a level that does not exist.
    """
    effort = effort or Effort()
    told = effort.progress
    # What is tried beside tells of no pixels, but of its being at work: progress may end any work.
    beside = replace(effort, progress=lambda pixels: told(0))
    (models, strengths), *others = library.of_level(level, model)
    tools = Tools(models, beside, level)
    first = None
    if picture.kind.is_first_version:
        is_photograph = not choice.may_be_drawing(picture)
        turn, by = look.chosen(picture, models, effort)
        first = codec.encode(picture, by, effort, level=strengths, turn=turn)
        if others and (is_photograph or choice.is_small(picture)):
            for several, tried in others:
                for each in several:
                    with contextlib.suppress(BeyondLimit):  # of memory, before anything is done
                        more = codec.encode(picture, each, beside, level=tried, turn=turn)
                        first = min(first, more, key=len)
        if is_photograph and choice.is_as_small_as_expected(picture, len(first)):
            return first
    try:
        need = _of_layers(picture.kind, picture.height, picture.width, models)
        memory.threads_within(effort.memory, 1, lambda threads: need + codec.held_by(picture))
    except BeyondLimit:
        if first is None:
            raise
        return first
    if effort.memory is not None:  # which is checked: what is tried within takes one thread
        tools = replace(tools, effort=replace(beside, threads=1, memory=None))
    second = general.write(choice.smallest(picture.whole(), tools))
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
    (models, _), *_ = library.of_level(level, model)
    if kind.is_first_version:
        need = min(_of_tiles(kind, *size, each) for each in models)
    else:
        need = _of_layers(kind, *size, models)
    memory.threads_within(most, 1, lambda threads: held + need)


@dataclass(frozen=True)
class Opened:
    """A file whose header, checksums and metadata are sound, and whose model is at hand.

    model: the first layer's; None if no network is needed. bands: decodes as it is read, once: the
    samples of some rows, from top to bottom, each valid until the next is asked for; raises
    FormatError if what it decodes is not sound.
    """

    width: int
    height: int
    kind: Kind
    chunks: Sequence[png.Chunk]
    bands: Iterator[Samples]
    model: Model | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, planes."""
        return self.height, self.width, self.kind.channels


def open_file(
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
    max_work: int | None = None,
) -> Opened:
    """A file's bytes, ready to be decoded. models: looked at before the released ones.

    max_work: see `costs.Work`. Raises FormatError (its kinds say which) for anything but a sound
    file within the limits whose model is at hand.
    """
    if not general.is_general(data):
        found = codec.open_file(data, models, effort, max_pixels)
        header = found.header
        own = found.container.adaptation
        costs.of_network(header, own, found.model.network).check(max_work)
        return Opened(
            header.width, header.height, header.kind, found.chunks, found.bands, found.model
        )
    file = general.read(data)
    width, height, kind = file.header.width, file.header.height, file.header.kind
    container.check_pixels(width, height, max_pixels)
    tools = Tools(list(models), effort or Effort())
    _check_memory(file, len(data), tools)
    chunks = png.unpack_chunks(file.metadata)
    layers = ((layer.method, layer.planes, layer.payload) for layer in file.layers)
    methods.work(layers, (height, width), tools).check(max_work)
    if tools.effort.memory is not None:  # which is checked: layers take one thread
        tools = replace(tools, effort=replace(tools.effort, threads=1, memory=None))
    return Opened(width, height, kind, chunks, _decoded(file, tools), _model(file, tools))


def decode(
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
    max_work: int | None = None,
) -> Picture:
    """The picture in a file's bytes, whole; see `open_file`."""
    return picture_of(open_file(data, models, effort, max_pixels, max_work))


def picture_of(opened: Opened) -> Picture:
    """The picture that an opened file holds, whole: decodes its bands."""
    samples = np.empty(opened.shape, opened.kind.dtype)
    top = 0
    for band in opened.bands:
        samples[top : top + len(band)] = band
        top += len(band)
    return Picture(samples, opened.chunks, opened.kind)


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


def read_header(head: bytes) -> Header:
    """The header by a file's beginning.

    Raises FormatError, Truncated if more of the file is needed.
    """
    return general.read_header(head) if general.is_general(head) else container.read_header(head)


def _of_tiles(kind: Kind, height: int, width: int, model: Model) -> int:
    header = container.Header(width, height, kind.channels, model.identity, codec.TILE_EXPONENT)
    return memory.of_tiles(header, model.network, 1, encoding=True)


def _of_layers(kind: Kind, height: int, width: int, models: Sequence[Model]) -> int:
    """What encoding in layers takes, the network among what is tried."""
    byte_planes = kind.channels * (2 if kind.bit_depth == 16 else 1)
    networks = [each.network for each in models]
    return memory.of_layers(height, width, byte_planes, encoding=True, networks=networks)


def _check_memory(file: General, length: int, tools: Tools) -> None:
    """Raise BeyondLimit if a file of so many bytes takes more memory than the tools may."""
    header, held = file.header, 2 * length + memory.of_metadata(file.metadata)
    size, model = (header.height, header.width), _model(file, tools)
    networks = [model.network] if model else []
    need = held + memory.of_layers(*size, header.byte_planes, encoding=False, networks=networks)
    memory.threads_within(tools.effort.memory, 1, lambda threads: need)


def _model(file: General, tools: Tools) -> Model | None:
    """The model of the file's first layer that needs one. Raises UnknownModel if one lacks."""
    found = [
        library.find(container.read_header(bytes(layer.payload)).identity, tools.models)[1]
        for layer in file.layers
        if layer.method == methods.NETWORK
    ]
    return found[0] if found else None


def _decoded(file: General, tools: Tools) -> Iterator[Samples]:
    """The whole image as one band."""
    header = file.header
    planes, at = np.empty((header.height, header.width, header.byte_planes), np.uint8), 0
    for index, layer in enumerate(file.layers):
        shape = (header.height, header.width, layer.planes)
        method = methods.by_number(layer.method)
        try:
            planes[:, :, at : at + layer.planes] = method.decode(layer.payload, shape, tools)
        except FormatError as error:
            raise type(error)(f"layer {index} ({method.name}): {error}") from error
        at += layer.planes
    made = Transformed(header.transform, header.low_bits, file.table, planes)
    samples = transforms.restored(made, header.kind)
    if transforms.samples_crc(samples) != file.samples_crc:
        raise ChecksumMismatch(
            "the decoded samples do not match their checksum: that one is damaged, or the encoder"
            " or this decoder was at fault"
        )
    yield samples
