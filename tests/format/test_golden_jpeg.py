"""Golden JPEG files come back byte for byte for ever, by every engine and the plain decoder."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from ncml_codec import jpeg
from ncml_codec.coefficients import codec, released_models, tiles
from ncml_codec.coefficients.model_file import read_model
from ncml_codec.decode.jpeg_decoder import restore, unpack_recipe
from ncml_codec.encode import jpeg_encoder
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import Coding, KeptHead
from ncml_codec.jpeg import jpeg_file
from tests.builders.coefficient_networks import jpeg_bytes
from tests.builders.digests import read_digests, sha256
from tests.builders.pictures import GOLDEN
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.reading import Refused

FILES = sorted((GOLDEN / "jpeg").glob("*.ncmz"))
MODEL = read_model((GOLDEN / "coefficients.ncjp").read_bytes())
DIGESTS = read_digests().jpeg
CODED = [path for path in FILES if path.stem != "whole"]


def head_of(data: bytes) -> KeptHead:
    head = read_directory(data).kept
    assert head is not None
    return head


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_come_back(path: Path) -> None:
    data = path.read_bytes()
    assert sha256(restore(head_of(data), data, [MODEL])) == DIGESTS[path.stem]


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("path", CODED, ids=lambda path: path.stem)
def test_golden_files_come_back_by_every_engine(path: Path, engine: str) -> None:
    if engine == "native":
        missing = codec.why_not_native() or jpeg_file.why_not_native()
        if missing:
            pytest.skip(missing)
    data = path.read_bytes()
    file = head_of(data).read(data)
    recipe = unpack_recipe(file.recipe)
    layout = jpeg.layout(recipe)
    static = file.coding == Coding.STATIC
    whole = tuple(np.zeros(shape, np.int16) for shape in layout.shapes)
    for tile, payload in zip(tiles.tiles(layout), file.payloads, strict=True):
        given = bytes(payload)
        found = codec.decode(given, tile, MODEL.network, static=static, engine=engine)
        for place, part in zip(tile.of(whole), found, strict=True):
            place[...] = part
        again = codec.encode(found, tile, MODEL.network, static=static, engine=engine)
        assert again == given
    assert sha256(jpeg.write(jpeg.Jpeg(layout, whole, recipe), engine=engine)) == DIGESTS[path.stem]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plain_decoder_restores_golden_files(path: Path) -> None:
    models = [(GOLDEN / "coefficients.ncjp").read_bytes()]
    assert sha256(plain_decoder.restore(path.read_bytes(), models)) == DIGESTS[path.stem]


@pytest.mark.parametrize("at", [5, 9, 12, 30, -1])
def test_the_plain_decoder_refuses_damage(at: int) -> None:
    data = bytearray((GOLDEN / "jpeg" / "baseline.ncmz").read_bytes())
    data[at] ^= 4
    with pytest.raises(Refused):
        plain_decoder.restore(bytes(data), [(GOLDEN / "coefficients.ncjp").read_bytes()])


@pytest.mark.parametrize("level", [1, 5])
@pytest.mark.parametrize(
    "data",
    [
        jpeg_bytes(1, (20, 14), 95, 0),
        jpeg_bytes(2, (33, 9), 40, 2),
        jpeg_bytes(3, (8, 24), 70, 2, "L"),
    ],
    ids=["4:4:4", "4:2:0", "grey"],
)
def test_the_plain_decoder_restores_what_the_released_model_codes(data: bytes, level: int) -> None:
    packed = jpeg_encoder.encode(data, level=level)
    assert not packed.kept_whole
    assert plain_decoder.restore(packed.data, [released()]) == data


def released() -> bytes:
    folder = resources.files("jpeg_coefficients") / "released"
    return (folder / f"{released_models.DEFAULT}.ncjp").read_bytes()


def test_golden_files_have_every_feature() -> None:
    heads = [(path, head_of(path.read_bytes())) for path in FILES]
    assert {head.coding for _, head in heads} == set(Coding)
    assert {head.is_grey for _, head in heads} == {False, True}
    assert max(len(head.lengths) for _, head in heads) > 1
    coded = [head.read(path.read_bytes()) for path, head in heads if head.coding != Coding.WHOLE]
    recipes = [unpack_recipe(file.recipe) for file in coded]
    frames = [jpeg.layout(recipe).frame for recipe in recipes]
    assert {len(frame.components) for frame in frames} == {1, 2, 3, 4}
    assert {frame.progressive for frame in frames} == {False, True}
    assert any((frame.horizontal, frame.vertical) == (4, 1) for frame in frames)
    assert {bool(recipe.tail) for recipe in recipes} == {False, True}
    assert any(recipe.cut for recipe in recipes)
    notes = [scan for recipe in recipes for scan in recipe.scans]
    assert any(scan.breaks for scan in notes)
    assert any(scan.zero_runs for scan in notes)
    assert any(scan.restarts for scan in notes)
    assert any(len(scan.padding) > 1 for scan in notes)
