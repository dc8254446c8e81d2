"""Tables of figures by step, as CSV files in a run's folder that outlive a kill."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ncml_codec.errors import InputError

LOG, EVALUATIONS = "log.csv", "evaluations.csv"


class Table:
    """A CSV file with a column `step`, appended to line by line.

    Opened again at `step`, it loses its later lines: they are from a part of the run that was lost.
    """

    def __init__(self, path: Path, fields: Sequence[str], step: int) -> None:
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
