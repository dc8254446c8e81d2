"""What the golden files decode to, and what variants of them are encoded to: digests.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.picture.picture import Picture
from tests.builders.pictures import GOLDEN

Images = dict[str, list[str]]
_PATH = GOLDEN / "digests.json"


@dataclass(frozen=True)
class Digests:
    """images: kind and digest by name, see `digest_of`. variants: SHA-256 of `.ncmz` files that are
    not kept. jpeg: SHA-256 of JPEG files."""

    images: Mapping[str, list[str]]
    variants: Mapping[str, str]
    jpeg: Mapping[str, str]


def digest_of(picture: Picture) -> list[str]:
    """The kind in words, and the digest of samples and chunks."""
    return [str(picture.kind), pixels_digest(picture.samples, picture.chunks)]


def pixels_digest(samples: npt.NDArray[Any], chunks: Iterable[tuple[bytes, bytes]] = ()) -> str:
    """SHA-256 of shape, chunks, and samples in 16 bits."""
    text = repr((samples.shape, list(chunks))).encode()
    return sha256(text + np.ascontiguousarray(samples, "<u2").tobytes())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_digests() -> Digests:
    return Digests(**json.loads(_PATH.read_text(encoding="utf-8")))


def write_digests(digests: Digests) -> None:
    _PATH.write_text(json.dumps(asdict(digests), indent=1) + "\n", encoding="utf-8")
