"""The ways a layer is coded: the network, lossless WebP, filtered rows in zstd or zlib, mixing.

Each takes byte planes [height, width, planes] and gives them back. FORMAT.md, section 11.
To add one is to number it in `format.container.Method`, to write its class and to put it into
CODERS.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ncml_codec import context_mixing, zstd_frames
from ncml_codec.decode import costs, tile_decoder
from ncml_codec.decode.costs import Work
from ncml_codec.decode.effort import Effort
from ncml_codec.errors import FormatError, InputError
from ncml_codec.format.byte_planes import Planes
from ncml_codec.format.container import Layer, Method
from ncml_codec.format.directory import LayerHead
from ncml_codec.format.tiles import PLANES, Tiles
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_rows
from ncml_codec.picture.picture import ImageData

_WEBP_SIDE = 16383
_INTERLACED = 128
_SLOWEST = 1 << 18  # bytes of rows up to which zstd's slowest level is used
_DEFLATED = 1 << 20  # and up to which zlib may be better than zstd
_FILTERS = (0, 1, 2, 4, None)

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Tools:
    """What layers are coded with. models: those that may be taken; level: see `encode.levels`.

    wide: whether the planes to encode are the high, then the low bytes of 16-bit numbers. methods:
    those that an encoder tries, None for all that may pay.
    encode_network: an encoder's way to code planes by the network; None where nothing is encoded.
    """

    models: Sequence[Model]
    effort: Effort
    level: int = 5
    wide: bool = False
    methods: frozenset[Method] | None = None
    encode_network: Callable[[Planes, Tools], Tiles] | None = None


class LayerCoder(Protocol):
    """One way to code byte planes."""

    method: Method

    def takes(self, shape: Shape) -> bool:
        """Whether it can code planes of this shape."""
        ...

    def encode(self, planes: Planes, tools: Tools) -> Layer | Tiles:
        """The planes, coded."""
        ...

    def decode(self, layer: Layer | Tiles, shape: Shape, tools: Tools) -> Planes:
        """The planes. Raises FormatError; allocates nothing beyond what the shape says."""
        ...

    def work(self, head: LayerHead, shape: Shape, tools: Tools) -> Work:
        """What `decode` takes, by the file's header. Raises FormatError."""
        ...


class Network:
    """Tiles that the network codes: one plane as grey, three as RGB."""

    method = Method.NETWORK

    def takes(self, shape: Shape) -> bool:
        return shape[2] in PLANES

    def encode(self, planes: Planes, tools: Tools) -> Tiles:
        assert tools.encode_network is not None
        return tools.encode_network(planes, tools)

    def decode(self, layer: Layer | Tiles, shape: Shape, tools: Tools) -> Planes:
        assert isinstance(layer, Tiles)
        _, model = released_models.find(layer.layout.identity, tools.models)
        bands = tile_decoder.bands_of(layer, model, tools.effort)
        return np.concatenate([band.copy() for band in bands]).reshape(shape)

    def work(self, head: LayerHead, shape: Shape, tools: Tools) -> Work:
        assert head.layout is not None
        _, model = released_models.find(head.layout.identity, tools.models)
        return costs.of_network(head.layout, head.adaptation, model.network)


class _OtherCoder:
    """What coders of payloads have in common: subclasses turn planes into one, and back."""

    method: Method

    def encode(self, planes: Planes, tools: Tools) -> Layer:
        return Layer(self.method, planes.shape[2], self.encoded(planes, tools))

    def decode(self, layer: Layer | Tiles, shape: Shape, tools: Tools) -> Planes:
        assert isinstance(layer, Layer)
        return self.decoded(layer.payload, shape, tools)

    def work(self, head: LayerHead, shape: Shape, tools: Tools) -> Work:
        return costs.of_bytes(*shape)

    def encoded(self, planes: Planes, tools: Tools) -> bytes:
        raise NotImplementedError

    def decoded(self, payload: bytes | memoryview, shape: Shape, tools: Tools) -> Planes:
        raise NotImplementedError


