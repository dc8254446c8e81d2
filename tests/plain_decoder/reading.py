"""Bytes from the front, and what refuses them: FORMAT.md's numbers, checksums and zstd frames."""

import zlib

import zstandard

MAX_CONTENT_BYTES = 2**28  # Section 2's limit for metadata, used for models too.


class Refused(ValueError):
    """The file or a model is not one that FORMAT.md allows, or the file's model is not given."""


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


class Reader:
    """Bytes taken from the front, never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        have = len(self.data) - self.at
        require(count <= have, f"{count} bytes needed at offset {self.at}, there are {have}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for place in range(5):
            (byte,) = self.take(1)
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                require(byte > 0 or place == 0, f"the varint before {self.at} ends in a zero")
                return value
        raise Refused(f"the varint before {self.at} is longer than five bytes")

    def check_crc(self, content: bytes, what: str) -> None:
        require(self.u32() == zlib.crc32(content), f"{what}: does not match its CRC-32")

    def take_checked(self, count: int, what: str) -> bytes:
        content = self.take(count)
        self.check_crc(content, what)
        return content


def decompress(frame: bytes, what: str) -> bytes:
    """The content of one zstd frame that states its size and is followed by nothing."""
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        # A size that is not stated reads as 2^64 - 1.
        require(size <= MAX_CONTENT_BYTES, f"{what}: states no size, or over {MAX_CONTENT_BYTES}")
        content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused(f"{what}: not one whole zstd frame ({error})") from error
    require(len(content) == size, f"{what}: {len(content)} bytes, its frame states {size}")
    return content
