"""WebP, BMP and TIFF through Pillow, and the pixels of JPEG: only what Pillow gives exactly.

What Pillow would cut, scale or turn in silence is refused by name. The only module that hands
image files to Pillow.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ncml_codec.atomic_files import translated
from ncml_codec.errors import InputError, UnsupportedImage, UsageError
from ncml_codec.picture import foreign_files, kinds, png_chunks
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Admit, Picture, Samples, admit_all, check_size, sample_bytes

READABLE = ("WEBP", "BMP", "TIFF")
WRITABLE = {".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
_MODES = {
    "1": Kind(kinds.GREY, 1),
    "L": Kind(kinds.GREY, 8),
    "LA": Kind(kinds.GREY_ALPHA, 8),
    "RGB": Kind(kinds.RGB, 8),
    "RGBA": Kind(kinds.RGB_ALPHA, 8),
    "P": Kind(kinds.PALETTE, 8),
    "I;16": Kind(kinds.GREY, 16),
    "I;16B": Kind(kinds.GREY, 16),
}
# TIFF's tags.
_BITS_PER_SAMPLE, _ORIENTATION, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 274, 277, 339
# That reading takes for a pixel beside its samples: 4 in Pillow's own image, and 12 more in what
# libwebp is given room for when the file is opened. That writing takes for a byte of samples: two
# copies, Pillow's image, the file, and the image that is read back; libwebp's by pixel and at least
# (`python -m bench memory --only through`).
_PILLOW_BYTES, _WEBP_BYTES = 4, 16
_WRITTEN, _WEBP_WRITTEN, _WEBP_WRITER = 8, 42, 24 << 20
_BAND = 1 << 20  # pixels that are copied out of Pillow's memory at a time
_PILLOW_LIMIT = threading.Lock()


def read(
    data: bytes, name: str, max_pixels: int, decoded: bool, admit: Admit = admit_all
) -> Picture:
    """The picture of a file; name: for errors; decoded: as of `opened`; admit: of `pixels`.

    Raises InputError for what is no such file, is damaged or larger than max_pixels,
    UnsupportedImage for what the codec cannot hold.
    """
    found = foreign_files.survey(data, name)
    if found.size:  # before Pillow makes room for it
        check_size(*found.size, name, max_pixels)
    if found.size and data[:4] == b"RIFF":  # whose canvas is made when it is opened
        width, height = found.size
        admit(_MODES["RGB"], (height, width), len(data) + width * height * _WEBP_BYTES)
    with opened(data, name, decoded) as image:
        check_size(image.width, image.height, name, max_pixels)
        picture = picture_of(image, name, len(data), admit)
    return replace(picture, not_kept=tuple(found.not_kept))


def opened(data: bytes, name: str, decoded: bool) -> Image.Image:
    """The image, its header read; nothing is unpacked, whatever its size.

    decoded: whether lossy files are taken as well, for the pixels that they decode to. Raises
    InputError for what is no such file, UnsupportedImage for lossy files that are not asked for.

    Pillow's own limits (a warning at 89 million pixels, an error at 179), which are for programs
    that open what strangers send, are left to the caller.
    """
    found = foreign_files.survey(data, name)
    if found.is_lossy and not decoded:
        raise UnsupportedImage(
            f"{name}: a lossy WebP; stored as pixels it would only grow. Keep the file"
            " (or compress its decoded pixels with --decoded)"
        )
    formats = (*READABLE, "JPEG") if decoded else READABLE
    with translated(name), _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except UnidentifiedImageError as error:
            raise InputError(f"{name}: {_unidentified(data)}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    return image


def picture_of(image: Image.Image, name: str, length: int = 0, admit: Admit = admit_all) -> Picture:
    """The picture of an image from `opened`; name, length: of the file.

    Raises UnsupportedImage if Pillow would not give all of its samples, InputError if it is
    damaged.
    """
    with translated(name):
        frames = getattr(image, "n_frames", 1)
        problem = _problem(image)
        is_short = _is_short(image)
    if frames > 1:
        raise UnsupportedImage(f"{name}: {frames} frames or pages; only one is handled")
    if problem:
        raise UnsupportedImage(f"{name}: {problem}")
    if is_short:
        raise InputError(f"{name}: its pixels lie beyond its end; it was cut short")
    kind = _MODES[image.mode]
    pixels = image.height * image.width
    taken = _WEBP_BYTES if image.format == "WEBP" else _PILLOW_BYTES
    held = length + pixels * (taken + sample_bytes(kind))
    admit(kind, (image.height, image.width), held)
    chunks: list[png_chunks.Chunk] = []
    if image.info.get("icc_profile"):
        chunks.append(png_chunks.icc_chunk(image.info["icc_profile"]))
    if image.mode == "P":
        with translated(name):
            chunks.append((b"PLTE", bytes(image.getpalette("RGB") or b"")))
    if image.info.get("exif"):
        chunks.append((b"eXIf", image.info["exif"].removeprefix(b"Exif\0\0")))
    samples = _samples(image, kind, name)
    return Picture(samples, [*chunks, (png_chunks.PIXELS, b"")] if chunks else [], kind)


def written_bytes(pixels: int, kind: Kind, suffix: str) -> int:
    """The memory that writing an image in the format of this suffix takes."""
    if suffix == ".webp":
        return _WEBP_WRITER + pixels * _WEBP_WRITTEN
    return pixels * _WRITTEN * sample_bytes(kind)


def encoded(
    shape: tuple[int, int, int],
    kind: Kind,
    chunks: Sequence[png_chunks.Chunk],
    bands: Iterable[Samples],
    name: str,
) -> bytes:
    """An image file's bytes, its format by the suffix of `name`, one of WRITABLE.

    It is read again and compared: raises UsageError for what the format cannot hold.
    """
    suffix = PurePath(name).suffix.lower()
    options: dict[str, object] = {}
    if suffix == ".webp":
        options = {"lossless": True, "exact": True, "quality": 80}
    if suffix == ".bmp":
        options = {"dpi": (0, 0)}  # none, where Pillow would write 96
    if suffix in (".webp", ".tif", ".tiff"):
        found = {"icc_profile": png_chunks.icc_profile(chunks), "exif": png_chunks.exif(chunks)}
        options.update({key: value for key, value in found.items() if value})
    lost = f"{name}: a {suffix[1:]} file cannot hold"
    mode = next((mode for mode, one in _MODES.items() if one == kind), None)
    if mode is None or any(key == b"tRNS" for key, _ in chunks):
        what = f"{kind} samples" if mode is None else "a transparent colour"
        raise UsageError(f"{lost} {what}; name the output .png")
    height, width, _ = shape
    # A band is valid until the next one is asked for.
    samples = np.concatenate([band.copy() for band in bands]).reshape(height, width, -1)
    image = _image(samples, mode, dict(chunks).get(b"PLTE"))
    out = io.BytesIO()
    try:
        image.save(out, WRITABLE[suffix], **options)
        again = picture_of(opened(out.getvalue(), name, False), name)
    except (OSError, ValueError, InputError) as error:
        raise UsageError(f"{name}: this picture cannot be written so: {error}") from error
    # Grey in WebP comes back as three equal planes, which is all that WebP has.
    as_webp = suffix == ".webp" and kind == _MODES["L"]
    same_kind = again.kind == kind or as_webp
    if not same_kind or not bool((again.samples == samples).all()):
        raise UsageError(f"{lost} {kind} samples as they are; name the output .png")
    return out.getvalue()


def _image(samples: Samples, mode: str, palette: bytes | None) -> Image.Image:
    flat = samples[:, :, 0] if samples.shape[2] == 1 else samples
    if mode == "1":
        return Image.fromarray(flat.astype(bool))
    image = Image.fromarray(flat)
    if mode == "P":
        image.putpalette(palette or b"")
    return image


def _problem(image: Image.Image) -> str | None:
    """What keeps Pillow from giving all samples as they are in the file, if anything does."""
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        depth = max(_tuple(tags.get(_BITS_PER_SAMPLE, 1)))
        allowed = {"1": (1,), "P": (1, 2, 4, 8), "I;16": (16,), "I;16B": (16,)}.get(
            image.mode, (8,)
        )
        count = tags.get(_SAMPLES_PER_PIXEL, 1)
        if image.mode in _MODES and count != _MODES[image.mode].channels:
            return f"a TIFF of {count} samples a pixel, mode {image.mode}"
        if depth not in allowed:
            return f"a TIFF of {depth} bits a sample, mode {image.mode}"
        if any(form != 1 for form in _tuple(tags.get(_SAMPLE_FORMAT, 1))):
            return "a TIFF of signed or floating point samples"
        if tags.get(_ORIENTATION, 1) != 1:
            return f"a TIFF that is to be turned (orientation {tags[_ORIENTATION]})"
    if image.mode not in _MODES:
        return f"pixels of mode {image.mode}; grey, RGB, alpha and palettes are handled"
    if "transparency" in image.info:
        return "a transparent colour, which is handled in PNG alone"
    if image.palette is not None and image.mode == "P" and image.palette.mode != "RGB":
        return f"a palette of mode {image.palette.mode}"
    return None


def _is_short(image: Image.Image) -> bool:
    """Whether rows that are not compressed lie beyond the file's end: no memory is taken yet."""
    stream = getattr(image, "fp", None)
    length = stream.seek(0, io.SEEK_END) if stream else 0
    least = 1 if image.mode in ("1", "P") else 8  # bits of a pixel
    for tile in getattr(image, "tile", []):
        if stream and tile.codec_name == "raw":
            (left, top, right, bottom), arguments = tile.extents, tile.args
            stride = arguments[1] if isinstance(arguments, tuple) and len(arguments) > 1 else 0
            stride = stride or (right - left) * least // 8
            if tile.offset + stride * (bottom - top - 1) >= length:
                return True
    return False


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _samples(image: Image.Image, kind: Kind, name: str) -> Samples:
    width, height = image.size
    samples = np.empty((height, width, kind.channels), kind.dtype)
    step = max(1, _BAND // width)
    with translated(name):
        # Pillow keeps four bytes a pixel, and would hold two copies more while it gives them all.
        for top in range(0, height, step):
            stop = min(top + step, height)
            band = np.asarray(image.crop((0, top, width, stop)))
            samples[top:stop] = band.reshape(stop - top, width, -1)
    return samples


def _unidentified(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "a JPEG file, whose pixels are not taken unasked. Convert it to PNG first"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "a GIF; animations are not handled. Convert it to PNG first"
    formats = ", ".join(("PNG", *READABLE, "PPM"))
    return f"not an image of a handled format ({formats})"
