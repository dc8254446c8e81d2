"""Files that `tests.fuzz` found to break a law, kept small: they obey it now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import run_round, targets
from tests.pictures import HERE

FOUND = sorted((HERE / "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged tags
def test_found_files_obey_the_law(path: Path, tmp_path: Path) -> None:
    kind = path.name.rpartition("-")[0]
    _, law = targets(tmp_path)[kind]
    law(path.read_bytes())


@pytest.mark.filterwarnings("ignore")
def test_a_short_round_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    for name, (drawn, law) in targets(tmp_path).items():
        tried, _, problem = run_round(name, drawn, law, tmp_path, count=15)
        assert tried >= 15
        assert problem is None, problem


def test_a_law_that_is_broken_is_reported_and_the_case_kept(tmp_path: Path) -> None:
    drawn, _ = targets(tmp_path)["metadata"]

    def refuses(data: bytes) -> bool:
        raise KeyError(len(data))

    _, _, problem = run_round("metadata", drawn, refuses, tmp_path, count=5)
    assert problem is not None
    assert "KeyError" in problem
    (kept,) = tmp_path.glob("metadata-*")
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()
