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
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from ncml_codec.decode.file_info import Facts
    from ncml_codec.picture.picture import Picture
    from ncml_codec.process_pool import compress_many, decompress_many

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
    image: npt.ArrayLike | Picture | str | os.PathLike[str],
    model: str | None = None,
    level: int | None = None,
    preview: int | None = None,
) -> bytes:
    """The `.ncmz` bytes of an image, or of a JPEG file.

    image: uint8 or uint16, [height, width] or [height, width, channels]: 1 grey, 2 grey and alpha,
    3 RGB, 4 RGBA; or a `picture.Picture`; or the path of an image file, whose kind, palette and
    metadata are kept as by `ncmlzip compress`; what else it holds, `row_readers.open_image(path)`
    names in its `not_kept`. Of the path of a JPEG file the very file is kept, see `restore`. model:
    a released model's name or a model file's path, None for the level's own. level: 1 (fastest) to
    9 (smallest), 5 if None. preview: pixels of the longest side of the small picture that `preview`
    gives, 32 to 1024; 0 for none; None for 256 if the image has a megapixel. The result is not
    decoded again, as `ncmlzip` does. Raises UnsupportedImage for what cannot be held, InputError
    for a file that cannot be read, UsageError for an unknown model or level.

        >>> import numpy
        >>> deep = numpy.full((3, 5, 4), 40000, numpy.uint16)    # 16-bit RGBA
        >>> decompress(compress(deep, level=1)).dtype
        dtype('uint16')
    """
    from pathlib import Path

    from ncml_codec.atomic_files import InputFile
    from ncml_codec.encode import image_encoder, jpeg_encoder, levels
    from ncml_codec.network import released_models
    from ncml_codec.picture import row_readers
    from ncml_codec.picture.picture import Picture, Source, from_array

    level = levels.DEFAULT if level is None else level
    found = released_models.load(model) if model else None
    source: Source
    if isinstance(image, Picture):
        source = image
    elif isinstance(image, str | os.PathLike):
        with InputFile(Path(image)) as file:
            if jpeg_encoder.is_jpeg(file):
                return jpeg_encoder.encode(file.read(), level=level, preview_side=preview).data
            source = row_readers.open_image(file)
            return image_encoder.encode(source, found, level=level, preview_side=preview)
    else:
        source = from_array(image)
    return image_encoder.encode(source, found, level=level, preview_side=preview)


def decompress(
    data: bytes | str | os.PathLike[str],
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
    data: bytes | str | os.PathLike[str],
    model: str | None = None,
    region: Iterable[int] | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> Picture:
    """All that a file holds: samples as they are coded, kind, and chunks (palette, metadata).

    data: the file's bytes or its path. model: needed only if the file was made with one that is not
    released. region: x, y, width and height of the part that is wanted. Of a photograph's tiles
    (2048 x 2048) only those are decoded, and checked, that it touches; see `region`. max_pixels:
    images that claim more are refused before they take memory; 2^29 if None. max_work: files whose
    decoding takes more, in multiply-adds, are refused, too; see `costs.Work` for None. Raises
    FormatError for what is not sound, its subclass BeyondLimit for these limits, InputError for a
    file that cannot be read, UsageError for a region that is not inside the image.

        >>> import numpy
        >>> picture = decompress_picture(compress(numpy.zeros((2, 3), numpy.uint8), level=1))
        >>> picture.samples.shape, str(picture.kind), picture.chunks, picture.pixels().shape
        ((2, 3, 1), '8-bit grey', [], (2, 3))
    """
    from pathlib import Path

    from ncml_codec import atomic_files
    from ncml_codec.decode import image_decoder
    from ncml_codec.decode import region as regions
    from ncml_codec.network import released_models
    from ncml_codec.picture import image_files

    if isinstance(data, str | os.PathLike):
        data = atomic_files.read_file(Path(data))
    models = [released_models.load(model)] if model else []
    most = image_files.MAX_PIXELS if max_pixels is None else max_pixels
    if region is None:
        return image_decoder.decode(data, models, None, most, max_work)
    part = regions.region_of(region)
    return image_decoder.picture_of(regions.open_file(data, part, models, None, most, max_work))


def restore(
    data: bytes | str | os.PathLike[str],
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> bytes:
    """The very bytes of the JPEG file that was compressed.

    data: the `.ncmz` file's bytes or its path. max_pixels, max_work: as of `decompress_picture`,
    which gives the pixels. Raises FormatError for what is not sound, UsageError if the file holds
    an image and not a JPEG file, InputError for a file that cannot be read.
    """
    from pathlib import Path

    from ncml_codec import atomic_files
    from ncml_codec.decode import jpeg_decoder
    from ncml_codec.errors import UsageError
    from ncml_codec.format.directory import read_directory
    from ncml_codec.picture import image_files

    if isinstance(data, str | os.PathLike):
        data = atomic_files.read_file(Path(data))
    most = image_files.MAX_PIXELS if max_pixels is None else max_pixels
    kept = read_directory(data, most).kept
    if kept is None:
        raise UsageError("the file holds an image: decompress gives its pixels")
    return jpeg_decoder.restore(kept, data, max_pixels=most, max_work=max_work)


def inspect(
    data: bytes | str | os.PathLike[str],
    model: str | None = None,
    max_pixels: int | None = None,
) -> Facts:
    """What a file's header says: size, kind, model, tiles or layers; see `file_info.Facts`.

    data: the file's bytes or its path, of which only the beginning is read. Sections are not
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
    return file_info.inspect_bytes(data, models=models, max_pixels=most)


def preview(data: bytes | str | os.PathLike[str]) -> Image | None:
    """The small picture that a file holds of its image, upright, or None; nothing is decoded.

    data: the file's bytes or its path, of which only the beginning is read. It is an image of
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
    return previews.of_bytes(data)


def __getattr__(name: str) -> Any:
    """`compress_many` and `decompress_many`, loaded when they are first asked for."""
    if name in ("compress_many", "decompress_many"):
        from ncml_codec import process_pool

        return getattr(process_pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
