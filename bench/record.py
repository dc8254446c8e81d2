"""One measurement as one JSON line, with what is needed to judge and repeat it.

A file of results is a header line (which bench, machine, versions, settings; see `header`) and
one line a measurement. Files written before there was a header name their bench in the machine's
command.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ncml_codec.errors import InputError

PACKAGES = (
    "ncml-codec",
    "numpy",
    "constriction",
    "pillow",
    "zstandard",
    "imagecodecs",
    "lepton-jpeg-python",
    "pyoxipng",
    "torch",
)

Record = dict[str, Any]


def header(bench: str, **settings: Any) -> Record:
    """The first line of a file of results: bench, its name on the command line, and settings."""
    return {"bench": bench, "machine": machine(), **settings}


def bench_of(records: Sequence[Record]) -> str:
    """The name of the bench that made these records."""
    first = records[0]
    name = first.get("bench") or first["machine"]["command"].split()[3]
    return str(name)


def read_lines(path: Path) -> list[Record]:
    """The records of a JSON-lines file. Raises InputError if it is none."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON lines: {error}") from error
    if not records or not isinstance(records[0], dict) or "machine" not in records[0]:
        raise InputError(f"{path}: its first line names no machine: not results of this bench")
    return records


def machine() -> Record:
    """Processor, cores, system, versions and commit."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": commit(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "command": " ".join(["python -m bench", *map(shown, sys.argv[1:])]),
    }


def shown(argument: str) -> str:
    """An argument as a report shows it: of a path, where this machine keeps its images says nothing
    to others, so its last name stands for it in capitals, VALID-JPEG."""
    name, _, value = argument.rpartition("=")
    if not Path(value).is_absolute():
        return argument
    return f"{name}={Path(value).name.upper()}" if name else Path(value).name.upper()


def write_lines(path: Path, records: Iterable[Record]) -> None:
    """A JSON-lines file, replaced whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, sort_keys=True) + "\n" for record in records))


def describe(facts: Record) -> str:
    """The machine in one line for a report."""
    found = facts["versions"]
    names = [*(n for n in PACKAGES if n in found), *sorted(n for n in found if n not in PACKAGES)]
    versions = ", ".join(f"{name} {found[name]}" for name in names)
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}, Python"
        f" {facts['python']}, {versions}; commit {facts['commit']}; `{facts['command']}`"
        + (f" with OMP_NUM_THREADS={n}" if (n := facts["omp_num_threads"]) else "")
    )


def commit() -> str:
    """The checkout's commit, with `-dirty` if it has changes, or `unknown`."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
