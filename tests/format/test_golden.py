"""Golden files of photographs decode to the same pixels for ever, by all engines and the plain
decoder, and are encoded to the same bytes. Other kinds: `test_golden_kinds`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from PIL import Image

from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.errors import FormatError
from ncml_codec.format.tiles import adaptation_byte
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import decode_file, encode_file
from tests.builders.engines import INSTRUCTION_SETS, native
from tests.builders.photographs import layout_of, tiles_of
from tests.builders.pictures import GOLDEN, Samples
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.reading import Refused
from tests.programs.make_golden import CASES, encoded, truth_of

FILES = [GOLDEN / f"{name}.ncmz" for name in CASES]
REFUSED = sorted((GOLDEN / "refuse").glob("*.ncmz"))


def truth(path: Path) -> Samples:
    with Image.open(truth_of(path)) as image:
        array = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def model_files() -> list[bytes]:
    from importlib import resources

    folder = resources.files("ncpn") / "released"
    released = [e.read_bytes() for e in folder.iterdir() if e.name.endswith(".ncpn")]
    return [*(path.read_bytes() for path in GOLDEN.glob("*.ncpn")), *released]


def test_golden_files_are_those_that_their_command_writes() -> None:
    assert sorted(GOLDEN.glob("*.ncmz")) == sorted(FILES)
    assert {truth_of(path) for path in FILES} == set(GOLDEN.glob("*.png"))
    assert len(REFUSED) >= 12


def test_golden_files_have_every_feature() -> None:
    files = [path.read_bytes() for path in FILES]
    layouts = [layout_of(data) for data in files]
    tiles = [tiles_of(data) for data in files]
    released = {released_models.load(name).identity for name in released_models.released()}
    assert released < {layout.identity for layout in layouts}
    assert {layout.planes for layout in layouts} == {1, 3}
    assert {layout.turn for layout in layouts} == {0, 1, 4, 7}
    assert any(len({tile.adaptation for tile in each}) > 2 for each in tiles)
    adaptations = [tile.adaptation for each in tiles for tile in each]
    assert {adaptation_byte(each.learning) for each in adaptations} == {0, 1, 3, 5, 9, 11, 13}
    assert {each.colour_mode for each in adaptations} == {0, 2, 3}


@pytest.mark.parametrize("engine", ["numpy", *INSTRUCTION_SETS])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_decode(
    path: Path, engine: str, tiny: Model, wild: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine in INSTRUCTION_SETS:
        native(tiny.network, engine)  # skips if this instruction set is not here
        monkeypatch.setenv("NCML_NATIVE_ISA", engine)
        effort = Effort("native", threads=2)
    else:
        effort = Effort(engine)
    picture = image_decoder.decode(path.read_bytes(), [tiny, wild], effort)
    assert np.array_equal(picture.samples, truth(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files_are_encoded_to_the_same_bytes(path: Path) -> None:
    data = truth_of(path).read_bytes()
    assert encoded(path.stem, decode_file(data, path.name)) == path.read_bytes()


def test_golden_metadata_comes_back(tiny: Model) -> None:
    data = (GOLDEN / "chunks.ncmz").read_bytes()
    restored = encode_file(image_decoder.decode(data, [tiny]), "chunks.png")
    original = decode_file((GOLDEN / "chunks.png").read_bytes(), "chunks.png")
    assert [kind for kind, _ in original.chunks] == [b"gAMA", b"IDAT", b"tEXt", b"tIME"]
    assert decode_file(restored, "chunks.png").chunks == original.chunks


def slow_if_large(path: Path) -> ParameterSet:
    """The plain decoder takes up to a minute for a file of colours; `test_colours` has it read
    every mode of colours in small tiles."""
    marks = [pytest.mark.slow] if path.stem.startswith("colours") else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [slow_if_large(path) for path in FILES])
def test_the_plain_decoder_reads_golden_files(path: Path) -> None:
    decoded = plain_decoder.decode(path.read_bytes(), model_files())
    assert np.array_equal(decoded.samples, truth(path))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_damaged_and_foreign_files_are_refused(path: Path, tiny: Model) -> None:
    with pytest.raises(FormatError) as caught:
        image_decoder.decode(path.read_bytes(), [tiny])
    assert len(str(caught.value)) > 15


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_the_plain_decoder_refuses_the_same(path: Path) -> None:
    with pytest.raises(Refused):
        plain_decoder.decode(path.read_bytes(), model_files())
