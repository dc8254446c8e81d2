"""How a call of `ncmlzip` computes, for all of its files: model, engine, threads, limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ncml_cli import interrupts
from ncml_cli.meter import Meter, on_terminal
from ncml_cli.report import shown
from ncml_codec import engines
from ncml_codec.decode.effort import Effort
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import MAX_PIXELS


@dataclass(frozen=True)
class Settings:
    """model: as given, None for the default; threads: for all files together; at_once: files, each
    in a process; None for as many as seem worth it. bars: whether a terminal shows progress.
    max_pixels: larger images are refused; max_work: see `costs.Work.check`; memory:
    see `effort.Effort`, of all processes together."""

    model: str | None
    engine: str
    threads: int
    at_once: int | None = None
    bars: bool = True
    max_pixels: int = MAX_PIXELS
    max_work: int | None = None
    memory: int | None = None

    def models(self) -> list[Model]:
        """The model that was given, if one was. Raises UsageError, InputError or FormatError."""
        return [released_models.load(self.model)] if self.model else []

    def meter(self, label: str) -> Meter:
        """A line for work that takes long, if there is a terminal for it."""
        return Meter(shown(label), self.bars and on_terminal())

    @contextmanager
    def effort(self, threads: int, bar: Meter | None, pixels: int | None) -> Iterator[Effort]:
        """How to compute. bar: hears of the work, which is of so many pixels, if that is known."""
        if bar is None:
            yield Effort(self.engine, threads, memory=self.memory, check=interrupts.check)
            return
        bar.expect(pixels or 0)

        def check() -> None:
            interrupts.check()
            bar.advance(0)  # a line that moves while trials tell of no pixels

        yield Effort(self.engine, threads, bar.advance, self.memory, check)


def engine_of(effort: Effort, model: Model | None) -> str:
    """The engine and how it computes; if `auto` is not the native one, why."""
    if model is None:
        return "no network"
    name = str(engines.load(effort.engine, model.network, effort.threads))
    missing = engines.why_not_native() if effort.engine == "auto" else None
    return f"engine {name} (not native: {missing})" if missing else f"engine {name}"
