"""Coefficients of JPEG files through networks of integers: what is coded comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ncml_codec.coefficients import codec, released_models, tiles
from ncml_codec.coefficients.decisions import Corrections, code_choices, code_numbers
from ncml_codec.coefficients.mixtures import Mixtures, mixtures
from ncml_codec.coefficients.model_file import read_model, write_model
from ncml_codec.coefficients.network import Layer, Network, check, largest_sums, layers
from ncml_codec.entropy.coder import Decoder, Encoder, Meter
from ncml_codec.errors import FormatError, NotThisFormat, UnknownModel, UsageError
from ncml_codec.jpeg import Jpeg, read
from tests.builders.coefficient_networks import jpeg_bytes, random_network, tables

NETWORK = random_network(0)


def coded(file: Jpeg, network: Network = NETWORK, static: bool = False) -> bytes:
    """The payload, which has come back; by native code, if it is here, the same one."""
    payload = codec.encode(file.coefficients, file.layout, network, static=static, engine="python")
    back = codec.decode(payload, file.layout, network, static=static, engine="python")
    check_same(back, file)
    if codec.why_not_native() is None:
        check_native(file, network, static, payload)
    return payload


def check_native(file: Jpeg, network: Network, static: bool, payload: bytes) -> None:
    """By every instruction set of this processor."""
    from ncml_codec.coefficients.native_walk import INSTRUCTION_SETS, ISA_VARIABLE

    for isa in INSTRUCTION_SETS:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(ISA_VARIABLE, isa)
            given = file.coefficients, file.layout, network
            assert codec.encode(*given, static=static, engine="native") == payload
            back = codec.decode(payload, file.layout, network, static=static, engine="native")
            check_same(back, file)


def check_same(back: tuple[codec.Coefficients, ...], file: Jpeg) -> None:
    assert len(back) == len(file.coefficients)
    for mine, other in zip(back, file.coefficients, strict=True):
        assert mine.dtype == np.int16
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("quality", "sampling"), [(30, 2), (80, 1), (97, 0)])
def test_coefficients_come_back(quality: int, sampling: int, static: bool) -> None:
    coded(read(jpeg_bytes(1, quality=quality, sampling=sampling)), static=static)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_one_and_four_components_come_back(mode: str) -> None:
    coded(read(jpeg_bytes(2, mode=mode)))


@pytest.mark.parametrize("size", [(1, 1), (8, 40), (40, 8), (16, 9)])
def test_narrow_and_tiny_planes_come_back(size: tuple[int, int]) -> None:
    coded(read(jpeg_bytes(3, size=size)))


def test_any_16_bits_come_back() -> None:
    file = read(jpeg_bytes(4, size=(24, 16), sampling=0))
    random = np.random.default_rng(0)
    extreme = random.choice([-32768, -1025, -1, 0, 0, 0, 1, 2047, 32767], (2, 3, 64))
    wild = tuple(extreme.astype(np.int16) for _ in file.coefficients)
    coded(replace(file, coefficients=wild))


def test_steps_of_16_bits_and_of_zero_come_back() -> None:
    file = read(jpeg_bytes(4))
    steps = np.resize(np.array([0, 1, 65535, 255], np.uint16), file.layout.quantisation.shape)
    coded(replace(file, layout=replace(file.layout, quantisation=steps)))


def test_a_payload_has_its_code_length() -> None:
    file = read(jpeg_bytes(5, size=(72, 64)))
    bits = codec.code_length(file.coefficients, file.layout, NETWORK)
    # The coder's words: two at its end, and less than a thousandth for its rounding.
    assert 0 <= 8 * len(coded(file)) - bits < 64 + bits / 1000


def test_what_repeats_is_learned() -> None:
    file = read(jpeg_bytes(6, size=(64, 64)))
    assert len(coded(file)) < 0.9 * len(coded(file, static=True))


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_a_payload_that_is_cut_or_changed_gives_other_coefficients_or_an_error(engine: str) -> None:
    file = read(jpeg_bytes(7))
    payload = codec.encode(file.coefficients, file.layout, NETWORK)
    for damaged in (payload[:-8], bytes([payload[0] ^ 255]) + payload[1:], b""):
        try:
            back = codec.decode(damaged, file.layout, NETWORK, engine=engine)
        except FormatError:
            continue
        same = zip(back, file.coefficients, strict=True)
        assert not all(np.array_equal(mine, other) for mine, other in same)


def some_mixtures(count: int) -> Mixtures:
    random = np.random.default_rng(1)
    outputs = random.integers(-400, 401, (count, 6), dtype=np.int32)
    return mixtures(outputs, random.integers(-3000, 3001, count), tables())


def test_probabilities_of_numbers_sum_to_one() -> None:
    """Each number alone, by its decisions' probabilities, whatever the corrections."""
    corrections = Corrections(1)
    corrections.bias[1:] = np.random.default_rng(0).integers(
        -20000, 20001, len(corrections.bias) - 1
    )
    corrections.gain[1:] = np.random.default_rng(1).integers(
        -45000, 65000, len(corrections.gain) - 1
    )
    corrections.static = True
    total = 0.0
    for value in range(-400, 401):
        meter = Meter()
        code_numbers(some_mixtures(1), np.ones(1, bool), meter, corrections, 0, np.array([value]))
        total += 2.0**-meter.bits
    # The rest lies beyond: decisions leave 8 of 65536 at least to either side.
    assert 0.995 < total <= 1 + 1e-9


