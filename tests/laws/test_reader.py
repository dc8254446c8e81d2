"""Decoding a payload in native code alone: the same as stage by stage with a coder in hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.decode.effort import Samples, samples_crc
from ncml_codec.engines import Engine
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Decoder
from ncml_codec.errors import FormatError
from ncml_codec.format.tiles import Tile, adaptation_of
from ncml_codec.network.adaptation import heads_learn
from tests.builders.adaptations import ADAPTATIONS, COLOURS
from tests.builders.engines import INSTRUCTION_SETS, drawn, engine_of
from tests.builders.networks import random_network
from tests.builders.photographs import decoded_tile, payload_of
from tests.builders.pictures import valley

NETWORK = random_network(3, 12, 2, 8, 4, room=2)
needs_native = pytest.mark.skipif(
    engines.why_not_native() is not None, reason="there is no native module"
)


def read(engine: Engine, payload: bytes, shape: tuple[int, ...], adaptation: int = 0) -> Samples:
    samples = np.zeros(shape, np.uint8)
    assert sum(engine.read(payload, samples, adaptation_of(adaptation))) == shape[0] * shape[1]
    return samples


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@given(
    seed=st.integers(0, 2**31),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    planes=st.sampled_from([1, 3]),
    adaptation=ADAPTATIONS,
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=20)
def test_what_numpy_wrote_is_read(
    isa: str,
    seed: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    adaptation: int,
    threads: int,
) -> None:
    network, array = drawn(seed, 6, 1, 5, k, size, planes, room=2)
    adaptation = adaptation % COLOURS if planes == 1 else adaptation
    payload = payload_of(engines.load("numpy", network), array, adaptation)
    found = read(engine_of(isa, network, threads), payload, array.shape, adaptation)
    assert (found == array).all()


@needs_native
@pytest.mark.parametrize("side", [(1, 1), (1, 40), (40, 1), (2, 33)])
@pytest.mark.parametrize("planes", [1, 3])
def test_images_of_one_row_or_column_are_read(side: tuple[int, int], planes: int) -> None:
    array = np.random.default_rng(1).integers(0, 256, (*side, planes), np.uint8)
    engine = engines.load("native", NETWORK)
    for adaptation in (0, 3, 11):
        payload = payload_of(engine, array, adaptation)
        assert (read(engine, payload, array.shape, adaptation) == array).all()


@needs_native
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_damage_is_found_or_read_as_by_a_coder_in_hand(seed: int) -> None:
    array = valley(3, 5, 30, 40)
    engine = engines.load("native", NETWORK)
    payload = bytearray(payload_of(engine, array, 3))
    rng = np.random.default_rng(seed)
    if rng.random() < 0.3:
        payload = payload[: 4 * int(rng.integers(0, len(payload) // 4))]
    else:
        payload[int(rng.integers(0, len(payload)))] ^= 1 << int(rng.integers(0, 8))
    try:
        expected = walk_tile(
            engine, array.shape, None, Decoder(bytes(payload)), adaptation=heads_learn(3)
        )
    except FormatError:
        with pytest.raises(FormatError, match="not a stream"):
            read(engine, bytes(payload), array.shape, 3)
        return
    assert (read(engine, bytes(payload), array.shape, 3) == expected).all()


@needs_native
def test_words_of_no_stream_are_refused() -> None:
    engine = engines.load("native", NETWORK)
    with pytest.raises(FormatError, match="not a stream"):
        read(engine, b"\xff" * 4000, (30, 40, 3))
    with pytest.raises(FormatError, match="7 bytes: not a whole number of words"):
        read(engine, b"1234567", (30, 40, 3))


@needs_native
def test_progress_is_told_of_all_pixels() -> None:
    array = valley(3, 5, 150, 100)
    engine = engines.load("native", NETWORK)
    tile = Tile(payload_of(engine, array, 3), samples_crc(array), heads_learn(3))
    told: list[int] = []
    assert (decoded_tile(engine, tile, array.shape, told.append) == array).all()
    assert sum(told) == 150 * 100
    assert len(told) >= 3


@needs_native
def test_native_code_writes_into_arrays_of_the_right_size_alone() -> None:
    from ncml_codec.engines import _native

    engine = engines.load("native", NETWORK)
    array = valley(3, 5, 30, 40)
    words = np.frombuffer(payload_of(engine, array), np.uint8)

    def into(samples: np.ndarray) -> None:
        walk = engine.walk(30, 40)
        walk.read(_native.RangeDecoder(words), samples, 100)  # type: ignore[attr-defined]

    frozen = np.zeros((30, 40, 3), np.uint8)
    frozen.flags.writeable = False
    into(np.zeros((30, 40, 3), np.uint8))
    for wrong in (
        np.zeros((30, 39, 3), np.uint8),
        np.zeros((29, 40, 3), np.uint8),
        np.zeros((30, 40, 2), np.uint8),
        np.zeros((30, 40, 4), np.uint8),
        np.zeros((30, 40), np.uint8),
        frozen,
    ):
        with pytest.raises(ValueError, match=r"samples|planes|writeable"):
            into(wrong)
    for wrong in (np.zeros((30, 40, 3), np.int32), np.zeros((30, 80, 3), np.uint8)[:, ::2]):
        with pytest.raises(TypeError, match="incompatible"):
            into(wrong)
