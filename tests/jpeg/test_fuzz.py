"""A short round of `tests.programs.jpeg_fuzz`; chance is for the program itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ncml_codec.coefficients.network import SUM_LIMIT, Network, check, largest_sums, layers
from tests.builders.coefficient_networks import random_network


def test_a_short_round_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    jpeg_fuzz = pytest.importorskip("tests.programs.jpeg_fuzz", exc_type=ImportError)
    done, counts, problem = jpeg_fuzz.run_round(1, tmp_path, 60, most=300)
    assert problem is None, problem
    assert done == 300
    for name in ("sound, came back", "damaged, came back", "encoder, refused", "recipe, written"):
        assert counts[name], counts
    for name in ("coefficients, came back", "payload, decoded", "payload, refused"):
        assert counts[name], counts
    assert counts["resealed, refused"]
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


def test_coefficients_that_come_back_changed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = pytest.importorskip("tests.programs.coefficient_cases", exc_type=ImportError)
    jpeg_fuzz = pytest.importorskip("tests.programs.jpeg_fuzz", exc_type=ImportError)
    drawn = map(cases.draw_coefficients, map(random.Random, range(100)))
    case = next(case for case in drawn if case.kind == "coefficients")
    assert jpeg_fuzz.run_case(case) == ["coefficients", "came back"]
    monkeypatch.setattr(cases, "_decoded", lambda *_: None)
    with pytest.raises(cases.LawBroken):
        jpeg_fuzz.run_case(case)


@pytest.mark.parametrize("mixtures", [1, 3])
def test_networks_at_their_bounds_are_sound_and_not_far_from_them(mixtures: int) -> None:
    cases = pytest.importorskip("tests.programs.coefficient_cases", exc_type=ImportError)
    network = random_network(1, mixtures=mixtures)
    plane = cases.at_bounds(network.chroma)
    check(Network(network.luma, plane, network.tables))
    for name, layer, bounds in layers(plane):
        if name != "second":  # which adds the end's biases
            assert largest_sums(layer, bounds).max() > 0.99 * SUM_LIMIT
