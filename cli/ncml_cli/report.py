"""What the tools say, and how they fail: one sentence on stderr and an exit code, no traceback for
expected errors."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from ncml_cli import interrupts
from ncml_codec.errors import InputError, NcmlError, NotEnoughMemory, OutputError, naming_extras

P = ParamSpec("P")
T = TypeVar("T")
_NO_MEMORY = (  # what libraries say that have no exception of their own for it
    "can't start new thread",
    "Resource temporarily unavailable",
    "not enough memory",
    "std::bad_alloc",
    "encoding error 1",  # libwebp's
    "Error -4 while",  # zlib's
    "failed to map segment from shared object",  # a module that is loaded late
)


class Skipped(NcmlError):
    """A file that is left alone on purpose: said, but no failure."""

    exit_code = 0


@dataclass(frozen=True)
class Done:
    """A file whose work is done. line: what is said of it; more: what -v adds; facts: its figures,
    for --json and the summary. warning: said on stderr, with --json as well."""

    line: str = ""
    more: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""


Outcome = Done | NcmlError  # of one file


class ReaderGone(NcmlError):
    """Whoever read standard output has closed it, as `head` does: the end, and nothing to say."""

    exit_code = 141  # 128 + SIGPIPE, as shells have it


class NotKept(NcmlError):
    """An input stays although it was to be removed: it holds more than its output.

    facts: as of `Done`, for the output is written.
    """

    def __init__(self, text: str, facts: Mapping[str, Any]) -> None:
        super().__init__(text, facts)  # both, so that another process can send it
        self.facts = facts

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Speech:
    """How a call speaks of its files. left_out: what `inputs.left_out` says, for the end.

    as_json: a line of JSON on stdout for each file, in place of what is said of it; errors are said
    as well. summary: what became of a file in a word, for a last line about all; None for no such
    line. several: the call is not for one file alone, whatever it found. names: what temporary
    files stand for.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    summary: str | None = None
    several: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""

    def naming(self, names: Mapping[str, str]) -> Speech:
        """The same with these names."""
        return replace(self, names=names)

    def named(self, text: str) -> str:
        """The text with names in place of temporary files' paths."""
        for path, name in self.names.items():
            text = text.replace(path, name)
        return text


