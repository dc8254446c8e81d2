"""Every implementation of the range coder: the same words, the same symbols, the same refusals."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import tile_encoder
from ncml_codec.entropy import range_coder
from ncml_codec.entropy.coder import implementations
from ncml_codec.network import released_models
from ncml_codec.network.distribution import Weights, weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.network.model_file import Model
from tests.builders.photographs import layout_of
from tests.builders.pictures import GOLDEN
from tests.plain_decoder.network import RangeDecoder as PlainDecoder
from tests.programs.make_golden import CASES

HERE = {name: (encoder, decoder) for name, encoder, decoder in implementations()}
OTHERS = [name for name in HERE if name != "python"]
TOTAL = 2**24
Calls = list[tuple[Weights, Integers]]


def parts_of(seed: int, count: int, most: int = 4) -> Calls:
    """Some calls with rows of counts, flat, steep or extreme, and symbols, likely or not."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(random.integers(0, most + 1)):
        width = int(random.choice((2, 3, 16, 16, 16, 256)))
        kind = random.integers(3)
        if kind == 0:  # all but one count are 1, or two share everything
            counts = np.ones((count, width), np.int32)
            counts[np.arange(count), random.integers(0, width, count)] += (TOTAL - width) // 2
        else:
            shares = random.dirichlet(np.full(width, (0.02, 5.0)[kind - 1]), count)
            counts = np.floor(shares * (TOTAL - width)).astype(np.int32) + 1
        left = TOTAL - counts.sum(axis=1, dtype=np.int32)
        counts[np.arange(count), random.integers(0, width, count)] += left
        likely = (np.cumsum(counts, axis=1) <= random.integers(0, TOTAL, (count, 1))).sum(axis=1)
        symbols = random.integers(0, width, count) if random.random() < 0.3 else likely
        made.append((weights(counts), symbols.astype(np.int32)))
    return made


CALLS = st.builds(parts_of, st.integers(0, 2**32 - 1), st.integers(0, 40))


def encoded(name: str, parts: Calls) -> bytes:
    encoder = HERE[name][0]()
    for rows, symbols in parts:
        encoder.encode(symbols, rows)
    data: bytes = encoder.finish()
    return data


def decoder_of(name: str, data: bytes) -> Any:
    return HERE[name][1](np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("name", OTHERS)
@given(parts=CALLS)
@settings(max_examples=100, deadline=None)
def test_words_are_those_of_plain_python(name: str, parts: Calls) -> None:
    assert encoded(name, parts) == encoded("python", parts)


@pytest.mark.parametrize("name", HERE)
@given(parts=CALLS)
@settings(max_examples=50, deadline=None)
def test_symbols_come_back(name: str, parts: Calls) -> None:
    decoder = decoder_of(name, encoded("python", parts))
    for rows, symbols in parts:
        assert (decoder.decode(rows) == symbols).all()


@given(parts=CALLS)
@settings(max_examples=25, deadline=None)
def test_the_plain_decoder_of_the_format_reads_them(parts: Calls) -> None:
    decoder = PlainDecoder(encoded("python", parts))
    for rows, symbols in parts:
        for bounds, symbol in zip(range_coder.cumulative(rows).tolist(), symbols, strict=True):
            assert decoder.symbol(bounds) == symbol


@pytest.mark.parametrize("name", OTHERS)
@given(data=st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]), parts=CALLS)
@settings(max_examples=100, deadline=None)
def test_any_words_give_the_same_symbols_or_none(name: str, data: bytes, parts: Calls) -> None:
    one, other = decoder_of("python", data), decoder_of(name, data)
    for rows, _ in parts:
        expected, found = one.decode(rows), other.decode(rows)
        if expected is None:
            assert found is None
            return
        assert (found == expected).all()


