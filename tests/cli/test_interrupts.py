"""SIGINT and SIGTERM: exit code 130, and every file is the old one, none, or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ncml_cli import interrupts
from ncml_cli.zip import decompression
from ncml_cli.zip.ncmlzip import main
from ncml_codec.atomic_files import write_atomically
from ncml_codec.encode import tile_encoder
from ncml_codec.network import released_models
from tests.builders.pictures import GOLDEN, ROOT, valley

TINY = str(GOLDEN / "tiny.ncpn")


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """What runs in the background or under nohup ignores some signals, and so would its tests."""
    before = {one: signal.getsignal(one) for one in interrupts.SIGNALS}
    for one, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(one, signal.SIG_DFL)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


def photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(valley(2 * index, 3 * index, 32, 32)).save(path)
    return paths


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_every_signal_ends_the_work_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    (photo,) = photos(tmp_path, 1)
    before = [signal.getsignal(one) for one in interrupts.SIGNALS]

    def struck(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(tile_encoder, "encode", struck)
    result = CliRunner().invoke(main, ["compress", "--rm", "-m", TINY, str(photo)])
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert os.listdir(tmp_path) == ["0.png"]
    assert [signal.getsignal(one) for one in interrupts.SIGNALS] == before


def scripts() -> dict[str, str]:
    """The installed scripts by their names, each as module:function."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, str] = content["project"]["scripts"]
    return found


@pytest.mark.parametrize("script", scripts())
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_script_starts_ends_it_with_130(
    script: str, number: signal.Signals
) -> None:
    module, function = scripts()[script].split(":")
    code = f"""
import os, sys
class Struck:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), {int(number)})
from {module} import {function}
sys.meta_path.insert(0, Struck())
sys.argv = [{script!r}, "--help"]
{function}()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


_STARTING = """
import sys
class Marker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("ncml_cli.") and name != "ncml_cli.entry":
            sys.meta_path.remove(self)
            print(flush=True)
sys.meta_path.insert(0, Marker())
from ncml_cli.entry import ncmlzip
sys.argv = ["ncmlzip", "compress"]
ncmlzip()
"""


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_at_any_moment_after_the_first_module_ends_a_script_with_130(
    number: signal.Signals,
) -> None:
    random = np.random.default_rng(int(number))
    for delay in random.uniform(0, 0.5, 12):
        command = [sys.executable, "-c", _STARTING]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, **pipes) as running:
            assert running.stdout is not None
            running.stdout.readline()
            time.sleep(delay)
            running.send_signal(number)
            _, said = running.communicate()  # until then it waits for standard input
        assert running.returncode == 130, (delay, said)
        assert b"Traceback" not in said


def test_a_signal_in_any_command_ends_it_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released_models, "released", lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = CliRunner().invoke(main, ["models"])
    assert (result.exit_code, result.stdout) == (130, "")


def test_an_output_that_is_being_written_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo,) = photos(tmp_path, 1)
    assert CliRunner().invoke(main, ["compress", "--rm", "-m", TINY, str(photo)]).exit_code == 0
    encode = decompression.encode_parts

    def struck(*arguments: Any) -> Iterator[bytes]:
        parts = encode(*arguments)
        yield next(parts)
        assert len(os.listdir(tmp_path)) == 2  # the temporary file is there
        os.kill(os.getpid(), signal.SIGTERM)
        yield from parts

    monkeypatch.setattr(decompression, "encode_parts", struck)
    monkeypatch.setattr(decompression, "SMALL", 0)  # large images are written as they are decoded
    result = CliRunner().invoke(main, ["decompress", "--rm", "-m", TINY, f"{photo}.ncmz"])
    assert result.exit_code == 130
    assert os.listdir(tmp_path) == ["0.png.ncmz"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupt_at_any_line_of_writing_leaves_nothing_behind(
    tmp_path: Path, old: bytes | None
) -> None:
    target = tmp_path / "file"
    code = write_atomically.__code__
    # The last line removes what an error left: to be interrupted there takes two at once.
    lines = sorted({line for *_, line in code.co_lines() if line and line > code.co_firstlineno})

    def at(line: int) -> Callable[..., Any]:
        def trace(frame: FrameType, event: str, _: object) -> Any:
            if frame.f_code is not code:
                return None
            if event == "line" and frame.f_lineno == line:
                raise KeyboardInterrupt
            return trace

        return trace

    struck = 0
    for line in lines[:-1]:
        if old is None:
            target.unlink(missing_ok=True)
        else:
            target.write_bytes(old)
        sys.settrace(at(line))
        try:
            write_atomically(target, b"new", replace=old is not None)
        except KeyboardInterrupt:
            struck += 1
        finally:
            sys.settrace(None)
        assert set(os.listdir(tmp_path)) <= {"file"}
        assert (target.read_bytes() if target.exists() else None) in (old, b"new")
    assert struck >= 10


def test_threads_that_compute_learn_of_it() -> None:
    with interrupts.heeded():
        interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # later ones do not cut the way out short
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    interrupts.check()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_processes_end_and_leave_whole_files(tmp_path: Path, number: signal.Signals) -> None:
    paths = photos(tmp_path, 60)
    tool = [sys.executable, "-m", "ncml_cli.zip.ncmlzip"]
    with subprocess.Popen(
        [*tool, "compress", "-9", "--rm", "-j", "2", "-m", TINY, *map(str, paths)],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert any("bits per sub-pixel" in line for line in running.stderr)  # the first file
        running.send_signal(number)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert "Traceback" not in rest
    left = set(os.listdir(tmp_path))
    for path in paths:
        assert len(left & {path.name, f"{path.name}.ncmz"}) >= 1
    assert left <= {name for path in paths for name in (path.name, f"{path.name}.ncmz")}
    packed = [str(tmp_path / name) for name in left if name.endswith(".ncmz")]
    assert 0 < len(packed) < 60
    assert CliRunner().invoke(main, ["test", "-m", TINY, *packed]).exit_code == 0
