"""Files that `tests.fuzz` found to break a law, kept small: they obey it now."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncml_codec import images
from ncml_codec.errors import ChecksumMismatch, FormatError
from ncml_codec.model import read_model
from tests.fuzz import run_round, targets
from tests.pictures import GOLDEN, HERE
from tests.sealing import with_checksums

MODEL = read_model((GOLDEN / "tiny.ncpn").read_bytes())
FOUND = sorted((HERE / "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged tags
def test_found_files_obey_the_law(path: Path, tmp_path: Path) -> None:
    kind = path.name.rpartition("-")[0]
    _, law = targets(tmp_path)[kind]
    law(path.read_bytes())


@pytest.mark.filterwarnings("ignore")
def test_a_short_round_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    # The same files each time: chance is for `python -m tests.fuzz`.
    for name, (drawn, law) in targets(tmp_path).items():
        tried, _, problem = run_round(name, drawn, law, tmp_path, count=15, same=True)
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


SOUND = sorted((*GOLDEN.glob("*.ncmz"), *GOLDEN.glob("kinds/*.ncmz")))


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_sealed_file_is_as_sound_as_before(path: Path) -> None:
    data = path.read_bytes()
    assert with_checksums(data) == data
    torn = bytearray(data)
    torn[16:24] = bytes(8)  # of the header
    assert with_checksums(with_checksums(bytes(torn))) == with_checksums(bytes(torn))


@pytest.mark.parametrize("name", ["kinds/photo_rgba-0", "level5_by_tile", "kinds/interlaced"])
def test_sealed_damage_is_found_out_only_by_what_it_does(name: str) -> None:
    damaged = bytearray((GOLDEN / f"{name}.ncmz").read_bytes())
    damaged[-16] ^= 1  # in the last payload
    with pytest.raises(ChecksumMismatch, match="the file is damaged"):
        images.decode(bytes(damaged), [MODEL])
    with pytest.raises(FormatError) as caught:
        images.decode(with_checksums(bytes(damaged)), [MODEL])
    assert "the file is damaged" not in str(caught.value)
