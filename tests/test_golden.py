"""Golden files decode to the same pixels for ever, on every engine and by the plain decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncml_codec import codec, images, library
from ncml_codec.codec import Effort
from ncml_codec.container import read_container, read_header
from ncml_codec.errors import FormatError
from ncml_codec.model import Model
from ncml_codec.pixels import decode_file, encode_file
from ncml_codec.strength import colour_mode
from tests import plain_decoder
from tests.make_golden import level_of
from tests.pictures import GOLDEN, Samples
from tests.test_engines import INSTRUCTION_SETS, native

FILES = sorted(GOLDEN.glob("*.ncmz"))
REFUSED = sorted((GOLDEN / "refuse").glob("*.ncmz"))


def truth(path: Path) -> Samples:
    with Image.open(path.with_suffix(".png")) as image:
        array = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def model_files() -> list[bytes]:
    from importlib import resources

    folder = resources.files("ncpn") / "released"
    released = [e.read_bytes() for e in folder.iterdir() if e.name.endswith(".ncpn")]
    return [*(path.read_bytes() for path in GOLDEN.glob("*.ncpn")), *released]


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 16
    assert len(REFUSED) >= 15


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*_colours.ncmz")), ids=lambda path: path.stem)
def test_golden_files_of_colours_have_tiles_with_and_without(path: Path) -> None:
    tiles = read_container(path.read_bytes()).tiles
    assert [colour_mode(tile.adaptation) for tile in tiles] == [2, 3, 0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_decode(path: Path, tiny: Model, wild: Model) -> None:
    picture = images.decode(path.read_bytes(), [tiny, wild], Effort("numpy"))
    assert np.array_equal(picture.samples, truth(path))


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_decode_and_encode_on_native(
    path: Path, isa: str, tiny: Model, wild: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    native(tiny.network, isa)  # skips if this instruction set is not here
    monkeypatch.setenv("NCML_NATIVE_ISA", isa)
    data = path.read_bytes()
    header = read_header(data)
    _, model = library.find(header.identity, [tiny, wild])
    effort = Effort("native", threads=2)
    picture = images.decode(data, [model], effort)
    assert np.array_equal(picture.samples, truth(path))
    level = level_of(path.stem)
    assert codec.encode(picture, model, effort, header.tile_exponent, level, header.turn) == data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_are_encoded_to_the_same_bytes(path: Path, tiny: Model, wild: Model) -> None:
    data = path.read_bytes()
    header = read_header(data)
    _, model = library.find(header.identity, [tiny, wild])
    picture = images.decode(data, [model])
    level = level_of(path.stem)
    assert codec.encode(picture, model, None, header.tile_exponent, level, header.turn) == data


def test_golden_metadata_comes_back(tiny: Model) -> None:
    data = (GOLDEN / "chunks.ncmz").read_bytes()
    restored = encode_file(images.decode(data, [tiny]), "chunks.png")
    original = decode_file((GOLDEN / "chunks.png").read_bytes(), "chunks.png")
    assert [kind for kind, _ in original.chunks] == [b"gAMA", b"IDAT", b"tEXt", b"tIME"]
    assert decode_file(restored, "chunks.png").chunks == original.chunks


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_damaged_and_foreign_files_are_refused(path: Path, tiny: Model) -> None:
    with pytest.raises(FormatError) as caught:
        images.decode(path.read_bytes(), [tiny])
    assert len(str(caught.value)) > 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plain_decoder_reads_golden_files(path: Path) -> None:
    decoded = plain_decoder.decode(path.read_bytes(), model_files())
    assert np.array_equal(decoded.samples, truth(path))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_the_plain_decoder_refuses_the_same(path: Path) -> None:
    with pytest.raises(plain_decoder.Refused):
        plain_decoder.decode(path.read_bytes(), model_files())
