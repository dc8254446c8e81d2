"""A short round of `tests.programs.jpeg_fuzz`; chance is for the program itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest


def test_a_short_round_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    jpeg_fuzz = pytest.importorskip("tests.programs.jpeg_fuzz", exc_type=ImportError)
    done, counts, problem = jpeg_fuzz.run_round(1, tmp_path, 60, most=300)
    assert problem is None, problem
    assert done == 300
    for name in ("sound, came back", "damaged, came back", "encoder, refused", "recipe, written"):
        assert counts[name], counts
    assert counts["read, read"] + counts["read, read in part"]
    assert counts["write, written"]


def test_a_case_is_the_same_from_its_bytes_and_a_broken_law_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg_fuzz = pytest.importorskip("tests.programs.jpeg_fuzz", exc_type=ImportError)
    chance, files = random.Random(3), jpeg_fuzz.seeds()
    for _ in range(30):
        case = jpeg_fuzz.draw(chance, files)
        assert jpeg_fuzz.Case.from_bytes(case.to_bytes()) == case

    def other_bytes(*_: object, **__: object) -> bytes:
        return b"other"

    monkeypatch.setattr(jpeg_fuzz.jpeg, "write", other_bytes)
    _, _, problem = jpeg_fuzz.run_round(1, tmp_path, 60, most=100)
    assert problem is not None
    assert "other bytes came back" in problem
    (kept,) = tmp_path.glob("jpeg-*")
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()
