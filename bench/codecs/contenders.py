"""What a codec is to the bench, ours and others alike: how it is called, and how it may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.codecs.subjects import Subject

Samples = npt.NDArray[Any]  # uint8 or uint16 [height, width, planes]


class Refused(Exception):
    """The codec says that it does not take such an image; the message says which property."""


@dataclass(frozen=True)
class Contender:
    """A codec with its settings.

    prepare: what `encode` takes of an image, not timed; raises Refused. encode, decode: also take
    a number of threads. threaded: whether that number matters. peak_mib: of the process that ran
    last, if the codec is a program of its own.
    """

    name: str
    settings: str
    version: str
    prepare: Callable[[Subject], Any]
    encode: Callable[[Any, int], bytes]
    decode: Callable[[bytes, int], Samples]
    threaded: bool = False
    peak_mib: Callable[[], float] | None = None


def same_pixels(decoded: Samples, samples: Samples) -> bool:
    """Whether a decoder's array holds the samples, [height, width, planes].

    Decoders may give grey for equal planes, leave out an alpha that is opaque everywhere, or give
    8 bits where 16 hold nothing more: PNG optimisers do. All of these expand to the same samples.
    """
    array = np.asarray(decoded)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype == np.uint8 and samples.dtype == np.uint16:
        array = array.astype(np.uint16) * 257
    if array.ndim != 3 or array.dtype != samples.dtype or array.shape[:2] != samples.shape[:2]:
        return False
    return np.array_equal(with_planes(array, samples.shape[2]), samples)


def with_planes(array: Samples, planes: int) -> Samples:
    """Grey, grey and alpha, RGB or RGBA [height, width, 1 to 4] as one of more planes.

    Only what loses nothing: grey is repeated, a missing alpha is opaque; fewer planes are taken
    where those left out are such repetitions. Anything else comes back as it is.
    """
    have = array.shape[2]
    if have == planes:
        return array
    colours, alpha = array[:, :, : have - (have % 2 == 0)], array[:, :, -1:]
    if have % 2:
        alpha = np.full_like(alpha, np.iinfo(array.dtype).max)
    opaque = bool((alpha == np.iinfo(array.dtype).max).all())
    grey = bool((colours == colours[:, :, :1]).all())
    if (planes % 2 and not opaque) or (planes < 3 and not grey):
        return array
    wanted = colours[:, :, :1] if planes < 3 else np.broadcast_to(colours, (*array.shape[:2], 3))
    return wanted if planes % 2 else np.concatenate([wanted, alpha], axis=2)
