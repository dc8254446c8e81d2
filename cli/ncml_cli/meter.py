"""A line on a terminal for work that takes long: the time that has passed, the share that is done
and, once it can be estimated, the time that is left."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

THREAD = "meter"  # name of the thread that draws a line
AFTER = 2.0  # seconds of work after which the line appears, and an estimate may
_EVERY = 0.5  # seconds between two states of the line
_LEAST_SHARE = 0.02  # of the work, before which an estimate means nothing
_STALE = 0.1  # of the time so far; a share that did not grow for longer gives no estimate


class Meter:
    """A line on standard error while a `with` block runs; it is gone when the block ends.

    A thread draws it, so that it moves by time whatever the work reports. on: whether there is a
    line at all, see `on_terminal`. clock: seconds.
    """

    def __init__(self, label: str, on: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self._on, self._clock = label, on, clock
        self._begun = self._advanced = clock()
        self._done = self._total = 0
        self._drawn = 0  # characters on the terminal
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Meter:
        if self._on:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread can be started: no line
                self._thread = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._draw("")

    def expect(self, total: int) -> None:
        """Say how many steps the work has; 0 if that is not known."""
        self._total = total

    def advance(self, steps: int) -> None:
        """Say that so many steps more are done."""
        if steps:
            self._done += steps
            self._advanced = self._clock()

    def line(self, columns: int = 80) -> str:
        """What a terminal of so many columns is to show now; nothing before AFTER seconds."""
        now = self._clock()
        passed = now - self._begun
        if passed < AFTER:
            return ""
        parts = []
        share = min(1.0, self._done / self._total) if self._total else 0.0
        if share:
            parts.append(f"{100 * share:.0f} %,")
        parts.append(clock_time(passed))
        if _LEAST_SHARE <= share < 1 and now - self._advanced <= max(AFTER, _STALE * passed):
            parts.append(f"(about {clock_time(passed * (1 - share) / share)} left)")
        figures = " ".join(parts)
        room = max(8, columns - len(figures) - 3)  # for the label, a colon, a space and the cursor
        label = self.label if len(self.label) <= room else "..." + self.label[3 - room :]
        return f"{label}: {figures}"

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            self._draw(self.line(_columns()))

    def _draw(self, line: str) -> None:
        """Replace what is drawn; without escape sequences, which some terminals do not know."""
        if line or self._drawn:
            blanks = " " * (self._drawn - len(line))
            end = "\r" if not line else ""
            sys.stderr.write(f"\r{line}{blanks}{end}")
            sys.stderr.flush()
            self._drawn = len(line)


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def clock_time(seconds: float) -> str:
    """Minutes and seconds, hours in front where there are any: 0:07, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
