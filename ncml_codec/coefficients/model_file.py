"""Model files of networks for JPEG coefficients (`*.ncjp`): their integers as bytes, and identity.

Layout, little-endian: magic, u32 length of the description, description (JSON), zstd frame of all
tensors in the order of the description, CRC-32 of everything before it, as files of the photo
networks have it (`ncml_codec.network.model_file`). Heads are stacked: [63, outputs, inputs].
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncml_codec.coefficients.network import (
    ACTIVATION_MAX,
    OUTPUT_MAX,
    Integers,
    Layer,
    Network,
    PlaneNetwork,
    Tables,
    check,
    table_names,
)
from ncml_codec.errors import ChecksumMismatch, FormatError, NotThisFormat, Truncated
from ncml_codec.zstd_frames import MAX_JSON, pack, parse_json, unpack

MAGIC = b"\x89NCJP\x01\r\n"
SUFFIX = ".ncjp"
IDENTITY_BYTES = 4
MAX_BYTES = 1 << 25  # of unpacked tensors
KIND = "jpeg-1"

_LAYERS = ("first", "end", "second", "dc_head", "dc_out")
_STACKS = ("heads", "outs")
_DTYPES: dict[str, np.dtype[Any]] = {"<i2": np.dtype("<i2"), "<i4": np.dtype("<i4")}


@dataclass(frozen=True)
class Model:
    """A network and its identity, the SHA-256 over description and tensors (not file bytes)."""

    network: Network
    sha256: bytes

    @property
    def identity(self) -> bytes:
        """The first bytes of the SHA-256, as files name it."""
        return self.sha256[:IDENTITY_BYTES]


def write_model(network: Network) -> bytes:
    """The bytes of a model file. Raises FormatError if the network is unsound or too large."""
    check(network)
    tensors = _tensors(network)
    text = _canonical(_description(network, tensors))
    blob = b"".join(tensor.tobytes() for tensor in tensors.values())
    if len(blob) > MAX_BYTES or len(text) > MAX_JSON:
        raise FormatError(f"model file: {len(blob)} bytes of tensors, more than {MAX_BYTES}")
    body = MAGIC + struct.pack("<I", len(text)) + text + pack(blob)
    return body + struct.pack("<I", zlib.crc32(body))


def read_model(data: bytes) -> Model:
    """The model of a model file's bytes. Raises FormatError for anything else."""
    if not data.startswith(MAGIC):
        raise NotThisFormat("not a model file of JPEG's: it does not begin as one")
    if len(data) < len(MAGIC) + 8:
        raise Truncated(f"model file: {len(data)} bytes are not even a header")
    body, (checksum,) = data[:-4], struct.unpack("<I", data[-4:])
    if zlib.crc32(body) != checksum:
        raise ChecksumMismatch("model file: its bytes do not match their checksum")
    (length,) = struct.unpack_from("<I", body, len(MAGIC))
    start = len(MAGIC) + 4
    if length > len(body) - start:
        raise Truncated(f"model file: description of {length} bytes, {len(body) - start} left")
    description = parse_json(body[start : start + length], "model file's description")
    try:
        network = _network(description, _unpack(description["tensors"], body[start + length :]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(f"model file: its description is not understood: {error!r}") from error
    check(network)
    again = _tensors(network)
    canonical = _canonical(_description(network, again))
    if canonical != body[start : start + length]:
        raise FormatError("model file: its description is not that of the network it makes")
    digest = hashlib.sha256(canonical)
    for tensor in again.values():
        digest.update(tensor.tobytes())
    return Model(network, digest.digest())


def _tensors(network: Network) -> dict[str, Integers]:
    tensors: dict[str, Any] = {}
    for kind, plane in _planes(network):
        for name in _LAYERS:
            tensors |= _of_layer(f"{kind}.{name}", getattr(plane, name))
        for name in _STACKS:
            stack = getattr(plane, name)
            parts = [_of_layer(f"{kind}.{name}", layer) for layer in stack]
            tensors |= {key: np.stack([part[key] for part in parts]) for key in parts[0]}
        tensors[f"{kind}.end_bias"] = plane.end_bias.astype("<i4")
        tensors[f"{kind}.linear"] = plane.linear.astype("<i4")
    for name in table_names():
        tensors[f"tables.{name}"] = getattr(network.tables, name).astype("<i4")
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _of_layer(name: str, layer: Layer) -> dict[str, Any]:
    return {
        f"{name}.weight": layer.weight.astype("<i2"),
        f"{name}.bias": layer.bias.astype("<i4"),
        f"{name}.shift": layer.shift.astype("<i2"),
    }


def _planes(network: Network) -> list[tuple[str, PlaneNetwork]]:
    return [("luma", network.luma), ("chroma", network.chroma)]


def _description(network: Network, tensors: Mapping[str, Integers]) -> dict[str, Any]:
    return {
        "kind": KIND,
        "far": [plane.far for _, plane in _planes(network)],
        "tensors": [[name, t.dtype.str, list(t.shape)] for name, t in tensors.items()],
    }


def _network(description: Mapping[str, Any], tensors: Mapping[str, Integers]) -> Network:
    if description["kind"] != KIND:
        raise FormatError(f"model file: network of kind {description['kind']!r}, not {KIND}")
    whole = {name: tensor.astype(np.int32) for name, tensor in tensors.items()}

    def plane(kind: str, far: int) -> PlaneNetwork:
        def layer(name: str, at: int | None = None) -> Layer:
            weight, bias, shift = (
                whole[f"{kind}.{name}.{part}"] for part in ("weight", "bias", "shift")
            )
            if at is not None:
                weight, bias, shift = weight[at], bias[at], shift[at]
            outer = name in ("end", "outs", "dc_out")
            return Layer(weight, bias, shift, OUTPUT_MAX if outer else ACTIVATION_MAX)

        def stack(name: str) -> tuple[Layer, ...]:
            return tuple(layer(name, at) for at in range(len(whole[f"{kind}.{name}.weight"])))

        return PlaneNetwork(
            chroma=kind == "chroma",
            far=far,
            first=layer("first"),
            end=layer("end"),
            second=layer("second"),
            end_bias=whole[f"{kind}.end_bias"],
            heads=stack("heads"),
            outs=stack("outs"),
            dc_head=layer("dc_head"),
            dc_out=layer("dc_out"),
            linear=whole[f"{kind}.linear"],
        )

    far_luma, far_chroma = (int(far) for far in description["far"])
    luma, chroma = plane("luma", far_luma), plane("chroma", far_chroma)
    tables = Tables(**{name: whole[f"tables.{name}"] for name in table_names()})
    return Network(luma, chroma, tables)


def _unpack(entries: list[Any], packed: bytes) -> dict[str, Integers]:
    sizes = [
        (str(name), _DTYPES[dtype], tuple(int(side) for side in shape))
        for name, dtype, shape in entries
    ]
    if any(side < 1 for _, _, shape in sizes for side in shape):
        raise FormatError("model file: a tensor has an empty side")
    counts = [int(np.prod(shape, dtype=object)) * dtype.itemsize for _, dtype, shape in sizes]
    blob = unpack(packed, "model file's tensors", exactly=sum(counts), at_most=MAX_BYTES)
    tensors, at = {}, 0
    for (name, dtype, shape), count in zip(sizes, counts, strict=True):
        tensors[name] = np.frombuffer(blob, dtype, count // dtype.itemsize, at).reshape(shape)
        at += count
    return tensors


def _canonical(description: Mapping[str, Any]) -> bytes:
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode("ascii")
