"""A fault at any point of the work on one file is that file's alone: it is reported, every other
file is done, nothing is half-written, and the exit code is 1."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.meter import Meter
from ncml_cli.zip import batch, decompression, jobs, processes
from ncml_cli.zip.compression import Compress
from ncml_cli.zip.ncmlzip import main
from ncml_cli.zip.settings import Settings
from ncml_cli.zip.targets import Target
from ncml_codec.decode import image_decoder, salvage
from ncml_codec.encode import image_encoder, jpeg_encoder
from ncml_codec.errors import InputError, NcmlError, RoundTripError
from ncml_codec.format.tiles import Tile, TileLayout
from ncml_codec.network import released_models
from ncml_codec.picture import png_chunks, row_readers
from tests.builders.limited import run_limited
from tests.builders.photographs import photograph
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")
ERRORS = [
    OSError(number, os.strerror(number))
    for number in (errno.EIO, errno.ENOSPC, errno.EACCES, errno.ENAMETOOLONG, errno.EPIPE)
]


def ncmlzip(command: str, *arguments: object) -> Result:
    level = ["-1"] if command == "compress" else []
    given = [command, *level, "-m", TINY, "-T", "1", "--json", *map(str, arguments)]
    return CliRunner().invoke(main, given)


def photos(folder: Path, names: list[str]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in names]
    for index, path in enumerate(paths):
        Image.fromarray(valley(20 * index, 10, 3, 4)).save(path)
    return paths


@dataclass(frozen=True)
class Scene:
    """A command on three files, and the outputs that it must write."""

    command: str
    files: dict[str, bytes]
    outputs: dict[str, bytes]

    def laid_out(self, folder: Path) -> Path:
        """The folder, new, with the files in it."""
        folder.mkdir()
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        return folder

    def run(self, folder: Path, *options: str) -> Result:
        return ncmlzip(self.command, *options, *(folder / name for name in self.files))

    def check(self, result: Result, folder: Path, removes: bool = False) -> set[str]:
        """The names of the files that failed, after a look at everything that must hold.

        removes: whether the call had --rm: the inputs of those that did not fail are gone.
        """
        records = [json.loads(line) for line in result.stdout.splitlines()]
        assert [Path(one["file"]).name for one in records] == list(self.files), result.output
        assert "Traceback" not in result.stderr
        failed = {Path(one["file"]).name for one in records if one["status"] == "failed"}
        assert result.exit_code == (1 if failed else 0), (result.output, result.exception)
        warned = removes and self.command == "compress"  # that the format is a draft
        assert result.stderr.count("ncmlzip: ") == len(failed) + warned
        outputs = dict(zip(self.files, self.outputs, strict=bool(self.outputs)))
        for name in os.listdir(folder):
            assert (folder / name).read_bytes() == (self.files | self.outputs)[name]
        for name, output in outputs.items():
            assert name in failed or (folder / output).exists()
        for name in self.files:
            assert (folder / name).exists() == (not removes or name in failed), result.output
        return failed


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    folder = tmp_path_factory.mktemp("scenes")
    plain = photos(folder / "plain", ["0.png", "1.png", "2.jpg"])
    assert ncmlzip("compress", *plain).exit_code == 0
    packed = {f"{path.name}.ncmz": Path(f"{path}.ncmz").read_bytes() for path in plain}
    for path in plain:
        path.unlink()
    assert ncmlzip("decompress", *(folder / "plain" / name for name in packed)).exit_code == 0
    files = {path.name: path.read_bytes() for path in plain}
    return {
        "compress": Scene("compress", files, packed),
        "decompress": Scene("decompress", packed, files),
        "test": Scene("test", packed, {}),
    }


@contextmanager
def struck(folder: Path, number: int, error: BaseException) -> Iterator[list[str]]:
    """Within, the call of this number to the file system about the folder's files raises.

    A look at a file's state takes no memory that could lack. Yields the names of all calls so far.
    """
    looks = ("stat", "lstat", "fstat") if isinstance(error, MemoryError) else ()
    calls: list[str] = []

    def counted(name: str) -> None:
        calls.append(name)
        if len(calls) == number:
            raise error

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **options: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first
            if str(folder) in os.fsdecode(path):
                counted(name)
            return real(first, *rest, **options)

        return call

    class File:
        """A file whose reads and writes count as calls."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def read(self, *size: int) -> bytes:
            counted("read")
            found: bytes = self.file.read(*size)
            return found

        def write(self, data: bytes) -> int:
            half = len(data) // 2
            self.file.write(data[:half])
            counted("write")
            return half + int(self.file.write(data[half:]))

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    fdopen, opened = os.fdopen, io.open

    def open_counted(path: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(path, int) or str(folder) not in os.fsdecode(path):
            return opened(path, *rest, **options)
        counted("io.open")
        return File(opened(path, *rest, **options))

    with pytest.MonkeyPatch.context() as patch:
        names = ("open", "stat", "lstat", "fstat", "chmod", "utime", "fsync", "link", "replace")
        for name in {*names, "rename", "unlink"}.difference(looks):
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        patch.setattr(os, "fdopen", lambda *a, **o: File(fdopen(*a, **o)))
        patch.setattr(io, "open", open_counted)
        yield calls


def remembered(encode: Callable[..., bytes]) -> Callable[..., bytes]:
    """The same, each image encoded once: that has no calls to the file system, but takes time."""
    known: dict[bytes, bytes] = {}

    def found(picture: Any, *rest: Any) -> bytes:
        key = picture.samples.tobytes()
        if key not in known:
            known[key] = encode(picture, *rest)
        return known[key]

    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("call", [["compress", "--rm"], ["decompress", "--rm"], ["test"]])
@pytest.mark.parametrize("kind", ["system", "memory"])
def test_an_error_at_any_call_to_the_system_is_one_files_alone(
    scenes: dict[str, Scene],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: list[str],
    kind: str,
) -> None:
    command, *options = call
    scene, failures, found = scenes[command], 0, set()
    monkeypatch.setattr(image_encoder, "encode", remembered(image_encoder.encode))
    for number in itertools.count(1):
        folder = scene.laid_out(tmp_path / str(number))
        error = MemoryError() if kind == "memory" else ERRORS[number % len(ERRORS)]
        with struck(folder, number, error) as calls:
            result = scene.run(folder, *options)
        failed = scene.check(result, folder, "--rm" in options)
        assert len(failed) <= 1, (calls[-1], result.output)
        found.update(calls)
        failures += len(failed)
        if len(calls) < number:
            break
    assert failures >= 3  # of three files, at the least their opening
    assert number > 10
    assert {"rename", "unlink"} <= found or "--rm" not in options


@pytest.mark.parametrize(
    "error", [MemoryError(), *ERRORS[:1], RuntimeError("can't start new thread")]
)
@pytest.mark.parametrize(
    ("command", "module", "stage"),
    [
        ("compress", row_readers, "open_image"),
        ("compress", image_encoder, "encode"),
        ("compress", image_encoder, "verify"),
        ("compress", jobs, "write_atomically"),
        ("decompress", image_decoder, "open_file"),
        ("decompress", decompression, "encode_parts"),
        ("decompress", jobs, "write_atomically"),
        ("test", salvage, "open_file"),
    ],
)
def test_an_error_at_any_stage_is_one_files_alone(
    scenes: dict[str, Scene],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    module: Any,
    stage: str,
    error: Exception,
) -> None:
    scene, real, calls = scenes[command], getattr(module, stage), itertools.count()

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 1:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(module, stage, failing)
    folder = scene.laid_out(tmp_path / "folder")
    result = scene.run(folder)
    assert len(scene.check(result, folder)) == 1
    if not isinstance(error, OSError):
        assert "not enough memory" in result.stderr


@pytest.mark.parametrize("alone", [False, True])
def test_a_lack_of_memory_in_a_library_is_named(
    scenes: dict[str, Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    def failing(*_: Any) -> Any:
        raise InputError("photo.tif: cannot be read: MemoryError()") from MemoryError()

    monkeypatch.setattr(row_readers, "open_image", failing)
    folder = scenes["compress"].laid_out(tmp_path / "folder")
    names = list(scenes["compress"].files)[: 1 if alone else 2]
    result = ncmlzip("compress", *(folder / name for name in names))
    assert result.exit_code == 1
    assert result.stderr.count("not enough memory") == len(names)
    assert result.stderr.count("-T 1") == len(names)
    assert result.stderr.count("--memory") == len(names)


def metadata_bomb() -> bytes:
    """A small `.ncmz` file whose metadata unpacks to 2^28 bytes."""
    layout = TileLayout(8, 8, 3, released_models.load(TINY).identity, 11)
    length = png_chunks.MAX_METADATA
    packer = zstandard.ZstdCompressor(1).compressobj(size=length)
    zeros = bytes(1 << 20)
    head = bytes(4) + png_chunks.PIXELS + (length - 16).to_bytes(4, "little") + b"zzZz"
    packed = packer.compress(head) + packer.compress(zeros[len(head) :])
    packed += b"".join(packer.compress(zeros) for _ in range(length // len(zeros) - 1))
    return photograph(layout, [Tile(b"", 0)], packed + packer.flush())


@pytest.mark.parametrize(("command", "hungry"), [("compress", "0.bmp"), ("test", "0.png.ncmz")])
def test_a_file_for_which_memory_lacks_gives_one_message(
    scenes: dict[str, Scene], tmp_path: Path, command: str, hungry: str
) -> None:
    """Within a limit of address space: a BMP of 81 megapixels, a bomb of 8 kB."""
    pytest.importorskip("resource")
    folder = scenes[command].laid_out(tmp_path / "folder")
    if command == "test":
        (folder / hungry).write_bytes(metadata_bomb())
    else:
        fields = (b"BM", 0, 0, 0, 54, 40, 9000, 9000, 1, 24, 0, 0, 0, 0, 0, 0)
        with (folder / hungry).open("wb") as file:
            file.write(struct.pack("<2sIHHIIiiHHIIiiII", *fields))
            file.truncate(54 + 3 * 9000 * 9000)
    sound = list(scenes[command].files)[1:2]
    names = [str(folder / name) for name in (hungry, *sound)]
    program = [
        sys.executable,
        "-m",
        "ncml_cli.zip.ncmlzip",
        command,
        "-m",
        TINY,
        "-T",
        "1",
        "--json",
    ]
    result = run_limited([*program, *names], 410)
    assert result.returncode == 1, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["status"] for one in records] == ["failed", *["done"] * len(sound)]
    (said,) = result.stderr.splitlines()
    assert said.startswith(f"ncmlzip: {folder / hungry}: ")
    assert "not enough memory" in said


@pytest.mark.parametrize("stage", ["encode", "verify"])
def test_an_error_that_names_no_file_is_said_of_its_file(
    scenes: dict[str, Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def failing(*_: Any) -> Any:
        raise RoundTripError("decoding gave other pixels; nothing was written")

    monkeypatch.setattr(image_encoder, stage, failing)
    folder = scenes["compress"].laid_out(tmp_path / "folder")
    monkeypatch.setattr(jpeg_encoder, stage, failing)
    paths = [folder / name for name in scenes["compress"].files]
    said = ncmlzip("compress", *paths).stderr.splitlines()
    assert said == [f"ncmlzip: {p}: decoding gave other pixels; nothing was written" for p in paths]


def test_a_name_too_long_for_its_output_is_one_files_alone(tmp_path: Path) -> None:
    paths = photos(tmp_path, ["a.png", f"{'n' * 250}.png", "z.png"])
    for call in (paths, paths[1:2]):
        result = ncmlzip("compress", "-f", *call)
        assert result.exit_code == 1
        assert "File name too long" in result.stderr
        assert "Traceback" not in result.output
        assert result.stderr.count("\n") == 1
    assert (tmp_path / "a.png.ncmz").exists()
    assert (tmp_path / "z.png.ncmz").exists()
    missing = ncmlzip("compress", *paths[:1], tmp_path / ("m" * 300), paths[2], "-f")
    assert missing.exit_code == 1
    assert "File name too long" in missing.stderr


@dataclass(frozen=True)
class Deadly(Compress):
    """A job whose process is killed by files of some names, at a point that the name says."""

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> jobs.Rest:
        point, once = source.stem.partition("-")[0], source.with_suffix(".once")
        if source.stem.endswith("-once"):
            if once.exists():
                return super().start(source, target, threads, bar)
            once.touch()
        if point == "start":
            kill()
        if point == "encode":
            image_encoder.verify = kill  # type: ignore[assignment]
        rest = super().start(source, target, threads, bar)
        if point in ("fsync", "link", "unlink"):
            setattr(os, point, kill)
            return rest
        return rest


def kill(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def outcomes(folder: Path, names: list[str], count: int) -> dict[str, batch.Outcome]:
    """What came of files of these names from so many processes."""
    paths = photos(folder, names)
    settings = Settings(TINY, "auto", threads=2, at_once=count)
    job = Deadly(settings, settings.models()[0], False, False, True, level=1)
    targets: dict[Path, Target] = {path: Path(f"{path}.ncmz") for path in paths}
    return {path.name: one for path, one in zip(paths, batch.run(job, targets), strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("point", ["start", "encode", "fsync", "link", "unlink"])
def test_a_killed_process_costs_its_file_alone(tmp_path: Path, point: str) -> None:
    names = ["0.png", "1.png", f"{point}-once.png", "3.png", f"{point}.png", "5.png"]
    found = outcomes(tmp_path, names, 2)
    whole = point == "unlink"  # the output is there, and only its temporary second name is left
    failed = {name for name, one in found.items() if isinstance(one, NcmlError)}
    assert failed == ({f"{point}.png", f"{point}-once.png"} if whole else {f"{point}.png"})
    message = str(found[f"{point}.png"])
    assert message.startswith(str(tmp_path / f"{point}.png"))
    assert "signal 9" in message
    assert ("is whole" if whole else "-T 1") in message
    for name in names:
        assert (tmp_path / name).exists()
        packed = tmp_path / f"{name}.ncmz"
        assert packed.exists() == (whole or name not in failed)
        if packed.exists():
            image_decoder.decode(packed.read_bytes(), [Settings(TINY, "auto", 1).models()[0]])


def test_where_no_process_can_be_started_the_files_are_done_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "_Worker", refused)
    found = outcomes(tmp_path, ["0.png", "1.png", "2.png"], 2)
    assert not any(isinstance(one, NcmlError) for one in found.values())
    assert len(list(tmp_path.glob("*.ncmz"))) == 3
