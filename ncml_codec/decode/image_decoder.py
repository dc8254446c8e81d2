"""Pictures of every kind out of `.ncmz` bytes.

The tiles of a photograph are decoded row by row (`tile_decoder`), other layers whole (`layers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncml_codec import context_mixing
from ncml_codec.decode import jpeg_decoder, layers, memory, tile_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import Tools
from ncml_codec.errors import ChecksumMismatch, FormatError, InputError
from ncml_codec.format import byte_planes, directory
from ncml_codec.format.byte_planes import Transformed
from ncml_codec.format.container import Container, Header, Layer, Method, Transform
from ncml_codec.format.tiles import Tiles
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS, decode_file
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples


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
    found = directory.read_directory(data, max_pixels)
    if found.kept is not None:
        limits = (max_pixels, max_work)
        restored = jpeg_decoder.restore(found.kept, data, (), effort, *limits)
        return of_jpeg(restored, max_pixels, effort or Effort())
    file, header = found.read(data), found.header
    tools = Tools(list(models), effort or Effort())
    tiled = file.layers[0] if found.tiled else None
    memory.check(tools.effort.memory, memory.of_metadata(file.metadata))
    if tiled is None:
        _check_memory(file, len(data), tools)
    chunks = png_chunks.unpack_chunks(file.metadata)
    model = _model(file, tools)
    layers.work(found.layers, (header.height, header.width), tools).check(max_work)
    if isinstance(tiled, Tiles):
        assert model is not None
        held = 2 * len(file.metadata) + memory.of_metadata(file.metadata)
        bands = tile_decoder.bands_of(tiled, model, tools.effort, held)
    else:
        if tools.effort.memory is not None:  # which is checked: layers take one thread
            tools = replace(tools, effort=replace(tools.effort, threads=1, memory=None))
        bands = _decoded(file, tools)
    return Opened(header.width, header.height, header.kind, chunks, bands, model)


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
    return directory.read_directory(head).header


def of_jpeg(data: bytes, max_pixels: int, effort: Effort) -> Opened:
    """The pixels of a JPEG file, as Pillow's libjpeg decodes them."""

    def admit(kind: Kind, size: tuple[int, int], held: int) -> None:
        memory.check(effort.memory, held + 2 * math.prod(size) * kind.channels)

    try:
        picture = decode_file(data, "the JPEG file", max_pixels, decoded=True, admit=admit)
    except InputError as error:
        raise FormatError(f"the file comes back, but has no pixels to show: {error}") from error
    size = (picture.width, picture.height, picture.kind)
    return Opened(*size, picture.chunks, iter([picture.samples]), None)


def _check_memory(file: Container, length: int, tools: Tools) -> None:
    """Raise BeyondLimit if a file of so many bytes takes more memory than the tools may."""
    header, held = file.header, 2 * length + memory.of_metadata(file.metadata)
    size, model = (header.height, header.width), _model(file, tools)
    networks = [model.network] if model else []
    each = []
    for one in file.layers:
        method, planes = layers.method_of(one), one.planes
        if isinstance(one, Layer) and method == Method.MIXING:
            planes //= 2 if context_mixing.is_wide(one.payload) else 1
        each.append(memory.of_layer(method, *size, planes, False, networks))
    looked_up = 0 if header.transform == Transform.SAMPLES else header.kind.channels
    need = held + memory.of_layers(*size, header.byte_planes, False, each, looked_up)
    memory.threads_within(tools.effort.memory, 1, lambda threads: need)


def _model(file: Container, tools: Tools) -> Model | None:
    """The model of the file's first layer that needs one. Raises UnknownModel if one lacks."""
    found = [
        released_models.find(layer.layout.identity, tools.models)[1]
        for layer in file.layers
        if isinstance(layer, Tiles)
    ]
    return found[0] if found else None


def _decoded(file: Container, tools: Tools) -> Iterator[Samples]:
    """The whole image as one band."""
    header = file.header
    planes, at = np.empty((header.height, header.width, header.byte_planes), np.uint8), 0
    for index, layer in enumerate(file.layers):
        shape = (header.height, header.width, layer.planes)
        method = layers.method_of(layer)
        try:
            planes[:, :, at : at + layer.planes] = layers.CODERS[method].decode(layer, shape, tools)
        except FormatError as error:
            raise type(error)(f"layer {index} ({method.name.lower()}): {error}") from error
        at += layer.planes
    made = Transformed(header.transform, header.low_bits, file.table, planes)
    samples = byte_planes.restored(made, header.kind)
    if byte_planes.samples_crc(samples) != file.samples_crc:
        raise ChecksumMismatch(
            "the decoded samples do not match their checksum: that one is damaged, or the encoder"
            " or this decoder was at fault"
        )
    yield samples
