"""One codec on one image: first whether it is lossless, then seconds and memory."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.codecs.contenders import Contender, Refused, Samples, same_pixels
from bench.codecs.subjects import Subject

SLOW_SECONDS = 5.0  # what takes longer is timed once: its spread is small against its length
LOSSLESS, LOSSY, REFUSED, FAILED = "lossless", "lossy", "refused", "failed"


@dataclass(frozen=True)
class Plan:
    """repeats: times are medians of so many; threads: besides one, measured with so many."""

    repeats: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """One codec on one image.

    bytes: of the whole file; sha256: its first 16 digits; state: lossless, lossy, refused or
    failed; why: of what is not lossless. Seconds are medians of `runs`, with one thread, and with
    `threads_all` if the codec has more. peak_mib: what coding or decoding adds to the process, or
    the whole of a program of its own; None where the system does not tell. ideal_bytes: of our
    integer tables' cross-entropy.
    """

    codec: str
    settings: str
    image: str
    folder: str
    samples: int
    state: str
    why: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    lossless: bool = False
    runs: int = 0
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    encode_seconds_all: float | None = None
    decode_seconds_all: float | None = None
    threads_all: int | None = None
    peak_mib: float | None = None
    ideal_bytes: float | None = None


def measure(contender: Contender, subject: Subject, plan: Plan) -> Result:
    """Losslessness, size, seconds and memory; no time is kept unless the pixels came back.

    The first pass is not timed, unless it took longer than SLOW_SECONDS: then it is the one.

    Whatever the codec raises becomes the state `failed` with the message: a bench goes on.
    """
    samples = subject.samples
    found = Result(
        contender.name, contender.settings, subject.name, subject.folder, samples.size, FAILED
    )
    try:
        prepared = contender.prepare(subject)
        with _Peak(contender) as peak:
            data, decoded, first = _pass(contender, prepared, 1)
        found = replace(
            found,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest()[:16],
            peak_mib=peak.mib,
        )
        if not same_pixels(decoded, samples):
            return replace(found, state=LOSSY, why="the decoded pixels are others")
        slow = sum(first) > SLOW_SECONDS
        encode, decode = first if slow else _medians(contender, prepared, 1, plan.repeats)
        found = replace(
            found,
            state=LOSSLESS,
            lossless=True,
            runs=1 if slow else plan.repeats,
            encode_seconds=encode,
            decode_seconds=decode,
        )
        if contender.threaded and plan.threads > 1:
            found = _with_threads(found, contender, prepared, data, subject, plan.threads)
    except Refused as reason:
        return replace(found, state=REFUSED, why=str(reason))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        return replace(found, state=FAILED, lossless=False, why=why[:300])
    return found


def _with_threads(
    found: Result,
    contender: Contender,
    prepared: Any,
    data: bytes,
    subject: Subject,
    threads: int,
) -> Result:
    """The same with more threads; what comes back is checked there as well."""
    other, decoded, first = _pass(contender, prepared, threads)
    if not same_pixels(decoded, subject.samples):
        return replace(
            found, state=LOSSY, lossless=False, why=f"other pixels with {threads} threads"
        )
    again = 0 if sum(first) > SLOW_SECONDS else found.runs - 1
    encode, decode = _medians(contender, prepared, threads, again, first)
    why = None if other == data else f"with {threads} threads other bytes: {len(other)} in all"
    return replace(
        found, encode_seconds_all=encode, decode_seconds_all=decode, threads_all=threads, why=why
    )


def _pass(
    contender: Contender, prepared: Any, threads: int
) -> tuple[bytes, Samples, tuple[float, float]]:
    """The file, the decoder's array, and the seconds of both ways."""
    started = time.perf_counter()
    data = contender.encode(prepared, threads)
    encoded = time.perf_counter()
    decoded = contender.decode(data, threads)
    return data, decoded, (encoded - started, time.perf_counter() - encoded)


def _medians(
    contender: Contender, prepared: Any, threads: int, passes: int, *known: tuple[float, float]
) -> tuple[float, float]:
    times = [*known, *(_pass(contender, prepared, threads)[2] for _ in range(passes))]
    return median(encode for encode, _ in times), median(decode for _, decode in times)


class _Peak:
    """How much memory a block of code adds to this process at its worst, in MiB.

    Linux alone: its high-water mark can be put back to what is held now. Freed memory that the
    allocator keeps is given back first, so that it is not reused unseen.
    """

    def __init__(self, contender: Contender) -> None:
        self.mib: float | None = None
        self.program = contender.peak_mib

    def __enter__(self) -> _Peak:
        self.before = None
        if self.program is None:
            gc.collect()
            try:
                ctypes.CDLL(None).malloc_trim(0)
                Path("/proc/self/clear_refs").write_text("5")
                self.before = _status_mib("VmRSS")
            except (OSError, AttributeError):  # not Linux, not glibc, or not allowed
                pass
        return self

    def __exit__(self, *_: object) -> None:
        if self.program is not None:
            self.mib = self.program()
        elif self.before is not None:
            self.mib = max(0.0, _status_mib("VmHWM") - self.before)


def _status_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")
