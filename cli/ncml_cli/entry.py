"""Where the installed scripts begin.

A signal that comes while Python still imports the rest ends the script with code 130 and without a
traceback, as it does later, see `interrupts`. To import this module is to begin: its first act is
to take the signals. What comes before it, while the interpreter starts, is out of reach.
"""

from __future__ import annotations

import os
import signal


def _end(number: int, frame: object) -> None:
    # Nothing is written yet. An exception could be swallowed by whatever is being imported.
    os._exit(130)  # as `interrupts.EXIT_CODE`, which is not imported yet


for _name in ("SIGINT", "SIGTERM", "SIGHUP"):  # as `interrupts.SIGNALS`
    _one = getattr(signal, _name, None)
    if _one is not None and signal.getsignal(_one) not in (signal.SIG_IGN, None):
        signal.signal(_one, _end)


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
    from importlib import import_module

    import_module(module).main()
