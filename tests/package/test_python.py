"""The front door in Python: arrays, pictures and paths in, arrays and facts out."""

from __future__ import annotations

import doctest
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import ncml_codec
from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import CODERS
from ncml_codec.encode import image_encoder, layer_search, tile_encoder
from ncml_codec.errors import FormatError, InputError, Truncated, UnsupportedImage
from ncml_codec.format import byte_planes
from ncml_codec.format.container import Container, Header, Method, Transform, write
from ncml_codec.network import released_models
from ncml_codec.network.model_file import read_model
from ncml_codec.picture import kinds
from ncml_codec.picture.image_files import decode_file
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.picture import Picture, expanded, from_array
from tests.builders import kinds_of_images
from tests.builders.pictures import GOLDEN, ROOT, valley

NAMED = pytest.mark.parametrize("kind", kinds_of_images.ALL, ids=str)
TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())


def test_the_documentation_runs() -> None:
    found = doctest.testmod(ncml_codec)
    assert found.attempted > 10
    assert found.failed == 0


def test_the_readmes_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (part.split("```")[0] for part in text.split("```python\n")[1:])
    monkeypatch.chdir(ROOT)
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
    found = doctest.DocTestRunner().run(test)
    assert found.attempted > 6
    assert found.failed == 0


def test_importing_the_package_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, ncml_codec; print({'numpy', 'torch', 'PIL'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_what_is_offered_is_there() -> None:
    assert all(callable(getattr(ncml_codec, name)) for name in ncml_codec.__all__)
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = ncml_codec.nothing_such


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 2), (3, 5, 3), (3, 5, 4)])
def test_arrays_of_every_shape_come_back(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(4)
    array = random.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    back = ncml_codec.decompress(ncml_codec.compress(array, level=1))
    assert back.dtype == dtype
    assert np.array_equal(back, array.reshape(3, 5) if shape[2:] == (1,) else array)


@NAMED
def test_a_path_keeps_all_of_its_file(kind: Kind, tmp_path: Path) -> None:
    png = tmp_path / "x.png"
    made = kinds_of_images.picture(kind, 9, 10)
    png.write_bytes(kinds_of_images.png_file(made))
    data = ncml_codec.compress(png, level=1)
    assert data == ncml_codec.compress(str(png), level=1)
    found = ncml_codec.decompress_picture(data)
    assert found == Picture(found.samples, made.chunks, kind)
    assert np.array_equal(found.samples, made.samples)
    pixels = ncml_codec.decompress(data)
    assert np.array_equal(pixels, np.squeeze(expanded(made)))
    coded = tmp_path / "x.ncmz"
    coded.write_bytes(data)
    assert np.array_equal(ncml_codec.decompress(coded), pixels)
    assert np.array_equal(
        ncml_codec.decompress_picture(ncml_codec.compress(found)).samples, found.samples
    )


@NAMED
def test_inspect_tells_what_decoding_finds(kind: Kind, tmp_path: Path) -> None:
    made = decode_file(kinds_of_images.png_file(kinds_of_images.picture(kind, 9, 10)), "x.png")
    path = tmp_path / "x.ncmz"
    path.write_bytes(image_encoder.encode(made, released_models.load("photo"), level=1))
    facts = ncml_codec.inspect(path)
    assert facts == ncml_codec.inspect(path.read_bytes())
    assert (facts.height, facts.width, facts.channels) == made.samples.shape
    assert (facts.kind, facts.bit_depth) == (kind, kind.bit_depth)
    assert facts.file_bytes == path.stat().st_size
    assert facts.metadata_bytes > 0
    assert facts.format_draft == 3
    assert (facts.tiles > 0) == ("network" in facts.layers)
    used = image_decoder.open_file(path.read_bytes()).model
    assert facts.model_identity == (used.identity.hex() if used else None)


def test_inspect_counts_tiles_and_reads_on_where_the_header_is_long(tmp_path: Path) -> None:
    samples = valley(0, 0, 70, 90)
    data = tile_encoder.encode(from_array(samples), TINY, tile_exponent=5, level=1)
    facts = ncml_codec.inspect(data)
    assert (facts.tiles, facts.tile_side, facts.layers) == (9, 32, ("network",))
    assert facts.model_identity == TINY.identity.hex()
    strip = np.zeros((1, 32 * 6000, 1), np.uint8)  # lengths of 6,000 tiles: more than 4096 bytes
    path = tmp_path / "strip.ncmz"
    path.write_bytes(tile_encoder.encode(from_array(strip), TINY, tile_exponent=5, level=1))
    assert ncml_codec.inspect(path).tiles == 6000


def test_inspect_finds_the_network_behind_another_layer() -> None:
    scene = valley(0, 0, 20, 24).astype(np.uint16)
    deep = np.repeat(scene, 6, axis=0).repeat(6, axis=1) * 257
    noise = np.random.default_rng(1).integers(0, 200, deep.shape)
    photo = released_models.load("photo")
    header = Header(144, 120, Kind(2, 16), Transform.SAMPLES, 8)
    numbers = (deep + noise).clip(0, 65535).astype(np.uint16)
    tools = layer_search.encoding_tools([photo], Effort(), 1)
    high, low = (numbers >> 8).astype(np.uint8), (numbers & 255).astype(np.uint8)
    layers = [
        CODERS[method].encode(planes, tools)
        for method, planes in ((Method.ZSTD, high), (Method.NETWORK, low))
    ]
    data = write(Container(header, b"", b"", layers, byte_planes.samples_crc(numbers)))
    assert np.array_equal(ncml_codec.decompress(data), numbers)
    facts = ncml_codec.inspect(data)
    assert facts.layers == ("zstd", "network")
    assert facts.model_identity == photo.identity.hex()


def test_inspect_needs_the_header_alone() -> None:
    data = ncml_codec.compress(valley(0, 0, 9, 9), level=1)
    at = data[:40]
    assert ncml_codec.inspect(at).width == 9
    with pytest.raises(Truncated):
        ncml_codec.inspect(data[:12])
    with pytest.raises(FormatError):
        ncml_codec.inspect(b"something else")


@pytest.mark.parametrize("region", [None, (0, 0, 1, 1)])
def test_more_pixels_than_allowed_are_refused(region: tuple[int, ...] | None) -> None:
    for array in (valley(0, 0, 4, 5), np.zeros((4, 5, 4), np.uint16)):
        data = ncml_codec.compress(array, level=1)
        ncml_codec.decompress(data, region=region, max_pixels=20)
        with pytest.raises(FormatError, match="beyond the limit of 19"):
            ncml_codec.decompress(data, region=region, max_pixels=19)


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for function in (ncml_codec.compress, ncml_codec.decompress, ncml_codec.inspect):
        with pytest.raises(InputError, match="missing"):
            function(missing)
    with pytest.raises(InputError):
        ncml_codec.compress(b"no image")


def handed_over(content: bytes, path: Path) -> Iterator[Any]:
    """A file, in all ways."""
    path.write_bytes(content)
    yield from (path, str(path), content, bytearray(content), memoryview(content))
    yield io.BytesIO(content)
    with path.open("rb") as file:
        yield file


def test_a_file_is_taken_however_it_is_handed_over(tmp_path: Path) -> None:
    picture = kinds_of_images.picture(Kind(kinds.RGB, 16), 9, 10)
    png = kinds_of_images.png_file(picture)
    jpeg = io.BytesIO()
    Image.fromarray(valley(0, 0, 40, 40)).save(jpeg, "JPEG")
    for content in (png, jpeg.getvalue()):
        expected = ncml_codec.compress(io.BytesIO(content), level=1)
        for given in handed_over(content, tmp_path / "x"):
            assert ncml_codec.compress(given, level=1) == expected
        pixels, facts = ncml_codec.decompress(expected), ncml_codec.inspect(expected)
        for given in handed_over(expected, tmp_path / "y"):
            assert np.array_equal(ncml_codec.decompress(given), pixels)
        for given in handed_over(expected, tmp_path / "y"):
            assert ncml_codec.inspect(given) == facts
        for given in handed_over(expected, tmp_path / "y"):
            assert ncml_codec.preview(given) is None
    assert ncml_codec.restore(memoryview(expected)) == jpeg.getvalue()


def test_an_image_of_pillows_is_kept_with_profile_and_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    pixels = valley(0, 0, 12, 20)
    Image.fromarray(pixels).save(file, "PNG", icc_profile=b"a profile", exif=exif)
    for image in (Image.open(file), Image.open(file).copy()):
        found = ncml_codec.decompress_picture(ncml_codec.compress(image, level=1))
        assert np.array_equal(found.samples, pixels)
        assert {b"iCCP", b"eXIf"} <= set(dict(found.chunks))
    with pytest.raises(UnsupportedImage, match="CMYK"):
        ncml_codec.compress(Image.new("CMYK", (3, 3)))


def test_other_buffers_are_arrays() -> None:
    pixels = valley(0, 0, 6, 7)
    assert np.array_equal(ncml_codec.decompress(ncml_codec.compress(memoryview(pixels))), pixels)


@pytest.mark.parametrize("given", [b"", b"no image", bytearray(b"\x89PNG\r\n\x1a\n")])
def test_bytes_that_are_no_image_are_refused(given: bytes) -> None:
    with pytest.raises(InputError):
        ncml_codec.compress(given)


def test_files_that_are_open_as_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    for action in (ncml_codec.compress, ncml_codec.decompress):
        with path.open(encoding="ascii") as file, pytest.raises(InputError, match="rb"):
            action(file)  # type: ignore[arg-type]
