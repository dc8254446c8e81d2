"""Model files (`*.ncpn`): an integer network as bytes, and its identity.

Layout, little-endian: magic, u32 length of the description, description (JSON, UTF-8), zstd
frame of all tensors in the order of the description, CRC-32 of everything before it. FORMAT.md,
"Model files". A model file is data: reading one runs no code of its own.
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

from ncml_codec.errors import ChecksumMismatch, FormatError, NotThisFormat, Truncated
from ncml_codec.network.integer_network import (
    ACTIVATION_MAX,
    OUTPUT_MAX,
    Block,
    Head,
    Integers,
    Layer,
    Network,
    check,
    named_layers,
    table_names,
    tables_from,
)
from ncml_codec.zstd_frames import MAX_JSON, pack, parse_json, unpack

MAGIC = b"\x89NCPN\x01\r\n"
IDENTITY_BYTES = 4  # how much of the SHA-256 an image file names
MAX_BYTES = 1 << 24  # of unpacked tensors: twelve times those of the largest released model
MAX_FILE_BYTES = MAX_BYTES + (MAX_BYTES >> 2)  # what zstd cannot make smaller, description, rest

_DTYPES: dict[str, np.dtype[Any]] = {"<i2": np.dtype("<i2"), "<i4": np.dtype("<i4")}


@dataclass(frozen=True)
class Model:
    """A network and its identity, the SHA-256 over description and tensors (not file bytes)."""

    network: Network
    sha256: bytes

    @property
    def identity(self) -> bytes:
        """The first four bytes of the SHA-256, as image files name it."""
        return self.sha256[:IDENTITY_BYTES]


def identified(network: Network) -> Model:
    """The model of a network that is already in memory. Raises FormatError if it is unsound."""
    check(network)
    tensors = _tensors(network)
    return Model(network, _sha256(_description(network, tensors), tensors))


def write_model(network: Network) -> bytes:
    """The bytes of a model file. Raises FormatError if the network is unsound or too large."""
    check(network)
    tensors = _tensors(network)
    text = _canonical(_description(network, tensors))
    blob = b"".join(_plain(tensor) for tensor in tensors.values())
    if len(blob) > MAX_BYTES or len(text) > MAX_JSON:
        raise FormatError(f"model file: {len(blob)} bytes of tensors, more than {MAX_BYTES}")
    body = MAGIC + struct.pack("<I", len(text)) + text + pack(blob)
    return body + struct.pack("<I", zlib.crc32(body))


def read_model(data: bytes) -> Model:
    """The model of a model file's bytes. Raises FormatError for anything else."""
    if not data.startswith(MAGIC):
        raise NotThisFormat("not a model file: it does not begin as one")
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
        tensors = _unpack(description["tensors"], body[start + length :])
        network = _network(description, tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"model file: its description is not understood: {error!r}") from error
    check(network)
    again = _tensors(network)
    if _canonical(_description(network, again)) != body[start : start + length]:
        raise FormatError("model file: its description is not that of the network it makes")
    return Model(network, _sha256(_description(network, again), again))


def _tensors(network: Network) -> dict[str, Integers]:
    tensors = {}
    for name, layer in named_layers(network):
        tensors[f"{name}.weight"] = layer.weight.astype("<i2")
        tensors[f"{name}.bias"] = layer.bias.astype("<i4")
        tensors[f"{name}.shift"] = layer.shift.astype("<i2")
    for name in table_names():
        tensors[f"tables.{name}"] = getattr(network.tables, name).astype("<i4")
    return tensors


def _description(network: Network, tensors: Mapping[str, Integers]) -> dict[str, Any]:
    return {
        "kind": "wave-1",
        "window": [list(tap) for tap in network.window],
        "near": [list(tap) for tap in network.near],
        "neighbours": [list(tap) for tap in network.neighbours],
        "components": network.k,
        "blocks": len(network.blocks),
        "tensors": [[name, t.dtype.str, list(t.shape)] for name, t in tensors.items()],
    }


def _network(description: Mapping[str, Any], tensors: Mapping[str, Integers]) -> Network:
    if description["kind"] != "wave-1":
        raise FormatError(f"model file: network of kind {description['kind']!r}, not wave-1")

    def layer(name: str) -> Layer:
        return Layer(
            tensors[f"{name}.weight"].astype(np.int32),
            tensors[f"{name}.bias"].astype(np.int32),
            tensors[f"{name}.shift"].astype(np.int32),
            OUTPUT_MAX if name.endswith("out") else ACTIVATION_MAX,
        )

    def taps(name: str) -> list[tuple[int, int]]:
        return [(int(di), int(dj)) for di, dj in description[name]]

    heads = [
        Head(
            layer(f"heads.{plane}.trunk"),
            layer(f"heads.{plane}.earlier") if plane else None,
            layer(f"heads.{plane}.out"),
        )
        for plane in range(3)
    ]
    return Network(
        window=taps("window"),
        near=taps("near"),
        neighbours=taps("neighbours"),
        k=int(description["components"]),
        first=layer("first"),
        blocks=[
            Block(layer(f"blocks.{index}.taps"), layer(f"blocks.{index}.gate"))
            for index in range(int(description["blocks"]))
        ],
        heads=heads,
        tables=tables_from(
            {name: tensors[f"tables.{name}"].astype(np.int32) for name in table_names()}
        ),
    )


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


def _sha256(description: Mapping[str, Any], tensors: Mapping[str, Integers]) -> bytes:
    digest = hashlib.sha256(_canonical(description))
    for tensor in tensors.values():
        digest.update(_plain(tensor))
    return digest.digest()


def _canonical(description: Mapping[str, Any]) -> bytes:
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode("ascii")


def _plain(tensor: Integers) -> bytes:
    return np.ascontiguousarray(tensor).tobytes()