class WebP(_OtherCoder):
    """A lossless WebP: 1 plane as grey in RGB, 2 as grey and alpha, 3 as RGB, 4 as RGBA."""

    method = Method.WEBP

    def takes(self, shape: Shape) -> bool:
        return shape[2] <= 4 and max(shape[:2]) <= _WEBP_SIDE

    def encoded(self, planes: Planes, tools: Tools) -> bytes:
        from PIL import Image

        colours = planes[:, :, :1].repeat(3, axis=2) if planes.shape[2] < 3 else planes[:, :, :3]
        parts = [colours] if planes.shape[2] % 2 else [colours, planes[:, :, -1:]]
        image = Image.fromarray(np.ascontiguousarray(np.concatenate(parts, axis=2)))
        out = io.BytesIO()
        quality, method = (100, 6) if tools.level >= 5 else (75, 4)
        image.save(out, "WEBP", lossless=True, exact=True, quality=quality, method=method)
        return out.getvalue()

    def decoded(self, payload: bytes | memoryview, shape: Shape, tools: Tools) -> Planes:
        from ncml_codec.atomic_files import translated
        from ncml_codec.picture import foreign_files, pillow_formats

        height, width, planes = shape
        data = bytes(payload)
        try:
            name = "its WebP"
            # Before Pillow makes room for what it claims.
            if foreign_files.survey(data, name).size != (width, height):
                raise FormatError(f"no WebP of {width} x {height} pixels")
            with (
                pillow_formats.opened(data, name, decoded=False) as image,
                translated(name),
            ):
                if image.format != "WEBP" or image.size != (width, height):
                    raise FormatError(f"a {image.format} of {image.size}, not a WebP of the size")
                if getattr(image, "n_frames", 1) != 1:
                    raise FormatError("a WebP of several frames")
                array = np.asarray(image.convert("RGB" if planes % 2 else "RGBA"))
        except InputError as error:
            raise FormatError(f"a layer cannot be decoded: {error}") from error
        if planes < 3:
            array = array[:, :, :1] if planes == 1 else array[:, :, 0::3]
        return np.ascontiguousarray(array)


class Zstd(_OtherCoder):
    """The rows of a PNG, filtered, in one zstd frame; before it a byte that says their depth."""

    method = Method.ZSTD

    def takes(self, shape: Shape) -> bool:
        return True

    def encoded(self, planes: Planes, tools: Tools) -> bytes:
        depth, candidates = filtered_rows(planes)
        level = 22 if len(candidates[0]) <= _SLOWEST or tools.level == 9 else 19
        frames = (zstd_frames.pack(rows, level) for rows in candidates)
        return bytes([depth]) + min(frames, key=len)

    def decoded(self, payload: bytes | memoryview, shape: Shape, tools: Tools) -> Planes:
        depth, interlaced, need = _layout(payload, shape)
        rows = zstd_frames.unpack(bytes(payload[1:]), "its zstd frame", exactly=need, at_most=need)
        return _planes(rows, shape, depth, interlaced)


class Deflate(_OtherCoder):
    """The same in one zlib stream: the image data of a PNG, maybe that of the input."""

    method = Method.DEFLATE

    def takes(self, shape: Shape) -> bool:
        return shape[0] * shape[1] * shape[2] <= _DEFLATED

    def encoded(self, planes: Planes, tools: Tools) -> bytes:
        depth, candidates = filtered_rows(planes)
        return bytes([depth]) + min((zlib.compress(rows, 9) for rows in candidates), key=len)

    def decoded(self, payload: bytes | memoryview, shape: Shape, tools: Tools) -> Planes:
        depth, interlaced, need = _layout(payload, shape)
        rows, is_exact = png_rows.inflate(bytes(payload[1:]), need)
        if not is_exact:
            raise FormatError(f"its zlib stream holds more than {need} bytes")
        return _planes(rows, shape, depth, interlaced)


