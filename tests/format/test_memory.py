"""The estimate of memory: above what is measured, not far above, and a limit that is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ncml_codec
from ncml_codec.decode import image_decoder, layers, memory
from ncml_codec.decode.effort import TILE_EXPONENT, Effort
from ncml_codec.decode.memory import MIB
from ncml_codec.encode import image_encoder, layer_search, tile_encoder
from ncml_codec.errors import BeyondLimit
from ncml_codec.format import directory
from ncml_codec.format.tiles import TileLayout
from ncml_codec.network import released_models
from ncml_codec.picture import pillow_formats, png_chunks, png_rows, pnm
from ncml_codec.picture.image_files import encode_file
from ncml_codec.picture.kinds import RGB_ALPHA, Kind
from ncml_codec.picture.picture import Picture, from_array
from tests.builders.commands import ncmlzip
from tests.builders.photographs import layout_of
from tests.builders.pictures import valley

# What the process took at most since it began this program (getrusage counts its parent, too).
_PEAK = (
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
)


def peak(code: str, *arguments: object) -> int:
    """Bytes that a child process takes for code; arguments: its sys.argv[1:]."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{_PEAK}", *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_estimate_for_tiles_is_above_the_peak_and_not_far(threads: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(
        tile_encoder.encode(from_array(valley(0, 0, 64, 96)), released_models.load("fast"), level=1)
    )
    layout = layout_of(path.read_bytes())
    measured = peak(
        "from ncml_codec.decode import image_decoder as images\n"
        "from ncml_codec.decode.effort import Effort\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "images.decode(data, effort=Effort(threads=int(sys.argv[2])))",
        path,
        threads,
    )
    need = memory.of_tiles(layout, released_models.load("fast").network, threads, encoding=False)
    assert measured < need < 2 * measured + 64 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("encoding", [False, True])
def test_the_estimate_for_layers_is_above_the_peak_and_not_far(
    encoding: bool, tmp_path: Path
) -> None:
    samples = np.random.default_rng(1).integers(0, 40, (60, 50, 4)).astype(np.uint16) * 999
    path = tmp_path / "a"
    path.write_bytes(ncml_codec.compress(samples, level=1))
    measured = peak(
        "import ncml_codec\n"
        "picture = ncml_codec.decompress_picture(sys.argv[1])\n"
        "if len(sys.argv) > 2: ncml_codec.compress(picture, level=1)",
        path,
        *["compress"] * encoding,
    )
    if encoding:
        models = [released_models.load(name) for name in ("fast", "fast-cid22")]
        need = layer_search.memory_needed(Kind(RGB_ALPHA, 16), (60, 50), models, level=1)
    else:
        file = directory.read(path.read_bytes())
        names = [(layers.method_of(one), one.planes) for one in file.layers]
        each = [memory.of_layer(name, 60, 50, planes, False) for name, planes in names]
        need = memory.of_layers(60, 50, 8, False, each)
    assert measured < need < 2 * measured + 64 * MIB


def test_memory_refuses_what_needs_more_and_says_how_much(tmp_path: Path) -> None:
    image, coded = tmp_path / "a.png", tmp_path / "a.png.ncmz"
    assert ncmlzip("compress", "-1", "-o", coded, _photograph(image)).exit_code == 0
    image.unlink()
    for command in ("decompress", "test"):
        refused = ncmlzip(command, "--memory", "30MiB", coded)
        assert refused.exit_code == 1
        assert "needs about" in refused.stderr
        assert not image.exists()
    for command in ("test", "decompress"):
        assert ncmlzip(command, "--memory", "1G", coded).exit_code == 0
    coded.unlink()
    refused = ncmlzip("compress", "-1", "--memory", "30MiB", image)
    assert refused.exit_code == 1
    assert f"{image}: needs about" in refused.stderr
    assert "MiB of memory, beyond the limit of 30 MiB" in refused.stderr
    assert not coded.exists()


def test_layers_that_need_more_memory_are_refused_before_they_are_decoded() -> None:
    data = ncml_codec.compress(np.zeros((9, 7, 4), np.uint16), level=1)
    with pytest.raises(BeyondLimit, match="needs about"):
        image_decoder.open_file(data, effort=Effort(memory=30 * MIB))
    assert image_decoder.open_file(data, effort=Effort(memory=500 * MIB)).shape == (9, 7, 4)


def test_fewer_threads_are_taken_where_all_of_them_do_not_fit() -> None:
    layout = TileLayout(8192, 2048, 3, b"", TILE_EXPONENT)
    network = released_models.load("fast").network
    one, four = (memory.of_tiles(layout, network, count, encoding=True) for count in (1, 4))

    def need(threads: int) -> int:
        return memory.of_tiles(layout, network, threads, encoding=True)

    assert memory.threads_within(None, 4, need) == 4
    assert memory.threads_within(four, 4, need) == 4
    assert memory.threads_within(four - 1, 4, need) == 3
    assert memory.threads_within(one, 4, need) == 1
    with pytest.raises(BeyondLimit):
        memory.threads_within(one - 1, 4, need)


@pytest.mark.parametrize("text", ["0", "-1", "1.5G", "G", "10 MiB", "10X"])
def test_sizes_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    assert ncmlzip("test", "--memory", text, tmp_path).exit_code == 2


def _photograph(path: Path) -> Path:
    path.write_bytes(encode_file(from_array(valley(0, 0, 80, 100)), str(path)))
    return path


def _with_metadata(length: int) -> bytes:
    """A tiny file whose metadata are so many zeros, a few hundred bytes when packed."""
    chunks = [(png_chunks.PIXELS, b""), (b"zzZz", bytes(length))]
    picture = Picture(np.zeros((8, 8, 1), np.uint8), chunks)
    return tile_encoder.encode(picture, released_models.load("fast"), level=1)


def test_metadata_that_unpack_to_more_than_the_limit_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png.ncmz"
    path.write_bytes(_with_metadata(1 << 24))
    monkeypatch.setattr(png_chunks, "unpack_chunks", lambda section: pytest.fail("unpacked"))
    for arguments in (["test"], ["decompress"], ["decompress", "--region=0,0,2,2"]):
        refused = ncmlzip(*arguments, "--memory=130MiB", path)
        assert refused.exit_code == 1, refused.exception
        assert "needs about" in refused.stderr


def test_chunks_of_a_png_count_when_it_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    chunks = [(b"zzZz", bytes(1 << 24)), (png_chunks.PIXELS, b"")]
    path.write_bytes(encode_file(Picture(np.zeros((8, 8, 1), np.uint8), chunks), "a.png"))
    refused = ncmlzip("compress", "-1", "--memory=130MiB", path)
    assert refused.exit_code == 1
    assert "needs about" in refused.stderr


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif", ".webp"])
def test_images_that_need_more_memory_are_refused_before_their_pixels_are_unpacked(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode_file(from_array(np.zeros((1000, 1000, 3), np.uint8)), path.name))

    def fail(*arguments: object) -> None:
        pytest.fail("unpacked")

    for module, name in ((png_rows, "inflate"), (pnm, "_binary"), (pillow_formats, "_samples")):
        monkeypatch.setattr(module, name, fail)
    refused = ncmlzip("compress", "-1", "--memory=60MiB", path)
    assert refused.exit_code == 1, refused.exception
    assert "needs about" in refused.stderr


def test_formats_that_hold_the_whole_image_are_counted_when_they_are_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.png.ncmz"
    grey = from_array(np.zeros((1500, 1500, 1), np.uint8))
    path.write_bytes(image_encoder.encode(grey, level=1))
    most = f"--memory={48 + 110}MiB"  # libwebp takes 24 MiB and 42 bytes a pixel
    refused = ncmlzip("decompress", "--to=webp", most, path)
    assert refused.exit_code == 1, refused.exception
    assert "needs about" in refused.stderr
    assert not (tmp_path / "a.webp").exists()
    for suffix in ("pgm", "bmp", "tif"):
        assert ncmlzip("decompress", f"--to={suffix}", most, path).exit_code == 0


def test_trials_that_do_not_fit_into_memory_are_left_out() -> None:
    drawing = from_array(np.zeros((700, 700, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    small = image_encoder.encode(drawing, level=1)
    assert directory.read_directory(small).tiled is None
    network = released_models.load("fast").network
    layout = TileLayout(700, 700, 3, b"", TILE_EXPONENT)
    most = memory.of_tiles(layout, network, 1, encoding=True, banded=False)
    most += drawing.samples.nbytes
    data = image_encoder.encode(drawing, effort=Effort(memory=most), level=1)
    assert directory.read_directory(data).tiled is not None
    assert (image_decoder.decode(data).samples == drawing.samples).all()
    with pytest.raises(BeyondLimit):
        image_encoder.encode(drawing, effort=Effort(memory=most - 1), level=1)
