"""One law, `check_codec`, for all codecs of the package; that of bundles is in `test_bundles`."""

from __future__ import annotations

import numpy as np
import pytest

from ncml_codec import context_mixing, engines, jpeg, zstd_frames
from ncml_codec.coefficients import codec as coefficient_codec
from ncml_codec.coefficients import model_file as coefficient_model_file
from ncml_codec.context_mixing import Planes
from ncml_codec.decode import image_decoder, jpeg_decoder
from ncml_codec.encode import image_encoder, jpeg_encoder
from ncml_codec.entropy.coder import implementations
from ncml_codec.errors import FormatError
from ncml_codec.format.directory import read_directory
from ncml_codec.format.tiles import adaptation_of
from ncml_codec.jpeg import Recipe
from ncml_codec.network import model_file
from ncml_codec.network.distribution import weights
from ncml_codec.network.integer_network import Integers
from ncml_codec.picture.picture import Picture, from_array
from tests.builders import coefficient_networks, kinds_of_images, networks
from tests.builders.codec_law import Codec, check_codec
from tests.builders.photographs import payload_of
from tests.builders.pictures import Samples, extremes, valley

PIXELS = model_file.identified(networks.random_network(3))
COEFFICIENTS = coefficient_networks.random_network(1)
ENGINES = [
    "numpy",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            engines.why_not_native() is not None, reason="there is no native module"
        ),
    ),
]


@pytest.mark.parametrize("name", [name for name, _, _ in implementations()])
def test_range_coders(name: str) -> None:
    ((encoder, decoder),) = [(e, d) for found, e, d in implementations() if found == name]
    random = np.random.default_rng(2)
    shares = random.dirichlet(np.full(16, 0.4), 500)
    counts = np.floor(shares * (2**24 - 16)).astype(np.int32) + 1
    counts[:, 3] += 2**24 - counts.sum(axis=1, dtype=np.int32)
    rows = weights(counts)

    def encode(symbols: Integers) -> bytes:
        coder = encoder()
        coder.encode(symbols, rows)
        return bytes(coder.finish())

    def decode(data: bytes) -> Integers:
        if len(data) % 4:
            raise FormatError("no whole words")
        found = decoder(np.frombuffer(data, np.uint8)).decode(rows)
        if found is None:
            raise FormatError("no stream")
        return np.asarray(found)

    symbols = random.integers(0, 16, 500).astype(np.int32)
    check_codec(Codec(encode, decode, np.array_equal, finds=False), symbols)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("adaptation", [0, 3, 11, 3 + 48])
def test_the_network(engine: str, adaptation: int) -> None:
    array = valley(60, 60, 7, 9)
    used = engines.load(engine, PIXELS.network)

    def decode(data: bytes) -> Samples:
        samples = np.zeros(array.shape, np.uint8)
        for _ in used.read(data, samples, adaptation_of(adaptation)):
            pass
        return samples

    def encode(samples: Samples) -> bytes:
        return payload_of(used, samples, adaptation)

    check_codec(Codec(encode, decode, np.array_equal, finds=False), array)


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("wide", [False, True])
def test_context_mixing(engine: str, wide: bool) -> None:
    array = np.concatenate([valley(60, 60, 4, 5), extremes(4, 5)["board"][:, :, :1]], axis=2)

    def decode(data: bytes) -> Planes:
        return context_mixing.decode(data, array.shape, engine)

    def encode(planes: Planes) -> bytes:
        return context_mixing.encode(planes, wide, engine)

    check_codec(Codec(encode, decode, np.array_equal, finds=False), array)


@pytest.mark.parametrize("kind", kinds_of_images.ALL, ids=str)
def test_files_of_every_kind(kind: kinds_of_images.Kind) -> None:
    picture = kinds_of_images.picture(kind, 9, 11)

    def encode(given: Picture) -> bytes:
        return image_encoder.encode(given, PIXELS, level=1)

    def decode(data: bytes) -> Picture:
        return image_decoder.decode(data, [PIXELS], max_pixels=10_000)

    def same(one: Picture, other: Picture) -> bool:
        equal = np.array_equal(one.samples, other.samples)
        return equal and one.kind == other.kind and list(one.chunks) == list(other.chunks)

    check_codec(Codec(encode, decode, same, finds=True), picture)
    if kind.suits_network:  # a photograph, in tiles
        check_codec(Codec(encode, decode, same, finds=True), from_array(valley(3, 5, 70, 80)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_streams(mode: str) -> None:
    data = coefficient_networks.jpeg_bytes(3, mode=mode)

    def encode(given: bytes) -> bytes:
        return jpeg.read(given).recipe.pack()

    def decode(packed: bytes) -> bytes:
        recipe = Recipe.unpack(packed)
        return jpeg.write(jpeg.Jpeg(jpeg.layout(recipe), jpeg.read(data).coefficients, recipe))

    check_codec(Codec(encode, decode, lambda a, b: a == b, finds=False), data)


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("static", [False, True])
def test_coefficients(engine: str, static: bool) -> None:
    found = jpeg.read(coefficient_networks.jpeg_bytes(5))
    layout = found.layout

    def encode(planes: tuple[Integers, ...]) -> bytes:
        return coefficient_codec.encode(planes, layout, COEFFICIENTS, static=static, engine=engine)

    def decode(data: bytes) -> tuple[Integers, ...]:
        return coefficient_codec.decode(data, layout, COEFFICIENTS, static=static, engine=engine)

    def same(one: tuple[Integers, ...], other: tuple[Integers, ...]) -> bool:
        return all(map(np.array_equal, one, other))

    check_codec(Codec(encode, decode, same, finds=False), found.coefficients)


@pytest.mark.parametrize("data", [coefficient_networks.jpeg_bytes(7), b"\xff\xd8\xff no JPEG"])
def test_jpeg_files(data: bytes) -> None:
    model = coefficient_model_file.read_model(coefficient_model_file.write_model(COEFFICIENTS))

    def encode(given: bytes) -> bytes:
        return jpeg_encoder.encode(given, model, level=1).data

    def decode(packed: bytes) -> bytes:
        head = read_directory(packed).kept
        if head is None:
            raise FormatError("no JPEG file")
        return jpeg_decoder.restore(head, packed, [model])

    check_codec(Codec(encode, decode, lambda a, b: a == b, finds=True), data)


def test_model_files() -> None:
    def same(one: model_file.Model, other: model_file.Model) -> bool:
        return one.sha256 == other.sha256

    def write(model: model_file.Model) -> bytes:
        return model_file.write_model(model.network)

    check_codec(Codec(write, model_file.read_model, same, finds=True), PIXELS)


def test_frames() -> None:
    def unpack(data: bytes) -> bytes:
        return zstd_frames.unpack(data, "a frame", at_most=1000)

    packed = Codec(zstd_frames.pack, unpack, lambda a, b: a == b, finds=False)
    check_codec(packed, b"a text that repeats, a text that repeats" * 9)
