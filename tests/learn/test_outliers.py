"""Outliers: AUROC by its definition, statistics that do not underflow, and the tool."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ncml_cli.evaluate.evaluate import main
from ncml_codec.errors import UsageError
from ncml_codec.learn.evaluation import outliers
from ncml_codec.learn.evaluation.outliers import auroc, measure, open_images
from ncml_codec.learn.sampling.refinement import model_score
from ncpn import runs
from ncpn.integers import validation
from tests.builders.runs import saved, thumbnails, trained

CPU = torch.device("cpu")
FEW = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(FEW, FEW)
def test_auroc_equals_counting_pairs(inside: list[float], outside: list[float]) -> None:
    pairs = list(itertools.product(inside, outside))
    counted = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    found = auroc(np.array(inside), np.array(outside))
    assert found == pytest.approx(counted)
    places = outliers.placements(np.array(inside), np.array(outside))
    assert [len(part) for part in places] == [len(inside), len(outside)]
    assert [part.mean() for part in places] == pytest.approx([counted, counted])
    assert found + auroc(np.array(outside), np.array(inside)) == pytest.approx(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "vp")


def test_statistics_are_those_of_single_images(run: Path) -> None:
    images, model = thumbnails(3), runs.from_pretrained(run)
    found = measure(model, images, 2, CPU)
    for index, image in enumerate(images):
        bits = validation.float_bits(model, image.transpose(1, 2, 0))
        assert found.log_p[index] == pytest.approx(-bits * image.size * math.log(2), rel=1e-5)
        x = torch.from_numpy(image)[None].float()
        norm = model_score(model)(x, torch.zeros(1)).norm()
        assert found.log_slope[index] == pytest.approx(float(norm.log()), rel=1e-4)
    statistics = found.statistics(found.entropy)
    assert np.isfinite(statistics["paper"]).all()
    assert np.exp(found.log_p).max() == 0  # what the statistic would be without logarithms
    assert statistics["paper"] == pytest.approx(found.log_p + found.log_slope)
    assert statistics["typicality"].max() <= 0
    assert "typicality" not in found.statistics(None)


def test_sets_of_outliers() -> None:
    constant, uniform = (open_images(name, "test", 6, 8, seed=1) for name in outliers.SYNTHETIC)
    assert constant.shape == uniform.shape == (6, 3, 8, 8)
    assert (constant == constant[:, :, :1, :1]).all()
    assert len(np.unique(constant[:, :, 0, 0], axis=0)) == 6
    assert uniform.std() > 60
    assert np.array_equal(uniform, open_images("uniform", "test", 6, 8, seed=1))


def test_images_of_another_size(tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(2))
    cut = open_images(str(folder), "test", 9, 20, seed=0)
    assert np.array_equal(cut, thumbnails(2)[:, :, 6:26, 6:26])
    np.save(tmp_path / "images.npy", thumbnails(2))
    with pytest.raises(UsageError, match="--side"):
        open_images(f"array:{tmp_path}/images.npy", "test", 2, 20, seed=0)


def test_the_tool_prints_the_papers_table(run: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "images", thumbnails(12))
    other = saved(tmp_path / "mirrored", 255 - thumbnails(12)[:, ::-1])
    arguments = ["ood", run, "--data", folder, "--reference", folder, "--ood", "uniform"]
    arguments += ["--ood", "constant", "--ood", other, "--limit", 12]
    tool = CliRunner()
    found = tool.invoke(main, [*map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    (facts,) = json.loads(found.output)
    assert facts["images"] == {"inside": 12, "uniform": 12, "constant": 12, "mirrored": 12}
    rows = facts["auroc"]
    assert set(rows) == {"log p", "slope", "paper", "typicality"}
    assert rows["log p"]["uniform"] == 1  # noise is far less likely than photographs
    sets = [rows["log p"][name] for name in ("uniform", "constant", "mirrored")]
    assert rows["log p"]["average"] == pytest.approx(np.mean(sets))
    text = tool.invoke(main, list(map(str, arguments)))
    assert "paper" in text.output
