"""JPEG files in the container: what is written is read, and nothing else is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec import zstd_frames
from ncml_codec.coefficients.released_models import load
from ncml_codec.decode import file_info, jpeg_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import jpeg_encoder
from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError
from ncml_codec.format import directory, kept_file
from ncml_codec.format.kept_file import Coding, KeptFile, digest_of
from tests.builders.coefficient_networks import jpeg_bytes
from tests.builders.sealing import with_checksums

EXAMPLE = KeptFile(
    width=40,
    height=33,
    is_grey=False,
    coding=Coding.LEARNING,
    digest=digest_of(b"a file"),
    identity=b"name",
    recipe=b"recipe",
    payloads=[b"first", b"", b"third"],
)


@st.composite
def files(draw: st.DrawFn) -> KeptFile:
    coding = draw(st.sampled_from(list(Coding)))
    is_whole = coding == Coding.WHOLE
    return KeptFile(
        width=draw(st.integers(0, 2**24 - 1)),
        height=draw(st.integers(0, 300)),
        is_grey=draw(st.booleans()),
        coding=coding,
        digest=draw(st.binary(min_size=16, max_size=16)),
        identity=b"" if is_whole else draw(st.binary(min_size=4, max_size=4)),
        recipe=b"" if is_whole else draw(st.binary(max_size=20)),
        payloads=draw(st.lists(st.binary(max_size=9), min_size=1, max_size=1 if is_whole else 5)),
    )


def read(data: bytes) -> KeptFile:
    head = directory.read_directory(data).kept
    if head is None:
        raise FormatError("not a kept file")
    return head.read(data)


@given(files())
def test_a_file_comes_back(file: KeptFile) -> None:
    data = kept_file.write(file)
    assert kept_file.is_kept(data[:6])
    assert read(data) == file


def test_every_truncation_is_refused() -> None:
    data = kept_file.write(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:length])


def test_every_flipped_bit_is_refused() -> None:
    data = kept_file.write(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read(bytes(damaged))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(FormatError, match="follow the end"):
        read(kept_file.write(EXAMPLE) + b"x")


def test_pixels_and_payloads_are_bounded_before_they_are_read() -> None:
    with pytest.raises(BeyondLimit, match="40 x 33 pixels"):
        directory.read_directory(kept_file.write(EXAMPLE), max_pixels=1000)
    data = kept_file.write(replace(EXAMPLE, payloads=[]))
    with pytest.raises(FormatError, match="0 tiles of coefficients"):
        directory.read_directory(data)


def test_a_jpeg_file_has_no_layers_to_read() -> None:
    with pytest.raises(FormatError, match="no image in layers"):
        directory.read(kept_file.write(EXAMPLE))


@given(files())
def test_a_sealed_file_is_as_sound_as_before_and_damage_gets_past_the_checksums(
    file: KeptFile,
) -> None:
    data = kept_file.write(file)
    assert with_checksums(data) == data
    damaged = data[:6] + bytes([data[6] ^ 1]) + data[7:-1] + bytes([data[-1] ^ 1])
    assert read(with_checksums(damaged)).width != file.width


def test_a_damaged_section_is_named() -> None:
    data = bytearray(kept_file.write(EXAMPLE))
    data[-5] ^= 1  # the last payload's last byte
    with pytest.raises(ChecksumMismatch, match="payload 2"):
        read(bytes(data))


@pytest.mark.parametrize("coding", [Coding.WHOLE, Coding.STATIC])
def test_what_is_unpacked_is_bounded_before_it_is_unpacked(
    coding: Coding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of eight million zeros, as the file or as its recipe."""
    bomb = zstd_frames.pack(bytes(1 << 23))
    identity = b"" if coding == Coding.WHOLE else load().identity
    file = replace(EXAMPLE, coding=coding, identity=identity, recipe=bomb, payloads=[bomb])
    data = kept_file.write(file)
    head = directory.read_directory(data).kept
    assert head is not None

    def fail(*arguments: object, **named: object) -> bytes:
        pytest.fail("unpacked")

    monkeypatch.setattr(zstd_frames, "unpack", fail)
    for effort, limits in (
        (Effort(), {"max_pixels": 2000}),
        (Effort(), {"max_work": 1000}),
        (Effort(memory=60 << 20), {}),
    ):
        with pytest.raises(BeyondLimit):
            jpeg_decoder.restore(head, data, (), effort, **limits)


def test_the_work_of_a_jpeg_file_is_known_from_its_recipe() -> None:
    small, large = (
        file_info.inspect_bytes(jpeg_encoder.encode(jpeg_bytes(1, size), level=1).data).work
        for size in ((64, 48), (640, 480))
    )
    assert small is not None
    assert large is not None
    assert 20 * small < large
