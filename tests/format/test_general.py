"""The container of version 2: what is written is read, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.decode import image_decoder
from ncml_codec.errors import FormatError
from ncml_codec.format import layered_container
from ncml_codec.format.layered_container import General, Header, Layer
from ncml_codec.picture.kinds import Kind
from tests.builders import kinds_of_images

EXAMPLE = General(
    Header(40, 33, Kind(6, 16), layered_container.VALUES, 8),
    b"metadata",
    b"table",
    [Layer(3, 6, bytes(range(8))), Layer(4, 2, b"payload")],
    12345,
)


@st.composite
def files(draw: st.DrawFn) -> General:
    kind = draw(st.sampled_from(kinds_of_images.ALL))
    transform = draw(
        st.sampled_from(
            [layered_container.SAMPLES, layered_container.PALETTE, layered_container.VALUES]
        )
    )
    wide = kind.bit_depth == 16 and transform != layered_container.PALETTE
    low_bits = draw(st.integers(0, 8)) if wide else 0
    header = Header(
        draw(st.integers(1, 2**24 - 1)), draw(st.integers(1, 300)), kind, transform, low_bits
    )
    layers, left = [], header.byte_planes
    while left:
        planes = draw(st.integers(1, left))
        layers.append(Layer(draw(st.integers(0, 9)), planes, draw(st.binary(max_size=12))))
        left -= planes
    table = b"" if transform == layered_container.SAMPLES else draw(st.binary(max_size=9))
    crc = draw(st.integers(0, 2**32 - 1))
    return General(header, draw(st.binary(max_size=20)), table, layers, crc)


@given(files())
@settings(max_examples=100)
def test_a_file_comes_back(file: General) -> None:
    data = layered_container.write(file)
    assert layered_container.is_general(data)
    assert layered_container.read(data) == file
    assert layered_container.read_header(data) == file.header


def test_every_truncation_is_refused() -> None:
    data = layered_container.write(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            image_decoder.decode(data[:length])


def test_every_flipped_bit_is_refused_or_in_the_samples_checksum() -> None:
    data = layered_container.write(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        if not layered_container.is_general(bytes(damaged)):
            continue
        if bit // 8 >= len(data) - 4:
            assert layered_container.read(bytes(damaged)).samples_crc != EXAMPLE.samples_crc
            continue
        with pytest.raises(FormatError):
            layered_container.read(bytes(damaged))


@given(st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(FormatError, match="follow the end"):
        layered_container.read(layered_container.write(EXAMPLE) + more)


@given(st.binary(max_size=80))
@settings(max_examples=1000)
def test_any_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(FormatError):
        image_decoder.decode(b"\x89NCZ\x02" + noise)
