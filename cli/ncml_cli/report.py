"""How the tools fail: one sentence on stderr and an exit code, no traceback for expected errors."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import click

from ncml_codec.errors import NcmlError

P = ParamSpec("P")


def failing_cleanly(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: an NcmlError becomes `error: ...` on stderr and its exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except NcmlError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)

    return wrapped
