"""The estimate of memory: above what is measured, not far above, and a limit that is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import ncml_codec
from ncml_cli.ncmlzip import main
from ncml_codec import codec, container, images, library, memory
from ncml_codec.codec import Effort
from ncml_codec.container import Header
from ncml_codec.errors import BeyondLimit
from ncml_codec.memory import MIB
from ncml_codec.picture import from_array
from tests.pictures import valley

# What the process took at most since it began this program (getrusage counts its parent, too).
_PEAK = (
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def peak(code: str, *arguments: object) -> int:
    """Bytes that a child process takes for code; arguments: its sys.argv[1:]."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{_PEAK}", *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_estimate_for_tiles_is_above_the_peak_and_not_far(threads: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(codec.encode(from_array(valley(0, 0, 64, 96)), library.load("fast"), level=1))
    header = container.read_header(path.read_bytes())
    measured = peak(
        "from ncml_codec import images, codec\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "images.decode(data, effort=codec.Effort(threads=int(sys.argv[2])))",
        path,
        threads,
    )
    need = memory.of_tiles(header, library.load("fast").network, threads, encoding=False)
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
    need = memory.of_layers(60, 50, 8, encoding)
    assert measured < need < 2 * measured + 64 * MIB


def test_memory_refuses_what_needs_more_and_says_how_much(tmp_path: Path) -> None:
    image, coded = tmp_path / "a.png", tmp_path / "a.png.ncmz"
    assert run("compress", "-1", "-o", coded, _photograph(image)).exit_code == 0
    image.unlink()
    for command in ("decompress", "test"):
        refused = run(command, "--memory", "30MiB", coded)
        assert refused.exit_code == 1
        assert "needs about" in refused.stderr
        assert not image.exists()
    for command in ("test", "decompress"):
        assert run(command, "--memory", "1G", coded).exit_code == 0
    coded.unlink()
    refused = run("compress", "-1", "--memory", "30MiB", image)
    assert refused.exit_code == 1
    assert "MiB of memory, beyond the limit of 30 MiB" in refused.stderr
    assert not coded.exists()


def test_layers_that_need_more_memory_are_refused_before_they_are_decoded() -> None:
    data = ncml_codec.compress(np.zeros((9, 7, 4), np.uint16), level=1)
    with pytest.raises(BeyondLimit, match="needs about"):
        images.open_file(data, effort=Effort(memory=30 * MIB))
    assert images.open_file(data, effort=Effort(memory=500 * MIB)).shape == (9, 7, 4)


def test_fewer_threads_are_taken_where_all_of_them_do_not_fit() -> None:
    header = Header(8192, 2048, 3, b"", codec.TILE_EXPONENT)
    network = library.load("fast").network
    one, four = (memory.of_tiles(header, network, count, encoding=True) for count in (1, 4))

    def need(threads: int) -> int:
        return memory.of_tiles(header, network, threads, encoding=True)

    assert memory.threads_within(None, 4, need) == 4
    assert memory.threads_within(four, 4, need) == 4
    assert memory.threads_within(four - 1, 4, need) == 3
    assert memory.threads_within(one, 4, need) == 1
    with pytest.raises(BeyondLimit):
        memory.threads_within(one - 1, 4, need)


@pytest.mark.parametrize("text", ["0", "-1", "1.5G", "G", "10 MiB", "10X"])
def test_sizes_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    assert run("test", "--memory", text, tmp_path).exit_code == 2


def _photograph(path: Path) -> Path:
    from ncml_codec.pixels import encode_file

    path.write_bytes(encode_file(from_array(valley(0, 0, 80, 100)), str(path)))
    return path
