"""The law of every codec: data come back, the same bytes each time, and damage is no surprise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pytest

from ncml_codec.errors import FormatError

D = TypeVar("D")
_PLACES = 7  # cuts, and bits that are flipped


@dataclass(frozen=True)
class Codec(Generic[D]):
    """decode: raises FormatError and nothing else. same: whether two data are equal. finds: whether
    any damage is refused; if not, it may also give other data."""

    encode: Callable[[D], bytes]
    decode: Callable[[bytes], D]
    same: Callable[[D, D], bool]
    finds: bool


def check_codec(codec: Codec[D], data: D) -> None:
    """Fail unless the codec keeps the law for these data."""
    packed = codec.encode(data)
    assert codec.encode(data) == packed
    assert codec.same(codec.decode(packed), data)
    places = sorted({*np.linspace(0, len(packed) - 1, _PLACES).astype(int).tolist()})
    for place in places if packed else []:
        _check_damaged(codec, packed[:place], f"cut at {place}")
        flipped = bytearray(packed)
        flipped[place] ^= 1 << place % 8
        _check_damaged(codec, bytes(flipped), f"bit {place % 8} of byte {place}")
    _check_damaged(codec, packed + b"more", "more bytes")


def _check_damaged(codec: Codec[D], damaged: bytes, what: str) -> None:
    try:
        codec.decode(damaged)
    except FormatError:
        return
    if codec.finds:
        pytest.fail(f"{what}: was not found")