def failing_cleanly(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: errors that `expected` knows become `error: ...` on stderr and an exit code;
    signals become 130 and a reader of stdout that went away ReaderGone's code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with interrupts.heeded(), naming_extras():
                command(*args, **kwargs)
        except BrokenPipeError:
            leave_stdout()
            sys.exit(ReaderGone.exit_code)
        except _EXPECTED as error:
            found = expected(error)
            if found is None:
                raise
            if isinstance(error, OSError) and error.filename is None:
                leave_stdout()  # it may be what failed
            click.echo(f"error: {shown(str(found))}", err=True)
            sys.exit(found.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted; nothing is left half-written", err=True)
            sys.exit(interrupts.EXIT_CODE)

    return wrapped


_EXPECTED = (NcmlError, OSError, MemoryError, RuntimeError, ImportError)


def attempt(action: Callable[[], T], source: Path | None = None) -> T | NcmlError:
    """What the action returns or, if it fails as expected, its error. source: its file."""
    try:
        return action()
    except _EXPECTED as error:
        found = expected(error, source)
        if found is None:
            raise
        return found


def expected(error: BaseException, source: Path | None = None) -> NcmlError | None:
    """What an exception means to the user; None for a bug. source: the file that was worked on.

    Here and nowhere else the system's errors and a lack of memory become errors of ours.
    """
    about = f"{source}: " if source else ""
    if _is_for_want_of_memory(error):
        return NotEnoughMemory(
            f"{about}there is not enough memory for it; -T 1 takes less, as do smaller images;"
            " --memory SIZE refuses what would take more before it is begun"
        )
    if isinstance(error, NcmlError):
        return error
    if not isinstance(error, OSError):
        return None
    reason = error.strerror or str(error) or type(error).__name__
    place = error.filename
    if place is None or str(place) == str(source):
        return InputError(f"{about}{reason}")
    return OutputError(f"{about}{os.fsdecode(place)}: {reason}")


def _is_for_want_of_memory(error: BaseException) -> bool:
    """Whether it, or what it was raised for, is a lack of memory or of threads."""
    if isinstance(error, MemoryError):
        return True
    if error.__cause__ is not None and _is_for_want_of_memory(error.__cause__):
        return True
    is_other = not isinstance(error, NcmlError | OSError)
    return is_other and any(words in str(error) for words in _NO_MEMORY)


def leave_stdout() -> None:
    """Let what is buffered for standard output go nowhere: it would fail once more at the end."""
    if sys.stdout is sys.__stdout__:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def report(files: Sequence[Path], outcomes: Iterable[Outcome], speech: Speech) -> None:
    """Say what came of every file, as it comes.

    Exits with 1 if any failed; if the call is for one file alone, with its error's code.
    """
    several = speech.several or len(files) > 1
    found = []
    for path, outcome in zip(files, outcomes, strict=True):
        _say(path, outcome, speech)
        found.append(outcome)
    if speech.left_out and not speech.quiet and not speech.as_json:
        click.echo(shown(speech.left_out), err=True)
    if several and speech.summary and not speech.quiet and not speech.as_json:
        click.echo(_summary(found, speech.summary), err=True)
    failures = [one for one in found if isinstance(one, NcmlError) and one.exit_code]
    if failures:
        sys.exit(1 if several else failures[0].exit_code)


def shown(text: str) -> str:
    r"""The text on one line, harmless on a terminal: a name's control characters and bytes that are
    no text become \x1b and the like."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, by surrogateescape
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _say(path: Path, outcome: Outcome, speech: Speech) -> None:
    failed = isinstance(outcome, NcmlError) and outcome.exit_code > 0
    if speech.as_json:
        click.echo(json.dumps(_record(path, outcome, speech)))
    if failed and str(outcome):
        click.echo(f"ncmlzip: {shown(speech.named(str(outcome)))}", err=True)
    elif not failed and not speech.as_json and not speech.quiet:
        line = str(outcome) if isinstance(outcome, NcmlError) else outcome.line
        more = outcome.more if isinstance(outcome, Done) and speech.verbose else ""
        said = shown(speech.named(line + (f", {more}" if more else "")))
        if said:
            click.echo(said, err=True)
    if isinstance(outcome, Done) and outcome.warning and not speech.quiet:
        click.echo(f"ncmlzip: {shown(speech.named(outcome.warning))}", err=True)


def _record(path: Path, outcome: Outcome, speech: Speech) -> dict[str, Any]:
    record: dict[str, Any] = {"file": speech.named(str(path))}
    if isinstance(outcome, Done):
        facts = dict(outcome.facts)
        if "output" in facts:
            facts["output"] = speech.named(facts["output"])
        return record | {"status": "done"} | facts
    if isinstance(outcome, Skipped):
        return record | {"status": "skipped", "reason": speech.named(str(outcome))}
    if isinstance(outcome, NotKept):
        record |= outcome.facts
        record["output"] = speech.named(record["output"])
    return record | {
        "status": "failed",
        "error": speech.named(str(outcome)),
        "exit_code": outcome.exit_code,
    }


def _summary(outcomes: Sequence[Outcome], word: str) -> str:
    done = [one.facts for one in outcomes if isinstance(one, Done)]
    skipped = sum(isinstance(one, Skipped) for one in outcomes)
    failed = len(outcomes) - len(done) - skipped
    line = f"{len(outcomes)} file{'' if len(outcomes) == 1 else 's'}: {len(done)} {word}"
    before, after = (
        sum(facts.get(key, 0) for facts in done) for key in ("input_bytes", "output_bytes")
    )
    if before and after:
        line += f", {before} -> {after} bytes ({100 * after / before:.1f} %)"
    line += f", {skipped} skipped" if skipped else ""
    return line + f", {failed} failed"
