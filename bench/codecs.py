"""`python -m bench codecs`: file sizes and times of our models and of rivals on the same images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench import record
from bench.rivals import Rival, rivals
from ncml_codec import codec, engines, library
from ncml_codec.codec import Effort, walk_tile
from ncml_codec.coder import Meter
from ncml_codec.pixels import from_array

Samples = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """One codec on one image. bytes counts the whole file; lossless is checked before timing.

    ideal_bytes: of the integer tables' cross-entropy, for our models.
    """

    codec: str
    settings: str
    image: str
    samples: int
    bytes: int
    lossless: bool
    encode_seconds: float
    decode_seconds: float
    ideal_bytes: float | None = None


def run(
    images: Sequence[Path],
    models: Sequence[str],
    rival_names: Sequence[str],
    engine: str,
    repeats: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Measure everything; one record by codec and image, preceded by the machine's."""
    known = rivals()
    contenders = [known[name] for name in rival_names]
    contenders += [_ours(name, engine) for name in models]
    records: list[dict[str, Any]] = [{"machine": record.machine(), "repeats": repeats}]
    for path in images:
        with Image.open(path) as image:
            samples = np.asarray(image.convert("RGB"))
        for contender in contenders:
            result = measure(contender, path.name, samples, repeats)
            if contender.name.startswith("ncml"):
                result = _with_ideal(result, samples, contender.name.split()[1], engine)
            records.append(asdict(result))
            bits = 8 * result.bytes / result.samples
            mark = "" if result.lossless else "  NOT LOSSLESS"
            say(
                f"{path.name:16} {contender.name:18} {bits:.4f} bpsp"
                f"  {result.encode_seconds:6.2f} s  {result.decode_seconds:6.2f} s{mark}"
            )
    return records


def measure(contender: Rival, name: str, samples: Samples, repeats: int) -> Result:
    """Encode and decode `repeats` times, comparing pixels each time; medians of the seconds."""
    encode_seconds, decode_seconds, lossless = [], [], True
    for _ in range(repeats):
        started = time.perf_counter()
        data = contender.encode(samples)
        encoded = time.perf_counter()
        decoded = contender.decode(data)
        encode_seconds.append(encoded - started)
        decode_seconds.append(time.perf_counter() - encoded)
        lossless = lossless and bool(np.array_equal(decoded, samples))
    return Result(
        contender.name,
        contender.settings,
        name,
        samples.size,
        len(data),
        lossless,
        median(encode_seconds),
        median(decode_seconds),
    )


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: totals by codec over all images, smallest last."""
    results = [line for line in records if "codec" in line]
    names = list(dict.fromkeys(line["codec"] for line in results))
    rows = []
    for name in names:
        mine = [line for line in results if line["codec"] == name]
        bits = 8 * sum(line["bytes"] for line in mine) / sum(line["samples"] for line in mine)
        encode, decode = (
            sum(line[key] for line in mine) / len(mine)
            for key in ("encode_seconds", "decode_seconds")
        )
        state = "yes" if all(line["lossless"] for line in mine) else "**no**"
        rows.append((bits, f"| {name} | {bits:.4f} | {encode:.2f} | {decode:.2f} | {state} |"))
    head = (
        "| codec | bits per sub-pixel | encode, s | decode, s | lossless |\n|---|---|---|---|---|"
    )
    count = len({line["image"] for line in results})
    machine = record.describe(records[0]["machine"])
    lines = [row for _, row in sorted(rows, reverse=True)]
    return "\n".join([f"{count} images, whole files, mean seconds an image.", "", head, *lines]) + (
        f"\n\nMeasured on {machine}.\n"
    )


def _ours(name: str, engine: str) -> Rival:
    model = library.load(name)
    effort = Effort(engine)

    def encode(samples: Samples) -> bytes:
        return codec.encode(from_array(samples), model, effort)

    def decode(data: bytes) -> Samples:
        return codec.decode(data, [model], effort).samples

    return Rival(f"ncml {name}", f"static, engine {engine}, without check", encode, decode)


def _with_ideal(result: Result, samples: Samples, model: str, engine: str) -> Result:
    meter = Meter()
    walk_tile(engines.load(engine, library.load(model).network), samples.shape, samples, meter)
    return Result(**{**asdict(result), "ideal_bytes": meter.bits / 8})
