"""Files that `tests.programs.fuzz` found to break a law, kept small: they obey it now."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncml_codec.decode import image_decoder
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.network.model_file import read_model
from tests.builders.pictures import GOLDEN, TESTS
from tests.builders.sealing import with_checksums
from tests.programs.fuzz import run_round, targets

MODEL = read_model((GOLDEN / "tiny.ncpn").read_bytes())
FOUND = sorted((TESTS / "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged tags
def test_found_files_obey_the_law(path: Path, tmp_path: Path) -> None:
    kind = path.name.rpartition("-")[0]
    if kind == "native":
        native_cases = pytest.importorskip("tests.programs.native_cases", exc_type=ImportError)
        native_cases.run_case(native_cases.Case.from_bytes(path.read_bytes()))
        return
    _, law = targets(tmp_path)[kind]
    law(path.read_bytes())


@pytest.mark.filterwarnings("ignore")
def test_a_short_round_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    # The same files each time: chance is for `python -m tests.programs.fuzz`.
    for name, (drawn, law) in targets(tmp_path).items():
        tried, _, problem = run_round(name, drawn, law, tmp_path, count=15, same=True)
        assert tried >= 15
        assert problem is None, problem


@pytest.mark.filterwarnings("ignore")
def test_a_short_round_of_native_fuzzing_finds_nothing(tmp_path: Path) -> None:
    native_fuzz = pytest.importorskip("tests.programs.native_fuzz", exc_type=ImportError)
    done, counts, problem = native_fuzz.run_round(1, tmp_path, 60, most=80)
    assert problem is None, problem
    assert done == 80
    for name in ("nothing", "heads", "network and colours"):
        assert counts[f"decode, {name}"], counts
    assert counts["decoded"]
    assert counts["refused"]
    # A timer that runs on would end this process, and the tests behind this one with it.
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["network", "encode", "mixing", "coder", "file"])
def test_a_native_case_is_the_same_from_its_bytes(kind: str) -> None:
    native_fuzz = pytest.importorskip("tests.programs.native_fuzz", exc_type=ImportError)
    chance = random.Random(3)
    networks = [native_fuzz.a_network(chance)]
    cases = (native_fuzz.draw(chance, networks, lambda case: None) for _ in range(200))
    case = next(case for case in cases if case.kind == kind)
    assert native_fuzz.Case.from_bytes(case.to_bytes()) == case


def test_a_native_case_that_breaks_a_law_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native_fuzz = pytest.importorskip("tests.programs.native_fuzz", exc_type=ImportError)
    native_cases = pytest.importorskip("tests.programs.native_cases", exc_type=ImportError)
    # An engine that reads a level more than there is.
    decoded = native_cases.decoded
    shifts = iter(range(10**6))

    def wrong(*arguments: Any) -> Any:
        found = decoded(*arguments)
        return None if found is None else found + np.uint8(next(shifts) % 2)

    monkeypatch.setattr(native_cases, "decoded", wrong)
    _, _, problem = native_fuzz.run_round(1, tmp_path, 60, most=80)
    assert problem is not None
    assert "LawBroken" in problem
    (kept,) = tmp_path.glob("native-*")
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()


def test_a_law_that_is_broken_is_reported_and_the_case_kept(tmp_path: Path) -> None:
    drawn, _ = targets(tmp_path)["metadata"]

    def refuses(data: bytes) -> bool:
        raise KeyError(len(data))

    _, _, problem = run_round("metadata", drawn, refuses, tmp_path, count=5)
    assert problem is not None
    assert "KeyError" in problem
    (kept,) = tmp_path.glob("metadata-*")
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()


SOUND = sorted((*GOLDEN.glob("*.ncmz"), *GOLDEN.glob("kinds/*.ncmz")))


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_sealed_file_is_as_sound_as_before(path: Path) -> None:
    data = path.read_bytes()
    assert with_checksums(data) == data
    torn = bytearray(data)
    torn[8:16] = bytes(8)  # of the header
    assert with_checksums(with_checksums(bytes(torn))) == with_checksums(bytes(torn))


@pytest.mark.parametrize("name", ["kinds/photo_rgba", "tiles", "kinds/interlaced"])
def test_sealed_damage_is_found_out_only_by_what_it_does(name: str) -> None:
    damaged = bytearray((GOLDEN / f"{name}.ncmz").read_bytes())
    damaged[-16] ^= 1  # in the last payload
    with pytest.raises(ChecksumMismatch, match="the file is damaged"):
        image_decoder.decode(bytes(damaged), [MODEL])
    with pytest.raises(FormatError) as caught:
        image_decoder.decode(with_checksums(bytes(damaged)), [MODEL])
    assert "the file is damaged" not in str(caught.value)
