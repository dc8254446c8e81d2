"""Pictures in and out of whole image files, every sample as it stands there.

Lossless formats only, both ways. What the codec does not handle is refused by name, never
converted. PNG is read by `png` and `png_rows`, PNM by `pnm`, the others by Pillow, which is
imported once it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

import numpy as np

from ncml_codec.errors import FormatError, InputError, UnsupportedImage, UsageError
from ncml_codec.picture import kinds, png_chunks, png_rows, png_writer, pnm
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import MAX_PIXELS as MAX_PIXELS
from ncml_codec.picture.picture import Admit as Admit
from ncml_codec.picture.picture import ImageData, Picture, Samples, Source, from_array, sample_bytes
from ncml_codec.picture.picture import admit_all as admit_all
from ncml_codec.picture.picture import check_size as check_size

__all__ = ["Picture", "Samples", "Source", "decode_file", "encode_file", "from_array"]

# As `pillow_formats.WRITABLE`, which is not imported yet.
_BY_PILLOW = (".webp", ".bmp", ".tif", ".tiff")
WRITABLE = (".png", *_BY_PILLOW, ".ppm", ".pgm", ".pbm")
_KNOWN_CRITICAL = {b"PLTE", png_chunks.PIXELS, png_chunks.TRAILER}
IMAGE_DATA_LEFT = "image data behind the last row"  # for `Picture.not_kept`
_CHUNKS = {b"iCCP": "colour profile", b"eXIf": "EXIF", b"pHYs": "resolution"}  # for `not_held`
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


def decode_file(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    decoded: bool = False,
    admit: Admit = admit_all,
) -> Picture:
    """The picture of an image file's bytes. name: of the file, for errors.

    decoded: take JPEG and lossy WebP as well, for the pixels that they decode to. admit: see
    `admit_all`. Raises InputError if it is damaged, no image or larger than max_pixels,
    UnsupportedImage if the codec cannot hold it.
    """
    if data.startswith(png_chunks.SIGNATURE):
        return _decode_png(data, name, max_pixels, admit)
    if not data:
        raise InputError(f"{name}: the file is empty")
    if pnm.is_pnm(data):
        header = pnm.read_header(data, name)
        check_size(header.width, header.height, name, max_pixels)
        kind = pnm.kind_of(header, name)
        size = (header.height, header.width)
        admit(kind, size, len(data) + size[0] * size[1] * sample_bytes(kind))
        return pnm.read(data, name)
    from ncml_codec.picture import pillow_formats

    return pillow_formats.read(data, name, max_pixels, decoded, admit)


def encode_file(picture: Picture, name: str) -> bytes:
    """The picture as the bytes of an image file, its format by the suffix of `name`.

    Raises UsageError for a suffix that is not in WRITABLE, or whose format cannot hold it.
    """
    shape = (picture.height, picture.width, picture.planes)
    return b"".join(encode_parts(shape, picture.chunks, [picture.samples], name, picture.kind))


def encode_parts(
    shape: tuple[int, int, int],
    chunks: Sequence[png_chunks.Chunk],
    bands: Iterable[Samples],
    name: str,
    kind: Kind | None = None,
) -> Iterator[bytes]:
    """`encode_file` part by part, of an image whose rows come in bands from top to bottom.

    shape: height, width, planes. kind: of the samples; None for 8-bit grey or RGB. PNG, PPM and
    PGM hold one band at a time, other formats the image. The suffix is looked at at once, bands
    are not.
    """
    kind = kind or kinds.of_samples(shape[2], np.uint8)
    suffix = PurePath(name).suffix.lower()
    if suffix not in WRITABLE:
        known = " ".join(WRITABLE)
        said = (
            f"no lossless format for the suffix {suffix!r}" if suffix else "a name without suffix"
        )
        raise UsageError(f"{name}: {said}; name the output with -o, ending in one of {known}")
    if suffix == ".png":
        return png_writer.png_parts(shape, kind, chunks, bands)
    if suffix in pnm.SUFFIXES:
        return _pnm_parts(shape, kind, chunks, bands, name)
    return _pillow_parts(shape, kind, chunks, bands, name)


def written_bytes(pixels: int, kind: Kind, name: str) -> int:
    """The memory that `encode_parts` takes for an image of so many pixels beside its bands."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in _BY_PILLOW:
        return 0
    from ncml_codec.picture import pillow_formats

    return pillow_formats.written_bytes(pixels, kind, suffix)


