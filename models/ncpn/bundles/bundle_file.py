"""Bundles: images of one size coded together by a trained network as it is, in floating point.

For networks that the codec does not run, the paper's above all: a slow, sequential path that shows
that their likelihoods are real bytes. Both directions compute the same things in the same shapes,
on one thread, `batch` images beside each other. That gives the same floating point numbers only
with the same library on the same kind of processor, so a bundle names what it was made with and is
refused elsewhere. It is not a format to keep images in: `.ncmz` files are. FORMAT-BUNDLE.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncml_codec.entropy.coder import Coder, Decoder, Encoder
from ncml_codec.errors import (
    BeyondLimit,
    ChecksumMismatch,
    FormatError,
    NotThisFormat,
    RoundTripError,
    Truncated,
    UnknownModel,
    UnsupportedImage,
)
from ncml_codec.learn.likelihood.mixture import Logistics
from ncml_codec.network.distribution import weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.zstd_frames import parse_json
from ncpn.bundles import walks
from ncpn.network import NCPN
from ncpn.paper_network.pixelcnn import PixelCNN
from ncpn.presets import to_json
from ncpn.wave_network.wave import WaveNCPN

MAGIC = b"\x89NCPB\x01"
PLANES = 3
MAX_PIXELS = 1 << 24  # of all images together; a pixel takes milliseconds
MAX_BATCH_PIXELS = 1 << 20  # of images side by side; a pixel takes a network's activations
MAX_BYTES = 8 * MAX_PIXELS * PLANES  # of a file: no sub-pixel takes as much
_MAX_SIDE = 4096
_MAX_HEADER = 1 << 22  # bytes of JSON

_TOTAL = 2**24

Image = npt.NDArray[np.uint8]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Bundle:
    """Images, uint8 [height, width, 3], by their file names, in order."""

    names: Sequence[str]
    images: Sequence[Image]


def encode(
    bundle: Bundle, model: NCPN, batch: int = 16, progress: Progress = lambda pixels: None
) -> bytes:
    """The bundle's bytes, decoded again and compared: that takes the same time once more.

    batch: images beside each other, at most all. Raises UnsupportedImage unless all are RGB of one
    size and no more than a bundle holds, RoundTripError if this machine does not repeat its own
    results.
    """
    shapes = {image.shape for image in bundle.images}
    if len(shapes) != 1 or next(iter(shapes))[2:] != (PLANES,):
        found = ", ".join("x".join(map(str, shape)) for shape in sorted(shapes))
        raise UnsupportedImage(f"images of {found}: a bundle holds RGB images of one size")
    height, width, _ = next(iter(shapes))
    batch = min(batch, len(bundle.images))
    header = {
        "model": identity(model),
        "computed_with": conditions(),
        "width": width,
        "height": height,
        "batch": batch,
        "names": list(bundle.names),
        "crc": [zlib.crc32(image.tobytes()) for image in bundle.images],
    }
    text = json.dumps(header, sort_keys=True).encode()
    try:
        _checked(text)
    except FormatError as error:
        raise UnsupportedImage(f"these images do not fit into one bundle: {error}") from error
    head = MAGIC + struct.pack("<I", len(text)) + text
    encoder = Encoder()
    pixels = np.stack(bundle.images).transpose(0, 3, 1, 2)
    _walk(model, pixels.shape, pixels, encoder, batch, progress)
    payload = encoder.finish()
    data = head + _crc(head) + payload + _crc(payload)
    try:
        decoded = decode(data, model, progress)
    except FormatError as error:
        raise RoundTripError(f"this machine does not repeat its own results: {error}") from error
    if not all(map(np.array_equal, decoded.images, bundle.images)):
        raise RoundTripError("decoding gave other pixels; nothing was written")
    return data


def decode(data: bytes, model: NCPN, progress: Progress = lambda pixels: None) -> Bundle:
    """The images of a bundle. Raises UnknownModel where it cannot be decoded, else FormatError."""
    header, payload = _parts(data)
    if header["model"] != identity(model):
        raise UnknownModel(
            f"made by the network {header['model'][:16]}, not by this one"
            f" ({identity(model)[:16]}); give the run that it was made with"
        )
    made, here = header["computed_with"], conditions()
    other = [
        f"{key} {made.get(key)}, here {here[key]}" for key in here if made.get(key) != here[key]
    ]
    if other:
        raise UnknownModel(
            f"computed with {'; '.join(other)}. Floating point sums differ between libraries and"
            " processors, and one differing bit destroys the rest, so a bundle can be decoded only"
            " under the conditions that it was made under"
        )
    shape = (len(header["names"]), PLANES, header["height"], header["width"])
    pixels = _walk(model, shape, None, Decoder(payload), header["batch"], progress)
    images = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in pixels]
    for name, image, crc in zip(header["names"], images, header["crc"], strict=True):
        if zlib.crc32(image.tobytes()) != crc:
            raise ChecksumMismatch(
                f"{name}: the decoded pixels do not match their checksum: this machine computed"
                " other numbers than the one that made the bundle"
            )
    return Bundle(header["names"], images)


def sizes(data: bytes) -> tuple[int, int]:
    """Bytes of the payload, and of everything else in a bundle."""
    _, payload = _parts(data)
    return len(payload), len(data) - len(payload)


def identity(model: NCPN) -> str:
    """SHA-256 of the network's configuration and weights, in hexadecimal."""
    assert isinstance(model, WaveNCPN | PixelCNN)
    digest = hashlib.sha256(json.dumps(to_json(model.config), sort_keys=True).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def conditions() -> dict[str, str]:
    """What floating point results depend on."""
    return {
        "torch": torch.__version__,
        "device": "cpu",
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": "1",
    }


@torch.no_grad()
def _walk(
    model: NCPN,
    shape: Sequence[int],
    known: npt.NDArray[np.uint8] | None,
    coder: Coder,
    batch: int,
    progress: Progress,
) -> npt.NDArray[np.uint8]:
    """Code images [count, 3, height, width], the one walk for both directions, on one thread.

    The last batch is filled up with black images that are not coded, so that shapes never change.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pixels = np.zeros(shape, np.uint8)
        for first in range(0, len(pixels), batch):
            part = slice(first, min(first + batch, len(pixels)))
            given = None if known is None else known[part]
            pixels[part] = _walk_batch(model, pixels[part].shape, given, coder, batch, progress)
        return pixels
    finally:
        torch.set_num_threads(threads)


def _walk_batch(
    model: NCPN,
    shape: tuple[int, ...],
    known: npt.NDArray[np.uint8] | None,
    coder: Coder,
    batch: int,
    progress: Progress,
) -> npt.NDArray[np.uint8]:
    count, _, height, width = shape
    canvas = torch.zeros(batch, PLANES, height, width)
    walk = walks.walk(model, canvas, torch.zeros(batch))
    for rows, columns in walk.order():
        walk.enter((rows, columns))
        for channel in range(PLANES):
            masses = _masses(walk.channel(channel))[:count].reshape(-1, 16, 16)
            here = None if known is None else known[:, channel, rows, columns].ravel()
            symbols = None if here is None else here.astype(np.int32)
            high = coder.code(_counted(masses.sum(2)), None if symbols is None else symbols >> 4)
            inside = masses[np.arange(len(high)), high]
            low = coder.code(_counted(inside), None if symbols is None else symbols & 15)
            values = torch.from_numpy((high << 4 | low).reshape(count, -1)).float()
            canvas[:count, channel, rows, columns] = values
        progress(count * len(rows))
    return canvas[:count].to(torch.uint8).numpy()


def _masses(logistics: Logistics) -> npt.NDArray[np.float64]:
    """Probabilities of the levels, [batch, n, 256]: differences of the distribution function."""
    log_weights, means, log_scales = (
        part[:, :, 0, :, None].double()
        for part in (logistics.log_weights, logistics.means, logistics.log_scales)
    )
    edges = torch.arange(255, dtype=torch.float64) + 0.5
    below = torch.sigmoid((edges - means) * torch.exp(-log_scales))
    inner: Tensor = (torch.exp(log_weights) * below).sum(1)
    ends = (torch.zeros_like(inner[..., :1]), torch.ones_like(inner[..., :1]))
    cumulative = torch.cat([ends[0], inner.clamp(0, 1), ends[1]], -1)
    return cumulative.diff(dim=-1).clamp(min=0).numpy()


def _counted(masses: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The coder's weights for rows of 16 masses: counts of at least 1 that sum to 2**24."""
    total = masses.sum(1, keepdims=True)
    shares = np.where(total > 0, masses / np.where(total > 0, total, 1), 1 / 16)
    counts: Integers = (np.floor(shares * (_TOTAL - 16)) + 1).astype(np.int32)
    rows = np.arange(len(counts))
    counts[rows, counts.argmax(1)] += _TOTAL - counts.sum(1, dtype=np.int32)
    return weights(counts)


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload, both checked. Raises FormatError."""
    start = len(MAGIC) + 4
    if not data.startswith(MAGIC):
        raise NotThisFormat("not a bundle: it does not begin as one")
    if len(data) < start:
        raise Truncated(f"a bundle of {len(data)} bytes: its header begins with {start}")
    (length,) = struct.unpack("<I", data[len(MAGIC) : start])
    if len(data) < start + length + 8:
        raise Truncated(f"header of {length} bytes at offset {start}, file has {len(data)}")
    head, payload = data[: start + length], data[start + length + 4 : -4]
    if _crc(head) != data[start + length : start + length + 4]:
        raise ChecksumMismatch("the header does not match its checksum; the file is damaged")
    if _crc(payload) != data[-4:]:
        raise ChecksumMismatch("the payload does not match its checksum; the file is damaged")
    return _checked(head[start:]), payload


def _checked(text: bytes) -> dict[str, Any]:
    """The header, if every claim is of its type and can be meant."""
    header = parse_json(text, "the header", at_most=_MAX_HEADER)
    names, crcs = header.get("names"), header.get("crc")
    sizes = [header.get(key) for key in ("width", "height", "batch")]
    sound = (
        isinstance(header.get("model"), str)
        and isinstance(header.get("computed_with"), dict)
        and all(isinstance(value, str) for value in header["computed_with"].values())
        and all(type(size) is int and 0 < size <= _MAX_SIDE for size in sizes)
        and isinstance(names, list)
        and isinstance(crcs, list)
        and 0 < len(names) == len(crcs)
        and all(isinstance(name, str) and _is_plain(name) for name in names)
        and len(set(names)) == len(names)
        and all(type(crc) is int for crc in crcs)
    )
    if not sound:
        raise FormatError("the header lacks a field, or holds one that cannot be meant")
    if len(header["names"]) * header["width"] * header["height"] > MAX_PIXELS:
        raise BeyondLimit(f"more than {MAX_PIXELS} pixels, which would take days")
    if header["batch"] > len(header["names"]):
        raise FormatError(f"a batch of {header['batch']} for {len(header['names'])} images")
    if header["batch"] * header["width"] * header["height"] > MAX_BATCH_PIXELS:
        raise BeyondLimit(f"more than {MAX_BATCH_PIXELS} pixels side by side; take a smaller batch")
    return header


def _is_plain(name: str) -> bool:
    """Whether it is a file's name and leads nowhere else."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half a character
        return False
    return name not in ("", ".", "..") and not any(c in name for c in "/\\\0")


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
