"""Tables and TensorBoard's files hold what was written, and nothing of a part that was lost."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ncml_codec.errors import InputError
from ncml_codec.learn.training.log import Board, Table, read_rows

FIELDS = ("step", "bpd")


def test_a_table_reopened_at_a_step_loses_what_came_later(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with Table(path, FIELDS, 0) as table:
        for step in (10, 20, 30):
            table.write({"step": step, "bpd": step / 7})
    with Table(path, FIELDS, 20) as table:
        table.write({"step": 25, "bpd": math.nan})
    rows = read_rows(path)
    assert [row["step"] for row in rows] == ["10", "20", "25"]
    assert float(rows[1]["bpd"]) == pytest.approx(20 / 7, rel=1e-5)
    assert math.isnan(float(rows[2]["bpd"]))


def test_steps_beyond_a_million_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with Table(path, FIELDS, 0) as table:
        table.write({"step": 12_345_678, "bpd": 1})
    with Table(path, FIELDS, 12_345_678):
        pass
    assert read_rows(path)[0]["step"] == "12345678"


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("step,bpd\n1,3.5\n2")
    assert [row["step"] for row in read_rows(path)] == ["1"]
    with Table(path, FIELDS, 5) as table:
        table.write({"step": 6, "bpd": 3})
    assert [row["step"] for row in read_rows(path)] == ["1", "6"]


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column called step"):
        read_rows(tmp_path / "other.csv")


def test_tensorboard_gets_the_lines_of_tables_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Board(tmp_path, 0) as board:
        with Table(tmp_path / "log.csv", FIELDS, 0, board) as table:
            table.write({"step": 5, "bpd": 3.25})
            table.write({"step": 6, "bpd": math.nan})
        board.picture("samples", torch.zeros(3, 8, 8, dtype=torch.uint8), 6)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in found.Images("samples")] == [6]
    with Board(tmp_path, 5) as board, Table(tmp_path / "log.csv", FIELDS, 5, board) as table:
        table.write({"step": 7, "bpd": 3.0})
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("log/bpd")] == [(5, 3.25), (7, 3)]
