"""The container of version 2: what is written is read, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import general, images
from ncml_codec.errors import FormatError
from ncml_codec.general import General, Header, Layer
from ncml_codec.kinds import Kind
from tests import kinds_of_images

EXAMPLE = General(
    Header(40, 33, Kind(6, 16), general.VALUES, 8),
    b"metadata",
    b"table",
    [Layer(3, 6, bytes(range(8))), Layer(4, 2, b"payload")],
    12345,
)


@st.composite
def files(draw: st.DrawFn) -> General:
    kind = draw(st.sampled_from(kinds_of_images.ALL))
    transform = draw(st.sampled_from([general.SAMPLES, general.PALETTE, general.VALUES]))
    wide = kind.bit_depth == 16 and transform != general.PALETTE
    low_bits = draw(st.integers(0, 8)) if wide else 0
    header = Header(
        draw(st.integers(1, 2**24 - 1)), draw(st.integers(1, 300)), kind, transform, low_bits
    )
    layers, left = [], header.byte_planes
    while left:
        planes = draw(st.integers(1, left))
        layers.append(Layer(draw(st.integers(0, 9)), planes, draw(st.binary(max_size=12))))
        left -= planes
    table = b"" if transform == general.SAMPLES else draw(st.binary(max_size=9))
    crc = draw(st.integers(0, 2**32 - 1))
    return General(header, draw(st.binary(max_size=20)), table, layers, crc)


@given(files())
@settings(max_examples=100)
def test_a_file_comes_back(file: General) -> None:
    data = general.write(file)
    assert general.is_general(data)
    assert general.read(data) == file
    assert general.read_header(data) == file.header


def test_every_truncation_is_refused() -> None:
    data = general.write(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            images.decode(data[:length])


def test_every_flipped_bit_is_refused_or_in_the_samples_checksum() -> None:
    data = general.write(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        if not general.is_general(bytes(damaged)):
            continue
        if bit // 8 >= len(data) - 4:
            assert general.read(bytes(damaged)).samples_crc != EXAMPLE.samples_crc
            continue
        with pytest.raises(FormatError):
            general.read(bytes(damaged))


@given(st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(FormatError, match="follow the end"):
        general.read(general.write(EXAMPLE) + more)


@given(st.binary(max_size=80))
@settings(max_examples=1000)
def test_any_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(FormatError):
        images.decode(b"\x89NCZ\x02" + noise)
