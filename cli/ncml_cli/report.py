"""What the tools say, and how they fail: one sentence on stderr and an exit code, no traceback for
expected errors."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ParamSpec

import click

from ncml_codec.errors import NcmlError

P = ParamSpec("P")

Outcome = str | NcmlError  # of one file: what is to be said of it, or why it failed


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


def attempt(action: Callable[[], str]) -> Outcome:
    """What the action returns or, if it fails as expected, its error."""
    try:
        return action()
    except NcmlError as error:
        return error


def report(files: Sequence[Path], outcomes: Iterable[Outcome]) -> None:
    """Say on stderr what came of every file, as it comes.

    Exits with 1 if any failed; if there is one file alone, with its error's code.
    """
    failures = []
    for outcome in outcomes:
        if isinstance(outcome, NcmlError):
            click.echo(f"ncmlzip: {outcome}", err=True)
            failures.append(outcome)
        elif outcome:
            click.echo(outcome, err=True)
    if failures:
        sys.exit(failures[0].exit_code if len(files) == 1 else 1)
