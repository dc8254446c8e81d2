"""The line that shows that long work goes on: by time, on terminals alone, and gone at the end."""

from __future__ import annotations

import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ncml_cli import meter
from ncml_cli.meter import AFTER, Meter, clock_time
from ncml_cli.zip import batch, settings
from ncml_cli.zip.compression import Compress
from ncml_codec.encode import image_encoder
from ncml_codec.errors import NcmlError
from ncml_codec.picture import row_readers
from tests.builders.pictures import GOLDEN, valley


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard error is a terminal; yields the other end of it."""
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        yield ours
        monkeypatch.undo()
    os.close(ours)


def test_nothing_is_shown_before_two_seconds() -> None:
    clock = Clock()
    shown = Meter("a.png", True, clock)
    shown.expect(100)
    shown.advance(50)
    clock.seconds += AFTER - 0.01
    assert shown.line() == ""
    clock.seconds += 0.01
    assert shown.line() == "a.png: 50 %, 0:02 (about 0:02 left)"


def test_the_time_left_is_estimated_from_two_percent_on() -> None:
    clock = Clock()
    shown = Meter("a.png", True, clock)
    shown.expect(1000)
    clock.seconds += 60
    assert shown.line() == "a.png: 1:00"  # single tiles and trials report nothing for long
    shown.advance(19)
    assert "left" not in shown.line()
    shown.advance(1)
    assert "(about 49:00 left)" in shown.line()
    clock.seconds += 30
    assert "left" not in shown.line()  # nothing was done for so long: trials, which are not counted
    shown.advance(980)
    assert shown.line() == "a.png: 100 %, 1:30"


def test_figures_stay_whatever_the_names_length() -> None:
    clock = Clock()
    shown = Meter("folder/" * 30 + "a.png", True, clock)
    clock.seconds += 3725
    line = shown.line(40)
    assert line.endswith("a.png: 1:02:05")
    assert line.startswith("...")
    assert len(line) < 40


def test_times_read_as_on_a_clock() -> None:
    assert [clock_time(n) for n in (0, 9.6, 60, 3600, 9_417_600)] == [
        "0:00",
        "0:10",
        "1:00",
        "1:00:00",
        "2616:00:00",
    ]


def moving() -> list[threading.Thread]:
    """The threads that draw a meter; other tests may have left threads of other kinds."""
    return [one for one in threading.enumerate() if one.name == meter.THREAD]


@pytest.mark.parametrize("stage", ["open_image", "encode", "verify"])
def test_every_stage_of_a_small_image_moves_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(valley(0, 0, 8, 8)).save(photo)
    module: Any = row_readers if stage == "open_image" else image_encoder
    real = getattr(module, stage)
    seen: list[bytes] = []
    monkeypatch.setattr(meter, "AFTER", 0.0)
    monkeypatch.setattr(meter, "_EVERY", 0.001)
    with terminal(monkeypatch) as screen:

        def slow(*arguments: Any) -> Any:
            seen.append(os.read(screen, 1000))  # waits until something is drawn
            assert moving()
            while b"a.png: " not in b"".join(seen):
                seen.append(os.read(screen, 1000))
            return real(*arguments)

        monkeypatch.setattr(module, stage, slow)
        how = settings.Settings(str(GOLDEN / "tiny.ncpn"), "auto", 1)
        job = Compress(how, how.models()[0], False, False, True, level=1)
        (outcome,) = batch.run(job, {photo: tmp_path / "a.ncmz"})
        assert not isinstance(outcome, NcmlError), outcome
        assert not moving()
        sys.stderr.write("end")
        sys.stderr.flush()
        while not seen[-1].endswith(b"end"):
            seen.append(os.read(screen, 1000))
    assert b"".join(seen).split(b"\r")[-2].strip() == b""  # blank before what is said next
    assert b"\x1b" not in b"".join(seen)


def test_nothing_is_drawn_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(meter, "AFTER", 0.0)
    how = settings.Settings(None, "auto", 1)
    with how.meter("a.png") as shown:
        assert not moving()
        shown.advance(1)
    assert capfd.readouterr().err == ""
    with terminal(monkeypatch):
        quiet = settings.Settings(None, "auto", 1, bars=False)
        with quiet.meter("a.png"):
            assert not moving()