def not_held(chunks: Sequence[png_chunks.Chunk], kind: Kind, name: str) -> list[str]:
    """What an image file of this name's format cannot hold of the chunks, in words as those of
    `Picture.not_kept`.

    Of what would make the image look different, transparency, `encode_parts` refuses to write it.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".png":
        return []
    kept = {b"PLTE"} if kind.colour_type == kinds.PALETTE else set()
    if suffix in (".webp", ".tif", ".tiff") and png_chunks.icc_profile(chunks) is not None:
        kept.add(b"iCCP")
    if suffix == ".webp":
        kept.add(b"eXIf")
    found: dict[str, None] = {}  # in order, each once
    for key, content in chunks:
        if key not in (png_chunks.PIXELS, png_chunks.TRAILER) and key not in kept:
            found[_CHUNKS.get(key) or f"chunk {key.decode('latin-1')}"] = None
        elif key == png_chunks.TRAILER:
            found[f"trailer of {len(content)} bytes"] = None
        kept.discard(key)  # another one of its kind is lost
    return list(found)


def _pnm_parts(
    shape: tuple[int, int, int],
    kind: Kind,
    chunks: Sequence[png_chunks.Chunk],
    bands: Iterable[Samples],
    name: str,
) -> Iterator[bytes]:
    lost = None
    if kind.colour_type not in (kinds.GREY, kinds.RGB) or kind.bit_depth not in (1, 8, 16):
        lost = f"{kind} samples"
    elif any(key == b"tRNS" for key, _ in chunks):
        lost = "a transparent colour"
    if lost:
        suffix = PurePath(name).suffix[1:].lower()
        raise UsageError(f"{name}: a {suffix} file cannot hold {lost}; name the output .png")
    return pnm.parts(shape, kind, bands)


def _pillow_parts(
    shape: tuple[int, int, int],
    kind: Kind,
    chunks: Sequence[png_chunks.Chunk],
    bands: Iterable[Samples],
    name: str,
) -> Iterator[bytes]:
    from ncml_codec.picture import pillow_formats

    yield pillow_formats.encoded(shape, kind, chunks, bands, name)


def _decode_png(data: bytes, name: str, max_pixels: int, admit: Admit) -> Picture:
    header, chunks = png_chunks.split(data, name)
    problem = png_problem(header, chunks)
    if problem:
        raise refuse(name, problem)
    check_size(header.width, header.height, name, max_pixels)
    kind, size = header.kind, (header.height, header.width)
    held = png_chunks.held_bytes(chunks) + len(data) + size[0] * size[1] * sample_bytes(kind)
    admit(kind, size, held)
    stream = png_chunks.image_data(data)
    layout = (header.height, header.width, kind.channels, kind.bit_depth, header.interlaced)
    try:
        filtered, is_exact = png_rows.inflate(stream, png_rows.size_of(*layout))
        samples = png_rows.read(filtered, *layout)
    except FormatError as error:
        raise InputError(f"{name}: {error}") from error
    kept = ImageData(stream, header.interlaced) if is_exact else None
    not_kept = () if is_exact else (IMAGE_DATA_LEFT,)
    return Picture(samples, chunks if len(chunks) > 1 else [], kind, kept, not_kept)


def refuse(name: str, problem: str) -> UnsupportedImage:
    """The error for a sound file that cannot be held."""
    return UnsupportedImage(f"{name}: {problem}, which is not handled")


def png_problem(header: png_chunks.ImageHeader, chunks: Sequence[png_chunks.Chunk]) -> str | None:
    """What the codec cannot hold of a PNG with this header and these chunks, if anything."""
    found = {kind for kind, _ in chunks}
    if found & _ANIMATION:
        return "an animated PNG"
    unknown = [kind for kind in found if not kind[0] & 32 and kind not in _KNOWN_CRITICAL]
    if unknown:
        return f"a PNG with the critical chunk {unknown[0].decode('ascii', 'replace')}"
    if header.colour_type == kinds.PALETTE and b"PLTE" not in found:
        return "a PNG that lacks its palette"
    return None
