"""The comparison page: made by one command, and its figures are those that were measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.__main__ import main
from bench.comparison import SHARES, Measured, Settings, load, save
from bench.comparison_page import grouped, paired
from ncml_codec.learn import classifier
from tests.runs import thumbnails, trained


def test_differences_image_by_image() -> None:
    one, other = torch.tensor([3.0, 5.0, 7.0]), torch.tensor([1.0, 4.0, 4.0])
    mean, error = paired(one, other)
    assert mean == pytest.approx(2)
    assert error == pytest.approx(np.std([2, 1, 3], ddof=1) / np.sqrt(3))


def test_runs_of_one_network_and_budget_are_compared() -> None:
    def run(sde: str, width: int, steps: int) -> Measured:
        facts = {"sde": sde, "network": {"width": width}, "budget": {"steps": steps}}
        return Measured(facts, {}, torch.zeros(0), None, torch.zeros(0))

    runs = [run("vp", 8, 10), run("none", 8, 10), run("none", 9, 10), run("ve", 8, 20)]
    found = [[r.facts["sde"] for r in group] for group in grouped(runs)]
    assert found == [["none", "vp"], ["none"], ["ve"]]


@pytest.mark.parametrize("refined", [None, torch.ones(2, 3, 4, 4)])
def test_what_is_kept_comes_back_under_the_same_settings(
    tmp_path: Path, refined: torch.Tensor | None
) -> None:
    settings, path = Settings("cifar10:here"), tmp_path / "kept" / "one.safetensors"
    bits = {share: torch.rand(5, dtype=torch.float64) for share in SHARES}
    one = Measured({"settings": asdict(settings)}, bits, torch.zeros(1), refined, torch.ones(1))
    assert load(path, settings) is None
    save(one, path)
    again = load(path, settings)
    assert again is not None
    assert again.facts["settings"]["data"] == "cifar10:here"
    for share in SHARES:
        assert torch.equal(again.bits[share], bits[share])
    assert (again.refined is None) == (refined is None)
    assert load(path, Settings("cifar10:here", images=3)) is None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two groups, from runs of a few steps."""
    folder = tmp_path_factory.mktemp("comparison")
    # array: has no splits, which is all the same here.
    np.save(folder / "images.npy", thumbnails(30))
    model = classifier.Classifier(classifier.ClassifierConfig())
    classifier.write(model, folder / "small.safetensors", {})
    arguments = ["comparison", "--data", f"array:{folder}/images.npy", "--out", folder / "page.md"]
    for model_name, sdes in (("wave-tiny", ("vp", "none", "subvp")), ("tiny", ("none",))):
        for sde in sdes:
            run = trained(folder / f"{model_name}-{sde}", model_name, sde, steps=4)
            arguments += ["--runs", run]
    small = {
        "images": 6,
        "curve-images": 4,
        "times": 2,
        "coded": 3,
        "bundled": 2,
        "outliers": 4,
        "samples": 2,
    }
    small |= {"steps": 2, "completed": 1, "distance-samples": 3}
    for name, value in small.items():
        arguments += [f"--{name}", value]
    arguments += ["--classifier", folder / "small.safetensors"]
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "page.md"


@pytest.mark.slow
def test_the_page_shows_what_was_measured(page: Path) -> None:
    text, facts = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert [run["sde"] for run in facts["runs"]] == ["none", "subvp", "vp", "none"]
    first = text.index("## 1.")
    second = text.index("## 2.")
    for run in facts["runs"]:
        for share in ("0.0", "0.5", "1.0"):
            bits = run["bits"][share]
            assert f"{bits['mean']:.3f} +- {bits['error']:.3f}" in text
    assert first < text.index("### Bytes") < second < text.index("in one bundle")
    assert f"| {facts['runs'][3]['bundled']['payload_bytes']} |" in text
    sizes = facts["runs"][0]["coded"]["1.0"]
    assert f"| {sizes['stream_bytes']} | {sizes['file_bytes']} |" in text
    assert "2.91 | 3.83 | 3.99 | 46.72" in text
    assert "This budget is tiny" in text
    assert "| bits at pi = 0 above MLE's | NCML-VP |" in text
    assert text.count("| delta log p (pi = 1) falls from t = 0 to T |") == 2


@pytest.mark.slow
def test_the_pages_pictures_are_there(page: Path) -> None:
    pictures = sorted(path.name for path in page.with_suffix("").iterdir())
    names = ("completions", "robustness", "samples")
    assert pictures == [f"{name}-{index}.png" for name in names for index in (1, 2)]
    for name in pictures:
        assert f"(page/{name})" in page.read_text()
        with Image.open(page.with_suffix("") / name) as image:
            assert min(image.size) > 60
            assert image.convert("L").getextrema()[1] == 255