class Mixing(_OtherCoder):
    """Adaptive context mixing, see `context_mixing`."""

    method = Method.MIXING

    def takes(self, shape: Shape) -> bool:
        return (
            shape[2] <= context_mixing.PLANES_MAX
            and shape[0] * shape[1] <= context_mixing.PIXELS_MAX
            and costs.of_mixing(*shape).is_honest  # not where waves are short
        )

    def encoded(self, planes: Planes, tools: Tools) -> bytes:
        return context_mixing.encode(planes, tools.wide, _mixing_engine(tools))

    def decoded(self, payload: bytes | memoryview, shape: Shape, tools: Tools) -> Planes:
        return context_mixing.decode(payload, shape, _mixing_engine(tools))

    def work(self, head: LayerHead, shape: Shape, tools: Tools) -> Work:
        return costs.of_mixing(*shape)


def _mixing_engine(tools: Tools) -> str:
    return "numpy" if tools.effort.engine == "numpy" else "auto"


CODERS: Mapping[Method, LayerCoder] = {
    coder.method: coder for coder in (Network(), WebP(), Zstd(), Deflate(), Mixing())
}


def method_of(layer: Layer | Tiles) -> Method:
    """How a layer is coded."""
    return layer.method if isinstance(layer, Layer) else Method.NETWORK


def work(heads: Iterable[LayerHead], size: tuple[int, int], tools: Tools) -> Work:
    """What decoding all layers takes. size: height, width. Raises FormatError."""
    works = (CODERS[head.method].work(head, (*size, head.planes), tools) for head in heads)
    return sum(works, costs.NONE)


def kept_stream(found: ImageData, planes: int, depth: int) -> Layer:
    """All planes of an image, by Deflate, as they stood in a PNG of this depth."""
    layout = depth | (_INTERLACED if found.interlaced else 0)
    return Layer(Method.DEFLATE, planes, bytes([layout]) + found.stream)


def filtered_rows(planes: Planes) -> tuple[int, list[bytes]]:
    """The depth in which the planes are written, and rows by the two filters that suit best."""
    depth = 8
    if planes.shape[2] == 1:
        depth = next(d for d in (1, 2, 4, 8) if int(planes.max()) < 1 << d)
    rows = png_rows.pack(planes, depth)
    above = np.concatenate([np.zeros((1, rows.shape[1]), np.uint8), rows[:-1]])
    made = [png_rows.filter_rows(rows, above, planes.shape[2], kind).tobytes() for kind in _FILTERS]
    return depth, sorted(made, key=lambda content: len(zstd_frames.pack(content, 3)))[:2]


def _layout(payload: bytes | memoryview, shape: Shape) -> tuple[int, bool, int]:
    """Depth of the rows, whether they are interlaced, and how many bytes they are."""
    height, width, planes = shape
    if not payload:
        raise FormatError("a layer of rows is empty")
    depth, interlaced = payload[0] & 127, payload[0] >= _INTERLACED
    fits = {1: planes == 1, 2: planes == 1, 4: planes == 1, 8: True, 16: planes % 2 == 0}
    if not fits.get(depth, False):
        raise FormatError(f"{planes} planes as rows of depth {depth}, which cannot be")
    channels = planes // 2 if depth == 16 else planes
    return depth, interlaced, png_rows.size_of(height, width, channels, depth, interlaced)


def _planes(rows: bytes, shape: Shape, depth: int, interlaced: bool) -> Planes:
    height, width, planes = shape
    channels = planes // 2 if depth == 16 else planes
    samples = png_rows.read(rows, height, width, channels, depth, interlaced)
    if depth == 16:
        return np.concatenate([samples >> 8, samples & 255], axis=2).astype(np.uint8)
    return np.ascontiguousarray(samples, np.uint8)
