"""zstd frames that cannot surprise: the unpacked size is checked before it is allocated."""

from __future__ import annotations

import zstandard

from ncml_codec.errors import FormatError

LEVEL = 19


def pack(data: bytes) -> bytes:
    """One zstd frame that states its content size."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def unpack(packed: bytes, what: str, *, exactly: int | None = None, at_most: int) -> bytes:
    """The content of one zstd frame, of `exactly` or `at_most` so many bytes.

    what: names the section in errors. Raises FormatError for any other bytes, before allocating.
    """
    try:
        size = zstandard.get_frame_parameters(packed).content_size
        if size > at_most or (exactly is not None and size != exactly):
            limit = f"at most {at_most}" if exactly is None else f"{exactly}"
            raise FormatError(f"{what}: unpacks to {size} bytes, not {limit}")
        unpacker = zstandard.ZstdDecompressor()
        return unpacker.decompress(packed, max_output_size=max(1, size), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"{what}: cannot be unpacked: {error}") from error
