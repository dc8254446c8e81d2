"""The speed bench runs, checks what it times, and reports everything it measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.speed import plots, profile, speed
from tests.builders.pictures import VALLEY


@pytest.mark.slow
def test_everything_measured_is_in_the_table_and_the_plot(tmp_path: Path) -> None:
    small = tmp_path / "photo.png"
    with Image.open(VALLEY) as image:
        image.crop((0, 0, 100, 70)).save(small)
    models = ["photo", "wave-tiny"]
    plan = speed.Plan(small, ["32x32"], ["numpy"], [1, 2], models, batch=3, repeats=1)
    records = speed.run(plan, lambda line: None)
    table = speed.table(records)
    timed = [record for record in records if "size" in record]
    assert [(r["model"], r["threads"]) for r in timed] == [("photo", 1), ("photo", 2)]
    assert all(r["compress_seconds"] > 0 and 5 < r["peak_mib"] < 1000 for r in timed)
    assert "| 3 of 32x32 | 2 |" in table
    assert "Start-up" in table
    plots.scaling(records, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as plot:
        assert len(np.unique(np.asarray(plot))) > 10


def test_the_profile_accounts_for_all_the_time(tmp_path: Path) -> None:
    small = tmp_path / "photo.png"
    with Image.open(VALLEY) as image:
        image.crop((0, 0, 60, 50)).save(small)
    records = profile.run(small, "photo", "numpy", 1, lambda line: None)
    stages = {(r["direction"], r["stage"]): r["cpu_seconds"] for r in records[1:]}
    assert {direction for direction, _ in stages} == {"encode", "decode"}
    assert all(seconds > 0 for seconds in stages.values())
    assert profile.STAGES["begin"] in profile.table(records)
