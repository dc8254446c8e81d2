"""Other lossless codecs, called as their users would, through well-kept libraries."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Rival:
    """A codec: uint8 [height, width, 3] to bytes and back."""

    name: str
    settings: str
    encode: Callable[[Samples], bytes]
    decode: Callable[[bytes], Samples]


def rivals() -> dict[str, Rival]:
    """All that can be measured here, by short name."""
    return {
        "png": Rival("PNG", "Pillow, optimize", _pillow("PNG", optimize=True), _open),
        "webp": Rival(
            "WebP lossless",
            "Pillow, lossless, quality 100, method 6",
            _pillow("WEBP", lossless=True, quality=100, method=6, exact=True),
            _open,
        ),
        "jpegls": Rival(
            "JPEG-LS",
            "CharLS on R-G, G, B-G modulo 256, plane by plane",
            _jpegls_encode,
            _jpegls_decode,
        ),
        "jxl3": _jpegxl(3),
        "jxl7": _jpegxl(7),
        "jxl9": _jpegxl(9),
    }


def _pillow(kind: str, **options: Any) -> Callable[[Samples], bytes]:
    def encode(samples: Samples) -> bytes:
        out = io.BytesIO()
        Image.fromarray(samples).save(out, kind, **options)
        return out.getvalue()

    return encode


def _open(data: bytes) -> Samples:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _jpegxl(effort: int) -> Rival:
    def encode(samples: Samples) -> bytes:
        data = imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, numthreads=1)
        return bytes(data)

    def decode(data: bytes) -> Samples:
        samples: Samples = imagecodecs.jpegxl_decode(data, numthreads=1)
        return samples

    return Rival(f"JPEG XL effort {effort}", "libjxl, one thread, modular lossless", encode, decode)


def _jpegls_encode(samples: Samples) -> bytes:
    green = samples[:, :, 1]
    planes = (samples[:, :, 0] - green, green, samples[:, :, 2] - green)
    parts = [imagecodecs.jpegls_encode(np.ascontiguousarray(plane)) for plane in planes]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def _jpegls_decode(data: bytes) -> Samples:
    planes, at = [], 0
    for _ in range(3):
        length = int.from_bytes(data[at : at + 4], "little")
        planes.append(imagecodecs.jpegls_decode(data[at + 4 : at + 4 + length]))
        at += 4 + length
    red, green, blue = planes
    return np.stack([red + green, green, blue + green], axis=2)
