"""How a call of `ncmlzip` computes, for all of its files: model, engine, threads, limits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncml_cli import interrupts
from ncml_cli.report import shown
from ncml_codec import engines, library
from ncml_codec.codec import Effort
from ncml_codec.model import Model
from ncml_codec.pixels import MAX_PIXELS

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_LONG = 500_000  # pixels from which a terminal gets a progress bar


@dataclass(frozen=True)
class Settings:
    """model: as given, None for the default; threads: for all files together; at_once: files, each
    in a process; None for as many as seem worth it. bars: whether a terminal gets progress bars.
    max_pixels: larger images are refused."""

    model: str | None
    engine: str
    threads: int
    at_once: int | None = None
    bars: bool = True
    max_pixels: int = MAX_PIXELS

    def models(self) -> list[Model]:
        """The model that was given, if one was. Raises UsageError, InputError or FormatError."""
        return [library.load(self.model)] if self.model else []

    @contextmanager
    def effort(self, threads: int, bar: bool, pixels: int | None, source: Path) -> Iterator[Effort]:
        """How to compute; with a progress bar on a terminal if there is much to do."""
        effort = Effort(self.engine, threads, interrupts.check)
        if not (bar and self.bars) or (pixels or 0) < _LONG or not sys.stderr.isatty():
            yield effort
            return
        made: ProgressBar[int] = click.progressbar(
            length=pixels, label=shown(str(source)), file=sys.stderr
        )
        with made as drawn:

            def progress(pixels: int) -> None:
                interrupts.check()
                drawn.update(pixels)

            yield replace(effort, progress=progress)


def engine_of(effort: Effort, model: Model | None) -> str:
    """The engine and how it computes; if `auto` is not the native one, why."""
    if model is None:
        return "no network"
    name = str(engines.load(effort.engine, model.network, effort.threads))
    missing = engines.why_not_native() if effort.engine == "auto" else None
    return f"engine {name} (not native: {missing})" if missing else f"engine {name}"