@pytest.mark.parametrize("ones", [1, 2, 7, 40])
def test_carries_run_through_words_of_all_ones(ones: int) -> None:
    # Decoding 0x12345678.ffffffff... gives symbols whose interval reaches beyond that number: the
    # encoder must wait with all its words, until the last symbols say whether to carry.
    random = np.random.default_rng(ones)
    counts = random.integers(1, TOTAL // 16, (24 * ones + 24, 16)).astype(np.int32)
    counts[:, 15] += TOTAL - counts.sum(axis=1, dtype=np.int32)
    rows = weights(counts)
    data = struct.pack("<I", 0x12345678) + b"\xff" * (4 * ones + 400)
    symbols = decoder_of("python", data).decode(rows)
    waiting = range_coder.RangeEncoder()
    waiting.encode(symbols, rows)
    assert waiting._ones >= ones
    ends = set()
    for last in (0, 15):
        parts = [(rows, symbols), (rows[:20], np.full(20, last, np.int32))]
        (words,) = {encoded(name, parts) for name in HERE}
        ends.add(words[:4])
        for name in HERE:
            decoder = decoder_of(name, words)
            assert all((decoder.decode(some) == known).all() for some, known in parts)
    assert ends == {struct.pack("<I", 0x12345678), struct.pack("<I", 0x12345679)}


def test_nothing_coded_is_no_word() -> None:
    assert {encoded(name, []) for name in HERE} == {b""}
    empty = (np.zeros((0, 16), np.float32), np.zeros(0, np.int32))
    assert {encoded(name, [empty]) for name in HERE} == {b""}


def test_finishing_changes_nothing() -> None:
    rows = weights(np.array([[5, 9, TOTAL - 14]] * 50, np.int32))
    symbols = np.arange(50, dtype=np.int32) % 3
    for encoder, _ in HERE.values():
        stopped = encoder()
        for at in range(50):
            stopped.encode(symbols[at : at + 1], rows[at : at + 1])
            stopped.finish()
        assert stopped.finish() == encoded("python", [(rows, symbols)])


@pytest.mark.parametrize("name", [name for name in HERE if name != "constriction"])
@pytest.mark.parametrize(
    "row",
    [[3.0] * 16, [2.0**20] * 16, [-1.0, TOTAL - 1.0], [float("nan")] * 2, [3e38, 1.0]],
)
def test_rows_that_are_no_counts_are_refused(name: str, row: list[float]) -> None:
    rows = np.array([row], np.float32)
    with pytest.raises(ValueError, match="range coder"), np.errstate(invalid="ignore"):
        HERE[name][0]().encode(np.zeros(1, np.int32), rows)
    with pytest.raises(ValueError, match="range coder"), np.errstate(invalid="ignore"):
        decoder_of(name, bytes(8)).decode(rows)


def test_native_refuses_what_does_not_fit() -> None:
    if "native" not in HERE:
        pytest.skip("no native module")
    rows = weights(np.full((2, 16), TOTAL // 16, np.int32))
    encoder, decoder = HERE["native"]
    for symbols in ([0, 16], [0, -1], [0], [0, 1, 2]):
        with pytest.raises(ValueError, match="range coder"):
            encoder().encode(np.array(symbols, np.int32), rows)
    for wrong in (rows[0], np.zeros((1, 1), np.float32), np.zeros((1, 257), np.float32)):
        with pytest.raises(ValueError, match="range coder"):
            decoder(np.zeros(8, np.uint8)).decode(wrong)


@pytest.mark.parametrize(
    "without", [["constriction"], ["ncml_codec.engines._native", "constriction"]]
)
@pytest.mark.parametrize("stem", ["released-photo", "column", "tiles", "noise"])
def test_files_are_the_same_without(
    stem: str, without: list[str], tiny: Model, wild: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in without:
        monkeypatch.setitem(sys.modules, module, None)
    if "ncml_codec.engines._native" in without:
        assert next(implementations())[0] == "python"
    data = Path(GOLDEN / f"{stem}.ncmz").read_bytes()
    layout = layout_of(data)
    _, model = released_models.find(layout.identity, [tiny, wild])
    picture = image_decoder.decode(data, [model], Effort("auto"))
    level = CASES[stem].level
    assert tile_encoder.encode(picture, model, Effort("auto"), layout.tile_exponent, level) == data


def test_words_are_little_endian() -> None:
    rows = weights(np.full((8, 16), TOTAL // 16, np.int32))
    symbols = np.arange(1, 9, dtype=np.int32)
    for name in HERE:
        # Flat counts: the nibbles themselves are the code, most significant first, but for the
        # 2**64 - 1 of the first range.
        (word,) = struct.unpack("<I", encoded(name, [(rows, symbols)])[:4])
        assert word >> 20 == 0x123
