"""Figures by step in a run's folder: CSV tables that outlive a kill, and TensorBoard's files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_codec.atomic_files import read_file
from ncml_codec.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LOG, EVALUATIONS = "log.csv", "evaluations.csv"
_MAX_BYTES = 1 << 26  # of a table: half a million lines


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

    Opened again at `step`, it tells TensorBoard to forget what came later.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

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


def read_rows(path: Path, needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """The lines of a table. A last line that a kill cut short is left out.

    needed: columns that it must have, beside `step`. Raises InputError for any other file, and for
    a value in these columns that is not a number.
    """
    columns = ("step", *needed)
    try:
        text = read_file(path, _MAX_BYTES).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = sorted(set(columns) - set(reader.fieldnames or ()))
        if missing:
            raise InputError(
                f"{path}: not a training log: it has no column called {', '.join(missing)}"
            )
        rows = [row for row in reader if None not in row.values()]
        for row in rows:
            int(row["step"])
            for name in needed:
                float(row[name])
    except (csv.Error, ValueError) as error:
        raise InputError(f"{path}: not a training log: {error}") from error
    return rows
