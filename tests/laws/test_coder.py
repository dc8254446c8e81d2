"""The coder: what goes in comes out, at the price that the counts name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec.entropy.coder import Decoder, Encoder, Meter
from ncml_codec.errors import FormatError
from ncml_codec.network.distribution import Weights, weights
from ncml_codec.network.integer_network import Integers


def random_rows(seed: int, rows: int) -> tuple[Weights, Integers]:
    """Weights [rows, 16] from flat to nearly certain, and a symbol for each, likely or not."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(16, random.choice([0.02, 0.3, 5.0])), rows)
    counts = np.floor(shares * (2**24 - 16)).astype(np.int32) + 1
    counts[:, random.integers(16)] += 2**24 - counts.sum(axis=1, dtype=np.int32)
    if random.random() < 0.5:
        symbols = random.integers(0, 16, rows)
    else:
        symbols = (np.cumsum(counts, axis=1) <= random.integers(0, 2**24, (rows, 1))).sum(axis=1)
    return weights(counts), symbols.astype(np.int32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 5))
def test_symbols_come_back(seed: int, count: int, calls: int) -> None:
    parts = [random_rows(seed + call, count) for call in range(calls)]
    encoder = Encoder()
    for rows, symbols in parts:
        encoder.code(rows, symbols)
    decoder = Decoder(encoder.finish())
    for rows, symbols in parts:
        assert (decoder.code(rows, None) == symbols).all()


def test_size_is_the_cross_entropy() -> None:
    rows, symbols = random_rows(0, 50_000)
    encoder, meter = Encoder(), Meter()
    encoder.code(rows, symbols)
    meter.code(rows, symbols)
    size = 8 * len(encoder.finish())
    assert meter.bits <= size <= meter.bits * 1.0001 + 64  # at most two words at the end


def test_row_order_in_memory_does_not_matter() -> None:
    rows, symbols = random_rows(3, 500)
    plain, fortran = Encoder(), Encoder()
    plain.code(rows, symbols)
    fortran.code(np.asfortranarray(rows), symbols[::1])
    assert plain.finish() == fortran.finish()


def test_a_payload_that_is_no_whole_number_of_words_is_refused() -> None:
    with pytest.raises(FormatError, match="7 bytes"):
        Decoder(b"1234567")


@given(st.binary(max_size=64), st.integers(0, 1000))
def test_any_words_decode_or_are_refused(payload: bytes, seed: int) -> None:
    rows, _ = random_rows(seed, 40)
    try:
        symbols = Decoder(payload).code(rows, None)
    except FormatError:
        return
    assert ((symbols >= 0) & (symbols < 16)).all()
