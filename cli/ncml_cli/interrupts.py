"""SIGINT, SIGTERM and SIGHUP: work ends soon, nothing half-written stays, the exit code is 130.

All three become one KeyboardInterrupt in the main thread, so that every `finally` and `with` on
the way out does its part. Threads that compute do not get it: they ask, see `check`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130  # 128 + SIGINT, as shells have it
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_came = threading.Event()


@contextmanager
def heeded() -> Iterator[None]:
    """Within, the first of these signals raises KeyboardInterrupt, and later ones do nothing: the
    way out is not cut short. Signals that were ignored before (nohup) stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in SIGNALS}
    heard = [one for one in SIGNALS if before[one] not in (signal.SIG_IGN, None)]
    _came.clear()
    try:
        for one in heard:
            signal.signal(one, interrupt)
        yield
    finally:
        _came.clear()
        for one in heard:
            signal.signal(one, before[one])


def check() -> None:
    """Raise KeyboardInterrupt if a signal came."""
    if _came.is_set():
        raise KeyboardInterrupt


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler: raise KeyboardInterrupt, once."""
    if not _came.is_set():
        _came.set()
        raise KeyboardInterrupt
