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
from bench.comparison.claims import Finding, findings, short, table
from bench.comparison.page import grouped
from bench.comparison.records import SHARES, Measured, Settings, load, save
from bench.comparison.tables import auroc_difference, paired
from ncml_codec.errors import UsageError
from ncml_codec.learn.evaluation import classifier, outliers
from tests.builders.runs import thumbnails, trained


def test_differences_image_by_image() -> None:
    one, other = torch.tensor([3.0, 5.0, 7.0]), torch.tensor([1.0, 4.0, 4.0])
    mean, error = paired(one, other)
    assert mean == pytest.approx(2)
    assert error == pytest.approx(np.std([2, 1, 3], ddof=1) / np.sqrt(3))


def test_runs_of_one_network_and_budget_are_compared() -> None:
    def run(sde: str, width: int, steps: int) -> Measured:
        facts = {"sde": sde, "network": {"width": width}, "budget": {"steps": steps}}
        return Measured(facts, {}, {}, torch.zeros(0), None, torch.zeros(0))

    runs = [run("vp", 8, 10), run("none", 8, 10), run("none", 9, 10), run("ve", 8, 20)]
    found = [[r.facts["sde"] for r in group] for group in grouped(runs)]
    assert found == [["none", "vp"], ["none"], ["ve"]]


@pytest.mark.parametrize("refined", [None, torch.ones(2, 3, 4, 4)])
def test_what_is_kept_comes_back_under_the_same_settings(
    tmp_path: Path, refined: torch.Tensor | None
) -> None:
    settings, path = Settings("cifar10:here"), tmp_path / "kept" / "one.safetensors"
    bits = {share: torch.rand(5, dtype=torch.float64) for share in SHARES}
    places = {name: (torch.rand(4), torch.rand(3)) for name in settings.others}
    facts = {"settings": asdict(settings)}
    one = Measured(facts, bits, places, torch.zeros(1), refined, torch.ones(1))
    assert load(path, settings) is None
    save(one, path)
    again = load(path, settings)
    assert again is not None
    assert again.facts["settings"]["data"] == "cifar10:here"
    for share in SHARES:
        assert torch.equal(again.bits[share], bits[share])
    for name in settings.others:
        assert all(map(torch.equal, again.places[name], places[name]))
    assert (again.refined is None) == (refined is None)
    assert load(path, Settings("cifar10:here", images=3)) is None


def run_of(sde: str, bits: dict[float, list[float]], places: object = None) -> Measured:
    """A run of which only figures are known."""
    deltas = [
        {"pi": 1, "t": t, "delta": delta, "delta_error": 0.01} for t, delta in ((0, 0.9), (1, 0.1))
    ]
    facts = {"sde": sde, "deltas": deltas}
    tensors = {share: torch.tensor(values, dtype=torch.float64) for share, values in bits.items()}
    assert isinstance(places, dict | None)
    return Measured(facts, tensors, places or {}, torch.zeros(0), None, torch.zeros(0))


def test_auroc_differences_are_what_repeated_draws_show() -> None:
    """The paired error over 300 draws of two statistics of the same images, two sets of outliers.

    Its mean is the spread of the differences, which 300 draws tell within 4 %, five times over.
    """
    random, found = np.random.default_rng(0), []
    for _ in range(300):
        inside, sets = random.normal(0.5, 1, 60), random.normal(0, 1, (2, 40))
        runs = []
        for noise in (0.3, 0.9):
            own = inside + noise * random.normal(size=60)
            others = [row + noise * random.normal(size=40) for row in sets]
            pairs = [outliers.placements(own, other) for other in others]
            places = {
                str(i): (torch.from_numpy(a), torch.from_numpy(b)) for i, (a, b) in enumerate(pairs)
            }
            aurocs = [outliers.auroc(own, other) for other in others]
            runs.append((run_of("vp", {}, places), np.mean(aurocs)))
        mean, error = auroc_difference(runs[0][0], runs[1][0])
        assert mean == pytest.approx(runs[0][1] - runs[1][1])
        found.append((mean, error))
    differences, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(differences.std(), rel=0.2)


