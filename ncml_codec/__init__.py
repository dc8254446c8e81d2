"""Lossless image compression by an integer autoregressive network in wave order.

    >>> import ncml_codec, numpy
    >>> pixels = numpy.arange(48, dtype=numpy.uint8).reshape(4, 4, 3)
    >>> data = ncml_codec.compress(pixels)    # or compress("photo.png"), with its metadata
    >>> bool((ncml_codec.decompress(data) == pixels).all())
    True
    >>> facts = ncml_codec.inspect(data)      # by the header alone
    >>> facts.width, facts.height, facts.channels, facts.bit_depth, str(facts.kind)
    (4, 4, 3, 8, '8-bit RGB')

The codec wing is this package without `learn`: importing it never imports torch, and numpy only
when a function is called. FORMAT.md describes the bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

    import numpy.typing as npt
    from PIL.Image import Image as PILImage
    from typing_extensions import Buffer

    from ncml_codec.decode.file_info import Facts
    from ncml_codec.picture.picture import Picture, Source
    from ncml_codec.process_pool import compress_many, decompress_many

    FileLike = Buffer | BinaryIO | str | os.PathLike[str]

__version__ = "0.2.0"
__all__ = [
    "compress",
    "compress_many",
    "decompress",
    "decompress_many",
    "decompress_picture",
    "inspect",
    "preview",
    "restore",
]


def compress(
    image: npt.ArrayLike | Picture | PILImage | FileLike,
    model: str | None = None,
    level: int | None = None,
    preview: int | None = None,
) -> bytes:
    """The `.ncmz` bytes of an image, or of a JPEG file.

    image: an array, uint8 or uint16, [height, width] or [height, width, channels]: 1 grey, 2 grey
    and alpha, 3 RGB, 4 RGBA; or a `picture.Picture`; or an image of Pillow's, with its profile and
    EXIF; or an image file: its path, its bytes, or the open binary file. Of a file the kind,
    palette and metadata are kept as by `ncmlzip compress`; what else it holds,
    `row_readers.open_image(path)` names in its `not_kept`. Of a JPEG file the very file is kept,
    see `restore`. model: a released model's name or a model file's path, None for the level's own.
    level: 1 (fastest) to 9 (smallest), 5 if None. preview: pixels of the longest side of the small
    picture that `preview` gives, 32 to 1024; 0 for none; None for 256 if the image has a megapixel.
    The result is not decoded again, as `ncmlzip` does. Raises UnsupportedImage for what cannot be
    held, InputError for a file that cannot be read, UsageError for an unknown model or level.

        >>> import numpy
        >>> deep = numpy.full((3, 5, 4), 40000, numpy.uint16)    # 16-bit RGBA
        >>> decompress(compress(deep, level=1)).dtype
        dtype('uint16')
    """
    from ncml_codec.encode import image_encoder, jpeg_encoder, levels
    from ncml_codec.network import released_models

    level = levels.DEFAULT if level is None else level
    found = released_models.load(model) if model else None
    with _opened(image) as source:
        if isinstance(source, bytes):
            return jpeg_encoder.encode(source, level=level, preview_side=preview).data
        return image_encoder.encode(source, found, level=level, preview_side=preview)


def decompress(
    data: FileLike,
    model: str | None = None,
    region: Iterable[int] | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> npt.NDArray[Any]:
    """The pixels of `.ncmz` bytes: uint8 or uint16, [height, width] if grey, else with channels.

    Palettes come as RGB or RGBA, fewer than 8 bits stretched to 8. The arguments are
    those of `decompress_picture`. Raises FormatError.

        >>> import numpy
        >>> pixels = numpy.arange(48, dtype=numpy.uint8).reshape(6, 8)
        >>> decompress(compress(pixels, level=1), region=(5, 2, 3, 1))    # x, y, width, height
        array([[21, 22, 23]], dtype=uint8)
    """
    return decompress_picture(data, model, region, max_pixels, max_work).pixels()


def decompress_picture(
    data: FileLike,
    model: str | None = None,
    region: Iterable[int] | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> Picture:
    """All that a file holds: samples as they are coded, kind, and chunks (palette, metadata).

    data: the file's bytes in any buffer, its path, or the open binary file. model: needed only if
    the file was made with one that is not released. region: x, y, width and height of the part that
    is wanted. Of a photograph's tiles (2048 x 2048) only those are decoded, and checked, that it
    touches; see `region`. max_pixels: images that claim more are refused before they take memory;
    2^29 if None. max_work: files whose decoding takes more, in multiply-adds, are refused, too; see
    `costs.Work` for None. Raises FormatError for what is not sound, its subclass BeyondLimit for
    these limits, InputError for a file that cannot be read, UsageError for a region that is not
    inside the image.

        >>> import numpy
        >>> picture = decompress_picture(compress(numpy.zeros((2, 3), numpy.uint8), level=1))
        >>> picture.samples.shape, str(picture.kind), picture.chunks, picture.pixels().shape
        ((2, 3, 1), '8-bit grey', [], (2, 3))
    """
    from ncml_codec.decode import image_decoder
    from ncml_codec.decode import region as regions
    from ncml_codec.network import released_models
    from ncml_codec.picture import image_files

    data = _read(data)
    models = [released_models.load(model)] if model else []
    most = image_files.MAX_PIXELS if max_pixels is None else max_pixels
    if region is None:
        return image_decoder.decode(data, models, None, most, max_work)
    part = regions.region_of(region)
    return image_decoder.picture_of(regions.open_file(data, part, models, None, most, max_work))


def restore(
    data: FileLike,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> bytes:
    """The very bytes of the JPEG file that was compressed.

    data: as of `decompress_picture`. max_pixels, max_work: as of `decompress_picture`,
    which gives the pixels. Raises FormatError for what is not sound, UsageError if the file holds
    an image and not a JPEG file, InputError for a file that cannot be read.
    """
    from ncml_codec.decode import jpeg_decoder
    from ncml_codec.errors import UsageError
    from ncml_codec.format.directory import read_directory
    from ncml_codec.picture import image_files

    data = _read(data)
    most = image_files.MAX_PIXELS if max_pixels is None else max_pixels
    kept = read_directory(data, most).kept
    if kept is None:
        raise UsageError("the file holds an image: decompress gives its pixels")
    return jpeg_decoder.restore(kept, data, max_pixels=most, max_work=max_work)


def inspect(
    data: FileLike,
    model: str | None = None,
    max_pixels: int | None = None,
) -> Facts:
    """What a file's header says: size, kind, model, tiles or layers; see `file_info.Facts`.

    data: as of `decompress_picture`; of a path only the beginning is read. Sections are not
    checked. model, max_pixels: as of `decompress_picture`. Raises FormatError, InputError for a
    file that cannot be read.

        >>> import numpy
        >>> facts = inspect(compress(numpy.zeros((2, 3), numpy.uint8), level=1))
        >>> facts.width, facts.height, facts.channels, facts.bit_depth, facts.metadata_bytes
        (3, 2, 1, 8, 0)
    """
    from pathlib import Path

    from ncml_codec.decode import file_info
    from ncml_codec.network import released_models
    from ncml_codec.picture import image_files

    models = [released_models.load(model)] if model else []
    most = image_files.MAX_PIXELS if max_pixels is None else max_pixels
    if isinstance(data, str | os.PathLike):
        return file_info.inspect_file(Path(data), models, most)
    return file_info.inspect_bytes(_read(data), models=models, max_pixels=most)


def preview(data: FileLike) -> PILImage | None:
    """The small picture that a file holds of its image, upright, or None; nothing is decoded.

    data: as of `decompress_picture`; of a path only the beginning is read. It is an image of
    Pillow's: 8-bit grey, RGB or RGBA. Of a JPEG file it may be the thumbnail in its EXIF data.
    Raises FormatError for what is not sound, InputError for a file that cannot be read.

        >>> import numpy
        >>> pixels = numpy.random.default_rng(0).integers(256, size=(60, 90), dtype=numpy.uint8)
        >>> preview(compress(pixels, level=1)) is None    # less than a megapixel
        True
    """
    from pathlib import Path

    from ncml_codec.decode import preview as previews

    if isinstance(data, str | os.PathLike):
        return previews.of_file(Path(data))
    return previews.of_bytes(_read(data))


@contextmanager
def _opened(image: Any) -> Iterator[Source | bytes]:
    """What `compress` takes, as an image, or the bytes of a JPEG file. Raises InputError."""
    from pathlib import Path

    from ncml_codec.atomic_files import InputFile
    from ncml_codec.encode import jpeg_encoder
    from ncml_codec.picture import image_files, row_readers
    from ncml_codec.picture.picture import Picture, from_array

    if isinstance(image, str | os.PathLike):
        with InputFile(Path(image)) as file:
            yield file.read() if jpeg_encoder.is_jpeg(file) else row_readers.open_image(file)
    elif isinstance(image, Picture):
        yield image
    elif _is_file(image):
        data = _read(image)
        is_jpeg = data.startswith(jpeg_encoder.SIGNATURE)
        yield data if is_jpeg else image_files.decode_file(data, "the image")
    elif type(image).__module__.startswith("PIL."):
        from ncml_codec.picture import pillow_formats

        yield pillow_formats.picture_of(image, "the image")
    else:
        yield from_array(image)


def _is_file(given: Any) -> bool:
    """Whether these are a file's bytes, or an open file."""
    flat = isinstance(given, memoryview) and given.ndim == 1 and given.itemsize == 1
    return flat or isinstance(given, bytes | bytearray) or hasattr(given, "read")


def _read(data: Any) -> bytes:
    """A file's bytes, by its path, its bytes in any buffer, or the open binary file."""
    from pathlib import Path

    from ncml_codec import atomic_files
    from ncml_codec.errors import InputError

    if isinstance(data, str | os.PathLike):
        return atomic_files.read_file(Path(data))
    found = data.read() if hasattr(data, "read") else data
    if isinstance(found, str):
        raise InputError("a file that is open as text; open it as binary, by mode 'rb'")
    return found if isinstance(found, bytes) else bytes(memoryview(found))


def __getattr__(name: str) -> Any:
    """`compress_many` and `decompress_many`, loaded when they are first asked for."""
    if name in ("compress_many", "decompress_many"):
        from ncml_codec import process_pool

        return getattr(process_pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
