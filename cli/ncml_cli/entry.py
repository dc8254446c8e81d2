"""Where the installed scripts begin.

A signal that comes while Python still imports the rest ends the script with code 130 and without a
traceback, as it does later, see `interrupts`.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module
from types import FrameType

from ncml_cli import interrupts


def ncmlzip() -> None:
    _run("ncml_cli.zip.ncmlzip")


def ncml_train() -> None:
    _run("ncml_cli.train.train")


def ncml_eval() -> None:
    _run("ncml_cli.evaluate.evaluate")


def ncml_export() -> None:
    _run("ncml_cli.train.export")


def ncml_sample() -> None:
    _run("ncml_cli.evaluate.sample")


def _run(module: str) -> None:
    for one in interrupts.SIGNALS:
        if signal.getsignal(one) not in (signal.SIG_IGN, None):
            signal.signal(one, _end)
    import_module(module).main()


def _end(number: int, frame: FrameType | None) -> None:
    # Nothing is written yet. An exception could be swallowed by whatever is being imported.
    os._exit(interrupts.EXIT_CODE)
