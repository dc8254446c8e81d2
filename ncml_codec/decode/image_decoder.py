"""Pictures of every kind out of `.ncmz` bytes.

A file of version 1 holds tiles (`tile_decoder`), one of version 2 layers (`layers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncml_codec import context_mixing
from ncml_codec.decode import costs, layers, memory, tile_decoder
from ncml_codec.decode.layers import Tools
from ncml_codec.decode.tile_walk import Effort
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.format import byte_planes, container, layered_container
from ncml_codec.format.byte_planes import Transformed
from ncml_codec.format.layered_container import General
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples

Header = container.Header | layered_container.Header  # both have width, height, planes and kind


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
    chunks: Sequence[png_chunks.Chunk]
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
    if not layered_container.is_general(data):
        found = tile_decoder.open_file(data, models, effort, max_pixels)
        header = found.header
        own = found.container.adaptation
        costs.of_network(header, own, found.model.network).check(max_work)
        return Opened(
            header.width, header.height, header.kind, found.chunks, found.bands, found.model
        )
    file = layered_container.read(data)
    width, height, kind = file.header.width, file.header.height, file.header.kind
    container.check_pixels(width, height, max_pixels)
    tools = Tools(list(models), effort or Effort())
    _check_memory(file, len(data), tools)
    chunks = png_chunks.unpack_chunks(file.metadata)
    coded = ((layer.method, layer.planes, layer.payload) for layer in file.layers)
    layers.work(coded, (height, width), tools).check(max_work)
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


def read_header(head: bytes) -> Header:
    """The header by a file's beginning.

    Raises FormatError, Truncated if more of the file is needed.
    """
    return (
        layered_container.read_header(head)
        if layered_container.is_general(head)
        else container.read_header(head)
    )


def _check_memory(file: General, length: int, tools: Tools) -> None:
    """Raise BeyondLimit if a file of so many bytes takes more memory than the tools may."""
    header, held = file.header, 2 * length + memory.of_metadata(file.metadata)
    size, model = (header.height, header.width), _model(file, tools)
    networks = [model.network] if model else []
    each = []
    for one in file.layers:
        wide = one.method == layers.MIXING and context_mixing.is_wide(one.payload)
        planes = one.planes // 2 if wide else one.planes
        name = layers.by_number(one.method).name
        each.append(memory.of_layer(name, *size, planes, False, networks))
    looked_up = 0 if header.transform == layered_container.SAMPLES else header.kind.channels
    need = held + memory.of_layers(*size, header.byte_planes, False, each, looked_up)
    memory.threads_within(tools.effort.memory, 1, lambda threads: need)


def _model(file: General, tools: Tools) -> Model | None:
    """The model of the file's first layer that needs one. Raises UnknownModel if one lacks."""
    found = [
        released_models.find(container.read_header(bytes(layer.payload)).identity, tools.models)[1]
        for layer in file.layers
        if layer.method == layers.NETWORK
    ]
    return found[0] if found else None


def _decoded(file: General, tools: Tools) -> Iterator[Samples]:
    """The whole image as one band."""
    header = file.header
    planes, at = np.empty((header.height, header.width, header.byte_planes), np.uint8), 0
    for index, layer in enumerate(file.layers):
        shape = (header.height, header.width, layer.planes)
        method = layers.by_number(layer.method)
        try:
            planes[:, :, at : at + layer.planes] = method.decode(layer.payload, shape, tools)
        except FormatError as error:
            raise type(error)(f"layer {index} ({method.name}): {error}") from error
        at += layer.planes
    made = Transformed(header.transform, header.low_bits, file.table, planes)
    samples = byte_planes.restored(made, header.kind)
    if byte_planes.samples_crc(samples) != file.samples_crc:
        raise ChecksumMismatch(
            "the decoded samples do not match their checksum: that one is damaged, or the encoder"
            " or this decoder was at fault"
        )
    yield samples
