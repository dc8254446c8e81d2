"""One call of compress, decompress or test, from its options to its exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from ncml_cli.report import Done, Outcome, Speech, attempt, report
from ncml_cli.zip import batch, pipes
from ncml_cli.zip.compression import Compress
from ncml_cli.zip.decompression import Decompress, Test
from ncml_cli.zip.inputs import IMAGES, PIPE, Inputs, find, left_out
from ncml_cli.zip.jobs import Job
from ncml_cli.zip.settings import Settings
from ncml_cli.zip.targets import (
    SUFFIX,
    Target,
    Where,
    compressed_name,
    free_target,
    holds_jpeg,
    make_folders,
    plan,
    restored_name,
)
from ncml_codec import engines
from ncml_codec.errors import InputError, UsageError
from ncml_codec.network import released_models

_DRAFT = (
    "the file format is a draft until version 1.0, and a later version may refuse these files;"
    " --rm removes inputs, so keep copies of them elsewhere"
)


_SLOW = (
    "the native engine is not here: {}. The numpy engine gives the same bytes, about ten times more"
    " slowly. A wheel has the native engine; or install a C++17 compiler, then the package again"
    " (pip install --force-reinstall --no-cache-dir)"
)


@dataclass(frozen=True)
class Call:
    """What a command line asks for, whatever its command. stdout: the output goes there."""

    files: tuple[Path, ...]
    recursive: bool
    files_from: Path | None
    settings: Settings
    speech: Speech
    where: Where
    stdout: bool = False
    dry_run: bool = False


def call(options: Mapping[str, Any], summary: str) -> Call:
    """The call that options (see `options`) describe. Raises UsageError for what contradicts."""
    given = {"output": None, "folder": None, "mirror": False, "skip_existing": False, **options}
    dry_run = given.get("dry_run", False)
    reads_pipe = PIPE in given["files"] or not (given["files"] or given["files_from"])
    stdout = given.get("stdout", False) or given["output"] == PIPE
    _refuse(given, reads_pipe, stdout)
    if given["output"] == PIPE:
        given["output"] = None
    at_once, threads = given["at_once"], given["threads"] or os.cpu_count() or 1
    return Call(
        files=given["files"],
        recursive=given["recursive"],
        files_from=given["files_from"],
        settings=Settings(
            given["model"],
            given["engine"],
            threads,
            at_once,
            bars=not given["quiet"],
            max_pixels=given["max_pixels"],
            max_work=given.get("max_work"),
            memory=given["memory"],
        ),
        speech=Speech(
            given["quiet"],
            given["verbose"],
            given["as_json"],
            f"to be {summary}" if dry_run else summary,
            several=given["recursive"] or given["files_from"] is not None,
        ),
        where=Where(*(given[key] for key in ("output", "folder", "mirror", "skip_existing"))),
        stdout=stdout or (reads_pipe and given["output"] is None),
        dry_run=dry_run,
    )


def compress(wanted: Call, job: Compress) -> None:
    """Compress; exit as `report` says."""
    _convert(wanted, job, IMAGES, lambda source: compressed_name(source, job.force), SUFFIX)


def decompress(wanted: Call, job: Decompress) -> None:
    """Restore; exit as `report` says."""
    rename = partial(restored_name, suffix=job.suffix, part=job.part)
    _convert(wanted, job, {SUFFIX}, rename, job.suffix)


def test(wanted: Call, job: Test) -> None:
    """Check; exit as `report` says. Raises InputError if there is nothing to check."""
    wanted, inputs = _found(wanted, {SUFFIX})
    if not inputs:
        raise InputError("no files to check: nothing is known to be sound")
    with pipes.opened(PIPE in inputs, "", bool(wanted.files)) as pipe:
        targets = {_spooled(source, pipe): found or source for source, found in inputs.items()}
        _run(wanted, job, targets, pipe.names)


def _refuse(given: Mapping[str, Any], reads_pipe: bool, stdout: bool) -> None:
    if given.get("force") and given["skip_existing"]:
        raise UsageError("-f replaces outputs that exist, --skip-existing leaves them: give one")
    if given.get("remove") and (reads_pipe or stdout):
        raise UsageError("--rm works from file to file: what went through a pipe is not read back")
    if given["folder"] is not None and (reads_pipe or stdout):
        raise UsageError("-O takes names from inputs that are files, for outputs that are")
    if stdout and given["as_json"]:
        raise UsageError("--json needs standard output for itself: name the output with -o")
    if stdout and given["output"] not in (None, PIPE):
        raise UsageError("give -o or -c, not both")


def _found(wanted: Call, suffixes: Collection[str]) -> tuple[Call, Inputs]:
    """The files that a call is about, and the call, which says at the end what was left out."""
    inputs = find(wanted.files, wanted.recursive, wanted.files_from, suffixes)
    speech = replace(wanted.speech, left_out=left_out(inputs, suffixes))
    return replace(wanted, speech=speech), inputs


def _convert(
    wanted: Call,
    job: Compress | Decompress,
    suffixes: Collection[str],
    rename: Callable[[Path], str],
    suffix: str | None,
) -> None:
    """suffix: of the file behind standard output; None for that of the input's name."""
    wanted, inputs = _found(wanted, suffixes)
    if wanted.stdout and len(inputs) > 1:
        raise UsageError(f"-c gives one output, but there are {len(inputs)} inputs; use -O")
    if wanted.stdout and not wanted.dry_run:
        pipes.refuse_terminal()
    if not (wanted.stdout or PIPE in inputs):
        targets = plan(inputs, wanted.where, rename, _also_read(wanted, inputs), inputs.roots)
        if wanted.where.folder and not wanted.dry_run:
            targets = make_folders(targets, wanted.where.folder)
        _run(wanted, job, targets, {})
        return
    if wanted.dry_run:
        raise UsageError("--dry-run has nothing to say of a pipe")
    suffix = suffix or _suffix_of(inputs)
    with pipes.opened(PIPE in inputs, suffix, bool(wanted.files)) as pipe:
        spooled = {_spooled(source, pipe): found for source, found in inputs.items()}
        if isinstance(job, Decompress) and job.suffix is None and holds_jpeg(next(iter(spooled))):
            pipe = replace(pipe, target=pipe.target.with_suffix(".jpg"))
        where = Where(pipe.target) if wanted.stdout else wanted.where
        targets = plan(spooled, where, rename, _also_read(wanted, inputs))
        _run(wanted, job, targets, pipe.names, pipe.target if wanted.stdout else None)


