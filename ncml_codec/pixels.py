"""Pictures in and out of image files: 8-bit grey and RGB samples, and what stands beside them.

Lossless formats only, both ways. What the codec does not handle is refused by name, never
converted.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ncml_codec import png, writers
from ncml_codec.errors import InputError, NcmlError, UnsupportedImage, UsageError

WRITABLE = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
MAX_PIXELS = 1 << 29  # of an image, read or decoded: 1.6 GB of RGB samples
_READABLE = ("PNG", "WEBP", "BMP", "TIFF", "PPM")
_KNOWN_CRITICAL = {b"PLTE", png.PIXELS}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_BAND = 1 << 20  # pixels that are copied out of Pillow's memory at a time
_PILLOW_LIMIT = threading.Lock()

Samples = npt.NDArray[np.uint8]


class Source(Protocol):
    """An image whose samples are asked for by rows: a `Picture`, or one still in its file."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def planes(self) -> int:
        """1 (grey) or 3 (RGB)."""
        ...

    @property
    def chunks(self) -> Sequence[png.Chunk]:
        """As of `Picture`."""
        ...

    def rows(self, top: int, stop: int) -> Samples:
        """The samples of some rows, uint8 [stop - top, width, planes]. Cheap from top to bottom."""
        ...


@dataclass(frozen=True)
class Picture:
    """samples: uint8 [height, width, planes], 1 plane (grey) or 3 (RGB). chunks: metadata as PNG
    chunks, in order, with one empty `png.PIXELS` where the pixels stand."""

    samples: Samples
    chunks: Sequence[png.Chunk] = field(default_factory=list)

    def rows(self, top: int, stop: int) -> Samples:
        """Some rows, a view: see `Source`."""
        return self.samples[top:stop]

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


def decode_file(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture of an image file's bytes. name: of the file, for errors.

    Raises InputError if it is damaged, no image or larger than max_pixels, UnsupportedImage if the
    codec cannot hold it.
    """
    if data.startswith(png.SIGNATURE):
        return _decode_png(data, name, max_pixels)
    if not data:
        raise InputError(f"{name}: the file is empty")
    with _opened(data, name, _READABLE, max_pixels) as image:
        with _translated(name):
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
    shape = (picture.height, picture.width, picture.planes)
    return b"".join(encode_parts(shape, picture.chunks, [picture.samples], name))


def encode_parts(
    shape: tuple[int, int, int],
    chunks: Sequence[png.Chunk],
    bands: Iterable[Samples],
    name: str,
) -> Iterator[bytes]:
    """`encode_file` part by part, of an image whose rows come in bands from top to bottom.

    shape: height, width, planes. PNG, PPM and PGM hold one band at a time, other formats the
    image. The suffix is looked at at once, bands are not.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in WRITABLE:
        known = " ".join(WRITABLE)
        raise UsageError(
            f"{name}: no lossless format for the suffix {suffix or 'of an empty name'!r};"
            f" name the output with -o, ending in one of {known}"
        )
    if suffix == ".png":
        return writers.png_parts(shape, chunks, bands)
    if suffix in (".ppm", ".pgm"):
        return writers.pnm_parts(shape, bands)
    return _pillow_parts(shape, chunks, bands, name)


def _pillow_parts(
    shape: tuple[int, int, int],
    chunks: Sequence[png.Chunk],
    bands: Iterable[Samples],
    name: str,
) -> Iterator[bytes]:
    suffix = PurePath(name).suffix.lower()
    options: dict[str, object] = {}
    if suffix == ".webp":
        options = {"lossless": True, "exact": True, "quality": 80}
    if suffix in (".webp", ".tif", ".tiff"):
        found = {"icc_profile": png.icc_profile(chunks), "exif": png.exif(chunks)}
        options.update({key: value for key, value in found.items() if value})
    height, width, planes = shape
    image = Image.new("L" if planes == 1 else "RGB", (width, height))
    top = 0
    for band in bands:
        image.paste(Image.fromarray(band[:, :, 0] if planes == 1 else band), (0, top))
        top += len(band)
    out = io.BytesIO()
    try:
        image.save(out, WRITABLE[suffix], **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: this picture cannot be written so: {error}") from error
    yield out.getvalue()


def _decode_png(data: bytes, name: str, max_pixels: int) -> Picture:
    header, chunks = png.split(data, name)
    kinds = {kind for kind, _ in chunks}
    problem = png_problem(header, kinds)
    if problem:
        raise refuse(name, problem)
    with _opened(data, name, ("PNG",), max_pixels) as image:
        return Picture(_samples(image, name), chunks if len(chunks) > 1 else [])


def refuse(name: str, problem: str) -> UnsupportedImage:
    """The error for a sound file that cannot be held."""
    return UnsupportedImage(f"{name}: {problem}; 8-bit grey and RGB are handled")


def png_problem(header: png.ImageHeader, kinds: set[bytes]) -> str | None:
    """What the codec cannot hold of a PNG with this header and these kinds of chunks, if any."""
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


def _opened(data: bytes, name: str, formats: Sequence[str], max_pixels: int) -> Image.Image:
    """The image, its header read. Raises InputError beyond max_pixels, before anything is unpacked.

    That stands in for Pillow's limits (a warning at 89 million pixels, an error at 179),
    which are for programs that open what strangers send.
    """
    with _translated(name), _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(data), formats=tuple(formats))
        except UnidentifiedImageError as error:
            raise InputError(f"{name}: {_unidentified(data)}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    check_size(image.width, image.height, name, max_pixels)
    return image


def check_size(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError for more than max_pixels pixels. name: of the file."""
    if width * height > max_pixels:
        raise InputError(
            f"{name}: an image of {width} x {height} pixels, beyond the limit of {max_pixels};"
            f" {'cut it into parts' if max_pixels >= MAX_PIXELS else 'see --max-pixels'}"
        )


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
    width, height = image.size
    samples = np.empty((height, width, 1 if image.mode == "L" else 3), np.uint8)
    step = max(1, _BAND // width)
    with _translated(name):
        # Pillow keeps four bytes a pixel, and would hold two copies more while it gives them all.
        for top in range(0, height, step):
            stop = min(top + step, height)
            band = np.asarray(image.crop((0, top, width, stop)))
            samples[top:stop] = band.reshape(stop - top, width, -1)
    return samples


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Pillow's exceptions as InputError: on damaged files its readers raise nearly every kind."""
    try:
        yield
    except NcmlError:
        raise
    except Exception as error:
        raise InputError(f"{name}: cannot be read: {str(error) or repr(error)}") from error


def _is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP's image data is VP8L: the first such chunk of the RIFF decides."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + length + (length & 1)
    return False
