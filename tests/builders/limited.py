"""A child process within a limit of address space, for tests of what hostile input may take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.builders.pictures import ROOT

# Set in the child, then replaced by the program: `preexec_fn` is unsafe where threads run.
_LIMIT = (
    "import os, resource, sys; most = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_AS, (most, most)); os.execv(sys.argv[2], sys.argv[2:])"
)


def run_limited(
    code_or_args: str | Sequence[str | Path], megabytes: int
) -> subprocess.CompletedProcess[str]:
    """What came of Python code, or of a program and its arguments, within so many MiB of addresses.

    The limit holds for everything that the process maps, the interpreter and its libraries too:
    numpy alone takes 100 MiB, the codec's readers with Pillow 130. Libraries of linear algebra are
    kept to one thread, since each thread maps more. The code runs in the repository's root, so that
    it can import `tests`. Systems without `resource` (Windows) have no such limit.
    """
    command = (
        [sys.executable, "-c", code_or_args] if isinstance(code_or_args, str) else code_or_args
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.run(
        [sys.executable, "-c", _LIMIT, str(megabytes << 20), *map(str, command)],
        cwd=ROOT,
        env=os.environ | threads,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
