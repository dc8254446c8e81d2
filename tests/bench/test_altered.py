"""The bench by kind: what is coded is what the kinds make, and the table sums it truly."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.__main__ import main
from bench.codecs import altered
from bench.record import read_lines
from ncml_codec.encode import tile_encoder
from ncml_codec.learn.data.augmentation import KINDS
from ncml_codec.network import released_models
from ncml_codec.picture.picture import Picture
from tests.builders.pictures import valley


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photographs").mkdir()
    for index in range(4):
        image = valley(40 * index, 30, 64, 80)
        Image.fromarray(image).save(tmp_path / "photographs" / f"{index}.png")
    others = tmp_path / "others"
    others.mkdir()
    scene = valley(0, 0, 20, 24)
    Image.fromarray(np.dstack([scene, scene[..., 0]])).save(others / "icon-alpha.png")
    Image.fromarray(scene[..., 0]).save(others / "scan-grey.png")
    deep = imagecodecs.png_encode(np.arange(480, dtype=np.uint16).reshape(20, 24))
    (others / "scan-deep.png").write_bytes(deep)
    return tmp_path


def test_every_kind_is_coded_by_every_model_at_every_level(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "altered.jsonl"
    words = ["altered", "--images", f"{folder}/photographs", "--others", f"{folder}/others"]
    words += ["--models", "fast,photo", "--level", "2", "--level", "1", "--crop", "32"]
    done = CliRunner().invoke(main, [*words, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    facts, *lines = read_lines(out)
    kinds = {line["kind"] for line in lines if line["folder"] == "photographs"}
    assert kinds == {altered.AS_THEY_ARE, altered.GREY, altered.SHRUNK, *KINDS}
    left = {line["image"]: line for line in lines if line["folder"] == "others"}
    assert left.keys() == {"icon-alpha.png", "scan-grey.png"}
    assert left["icon-alpha.png"]["samples"] == 20 * 24 * 3
    assert len(lines) == (2 * len(kinds) + 2) * 2 * 2
    assert {line["image"] for line in lines} - left.keys() == {"0.png", "3.png"}
    plain = Picture(valley(16, 30 + 24, 32, 32))
    (line,) = [
        line
        for line in lines
        if (line["kind"], line["image"]) == (altered.AS_THEY_ARE, "0.png")
        and (line["model"], line["level"]) == ("photo", 2)
    ]
    assert line["bytes"] == len(tile_encoder.encode(plain, released_models.load("photo"), level=2))
    assert altered.table([facts, *lines]) in done.output


def test_the_table_compares_all_bytes_and_the_mean_image() -> None:
    sizes = {"a": (100, 300), "b": (110, 270)}
    lines = [
        {
            "folder": "photographs",
            "kind": "jpeg",
            "image": str(index),
            "model": model,
            "level": 1,
            "bytes": size,
            "samples": 800,
        }
        for model, pair in sizes.items()
        for index, size in enumerate(pair)
    ]
    machine = {"processor": "p", "cores": 1, "system": "s", "python": "3", "versions": {}}
    machine |= {"commit": "c", "command": "x", "omp_num_threads": None}
    facts = {"models": ["a", "b"], "levels": [1], "side": 32, "machine": machine}
    row = altered.table([facts, *lines]).splitlines()[2]
    # 380 of 400 bytes; +10 and -10 %, whose mean has a standard error of 10.
    assert row == "| photographs: jpeg | 2 | 2.0000 | -5.00 % (+0.00 ± 10.00) |"


def test_altered_photographs_are_the_same_in_every_run(folder: Path) -> None:
    paths = sorted((folder / "photographs").iterdir())[:2]
    runs = [list(altered.altered(paths, 32)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert one[:2] == other[:2]
        assert np.array_equal(one[2], other[2])
        assert one[2].shape[:2] == (32, 32)
