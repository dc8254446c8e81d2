"""Scoring: bits are the codec's, p-values count, and noise is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip.ncmlzip import main
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import scoring, tile_encoder
from ncml_codec.errors import UsageError
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import from_array
from tests.builders.pictures import GOLDEN, valley
from tests.builders.runs import saved, thumbnails


def test_bits_are_those_of_a_file_that_does_not_learn(tiny: Model) -> None:
    picture = from_array(valley(50, 50, 60, 70))
    bits = scoring.bits_per_sub_pixel(picture, tiny)
    file = 8 * len(tile_encoder.encode(picture, tiny, level=1)) / picture.samples.size
    header = 8 * 48 / picture.samples.size
    assert bits < file < bits + header
    assert scoring.bits_per_sub_pixel(picture, tiny, Effort("numpy")) == pytest.approx(bits)


def test_p_values_count_the_reference() -> None:
    reference = [1.0, 2.0, 3.0, 4.0]
    assert scoring.p_value(5.0, reference) == 1 / 5
    assert scoring.p_value(4.0, reference) == 2 / 5
    assert scoring.p_value(0.0, reference) == 1
    assert scoring.p_value_of_either_side(5.0, reference) == 2 / 5
    assert scoring.p_value_of_either_side(0.0, reference) == 2 / 5
    assert scoring.p_value_of_either_side(2.5, reference) == 1
    with pytest.raises(UsageError):
        scoring.p_value(1.0, [])


def test_p_values_of_the_reference_itself_are_uniform() -> None:
    """Under the hypothesis that it tests, p <= alpha happens with probability alpha at most."""
    random = np.random.default_rng(0)
    found = [
        scoring.p_value(bits, list(random.normal(size=19))) for bits in random.normal(size=2000)
    ]
    for alpha in (0.05, 0.25, 0.5):
        error = 5 * np.sqrt(alpha * (1 - alpha) / 2000)
        assert np.mean(np.array(found) <= alpha) == pytest.approx(alpha, abs=error)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Reference crops of a photograph, and three files: another crop, noise added, flat."""
    reference, files = tmp_path / "reference", tmp_path / "files"
    for folder in (reference, files):
        folder.mkdir()
    for index in range(24):
        Image.fromarray(valley(8 * index, 12 * index % 200, 16, 16)).save(
            reference / f"{index}.png"
        )
    crop = valley(101, 55, 16, 16)
    noise = np.random.default_rng(0).normal(0, 25, crop.shape)
    noisy = np.clip(crop + noise, 0, 255).astype(np.uint8)
    flat = np.full_like(crop, 77)
    for name, image in (("crop", crop), ("noisy", noisy), ("flat", flat)):
        Image.fromarray(image).save(files / f"{name}.png")
    return reference, files


def score(*arguments: object) -> Result:
    model = ["-m", str(GOLDEN / "tiny.ncpn")]
    return CliRunner().invoke(main, ["score", *model, *map(str, arguments)])


def test_noise_is_flagged_and_ranked_first(folders: tuple[Path, Path]) -> None:
    reference, folder = folders
    files = [folder / f"{name}.png" for name in ("flat", "crop", "noisy")]
    found = score(*files, "--reference", reference, "--json")
    assert found.exit_code == 0, found.output
    facts = json.loads(found.output)
    assert [Path(fact["file"]).stem for fact in facts] == ["noisy", "crop", "flat"]
    assert [fact["flagged"] for fact in facts] == [True, False, False]
    assert facts[0]["p_value"] == 1 / 25
    both = json.loads(
        score(*files, "--reference", reference, "--either-side", "--alpha", "0.08", "--json").output
    )
    assert [fact["flagged"] for fact in both] == [True, False, True]
    text = score(*files, "--reference", reference).output.splitlines()
    assert [line.endswith("OUTLIER") for line in text] == [True, False, False]


def test_adding_noise_to_a_thumbnail_makes_it_more_surprising(tmp_path: Path) -> None:
    """On CIFAR-10 where it is here: noise of 25 levels on some images, others as reference."""
    images = thumbnails(30)
    reference, clean = (
        saved(tmp_path / "known", images[:24]),
        saved(tmp_path / "clean", images[24:]),
    )
    noise = np.random.default_rng(0).normal(0, 25, images[24:].shape)
    noisy = saved(tmp_path / "noisy", np.clip(images[24:] + noise, 0, 255).astype(np.uint8))
    files = sorted([*clean.iterdir(), *noisy.iterdir()])
    found = score(*files, "--reference", reference, "--json")
    assert found.exit_code == 0, found.output
    facts = {Path(fact["file"]): fact for fact in json.loads(found.output)}
    assert len(facts) == 12
    for path in clean.iterdir():
        before, after = facts[path], facts[noisy / path.name]
        assert before["bits_per_sub_pixel"] < after["bits_per_sub_pixel"]
        assert after["p_value"] <= before["p_value"]


def test_without_a_reference_it_only_ranks(folders: tuple[Path, Path]) -> None:
    _, folder = folders
    found = score(*sorted(folder.iterdir()))
    assert [Path(line.split()[-1]).stem for line in found.output.splitlines()] == [
        "noisy",
        "crop",
        "flat",
    ]
    assert "p =" not in found.output


def test_too_few_references_are_refused_and_bad_files_named(folders: tuple[Path, Path]) -> None:
    reference, folder = folders
    few = sorted(reference.iterdir())[0]
    refused = score(folder / "crop.png", "--reference", few)
    assert refused.exit_code == 2
    assert "0.5" in refused.stderr
    (folder / "text.png").write_text("no image")
    mixed = score(*sorted(folder.iterdir()))
    assert mixed.exit_code == 1
    assert "text.png" in mixed.stderr
    assert len(mixed.stdout.splitlines()) == 3


def test_a_reference_image_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "sound", thumbnails(24)[:, :, :8, :8])
    (file,) = saved(tmp_path / "one", thumbnails(1)[:, :, :8, :8]).iterdir()
    plain = score("--json", "--reference", folder, file)
    (folder / "bad.png").write_bytes(b"no image")
    result = score("--json", "--reference", folder, file)
    assert (result.exit_code, result.stdout) == (0, plain.stdout)
    assert str(folder / "bad.png") in result.stderr
    assert "1 of 25 reference images left out" in result.stderr
    nothing = score("--reference", folder / "bad.png", file)
    assert nothing.exit_code == 1
    assert "none is left" in nothing.stderr
