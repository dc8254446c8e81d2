"""Every kind of image comes back: samples, bit depth, colour type, palette and chunks."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import CODERS
from ncml_codec.encode import image_encoder, layer_search, tile_encoder
from ncml_codec.errors import FormatError, InputError, RoundTripError, UnknownModel, UsageError
from ncml_codec.format import byte_planes, directory
from ncml_codec.format.container import Container, Header, Layer, Method, Transform, write
from ncml_codec.format.tiles import Tiles
from ncml_codec.network.model_file import Model
from ncml_codec.picture import kinds, png_chunks
from ncml_codec.picture.image_files import decode_file, encode_file, from_array
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, Samples, expanded
from tests.builders import kinds_of_images
from tests.builders.kinds_of_images import HEADER_BYTES
from tests.builders.pictures import extremes, real_images, valley
from tests.plain_decoder import png as plain_png

NAMED = pytest.mark.parametrize("kind", kinds_of_images.ALL, ids=str)
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def libpng_pixels(data: bytes) -> Samples:
    """What libpng sees, [height, width, channels]: palettes as colours, few bits stretched to 8."""
    array = np.asarray(imagecodecs.png_decode(data))
    return array if array.ndim == 3 else array[:, :, None]


def same_image(before: bytes, after: bytes) -> bool:
    """Whether two PNG files show the same to libpng, with the same kind, chunks and indices."""
    (one, chunks), (other, again) = (
        png_chunks.split(before, "before"),
        png_chunks.split(after, "after"),
    )
    if (one.kind, one.width, one.height, chunks) != (other.kind, other.width, other.height, again):
        return False
    if one.colour_type == kinds.PALETTE:
        with Image.open(io.BytesIO(before)) as first, Image.open(io.BytesIO(after)) as second:
            if not np.array_equal(np.asarray(first), np.asarray(second)):
                return False
    return np.array_equal(libpng_pixels(before), libpng_pixels(after))


@NAMED
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_kind_is_read_and_written_as_libpng_does(kind: Kind, interlaced: bool) -> None:
    for height, width in ((19, 23), (1, 1), (5, 1), (1, 9)):
        made = kinds_of_images.picture(kind, height, width)
        data = kinds_of_images.png_file(made, interlaced)
        read = decode_file(data, "x.png")
        assert read == Picture(read.samples, made.chunks, kind)
        assert np.array_equal(read.samples, made.samples)
        pixels = libpng_pixels(data)
        assert np.array_equal(pixels[:, :, : kind.colours], expanded(read)[:, :, : kind.colours])
        assert same_image(data, encode_file(read, "x.png"))


@NAMED
def test_every_kind_comes_back_from_a_file(kind: Kind, tiny: Model) -> None:
    for height, width in ((40, 37), (1, 1), (3, 50)):
        picture = kinds_of_images.picture(kind, height, width)
        data = image_encoder.encode(picture, tiny, level=1)
        image_encoder.verify(data, picture, tiny)
        again = image_decoder.decode(data, [tiny])
        assert again.kind == kind
        assert again.chunks == picture.chunks
        assert np.array_equal(again.samples, picture.samples)


@NAMED
@pytest.mark.parametrize("interlaced", [False, True])
def test_no_file_is_larger_than_the_png_by_more_than_the_header(
    kind: Kind, interlaced: bool, tiny: Model
) -> None:
    original = kinds_of_images.png_file(kinds_of_images.picture(kind, 30, 30), interlaced)
    data = image_encoder.encode(decode_file(original, "x.png"), tiny, level=1)
    assert len(data) <= len(original) + HEADER_BYTES
    assert same_image(original, encode_file(image_decoder.decode(data, [tiny]), "x.png"))


@given(
    kind=st.sampled_from(kinds_of_images.ALL),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
@settings(QUICK, max_examples=60)
def test_any_samples_come_back(kind: Kind, height: int, width: int, seed: int, tiny: Model) -> None:
    random = np.random.default_rng(seed)
    low, high = sorted(random.integers(0, 2**kind.bit_depth, 2))
    step = int(random.integers(1, 2 ** (kind.bit_depth // 2) + 1))
    samples = random.integers(low, high + 1, (height, width, kind.channels)) // step * step
    chunks = (
        [(b"PLTE", bytes(3)), (png_chunks.PIXELS, b"")] if kind.colour_type == kinds.PALETTE else []
    )
    picture = Picture(samples.astype(kind.dtype), chunks, kind)
    image_encoder.verify(image_encoder.encode(picture, tiny, level=1), picture, tiny)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("planes", range(1, 9))
def test_every_method_gives_planes_back(method: Method, planes: int, tiny: Model) -> None:
    coder = CODERS[method]
    tools = layer_search.encoding_tools([tiny], Effort(), 1)
    shape = (13, 9, planes)
    if not coder.takes(shape):
        pytest.skip(f"{method.name} does not take {planes} planes")
    random = np.random.default_rng(planes)
    for top in (1, 3, 255):
        for made in (random.integers(0, top + 1, shape), np.full(shape, top)):
            layer = coder.encode(made.astype(np.uint8), tools)
            assert np.array_equal(coder.decode(layer, shape, tools), made)
            payload = bytes((layer.tiles[0] if isinstance(layer, Tiles) else layer).payload)
            damaged = (b"", payload[:-1], payload[: len(payload) // 2], b"\x08" + bytes(40))
            cases = [(with_payload(layer, bad), shape) for bad in damaged]
            if not isinstance(layer, Tiles):  # which say their size themselves
                cases.append((layer, (13, 40, planes)))
            for bad, size in cases:
                if method == Method.MIXING:  # notices little: checksums do
                    with suppress(FormatError):
                        assert coder.decode(bad, size, tools).shape == size
                elif made.any() or size == shape:
                    with pytest.raises(FormatError):
                        coder.decode(bad, size, tools)


def with_payload(layer: Layer | Tiles, payload: bytes) -> Layer | Tiles:
    """The layer with another payload, of its one tile if it has tiles."""
    if isinstance(layer, Layer):
        return replace(layer, payload=payload)
    return replace(layer, tiles=[replace(layer.tiles[0], payload=payload)])


def test_a_photograph_is_coded_by_the_network_and_a_drawing_is_not(tiny: Model) -> None:
    photograph = image_encoder.encode(from_array(valley(60, 120, 96, 128)), tiny)
    assert directory.read_directory(photograph).tiled is not None
    colours = np.random.default_rng(1).integers(0, 256, (8, 3), np.uint8)
    drawing = colours[np.random.default_rng(2).integers(0, 8, (40, 50))]
    (layer,) = directory.read(image_encoder.encode(from_array(drawing), tiny)).layers
    assert isinstance(layer, Layer)


@pytest.mark.parametrize("name", extremes(1, 1))
def test_trying_more_never_makes_a_file_larger(name: str, tiny: Model) -> None:
    picture = from_array(extremes(40, 50)[name])
    data = image_encoder.encode(picture, tiny, level=1)
    image_encoder.verify(data, picture, tiny)
    assert len(data) <= len(tile_encoder.encode(picture, tiny, level=1))


def test_grey_kept_in_three_planes_costs_next_to_nothing_more(tiny: Model) -> None:
    grey = valley(120, 100, 64, 80)[:, :, :1]
    one = image_encoder.encode(from_array(grey), tiny)
    three = image_encoder.encode(from_array(grey.repeat(3, axis=2)), tiny)
    assert len(three) <= len(one) + 250  # the table of its levels


def test_eight_bits_stretched_to_sixteen_cost_a_table(tiny: Model) -> None:
    eight = valley(120, 100, 40, 80)
    data = image_encoder.encode(from_array(eight.astype(np.uint16) * 257), tiny)
    header = image_decoder.read_header(data)
    assert (header.transform, header.low_bits) == (Transform.VALUES, 0)


def test_a_wrong_encoder_is_found_out(tiny: Model) -> None:
    picture = kinds_of_images.picture(Kind(6, 16), 9, 8)
    data = image_encoder.encode(picture, tiny, level=1)
    changed = picture.samples.copy()
    changed[3, 3, 3] ^= 1
    for other in (
        Picture(changed, picture.chunks),
        Picture(picture.samples, picture.chunks[1:]),
        Picture(picture.samples.astype(np.uint8), picture.chunks),
    ):
        with pytest.raises(RoundTripError):
            image_encoder.verify(data, other, tiny)


def test_forged_files_of_sound_checksums_are_refused(tiny: Model) -> None:
    """Sections that their checksums fit, and that say what cannot be."""
    picture = kinds_of_images.picture(Kind(0, 4), 6, 7)
    sound = directory.read(image_encoder.encode(picture, tiny, level=1))
    tools = layer_search.encoding_tools([tiny], Effort(), 1)

    def forged(planes: Samples, table: bytes = b"") -> bytes:
        transform = Transform.VALUES if table else Transform.SAMPLES
        header = Header(7, 6, Kind(0, 4), transform)
        layers = [CODERS[Method.ZSTD].encode(planes.astype(np.uint8), tools)]
        crc = byte_planes.samples_crc(planes.astype(np.uint8))
        return write(Container(header, sound.metadata, table, layers, crc))

    sample_too_large = np.full((6, 7, 1), 16)
    assert np.array_equal(
        image_decoder.decode(forged(sample_too_large - 1)).samples, sample_too_large - 1
    )
    values = bytes([0, 2, 3, 4])  # raw, two values: 3 and 7
    cases = {
        "a sample of 4 bits": forged(sample_too_large),
        "beyond the transform's table": forged(np.full((6, 7, 1), 2), values),
        "ascend": forged(np.zeros((6, 7, 1)), bytes([0, 2, 3, 0])),
        "columns of": forged(np.zeros((6, 7, 1)), bytes([0, 17, *range(17)])),
        "follow its end": forged(np.zeros((6, 7, 1)), values + b"x"),
        "written in a way": forged(np.zeros((6, 7, 1)), b"\x07"),
        "do not match their checksum": forged(np.ones((6, 7, 1)), values),
    }
    for message, data in cases.items():
        with pytest.raises(FormatError, match=message):
            image_decoder.decode(data)


def test_layers_may_have_different_models(tiny: Model, wild: Model) -> None:
    samples = np.concatenate([valley(60, 120, 9, 11), valley(20, 30, 9, 11)[:, :, :1]], axis=2)
    layers = []
    for model, part in ((tiny, samples[:, :, :3]), (wild, samples[:, :, 3:])):
        planes = np.ascontiguousarray(part)
        tools = layer_search.encoding_tools([model], Effort(), 1)
        layers.append(CODERS[Method.NETWORK].encode(planes, tools))
    header, metadata = Header(11, 9, Kind(6, 8)), png_chunks.pack_chunks([])
    data = write(Container(header, metadata, b"", layers, byte_planes.samples_crc(samples)))
    assert np.array_equal(image_decoder.decode(data, [tiny, wild]).samples, samples)
    assert image_decoder.open_file(data, [wild, tiny]).model is tiny
    for one, other in ((tiny, wild), (wild, tiny)):
        with pytest.raises(UnknownModel, match=other.identity.hex()):
            image_decoder.open_file(data, [one])


def test_too_large_an_image_is_refused_before_it_is_allocated(tiny: Model) -> None:
    data = image_encoder.encode(kinds_of_images.picture(Kind(3, 8), 20, 20), tiny, level=1)
    with pytest.raises(FormatError, match="limit"):
        image_decoder.decode(data, [tiny], max_pixels=399)


GREY_OR_RGB = {Kind(0, 1), Kind(0, 8), Kind(2, 8), Kind(0, 16), Kind(2, 16)}
BY_PILLOW = {Kind(0, 1), Kind(0, 8), Kind(2, 8), Kind(3, 8)}
HELD = {
    ".webp": {Kind(0, 8), Kind(2, 8), Kind(6, 8)},
    ".bmp": BY_PILLOW,
    ".tif": BY_PILLOW | {Kind(4, 8), Kind(6, 8), Kind(0, 16)},
    **dict.fromkeys([".ppm", ".pgm", ".pbm"], GREY_OR_RGB),
}


@pytest.mark.parametrize("suffix", HELD)
@NAMED
def test_other_formats_hold_a_kind_or_say_what_would_be_lost(suffix: str, kind: Kind) -> None:
    made = kinds_of_images.picture(kind, 9, 11)
    picture = Picture(made.samples, [one for one in made.chunks if one[0] == b"PLTE"], kind)
    if kind in HELD[suffix]:
        again = decode_file(encode_file(picture, "x" + suffix), "x" + suffix)
        shown = expanded(again)
        assert np.array_equal(shown, np.broadcast_to(expanded(picture), shown.shape))
    else:
        with pytest.raises(UsageError, match="cannot"):
            encode_file(picture, "x" + suffix)


@pytest.mark.skipif(not real_images("pngsuite"), reason="PngSuite is not here")
def test_all_of_pngsuite_comes_back_and_damaged_files_are_refused(tiny: Model) -> None:
    counts = {"same": 0, "refused": 0}
    for path in real_images("pngsuite"):
        if path.suffix != ".png":
            continue
        before = path.read_bytes()
        if path.name.startswith("x"):
            with pytest.raises(InputError, match=f"{path.name}: .{{20,}}"):
                decode_file(before, path.name)
            counts["refused"] += 1
        else:
            comes_back(path, before, decode_file(before, path.name), tiny)
            counts["same"] += 1
    assert counts == {"same": 162, "refused": 14}


@pytest.mark.slow
@pytest.mark.skipif(not real_images("odd"), reason="the odd images are not here")
def test_all_odd_images_come_back(tiny: Model) -> None:
    for path in real_images("odd"):
        before = path.read_bytes()
        comes_back(path, before, decode_file(before, path.name), tiny)


def comes_back(path: Path, before: bytes, picture: Picture, model: Model) -> None:
    data = image_encoder.encode(picture, model, level=1)
    assert len(data) <= len(before) + HEADER_BYTES, path.name
    assert same_image(before, encode_file(image_decoder.decode(data, [model]), path.name)), (
        path.name
    )


@pytest.mark.parametrize("interlaced", [False, True])
@NAMED
def test_the_reader_agrees_with_a_plain_one(kind: Kind, interlaced: bool) -> None:
    data = kinds_of_images.png_file(kinds_of_images.picture(kind, 11, 13), interlaced, 3)
    content = zlib.decompress(png_chunks.image_data(data))
    plain = plain_png.image(content, 11, 13, kind.channels, kind.bit_depth, interlaced)
    assert np.array_equal(decode_file(data, "x.png").samples, np.array(plain))
