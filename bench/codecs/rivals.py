"""Other lossless codecs through well-kept libraries, with the settings of a user who wants small
files and can wait some seconds.

Each takes the samples that it can hold and refuses the rest; where it has no grey or alpha, grey is
given as RGB, as its users would. For programs on the path see `bench.codecs.programs`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from importlib import metadata, util
from typing import Any

import imagecodecs
import numpy as np
import zstandard
from PIL import Image, features

from bench.codecs.contenders import Contender, Refused, Samples, with_planes
from bench.codecs.subjects import Subject

AVIF_SPEED = 4  # of 10 to 0; the library's default, 6, is 2 % larger on kodim03 in half the time


def rivals() -> dict[str, Contender]:
    """All that can be measured here, by short name."""
    found = {
        "png": Contender(
            "PNG",
            "the smallest of Pillow's optimize and libpng levels 6 and 9, each with zlib's default"
            " and filtered strategy, all row filters and none; the time is that of all nine",
            f"{imagecodecs.png_version()}, Pillow {metadata.version('pillow')}",
            _accept((1, 2, 3, 4), 16),
            _png,
            _plain(imagecodecs.png_decode),
        ),
        "webp": Contender(
            "WebP lossless",
            "lossless, exact, quality 100, method 6, one thread",
            f"libwebp {features.version('webp')} (Pillow)",
            _accept((3, 4), 8),
            _webp,
            lambda data, threads: _open(data),
        ),
        "jpegls": Contender(
            "JPEG-LS",
            "plane by plane, RGB as R-G, G, B-(R+G)/2 modulo 2**bits (the transform HP2)",
            imagecodecs.jpegls_version(),
            _accept((1, 2, 3, 4), 16),
            lambda samples, threads: _jpegls(samples),
            lambda data, threads: _jpegls_decode(data),
        ),
        "jpeg2000": Contender(
            "JPEG 2000",
            "5/3 wavelet, reversible colour transform, one tile, no container",
            imagecodecs.jpeg2k_version(),
            _accept((1, 2, 3, 4), 16),
            lambda samples, threads: bytes(
                imagecodecs.jpeg2k_encode(
                    _squeezed(samples),
                    level=0,
                    reversible=True,
                    codecformat="j2k",
                    numthreads=threads,
                )
            ),
            lambda data, threads: imagecodecs.jpeg2k_decode(data, numthreads=threads),
            threaded=True,
        ),
        "jxl3": _jpegxl(3),
        "jxl7": _jpegxl(7),
        "jxl9": _jpegxl(9),
        "qoi": Contender(
            "QOI",
            "it has no settings",
            imagecodecs.qoi_version(),
            _accept((3, 4), 8),
            lambda samples, threads: bytes(imagecodecs.qoi_encode(samples)),
            _plain(imagecodecs.qoi_decode),
        ),
        "avif": Contender(
            "AVIF lossless",
            f"identity matrix, 4:4:4, speed {AVIF_SPEED}, quality lossless",
            imagecodecs.avif_version(),
            _accept((3, 4), 8),
            lambda samples, threads: bytes(
                imagecodecs.avif_encode(
                    samples, level=100, speed=AVIF_SPEED, pixelformat="444", numthreads=threads
                )
            ),
            lambda data, threads: imagecodecs.avif_decode(data, numthreads=threads),
            threaded=True,
        ),
        "zstd": Contender(
            "zstd on samples",
            "level 22, window of the whole image, samples by rows, pixels, planes; 16 bits little-"
            "endian",
            "libzstd " + ".".join(map(str, zstandard.ZSTD_VERSION)),
            _accept((1, 2, 3, 4), 16),
            lambda samples, threads: _zstd(samples),
            lambda data, threads: _zstd_decode(data),
        ),
    }
    if util.find_spec("oxipng"):
        found["oxipng"] = _oxipng()
    return found


def _jpegxl(effort: int) -> Contender:
    return Contender(
        f"JPEG XL effort {effort}",
        f"distance 0, effort {effort}, bare codestream",
        imagecodecs.jpegxl_version(),
        _accept((1, 2, 3, 4), 16),
        lambda samples, threads: bytes(
            imagecodecs.jpegxl_encode(
                _squeezed(samples), lossless=True, effort=effort, numthreads=threads
            )
        ),
        lambda data, threads: imagecodecs.jpegxl_decode(data, numthreads=threads),
        threaded=True,
    )


def _oxipng() -> Contender:
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # read when its first image comes
    import oxipng

    def encode(samples: Samples, threads: int) -> bytes:
        plain = bytes(imagecodecs.png_encode(_squeezed(samples), level=1))
        return bytes(oxipng.optimize_from_memory(plain, level=6, strip=oxipng.StripChunks.all()))

    return Contender(
        "PNG, oxipng",
        "-o max, reductions of colour type and depth, one thread; starting from libpng level 1",
        f"pyoxipng {metadata.version('pyoxipng')}",
        _accept((1, 2, 3, 4), 16),
        encode,
        _plain(imagecodecs.png_decode),
    )


def _accept(planes: Sequence[int], bits: int) -> Callable[[Subject], Samples]:
    """A `prepare` that gives the samples, with planes added if the format has no fewer."""

    def prepare(subject: Subject) -> Samples:
        samples = subject.samples
        depth = 8 * samples.dtype.itemsize
        if depth > bits:
            raise Refused(f"{depth} bits a sample")
        have = samples.shape[2]
        wanted = have if have in planes else have + 2
        if wanted not in planes:
            raise Refused(f"{have} planes")
        return np.ascontiguousarray(with_planes(samples, wanted))

    return prepare


def _plain(decode: Callable[[bytes], Samples]) -> Callable[[bytes, int], Samples]:
    return lambda data, threads: decode(data)


def _squeezed(samples: Samples) -> Samples:
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def _open(data: bytes) -> Samples:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _saved(samples: Samples, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(_squeezed(samples)).save(out, kind, **options)
    return out.getvalue()


def _png(samples: Samples, threads: int) -> bytes:
    array = _squeezed(samples)
    filters = imagecodecs.PNG.FILTER
    tried = [
        bytes(imagecodecs.png_encode(array, level=level, strategy=strategy, filter=rows))
        for level in (6, 9)
        for strategy in (imagecodecs.PNG.STRATEGY.DEFAULT, imagecodecs.PNG.STRATEGY.FILTERED)
        for rows in (filters.ALL, filters.NONE)
    ]
    if samples.dtype == np.uint8:
        tried.append(_saved(samples, "PNG", optimize=True))
    return min(tried, key=len)


def _webp(samples: Samples, threads: int) -> bytes:
    return _saved(samples, "WEBP", lossless=True, quality=100, method=6, exact=True)


def _jpegls(samples: Samples) -> bytes:
    """Each plane's stream after its length."""
    planes = [samples[:, :, plane] for plane in range(samples.shape[2])]
    if len(planes) >= 3:
        red, green, blue = planes[:3]
        planes[:3] = [red - green, green, blue - _mean(red, green)]
    parts = [imagecodecs.jpegls_encode(np.ascontiguousarray(plane)) for plane in planes]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def _jpegls_decode(data: bytes) -> Samples:
    planes, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        planes.append(imagecodecs.jpegls_decode(data[at + 4 : at + 4 + length]))
        at += 4 + length
    if len(planes) >= 3:
        difference, green, rest = planes[:3]
        red = difference + green
        planes[:3] = [red, green, rest + _mean(red, green)]
    return np.stack(planes, axis=2)


def _mean(one: Samples, other: Samples) -> Samples:
    """Rounded down, without more bits."""
    mean: Samples = (one >> 1) + (other >> 1) + (one & other & 1)
    return mean


def _zstd(samples: Samples) -> bytes:
    """Height, width, planes and bytes a sample in 4 bytes each, then one frame."""
    sizes = (*samples.shape, samples.dtype.itemsize)
    head = b"".join(int(size).to_bytes(4, "little") for size in sizes)
    raw = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    settings = zstandard.ZstdCompressionParameters.from_level(22, source_size=len(raw))
    return head + zstandard.ZstdCompressor(compression_params=settings).compress(raw)


def _zstd_decode(data: bytes) -> Samples:
    *shape, width = (int.from_bytes(data[at : at + 4], "little") for at in range(0, 16, 4))
    raw = zstandard.ZstdDecompressor().decompress(data[16:])
    return np.frombuffer(raw, f"<u{width}").astype(f"u{width}").reshape(shape)
