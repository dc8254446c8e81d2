"""Golden files of photographs decode to the same pixels for ever, by all engines and the plain
decoder, and are encoded to the same bytes. Other kinds: `test_golden_kinds`."""

from __future__ import annotations

import functools
import struct
import zlib

import pytest
from _pytest.mark import ParameterSet

from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.errors import FormatError
from ncml_codec.format.directory import read_directory
from ncml_codec.format.tiles import adaptation_byte
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import decode_file, encode_file
from tests.builders.digests import digest_of, pixels_digest, read_digests, sha256
from tests.builders.engines import INSTRUCTION_SETS, native
from tests.builders.photographs import layout_of, tiles_of
from tests.builders.pictures import GOLDEN
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.reading import Refused
from tests.programs.make_golden import CASES, KEPT, VARIANTS, encoded, photographs, picture_name

DIGESTS = read_digests()


@functools.cache
def golden(name: str) -> bytes:
    """The golden file of this name; variants are encoded, to the bytes that they always had."""
    if name in KEPT:
        return (GOLDEN / f"{name}.ncmz").read_bytes()
    data = encoded(name, photographs()[picture_name(name)])
    assert sha256(data) == DIGESTS.variants[name]
    return data


def truth(name: str) -> str:
    """The digest of the image's pixels and chunks."""
    return DIGESTS.images[picture_name(name)][1]


def model_files() -> list[bytes]:
    from importlib import resources

    folder = resources.files("ncpn") / "released"
    released = [e.read_bytes() for e in folder.iterdir() if e.name.endswith(".ncpn")]
    return [*(path.read_bytes() for path in GOLDEN.glob("*.ncpn")), *released]


def test_golden_files_are_those_that_their_command_writes() -> None:
    assert {path.stem for path in GOLDEN.glob("*.ncmz")} == set(KEPT)
    assert set(DIGESTS.variants) == set(VARIANTS)
    kinds = {f"kinds/{path.stem}" for path in GOLDEN.glob("kinds/*.ncmz")}
    assert set(DIGESTS.images) == {picture_name(name) for name in CASES} | kinds
    assert set(DIGESTS.jpeg) == {path.stem for path in GOLDEN.glob("jpeg/*.ncmz")}


def test_golden_files_have_every_feature() -> None:
    files = [golden(name) for name in CASES]
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
@pytest.mark.parametrize("name", CASES)
def test_golden_files_decode(
    name: str, engine: str, tiny: Model, wild: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine in INSTRUCTION_SETS:
        native(tiny.network, engine)  # skips if this instruction set is not here
        monkeypatch.setenv("NCML_NATIVE_ISA", engine)
        effort = Effort("native", threads=2)
    else:
        effort = Effort(engine)
    picture = image_decoder.decode(golden(name), [tiny, wild], effort)
    assert digest_of(picture) == DIGESTS.images[picture_name(name)]


@pytest.mark.parametrize("name", KEPT)
def test_golden_files_are_encoded_to_the_same_bytes(name: str, tiny: Model, wild: Model) -> None:
    data = golden(name)
    assert encoded(name, image_decoder.decode(data, [tiny, wild])) == data


def test_golden_metadata_comes_back(tiny: Model) -> None:
    original = image_decoder.decode(golden("chunks"), [tiny])
    restored = encode_file(original, "chunks.png")
    assert [kind for kind, _ in original.chunks] == [b"gAMA", b"IDAT", b"tEXt", b"tIME"]
    assert decode_file(restored, "chunks.png").chunks == original.chunks


def slow_if_large(name: str) -> ParameterSet:
    """The plain decoder takes up to a minute for a file of colours; `test_colours` has it read
    every mode of colours in small tiles."""
    marks = [pytest.mark.slow] if name.startswith("colours") else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [slow_if_large(name) for name in CASES])
def test_the_plain_decoder_reads_golden_files(name: str) -> None:
    decoded = plain_decoder.decode(golden(name), model_files())
    assert pixels_digest(decoded.samples, decoded.chunks) == truth(name)


def refused(good: bytes) -> dict[str, bytes]:
    """Name to bytes that must be refused, made of a sound file."""
    (layer,) = read_directory(good).layers
    head, at = layer.at, good.index(layer.layout.identity)  # of the layer's part of the header
    flipped = bytearray(good)
    flipped[head + 7] ^= 16
    wrong_samples = good[:-4] + struct.pack("<I", struct.unpack("<I", good[-4:])[0] ^ 1)
    return {
        "text_mode": good.replace(b"\x89NCZ", b"NCZ"),
        "draft": good[:4] + b"\x7f" + good[5:],
        "kind": resealed(good, head, 5, good[5] | 15),
        "flag": resealed(good, head, 5, good[5] | 128),
        "method": resealed(good, head, at - 1, 6),
        "adaptation": resealed(good, head, at + 4, 8),
        "exponent": resealed(good, head, at + 5, 15),
        "turn": resealed(good, head, at + 5, 11 | 8 << 4),
        "header_flip": good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :],
        "unknown_model": resealed(good, head, at, good[at] ^ 1),
        "cut_header": good[:10],
        "cut_payload": good[:-20],
        "longer": good + b"\0",
        "payload_flip": bytes(flipped),
        "samples_checksum": wrong_samples,
    }


def resealed(good: bytes, head: int, at: int, value: int) -> bytes:
    """One byte of the header changed, its checksum made right again."""
    changed = good[:at] + bytes([value]) + good[at + 1 : head - 4]
    return changed + struct.pack("<I", zlib.crc32(changed)) + good[head:]


REFUSED = pytest.mark.parametrize(
    "data", [pytest.param(data, id=name) for name, data in refused(golden("scene")).items()]
)


@REFUSED
def test_damaged_and_foreign_files_are_refused(data: bytes, tiny: Model) -> None:
    with pytest.raises(FormatError) as caught:
        image_decoder.decode(data, [tiny])
    assert len(str(caught.value)) > 15


@REFUSED
def test_the_plain_decoder_refuses_the_same(data: bytes) -> None:
    with pytest.raises(Refused):
        plain_decoder.decode(data, model_files())
