"""Standard input and output: the same files as by name, and nothing binary on a terminal."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.meter import Meter
from ncml_cli.report import Done
from ncml_cli.zip import inputs, pipes
from ncml_cli.zip.ncmlzip import main
from ncml_cli.zip.settings import Settings
from ncml_codec.errors import OutputError, UsageError
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")


def ncmlzip(command: str, *arguments: object, data: bytes = b"") -> Result:
    given = [command, "-m", TINY, *(str(argument) for argument in arguments)]
    return CliRunner().invoke(main, given, input=data)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(valley(90, 90, 12, 15)).save(path)
    return path


@pytest.fixture
def packed(photo: Path) -> bytes:
    assert ncmlzip("compress", photo).exit_code == 0
    return Path(f"{photo}.ncmz").read_bytes()


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).tobytes()


@pytest.mark.parametrize("arguments", [[], ["-"], ["-c", "-"], ["-", "-o", "-"]])
def test_a_pipe_gives_the_bytes_that_a_file_gets(
    photo: Path, packed: bytes, arguments: list[str]
) -> None:
    result = ncmlzip("compress", *arguments, data=photo.read_bytes())
    assert (result.exit_code, result.stdout_bytes) == (0, packed)
    assert result.stderr.startswith("(stdin) -> (stdout): ")


def test_a_named_file_goes_to_standard_output_and_stays(photo: Path, packed: bytes) -> None:
    for arguments in (["-c", photo], [photo, "-o", "-"]):
        assert ncmlzip("compress", *arguments).stdout_bytes == packed
    assert photo.exists()


def test_standard_input_may_go_to_a_file(photo: Path, packed: bytes, tmp_path: Path) -> None:
    result = ncmlzip("compress", "-", "-o", tmp_path / "out", data=photo.read_bytes())
    assert (result.exit_code, result.stdout_bytes) == (0, b"")
    assert (tmp_path / "out").read_bytes() == packed
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(("to", "magic"), [(None, b"\x89PNG"), ("ppm", b"P6"), ("bmp", b"BM")])
def test_an_image_comes_out_in_the_format_that_is_asked_for(
    photo: Path, packed: bytes, to: str | None, magic: bytes
) -> None:
    option = ["--to", to] if to else []
    result = ncmlzip("decompress", *option, data=packed)
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes.startswith(magic)
    assert pixels(result.stdout_bytes) == pixels(photo.read_bytes())


def test_a_name_tells_the_format_of_standard_output(packed: bytes, tmp_path: Path) -> None:
    for name, magic in (("a.ppm.ncmz", b"P6"), ("a.ncmz", b"\x89PNG")):
        (tmp_path / name).write_bytes(packed)
        assert ncmlzip("decompress", "-c", tmp_path / name).stdout_bytes.startswith(magic)


def test_files_are_restored_in_another_format(photo: Path, packed: bytes) -> None:
    assert ncmlzip("decompress", "--to", "ppm", f"{photo}.ncmz").exit_code == 0
    assert pixels(photo.with_suffix(".ppm").read_bytes()) == pixels(photo.read_bytes())


def test_progress_names_standard_input(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []

    def meter(how: Settings, label: str) -> Meter:
        labels.append(label)
        return Meter(label, on=False)

    monkeypatch.setattr(Settings, "meter", meter)
    assert ncmlzip("test", "-", data=packed).exit_code == 0
    assert labels == ["(stdin)"]


def test_nothing_of_a_damaged_file_comes_out(packed: bytes) -> None:
    damaged = bytearray(packed)
    damaged[-20] ^= 1
    for command in ("decompress", "test", "info"):
        result = ncmlzip(command, "-", data=bytes(damaged))
        assert (result.exit_code, result.stdout_bytes) == (4, b"")
        assert "ncmlzip: (stdin): tile 0" in result.stderr


def test_standard_input_is_tested_and_described(packed: bytes) -> None:
    assert "(stdin): sound, 15 x 12" in ncmlzip("test", data=packed).stderr
    assert "(stdin)" in ncmlzip("info", data=packed).stdout


def test_a_list_may_come_through_the_pipe(photo: Path, packed: bytes) -> None:
    names = f"{photo}.ncmz\0".encode()
    assert "1 file: 1 sound" in ncmlzip("test", "--files-from", "-", data=names).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "-c", "a.png", "b.png"],
        ["compress", "-", "a.png"],
        ["compress", "-c", "--rm", "a.png"],
        ["compress", "-", "--rm"],
        ["compress", "-c", "--json", "a.png"],
        ["compress", "-c", "-o", "b", "a.png"],
        ["compress", "-", "-O", "."],
        ["compress", "-c", "--dry-run", "a.png"],
        ["decompress", "--to", "ppm", "-o", "b.png", "a.png.ncmz"],
        ["decompress", "--to", "jpg", "a.png.ncmz"],
    ],
)
def test_what_cannot_be_meant_of_pipes_exits_2(arguments: list[str]) -> None:
    assert ncmlzip(*arguments, data=b"x").exit_code == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_binary_goes_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Terminal())
    with pytest.raises(UsageError, match="is a terminal"):
        pipes.refuse_terminal()


def test_nothing_is_read_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal())
    with pytest.raises(UsageError, match="is a terminal"):
        inputs.find([], False, None, inputs.IMAGES)


def test_a_full_standard_output_is_reported(photo: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ncml_cli.zip.ncmlzip",
                "compress",
                "-m",
                TINY,
                "-c",
                str(photo),
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "ncmlzip: standard output: No space left on device\n"


class Narrow:
    """An output without a buffer: it takes seven bytes at a time, and `room` bytes in all."""

    def __init__(self, room: int) -> None:
        self.taken, self.room = b"", room

    def write(self, data: memoryview) -> int:
        part = bytes(data[: min(7, self.room - len(self.taken))])
        if not part:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.taken += part
        return len(part)

    def flush(self) -> None:
        """Nothing is held back."""


def test_an_output_that_takes_a_part_of_what_is_written_gets_all_or_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As standard output is with PYTHONUNBUFFERED on a disk that is nearly full."""
    monkeypatch.setattr(pipes, "leave_stdout", lambda: None)
    target = tmp_path / "output"
    target.write_bytes(bytes(range(200)))
    for room, expected in ((200, Done), (100, OutputError)):
        narrow = Narrow(room)
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=narrow))
        (outcome,) = pipes.delivered([Done()], target)
        assert isinstance(outcome, expected)
        assert narrow.taken == bytes(range(room))


def test_a_reader_that_goes_away_is_met_with_silence(photo: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ncml_cli.zip.ncmlzip", "compress", "-m", TINY, "-c", str(photo)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_that_stops_in_the_middle_is_met_with_silence(tmp_path: Path) -> None:
    """As `decompress -c | head` does, with more than a pipe holds."""
    photo = tmp_path / "photo.png"
    Image.fromarray(np.tile(valley(90, 90, 12, 15), (50, 60, 1))).save(photo)
    assert ncmlzip("compress", "-1", photo).exit_code == 0
    call = ["decompress", "-m", TINY, "-c", "--to", "ppm", f"{photo}.ncmz"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ncml_cli.zip.ncmlzip", *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.read(2) == b"P6"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


def test_temporary_files_go(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    assert ncmlzip("compress", data=photo.read_bytes()).exit_code == 0
    assert ncmlzip("compress", data=b"no image").exit_code == 1
    assert os.listdir(spool) == []