def test_masses_rise_with_bounds_and_reach_both_ends() -> None:
    found = some_mixtures(50)
    rows = np.arange(50)
    levels = [found.below(rows, np.full(50, bound)) for bound in range(-3000, 3001, 50)]
    assert (np.diff(levels, axis=0) >= 0).all()
    assert (found.below(rows, np.full(50, 1 << 16)) <= found.one).all()


@pytest.mark.parametrize("seed", range(3))
def test_choices_come_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    masses = random.integers(0, 65537, (200, 64)) * (random.random((200, 64)) < 0.3)
    choices = random.integers(0, 64, 200)
    encoder = Encoder()
    code_choices(masses, encoder, Corrections(1, 64), choices)
    decoder = Decoder(encoder.finish())
    found = code_choices(masses, decoder, Corrections(1, 64), None)
    assert np.array_equal(found, choices)


def test_no_sum_exceeds_its_proof() -> None:
    random = np.random.default_rng(2)
    for _, layer, bounds in layers(NETWORK.chroma):
        inputs = random.integers(-1, 2, (100, layer.inputs)) * bounds
        sums = inputs.astype(np.int64) @ layer.weight.T.astype(np.int64) + layer.bias
        assert (np.abs(sums) <= largest_sums(layer, bounds)).all()
        assert np.array_equal(
            layer(inputs.astype(np.int32)),
            np.clip(sums >> layer.shift, -layer.limit, layer.limit),
        )


def broken(**changes: Any) -> Network:
    return replace(NETWORK, luma=replace(NETWORK.luma, **changes))


def large(layer: Layer) -> Layer:
    return replace(layer, weight=np.full_like(layer.weight, 32767))


def unmasked() -> Network:
    heads = list(NETWORK.luma.heads)
    weight = heads[4].weight.copy()
    weight[0, -1] = 1
    heads[4] = replace(heads[4], weight=weight)
    return broken(heads=tuple(heads))


def own_dc() -> Network:
    linear = NETWORK.luma.linear.copy()
    linear[-1, 0, 5] = 1
    return broken(linear=linear)


@pytest.mark.parametrize(
    "network",
    [
        broken(first=large(NETWORK.luma.first)),
        broken(chroma=True),
        broken(far=11),
        broken(heads=NETWORK.luma.heads[:-1]),
        broken(end_bias=np.full_like(NETWORK.luma.end_bias, 2**31 - 1)),
        broken(linear=np.sign(NETWORK.luma.linear) * 32767),
        broken(linear=np.where(NETWORK.luma.linear == 200, 32768, 0)),
        unmasked(),
        own_dc(),
    ],
)
def test_unsound_networks_are_refused(network: Network) -> None:
    with pytest.raises(FormatError):
        check(network)


def test_a_model_file_gives_the_same_network() -> None:
    data = write_model(NETWORK)
    model = read_model(data)
    assert write_model(model.network) == data
    file = read(jpeg_bytes(8))
    assert coded(file, model.network) == coded(file)
    assert read_model(write_model(random_network(1))).identity != model.identity


def test_damaged_model_files_are_refused() -> None:
    data = write_model(NETWORK)
    for at in range(0, len(data), len(data) // 7):
        with pytest.raises(FormatError):
            read_model(data[:at])
        with pytest.raises(FormatError):
            read_model(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(NotThisFormat):
        read_model(b"\x89PNG" + data[4:])


@pytest.mark.skipif(codec.why_not_native() is not None, reason="no native module")
@pytest.mark.parametrize("seed", range(3))
def test_native_code_makes_the_same_bytes_of_larger_files(seed: int) -> None:
    file = read(jpeg_bytes(seed, (100, 72), quality=60 + 10 * seed, sampling=seed % 3))
    network = random_network(seed, width=17, hidden=5, mixtures=3)
    payload = codec.encode(file.coefficients, file.layout, network, engine="python")
    check_native(file, network, static=False, payload=payload)


def test_an_unknown_engine_is_refused() -> None:
    file = read(jpeg_bytes(1))
    with pytest.raises(UsageError):
        codec.encode(file.coefficients, file.layout, NETWORK, engine="gpu")


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_tiles_cover_every_block_once(sampling: int) -> None:
    layout = read(jpeg_bytes(1, (90, 70), sampling=sampling)).layout
    covered = [np.zeros(shape[:2], int) for shape in layout.shapes]
    for tile in tiles.tiles(layout, 32):
        for plane, (top, bottom, left, right) in zip(covered, tile.places, strict=True):
            plane[top:bottom, left:right] += 1
    assert all((plane == 1).all() for plane in covered)


@pytest.mark.parametrize(("mode", "sampling"), [("RGB", 2), ("RGB", 0), ("L", 0)])
def test_tiles_come_back_and_do_not_depend_on_threads(mode: str, sampling: int) -> None:
    file = read(jpeg_bytes(2, (50, 40), sampling=sampling, mode=mode))
    given = file.coefficients, file.layout, NETWORK
    payloads = tiles.encode(*given, side=32)
    assert len(payloads) == 4
    assert payloads == tiles.encode(*given, side=32, threads=3)
    check_same(tiles.decode(payloads, file.layout, NETWORK, side=32, threads=2), file)
    with pytest.raises(FormatError):
        tiles.decode(payloads[1:], file.layout, NETWORK, side=32)


def test_the_released_network_codes_in_fewer_bytes_than_huffman_tables() -> None:
    model = released_models.load()
    assert released_models.find(model.identity) is model
    data = jpeg_bytes(3, (64, 64))
    file = read(data)
    assert len(coded(file, model.network)) < 0.8 * (len(data) - len(file.recipe.markers))


def test_unknown_models_are_refused() -> None:
    with pytest.raises(UsageError):
        released_models.load("none")
    with pytest.raises(UnknownModel):
        released_models.find(b"none")
