"""zstd frames and JSON from strangers: their sizes are checked before anything is allocated."""

from __future__ import annotations

import json
import math
from typing import Any

import zstandard

from ncml_codec.errors import FormatError

LEVEL = 19
MAX_JSON = 1 << 20  # bytes; parsed, JSON takes at most some forty times as much
_MAX_DEPTH = 16
_MAX_NUMBER = 1 << 64  # so that int and float convert into each other


def pack(data: bytes, level: int = LEVEL) -> bytes:
    """One zstd frame that states its content size. level: of zstd, 1 to 22."""
    try:
        return zstandard.ZstdCompressor(level=level).compress(data)
    except zstandard.ZstdError as error:  # sound arguments leave no other reason
        raise MemoryError(f"zstd: {error}") from error


def unpacked_bytes(packed: bytes | memoryview, what: str) -> int:
    """Bytes of a zstd frame's content, by its header. Raises FormatError."""
    try:
        return int(zstandard.get_frame_parameters(packed).content_size)
    except zstandard.ZstdError as error:
        raise FormatError(f"{what}: cannot be unpacked: {error}") from error


def unpack(packed: bytes, what: str, *, exactly: int | None = None, at_most: int) -> bytes:
    """The content of one zstd frame, of `exactly` or `at_most` so many bytes.

    what: names the section in errors. Raises FormatError for any other bytes, before allocating.
    """
    size = unpacked_bytes(packed, what)
    if size > at_most or (exactly is not None and size != exactly):
        limit = f"at most {at_most}" if exactly is None else f"{exactly}"
        raise FormatError(f"{what}: unpacks to {size} bytes, not {limit}")
    try:
        unpacker = zstandard.ZstdDecompressor()
        return unpacker.decompress(packed, max_output_size=max(1, size), allow_extra_data=False)
    except zstandard.ZstdError as error:
        if "not enough memory" in str(error):
            raise MemoryError(f"zstd: {error}") from error
        raise FormatError(f"{what}: cannot be unpacked: {error}") from error


def parse_json(text: bytes, what: str, *, at_most: int = MAX_JSON) -> dict[str, Any]:
    """The JSON object of a text of `at_most` so many bytes.

    Its numbers are finite and at most 2**64, no key occurs twice in an object, and it is nested at
    most 16 deep. what: names the text in errors. Raises FormatError for any other bytes.
    """
    if len(text) > at_most:
        raise FormatError(f"{what}: {len(text)} bytes, more than {at_most}")
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what}: not JSON that is accepted: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{what}: not a JSON object")
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        for number in level:
            if isinstance(number, int | float) and not _is_moderate(number):
                raise FormatError(f"{what}: holds a number beyond 2**64, or one that is not finite")
        level = [inner for outer in level for inner in _members(outer)]
    if level:
        raise FormatError(f"{what}: nested more than {_MAX_DEPTH} deep")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in an object")
    return found


def _is_moderate(number: float) -> bool:
    return math.isfinite(number) and abs(number) <= _MAX_NUMBER


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
