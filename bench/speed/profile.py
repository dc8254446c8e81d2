"""`python -m bench profile`: where the CPU time of coding one image goes, on one thread.

CPU time and not wall time, so that other work on the machine disturbs little. The clock itself
costs about a microsecond a call, which counts as Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench import record
from ncml_codec import engines
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Coder, Decoder, Encoder
from ncml_codec.network import released_models

# What each call of `engines.Walk` computes.
STAGES = {
    "survey": "network and tables of all planes",
    "begin": "network, and red's tables of high nibbles",
    "high": "heads of green and blue, tables of high nibbles",
    "low": "tables of low nibbles",
    "put": "samples handed back",
    "code": "range coder (constriction)",
}
ALONE = "all of it, in native code"  # of `engines.Reader`

Samples = npt.NDArray[np.uint8]


def run(
    photograph: Path, model: str, engine: str, repeats: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """CPU seconds of every stage of encoding and decoding, medians over the repeats."""
    with Image.open(photograph) as image:
        samples = np.asarray(image.convert("RGB"))
    loaded = engines.load(engine, released_models.load(model).network, threads=1)
    records: list[dict[str, Any]] = [
        {"machine": record.machine(), "repeats": repeats, "engine": str(loaded), "model": model}
    ]
    encoder = Encoder()
    walk_tile(loaded, samples.shape, samples, encoder)
    payload = encoder.finish()
    directions: dict[str, tuple[Samples | None, Callable[[], Coder]]] = {
        "encode": (samples, Encoder),
        "decode": (None, lambda: Decoder(payload)),
    }
    for direction, (given, coder) in directions.items():
        if given is None and loaded.name == "native":
            times = [_alone(loaded, payload, samples.shape) for _ in range(repeats)]
        else:
            times = [_once(loaded, samples.shape, given, coder()) for _ in range(repeats)]
        for stage in times[0]:
            seconds = median(one[stage] for one in times)
            records.append({"direction": direction, "stage": stage, "cpu_seconds": seconds})
            say(f"{direction} {stage:50} {seconds:.3f} s")
    return records


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| | stage | CPU seconds |", "|---|---|---|"]
    lines += [
        f"| {r['direction']} | {r['stage']} | {r['cpu_seconds']:.3f} |"
        for r in records
        if "stage" in r
    ]
    first = records[0]
    return "\n".join(lines) + (
        f"\n\nOne thread, model {first['model']}, engine {first['engine']}; start-up and files are"
        f" not in it. Measured on {record.describe(first['machine'])}.\n"
    )


def _once(
    engine: engines.Engine, shape: tuple[int, ...], samples: Samples | None, coder: Coder
) -> dict[str, float]:
    spent: dict[str, float] = {}
    started = time.thread_time()
    walk_tile(_Timed(engine, spent), shape, samples, _Timed(coder, spent))
    whole = time.thread_time() - started
    found = {text: spent[name] for name, text in STAGES.items() if name in spent}
    found["Python and the rest"] = whole - sum(found.values())
    return found


def _alone(engine: engines.Engine, payload: bytes, shape: tuple[int, ...]) -> dict[str, float]:
    started = time.thread_time()
    for _ in engine.read(payload, np.empty(shape, np.uint8)):
        pass
    return {ALONE: time.thread_time() - started}


class _Timed:
    """Another object whose methods' CPU time is added up by name; walks it makes are timed too."""

    def __init__(self, inner: Any, spent: dict[str, float]) -> None:
        self._inner, self._spent = inner, spent

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "walk":
            return lambda *arguments: _Timed(found(*arguments), self._spent)
        if name == "survey":
            return lambda *arguments: self._steps(found(*arguments))
        if not callable(found):
            return found

        def timed(*arguments: Any) -> Any:
            started = time.thread_time()
            try:
                return found(*arguments)
            finally:
                self._add(name, started)

        setattr(self, name, timed)
        return timed

    def _steps(self, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            started = time.thread_time()
            step = next(steps, None)
            self._add("survey", started)
            if step is None:
                return
            yield step

    def _add(self, name: str, started: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + time.thread_time() - started
