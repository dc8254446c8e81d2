"""Figures by step in a run's folder: CSV tables that outlive a kill, and TensorBoard's files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_codec.errors import InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

LOG, EVALUATIONS = "log.csv", "evaluations.csv"


class Table:
    """A CSV file with a column `step`, appended to line by line.

    Opened again at `step`, it loses its later lines: they are from a part of the run that was lost.
    board: shown there too, under the file's name.
    """

    def __init__(
        self, path: Path, fields: Sequence[str], step: int, board: Board | None = None
    ) -> None:
        self._name, self._board = path.stem, board
        kept: list[dict[str, str]] = []
        if path.exists():
            kept = [row for row in read_rows(path) if int(row["step"]) <= step]
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, fields, extrasaction="ignore")
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, line: Mapping[str, float]) -> None:
        """Append a line; it is on its way to the disk when this returns."""
        text = {name: f"{value:.6g}" for name, value in line.items()}
        self._writer.writerow(text | {"step": int(line["step"])})
        self._file.flush()
        if self._board is not None:
            self._board.write(self._name, line)


class Board:
    """TensorBoard's event files of a run, in its folder `tensorboard`.

    Opened again at `step`, it tells TensorBoard to forget what came later. Raises UsageError where
    tensorboard is not installed.
    """

    def __init__(self, run: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("--tensorboard needs a package: pip install tensorboard") from error
        self._writer = SummaryWriter(run / "tensorboard", purge_step=step + 1 if step else None)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, group: str, line: Mapping[str, float]) -> None:
        """A line of a table; values that are nan are left out."""
        step = int(line["step"])
        for name, value in line.items():
            if name != "step" and not math.isnan(value):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, pixels: Tensor, step: int) -> None:
        """pixels: uint8 [3, height, width]."""
        self._writer.add_image(name, pixels, step)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a table. A last line that a kill cut short is left out.

    Raises InputError if there is no such file or it has no column `step`.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if None not in row.values()]
    except OSError as error:
        raise InputError(f"{path}: not a training log: {error.strerror}") from error
    if "step" not in (reader.fieldnames or ()):
        raise InputError(f"{path}: not a training log: it has no column called step")
    return rows