def _run(
    wanted: Call,
    job: Job,
    targets: Mapping[Path, Target],
    names: Mapping[str, str],
    piped: Path | None = None,
) -> None:
    if isinstance(job, Compress) and job.remove and not (wanted.speech.quiet or wanted.dry_run):
        click.echo(f"ncmlzip: {_DRAFT}", err=True)
    computes = wanted.settings.engine == "auto" and not wanted.dry_run
    if computes and not wanted.speech.quiet and (missing := engines.why_not_native()):
        click.echo(f"ncmlzip: {_SLOW.format(missing)}", err=True)
    outcomes = _planned(job, targets) if wanted.dry_run else batch.run(job, targets, names)
    if piped:
        outcomes = pipes.delivered(outcomes, piped)
    with closing(outcomes):
        report(list(targets), outcomes, wanted.speech.naming(names))


def _planned(job: Job, targets: Mapping[Path, Target]) -> Generator[Outcome, None, None]:
    """What would come of every file, as far as it shows without work."""
    force = isinstance(job, Compress | Decompress) and job.force

    def one(source: Path, target: Target) -> Done:
        path = free_target(source, target, force)
        return Done(f"{source} -> {path}", "", {"status": "planned", "output": str(path)})

    for source, target in targets.items():
        yield attempt(partial(one, source, target))


def _also_read(wanted: Call, inputs: Collection[Path]) -> list[Path]:
    """Files that the call reads beside its inputs: the model, the list, what stdin comes from."""
    model, names = wanted.settings.model, wanted.files_from
    found = [Path(model)] if model and model not in released_models.released() else []
    if names is not None and names != PIPE:
        found.append(names)
    if PIPE in (*inputs, names):
        found.append(Path("/dev/stdin"))  # a link to the file, if it is one and on Unix
    return found


def _spooled(source: Path, pipe: pipes.Pipes) -> Path:
    return pipe.source if source == PIPE else source


def _suffix_of(inputs: Collection[Path]) -> str:
    """Of the image that a `.ncmz` file was, by its name; if unknown PNG, which holds all."""
    from ncml_codec.picture.image_files import WRITABLE

    found = Path(next(iter(inputs)).name.removesuffix(SUFFIX)).suffix.lower()
    return found if found in WRITABLE else ".png"
