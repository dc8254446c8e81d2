"""Model files: the same network back, one identity, and no trust in bytes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.encode import levels
from ncml_codec.errors import FormatError, UnknownModel, UsageError
from ncml_codec.network import released_models
from ncml_codec.network.integer_network import named_layers
from ncml_codec.network.model_file import Model, identified, read_model, write_model
from tests.builders.model_files import TINY, parts, sealed
from tests.builders.networks import random_network
from tests.builders.pictures import GOLDEN


def test_a_network_comes_back() -> None:
    network = random_network(4)
    model = read_model(write_model(network))
    for (name, one), (other_name, other) in zip(
        named_layers(network), named_layers(model.network), strict=True
    ):
        assert name == other_name
        assert one.limit == other.limit
        for part in ("weight", "bias", "shift"):
            assert np.array_equal(getattr(one, part), getattr(other, part))
    assert identified(network).sha256 == model.sha256


def test_the_identity_is_of_the_network_not_of_the_file() -> None:
    description, packed = parts(TINY)
    blob = zstandard.ZstdDecompressor().decompress(packed)
    other = sealed(description, zstandard.ZstdCompressor(level=1).compress(blob))
    assert other != TINY
    assert read_model(other).sha256 == read_model(TINY).sha256
    assert read_model(TINY).sha256 == hashlib.sha256(description + blob).digest()


def test_other_weights_are_another_model() -> None:
    assert identified(random_network(1)).identity != identified(random_network(2)).identity


def test_every_truncation_is_refused() -> None:
    for length in [*range(40), *range(40, len(TINY), 97)]:
        with pytest.raises(FormatError):
            read_model(TINY[:length])


@given(st.integers(0, 8 * len(TINY) - 1))
@settings(max_examples=300)
def test_flipped_bits_are_refused(bit: int) -> None:
    damaged = bytearray(TINY)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError):
        read_model(bytes(damaged))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "wave-2"),
        ("window", [[0, 1]]),
        ("window", "abc"),
        ("components", 0),
        ("components", "x"),
        ("blocks", 9),
        ("blocks", -1),
        ("tensors", []),
        ("tensors", [["first.weight", "<i2", [2**40, 2**40]]]),
        ("tensors", [["first.weight", "|O", [2]]]),
        ("tensors", [["first.weight", "<i2", [0, 2]]]),
        ("tensors", 3),
    ],
)
def test_descriptions_that_lie_are_refused(key: str, value: object) -> None:
    description, packed = parts(TINY)
    changed = {**json.loads(description), key: value}
    with pytest.raises(FormatError):
        read_model(sealed(json.dumps(changed).encode(), packed))


@given(st.binary(max_size=200))
def test_any_description_is_refused(description: bytes) -> None:
    with pytest.raises(FormatError):
        read_model(sealed(description, parts(TINY)[1]))


def test_released_models_are_found_by_name_and_identity(tiny: Model) -> None:
    names = released_models.released()
    assert names[0] == released_models.DEFAULT
    assert set(names) == levels.models()
    for name in released_models.released():
        model = released_models.load(name)
        assert released_models.find(model.identity) == (name, model)
    assert released_models.find(tiny.identity, [tiny]) == (None, tiny)
    assert released_models.load(str(GOLDEN / "tiny.ncpn")).sha256 == tiny.sha256


def test_unknown_models_are_named(tiny: Model) -> None:
    with pytest.raises(UnknownModel, match=tiny.identity.hex()):
        released_models.find(tiny.identity)
    with pytest.raises(UsageError, match="foto"):
        released_models.load("foto")
