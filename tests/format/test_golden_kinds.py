"""Golden files of every kind decode to the same image for ever, also by the plain decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import method_of
from ncml_codec.errors import FormatError
from ncml_codec.format import directory
from ncml_codec.format.container import Method, write
from ncml_codec.format.tiles import Tiles
from ncml_codec.network.model_file import Model, read_model
from ncml_codec.picture.image_files import decode_file, encode_file
from tests.builders.digests import digest_of, pixels_digest, read_digests
from tests.builders.pictures import GOLDEN
from tests.plain_decoder import decoder as plain_decoder

FILES = sorted((GOLDEN / "kinds").glob("*.ncmz"))
TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())


IMAGES = read_digests().images


def truth(path: Path) -> list[str]:
    """The kind, and the digest of pixels and chunks."""
    return IMAGES[f"kinds/{path.stem}"]


def test_golden_files_have_every_method_and_transform() -> None:
    found = [directory.read(path.read_bytes()) for path in FILES]
    assert {method_of(layer) for file in found for layer in file.layers} == set(Method)
    assert {file.header.transform for file in found} == {0, 1, 2}
    assert {file.header.low_bits for file in found} >= {0, 3, 8}
    assert len({file.header.kind for file in found}) == 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_decode(path: Path, tiny: Model) -> None:
    for engine in ("auto", "numpy"):
        picture = image_decoder.decode(path.read_bytes(), [tiny], Effort(engine))
        assert digest_of(picture) == truth(path)
    assert digest_of(decode_file(encode_file(picture, "x.png"), "x.png")) == truth(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plain_decoder_reads_them(path: Path) -> None:
    decoded = plain_decoder.decode(path.read_bytes(), [(GOLDEN / "tiny.ncpn").read_bytes()])
    assert pixels_digest(decoded.samples, decoded.chunks) == truth(path)[1]


@given(st.sampled_from(FILES), st.data())
@settings(deadline=None, max_examples=200)
def test_damaged_files_are_refused(path: Path, data: st.DataObject) -> None:
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    if bytes(damaged) == path.read_bytes():
        return
    with pytest.raises(FormatError):
        image_decoder.decode(bytes(damaged), [TINY], max_pixels=10_000)


@given(st.sampled_from(FILES), st.data())
@settings(deadline=None, max_examples=200)
def test_wrong_payloads_with_right_checksums_are_refused_or_the_image(
    path: Path, data: st.DataObject
) -> None:
    file = directory.read(path.read_bytes())
    layers = list(file.layers)
    index = data.draw(st.integers(0, len(layers) - 1))
    layer = layers[index]
    holder = layer.tiles[0] if isinstance(layer, Tiles) else layer
    payload = bytearray(holder.payload)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    changed = replace(holder, payload=bytes(payload))
    if isinstance(layer, Tiles):
        layers[index] = replace(layer, tiles=[changed, *layer.tiles[1:]])
    else:
        layers[index] = changed
    forged = write(replace(file, layers=layers))
    try:
        picture = image_decoder.decode(forged, [TINY], max_pixels=10_000)
    except FormatError:
        return
    assert digest_of(picture) == truth(path)
