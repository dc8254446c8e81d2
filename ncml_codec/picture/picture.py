"""Pictures: samples of any kind that PNG has, and what stands beside them in a file.

Files are not its business: see `image_files` (whole) and `readers` (band by band).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ncml_codec.errors import InputError, UnsupportedImage
from ncml_codec.picture import kinds, png_chunks
from ncml_codec.picture.kinds import Kind

Samples = npt.NDArray[Any]  # uint8 or uint16, see `Kind.dtype`


class Source(Protocol):
    """An image whose samples are asked for by rows: a `Picture`, or one still in its file."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def planes(self) -> int:
        """1 to 4: the channels of its kind."""
        ...

    @property
    def kind(self) -> Kind: ...

    @property
    def chunks(self) -> Sequence[png_chunks.Chunk]:
        """As of `Picture`."""
        ...

    @property
    def not_kept(self) -> Sequence[str]:
        """What the file that it was read from holds and a `.ncmz` file does not, in words."""
        ...

    @property
    def packed_bytes(self) -> int | None:
        """Bytes of the image data of the PNG that it was read from, if it was."""
        ...

    def rows(self, top: int, stop: int) -> Samples:
        """The samples of some rows, [stop - top, width, planes]. Cheap from top to bottom."""
        ...

    def whole(self) -> Picture:
        """The image in memory."""
        ...


Admit = Callable[[Kind, tuple[int, int], int], None]
MAX_PIXELS = 1 << 29  # of an image, read or decoded: 1.6 GB of RGB samples


@dataclass(frozen=True)
class ImageData:
    """A PNG's zlib stream that holds exactly a picture's samples."""

    stream: bytes
    interlaced: bool


@dataclass(frozen=True)
class Picture:
    """samples: [height, width, planes], whole numbers below 2**depth; of a palette, the indices.

    chunks: metadata as PNG chunks, in order (a palette's PLTE among them), with one empty
    `png_chunks.PIXELS` where the pixels stand. declared: the kind, where the samples do not tell: a
    palette, or fewer than 8 bits. image_data: as it stood in a PNG, if it did. not_kept: what else
    the file that it was read from holds, in words, such as "resolution" or "tag Artist"; how that
    file was compressed or laid out is not named.
    """

    samples: Samples
    chunks: Sequence[png_chunks.Chunk] = field(default_factory=list)
    declared: Kind | None = None
    image_data: ImageData | None = field(default=None, compare=False, repr=False)
    not_kept: Sequence[str] = field(default=(), compare=False)

    def rows(self, top: int, stop: int) -> Samples:
        """Some rows, a view: see `Source`."""
        return self.samples[top:stop]

    def whole(self) -> Picture:
        """Itself: see `Source`."""
        return self

    def pixels(self) -> Samples:
        """What a viewer would show, as `ncml_codec.decompress` gives it: uint8 or uint16, [height,
        width] if grey, else [height, width, 2 to 4]; a palette applied, see `expanded`."""
        colours = expanded(self)
        return colours[:, :, 0] if colours.shape[2] == 1 else colours

    @property
    def kind(self) -> Kind:
        return self.declared or kinds.of_samples(self.planes, self.samples.dtype)

    @property
    def packed_bytes(self) -> int | None:
        return len(self.image_data.stream) if self.image_data else None

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    @property
    def planes(self) -> int:
        return int(self.samples.shape[2])


def expanded(picture: Picture) -> Samples:
    """Its pixels in colours, uint8 or uint16 [height, width, 1 to 4]: what a viewer would show.

    Palettes become RGB, or RGBA if they have transparency; fewer than 8 bits are stretched to 8. A
    transparent colour (tRNS) of grey and RGB is left aside.
    """
    kind, found = picture.kind, dict(picture.chunks)
    if kind.colour_type != kinds.PALETTE:
        scale = 255 // (2**kind.bit_depth - 1) if kind.bit_depth < 8 else 1
        return picture.samples * scale if scale > 1 else picture.samples
    colours = np.frombuffer(found.get(b"PLTE", b""), np.uint8)
    # Indices beyond the palette are black, as in libpng.
    table = np.zeros((256, 4), np.uint8)
    table[: len(colours) // 3, :3] = colours[: len(colours) // 3 * 3].reshape(-1, 3)
    alpha = np.frombuffer(found.get(b"tRNS", b""), np.uint8)[:256]
    table[:, 3] = 255
    table[: len(alpha), 3] = alpha
    return table[picture.samples[:, :, 0]][:, :, : 4 if len(alpha) else 3]


def from_array(array: npt.ArrayLike) -> Picture:
    """A picture of samples alone: uint8 or uint16, [height, width] or [height, width, 1 to 4].

    1 channel is grey, 2 grey and alpha, 3 RGB, 4 RGBA. Raises UnsupportedImage for other arrays.
    """
    samples = np.asarray(array)
    if samples.dtype not in (np.uint8, np.uint16):
        raise UnsupportedImage(f"samples of type {samples.dtype}: only uint8 and uint16 are held")
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= 4 or 0 in samples.shape:
        raise UnsupportedImage(
            f"samples of shape {samples.shape}: not [height, width] or [height, width, 1 to 4]"
        )
    return Picture(np.ascontiguousarray(samples))


def check_size(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError for more than max_pixels pixels. name: of the file."""
    if width * height > max_pixels:
        raise InputError(
            f"{name}: an image of {width} x {height} pixels, beyond the limit of {max_pixels};"
            f" {'cut it into parts' if max_pixels >= MAX_PIXELS else 'see --max-pixels'}"
        )


def admit_all(kind: Kind, size: tuple[int, int], held: int) -> None:
    """Refuse no image.

    An `Admit` hears of an image before its pixels are unpacked: its kind, its height and width, and
    the bytes that its file, its samples and its metadata take. It raises what refuses the image.
    """


def sample_bytes(kind: Kind) -> int:
    """What a pixel's samples take in memory."""
    return kind.channels * np.dtype(kind.dtype).itemsize
