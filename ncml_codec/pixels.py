"""Pictures in and out of image files: 8-bit grey and RGB samples, and what stands beside them.

Lossless formats only, both ways. What the codec does not handle is refused by name, never
converted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ncml_codec import png
from ncml_codec.errors import InputError, UnsupportedImage, UsageError

WRITABLE = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
_READABLE = ("PNG", "WEBP", "BMP", "TIFF", "PPM")
_KNOWN_CRITICAL = {b"PLTE", png.PIXELS}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


@dataclass(frozen=True)
class Picture:
    """samples: uint8 [height, width, planes], 1 plane (grey) or 3 (RGB). chunks: metadata as PNG
    chunks, in order, with one empty `png.PIXELS` where the pixels stand."""

    samples: npt.NDArray[np.uint8]
    chunks: Sequence[png.Chunk] = field(default_factory=list)

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    @property
    def planes(self) -> int:
        return int(self.samples.shape[2])


def from_array(array: npt.ArrayLike) -> Picture:
    """A picture of samples alone: uint8 [height, width], [height, width, 1] or [height, width, 3].

    Raises UnsupportedImage for other types and shapes.
    """
    samples = np.asarray(array)
    if samples.dtype != np.uint8:
        raise UnsupportedImage(f"samples of type {samples.dtype}: only uint8 is handled")
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or samples.shape[2] not in (1, 3) or 0 in samples.shape:
        raise UnsupportedImage(
            f"samples of shape {samples.shape}: not [height, width] or [height, width, 3]"
        )
    return Picture(np.ascontiguousarray(samples))


def decode_file(data: bytes, name: str) -> Picture:
    """The picture of an image file's bytes. name: of the file, for errors.

    Raises InputError if it is damaged or no image, UnsupportedImage if the codec cannot hold it.
    """
    if data.startswith(png.SIGNATURE):
        return _decode_png(data, name)
    if not data:
        raise InputError(f"{name}: the file is empty")
    with _opened(data, name, _READABLE) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnsupportedImage(f"{name}: {frames} frames or pages; only one is handled")
        if image.format == "WEBP" and not _is_lossless_webp(data):
            raise UnsupportedImage(
                f"{name}: a lossy WebP; stored as pixels it would only grow. Keep the file"
            )
        samples = _samples(image, name)
        chunks: list[png.Chunk] = []
        if image.info.get("icc_profile"):
            chunks.append(png.icc_chunk(image.info["icc_profile"]))
        if image.info.get("exif"):
            chunks.append((b"eXIf", image.info["exif"].removeprefix(b"Exif\0\0")))
        return Picture(samples, [*chunks, (png.PIXELS, b"")] if chunks else [])


def encode_file(picture: Picture, name: str) -> bytes:
    """The picture as the bytes of an image file, its format by the suffix of `name`.

    Raises UsageError for a suffix that is not in WRITABLE.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in WRITABLE:
        known = " ".join(WRITABLE)
        raise UsageError(
            f"{name}: no lossless format for the suffix {suffix or 'of an empty name'!r};"
            f" name the output with -o, ending in one of {known}"
        )
    options: dict[str, object] = {}
    if suffix == ".webp":
        options = {"lossless": True, "exact": True, "quality": 80}
    if suffix in (".webp", ".tif", ".tiff"):
        found = {"icc_profile": png.icc_profile(picture.chunks), "exif": png.exif(picture.chunks)}
        options.update({key: value for key, value in found.items() if value})
    samples = picture.samples[:, :, 0] if picture.planes == 1 else picture.samples
    out = io.BytesIO()
    try:
        Image.fromarray(samples).save(out, WRITABLE[suffix], **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: this picture cannot be written so: {error}") from error
    return png.join(out.getvalue(), picture.chunks) if suffix == ".png" else out.getvalue()


def _decode_png(data: bytes, name: str) -> Picture:
    header, chunks = png.split(data, name)
    kinds = {kind for kind, _ in chunks}
    problem = _png_problem(header, kinds)
    if problem:
        raise UnsupportedImage(f"{name}: {problem}; 8-bit grey and RGB are handled")
    with _opened(data, name, ("PNG",)) as image:
        return Picture(_samples(image, name), chunks if len(chunks) > 1 else [])


def _png_problem(header: png.ImageHeader, kinds: set[bytes]) -> str | None:
    names = {3: "a palette", 4: "an alpha channel", 6: "an alpha channel"}
    if header.colour_type in names:
        return f"a PNG with {names[header.colour_type]}"
    if header.bit_depth != 8:
        return f"a PNG of {header.bit_depth} bits a sample"
    if b"tRNS" in kinds:
        return "a PNG with a transparent colour"
    if kinds & _ANIMATION:
        return "an animated PNG"
    unknown = [kind for kind in kinds if not kind[0] & 32 and kind not in _KNOWN_CRITICAL]
    if unknown:
        return f"a PNG with the critical chunk {unknown[0].decode('ascii', 'replace')}"
    return None


def _opened(data: bytes, name: str, formats: Sequence[str]) -> Image.Image:
    """The image, its header read. Pillow's limit against decompression bombs holds."""
    try:
        return Image.open(io.BytesIO(data), formats=tuple(formats))
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: {_unidentified(data)}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: cannot be read: {error}") from error


def _unidentified(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "a JPEG; stored as pixels it would only grow. Keep the file, or convert it first"
    return f"not an image of a handled format ({', '.join(_READABLE)})"


def _samples(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    if image.mode not in ("L", "RGB"):
        raise UnsupportedImage(
            f"{name}: pixels of mode {image.mode}; 8-bit grey and RGB are handled"
        )
    if "transparency" in image.info:
        raise UnsupportedImage(
            f"{name}: a transparent colour; 8-bit grey and RGB without one are handled"
        )
    try:
        array = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: its pixels cannot be read: {error}") from error
    return from_array(array).samples


def _is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP's image data is VP8L: the first such chunk of the RIFF decides."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + length + (length & 1)
    return False