def test_claims_are_decided_beyond_two_standard_errors() -> None:
    """At pi = 0 the paper's VE is below MLE and its VP above; at pi = 1 both are below."""
    sure, unsure = [0.10, 0.11, 0.09, 0.10], [0.30, -0.20, 0.25, -0.30]
    base = run_of("none", {share: [3.0, 4.0, 5.0, 6.0] for share in SHARES})

    def moved(by: dict[float, list[float]]) -> dict[float, list[float]]:
        return {
            share: [b + m for b, m in zip([3, 4, 5, 6], by[share], strict=True)] for share in by
        }

    down = [-value for value in sure]
    ve = run_of("ve", moved({0.0: sure, 0.5: down, 1.0: unsure}))
    vp = run_of("vp", moved({0.0: sure, 0.5: down, 1.0: down}))
    even = torch.full((3,), 0.5, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    for run in (base, ve, vp):
        run.places["uniform"] = even
    found = findings([base, ve, vp])
    verdicts = {(f.claim.partition(":")[0], f.run): f.verdict for f in found}
    assert verdicts["pi = 0", "NCML-VE"] == "no"
    assert verdicts["pi = 0", "NCML-VP"] == "yes"
    assert verdicts["pi = 0.5", "NCML-VE"] == verdicts["pi = 0.5", "NCML-VP"] == "yes"
    assert verdicts["pi = 1", "NCML-VE"] == "undecided"
    assert verdicts["pi = 1", "NCML-VP"] == "yes"
    others = {f.claim: f.verdict for f in found if f.run == "NCML-VP" and ":" not in f.claim}
    assert len(others) == 3  # nothing is claimed of samples whose distances were not measured
    assert [v for claim, v in others.items() if "falls" in claim] == ["yes"]
    assert [v for claim, v in others.items() if "AUROC" in claim] == ["undecided"]


def test_findings_stand_under_their_runs() -> None:
    found = [
        Finding("it is so", "NCML-VP", "+1", "yes"),
        Finding("it is so", "NCML-VE", "-1", "no"),
    ]
    assert "| it is so | **no**, -1 | **yes**, +1 |" in table(found)
    assert "| it is so | **yes**: VP; **no**: VE | **no**: VE |" in short(
        ["one", "other"], [found, found[1:]]
    )


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
    small |= {"steps": "2,1", "completed": 1, "distance-samples": "3,0"}
    for name, value in small.items():
        arguments += [f"--{name}", value]
    arguments += ["--classifier", folder / "small.safetensors", "--note", "Of a few steps."]
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "page.md"


@pytest.mark.slow
def test_the_page_shows_what_was_measured(page: Path) -> None:
    text, facts = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert [run["sde"] for run in facts["runs"]] == ["none", "subvp", "vp", "none"]
    assert [run["settings"]["steps"] for run in facts["runs"]] == [2, 2, 2, 1]
    first = text.index("## 1.")
    second = text.index("## 2.")
    for run in facts["runs"]:
        for share in ("0.0", "0.5", "1.0"):
            bits = run["bits"][share]
            assert f"{bits['mean']:.3f} +- {bits['error']:.3f}" in text
    assert first < text.index("| bytes, one stream |") < second < text.index("in one bundle")
    assert f"| {facts['runs'][3]['bundled']['payload_bytes']:,} |" in text
    sizes = facts["runs"][0]["coded"]["1.0"]
    assert f"| {sizes['stream_bytes']:,} | {sizes['file_bytes']:,} |" in text
    for run in facts["runs"]:
        assert f"{run['auroc']['paper']['average']:.3f} +- " in text
    assert "2.91 | 3.83 | 3.99 |" in text
    assert "0.35 | 0.65 | 0.74 |" in text
    assert "This budget is tiny" in text
    assert "Of a few steps." in text
    assert text.index("(section 4.2)") < first
    distance = facts["runs"][1]["distance"]["two phases"]["frechet"]
    assert f"| {distance:.2f} | 23.42 |" in text


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


@pytest.mark.parametrize("amount", ["1", "3,1", "two", "3,4,5", ""])
def test_amounts_that_cannot_be_meant_are_refused(amount: str, tmp_path: Path) -> None:
    arguments = ["comparison", "--runs", tmp_path, "--data", "uniform", "--images", amount]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert isinstance(result.exception, UsageError)
    assert "--images" in str(result.exception)
