"""The mixing coder: byte planes of anything that is not a photograph, by adaptive context mixing.

Drawings, screenshots, pixel art, scans, palette indices, alpha, 16-bit samples. Counters of many
contexts and linear predictions fitted on the fly give each bit a probability; a mixer learns whom
to trust (after paq8 and lpaq, M. Mahoney). Nothing is trained beforehand: all starts anew with each
image. FORMAT.md, "The mixing coder", is the whole of it.

It is not a container: whoever keeps payloads keeps their size, shape and checksum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.context_mixing.passes import code
from ncml_codec.context_mixing.walk import Plan
from ncml_codec.entropy.coder import Decoder, Encoder
from ncml_codec.errors import FormatError, UsageError

PLANES_MAX = 8
PIXELS_MAX = 1 << 28

Planes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]

_WIDE, _CANDIDATES, _FITTED = 1, 2, 4


def encode(planes: Planes, wide: bool = False, engine: str = "auto") -> bytes:
    """The payload of byte planes uint8 [height, width, planes], 1 to 8 planes.

    wide: the planes are the high bytes of 16-bit components, then, in the same order, their low
    bytes. engine: auto, native or numpy; the bytes are the same.
    Raises UsageError for another shape.
    """
    height, width, count = planes.shape
    _check_shape((height, width, count), wide)
    samples = components(planes, wide)
    plan = chosen(samples, height, width)
    encoder = Encoder()
    code(plan, samples, encoder, engine)
    return header(plan, wide) + encoder.finish()


def decode(data: bytes | memoryview, shape: Shape, engine: str = "auto") -> Planes:
    """The byte planes of a payload: uint8 `shape`, [height, width, planes].

    Raises FormatError where damage shows; most does not, so the caller keeps checksums.
    """
    height, width, count = shape
    flags = data[0] if len(data) else 8
    if flags > 7:
        raise FormatError(f"mixing payload: flags {flags}, must be 0 to 7")
    wide = bool(flags & _WIDE)
    try:
        _check_shape(shape, wide)
    except UsageError as error:
        raise FormatError(f"mixing payload: {error}") from error
    components = count // 2 if wide else count
    depths = tuple(data[1 : 1 + components])
    if len(depths) < components or max(depths) > (16 if wide else 8):
        raise FormatError(f"mixing payload: depths {depths} of {components} components")
    plan = Plan(height, width, depths, bool(flags & _CANDIDATES), bool(flags & _FITTED))
    samples = code(plan, None, Decoder(data[1 + components :]), engine)
    return _planes(samples, shape, wide)


def is_wide(data: bytes | memoryview) -> bool:
    """Whether a payload's planes are the high, then the low bytes of 16-bit components."""
    return len(data) > 0 and bool(data[0] & _WIDE)


def chosen(samples: Integers64, height: int, width: int) -> Plan:
    """How an image with these samples [components, height * width] is coded, by a quick look.

    Guessing whole pixels makes screenshots and pixel art smaller and several times faster, and
    everything else larger (bench/notebook/context-mixing.md): it is used where there are several
    components and half of the pixels are as the one before or above. Bilevel images gain little
    by fitted experts.
    """
    depths = tuple(int(component.max()).bit_length() for component in samples)
    image = samples.reshape(len(samples), height, width)
    repeated = np.zeros((height, width), bool)
    repeated[:, 1:] |= (image[:, :, 1:] == image[:, :, :-1]).all(axis=0)
    repeated[1:] |= (image[:, 1:] == image[:, :-1]).all(axis=0)
    guess = sum(depth > 0 for depth in depths) > 1 and 2 * repeated.sum() >= height * width
    return Plan(height, width, depths, candidates=bool(guess), fitted=max(depths) > 1)


def components(planes: Planes, wide: bool) -> Integers64:
    """Samples [components, pixels]; `wide` as in `encode`."""
    flat = np.ascontiguousarray(planes.reshape(-1, planes.shape[2]).T).astype(np.int64)
    half = len(flat) // 2
    return flat[:half] * 256 + flat[half:] if wide else flat


def header(plan: Plan, wide: bool) -> bytes:
    """The payload's bytes before the words of the range coder."""
    flags = _WIDE * wide + _CANDIDATES * plan.candidates + _FITTED * plan.fitted
    return bytes([flags, *plan.depths])


def _check_shape(shape: Shape, wide: bool) -> None:
    height, width, count = shape
    if not (height >= 1 and width >= 1 and height * width <= PIXELS_MAX):
        raise UsageError(f"{width} x {height} pixels: not 1 to {PIXELS_MAX}")
    if not 1 <= count <= PLANES_MAX or (wide and count % 2):
        raise UsageError(f"{count} planes: not 1 to {PLANES_MAX}, or high bytes without low ones")


def _planes(samples: Integers64, shape: Shape, wide: bool) -> Planes:
    flat = np.concatenate([samples >> 8, samples & 255]) if wide else samples
    return np.ascontiguousarray(flat.T.astype(np.uint8)).reshape(shape)
