"""One measurement as one JSON line, with what is needed to judge and repeat it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("ncml-codec", "numpy", "constriction", "pillow", "zstandard", "imagecodecs", "torch")


def machine() -> dict[str, Any]:
    """Processor, cores, system, versions and commit."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
    }


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """A JSON-lines file, replaced whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, sort_keys=True) + "\n" for record in records))


def describe(facts: dict[str, Any]) -> str:
    """The machine in one line for a report."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}, Python"
        f" {facts['python']}, {versions}; commit {facts['commit']}; `{facts['command']}`"
        + (f" with OMP_NUM_THREADS={n}" if (n := facts["omp_num_threads"]) else "")
    )


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


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return done.stdout.strip() or "unknown"
