"""`python -m bench altered`: models on photographs as they are, and altered in every kind.

The kinds are those of `ncml_codec.learn.data.augmentation`. Sizes are those of the network's coding
alone, learning as the level says, though `ncmlzip` would take another way for a dithered image or
a drawing. Every file is decoded and compared; nothing is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt

from bench import record
from bench.codecs.subjects import read_subject
from bench.record import Record
from bench.rendering import markdown
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import image_encoder, tile_encoder
from ncml_codec.learn.data.augmentation import KINDS, shrunk
from ncml_codec.learn.data.crops import read_rgb
from ncml_codec.network import released_models
from ncml_codec.picture.picture import Picture

AS_THEY_ARE, GREY, SHRUNK = "as they are", "grey", "shrunk"

Pixels = npt.NDArray[np.uint8]


def run(
    photographs: Sequence[Path],
    others: Sequence[Path],
    models: Sequence[str],
    levels: Sequence[int],
    side: int,
    effort: Effort,
    say: Callable[[str], None],
) -> list[Record]:
    """A header, then the bytes of each image of each kind by each model at each level.

    photographs: altered; others: as they are, their kind being the first word of their names, and
    left out if they have 16 bits; alpha is left out. side: the central part that is coded.
    Raises UsageError for unknown models and levels, InputError for files that cannot be read, and
    RoundTripError if a file does not decode to its image.
    """
    loaded = {
        Path(name).name.removesuffix(released_models.SUFFIX): released_models.load(name)
        for name in models
    }
    records = [record.header("altered", models=list(loaded), levels=list(levels), side=side)]
    subjects = [("photographs", *image) for image in altered(photographs, side)]
    subjects += [(path.parent.name, *image) for path in others for image in _other(path, side)]
    for folder, kind, name, samples in subjects:
        picture = Picture(samples)
        for model, network in loaded.items():
            for level in levels:
                data = tile_encoder.encode(picture, network, effort, level=level)
                image_encoder.verify(data, picture, network, effort)
                records.append(
                    {
                        "folder": folder,
                        "kind": kind,
                        "image": name,
                        "model": model,
                        "level": level,
                        "bytes": len(data),
                        "samples": samples.size,
                    }
                )
        say(f"{kind:12} {name}")
    return records


def altered(photographs: Sequence[Path], side: int) -> Iterator[tuple[str, str, Pixels]]:
    """Kind, name and central `side` x `side` of each photograph, altered as a whole before.

    Its strengths are a function of the kind's and the photograph's place alone.
    """
    for index, path in enumerate(photographs):
        whole = read_rgb(path)
        yield AS_THEY_ARE, path.name, _central(whole, side)
        yield GREY, path.name, _central(whole[:, :, 1:2], side)
        for number, (kind, alter) in enumerate(KINDS.items()):
            yield kind, path.name, _central(alter(whole, _random(number, index)), side)
        small = shrunk(whole, side, side, _random(len(KINDS), index))
        yield SHRUNK, path.name, small


def table(records: Sequence[Record]) -> str:
    """Markdown: each kind's bits per sub-pixel, and what the other models take of the first.

    The change is of all bytes of the kind; after it, the mean over the images and its standard
    error.
    """
    facts, lines = records[0], records[1:]
    first, *rest = facts["models"]
    head = ["kind", "images"]
    for level in facts["levels"]:
        head += [f"{first} -{level}", *(f"{model} -{level}" for model in rest)]
    rows = []
    for folder, kind in dict.fromkeys((line["folder"], line["kind"]) for line in lines):
        mine = [line for line in lines if (line["folder"], line["kind"]) == (folder, kind)]
        row = [f"{folder}: {kind}", str(len({line["image"] for line in mine}))]
        for level in facts["levels"]:
            base = _of(mine, first, level)
            row.append(f"{8 * sum(base) / sum(_of(mine, first, level, 'samples')):.4f}")
            row += [_change(base, _of(mine, model, level)) for model in rest]
        rows.append(row)
    return (
        markdown(head, rows)
        + f"\n\nBits per sub-pixel of the first model, central {facts['side']} x {facts['side']};"
        " of the others all bytes against it, and in brackets the mean change of an image with"
        f" its standard error. {record.describe(facts['machine'])}\n"
    )


def _of(lines: Sequence[Record], model: str, level: int, key: str = "bytes") -> list[int]:
    chosen = [line for line in lines if line["model"] == model and line["level"] == level]
    return [line[key] for line in sorted(chosen, key=lambda line: str(line["image"]))]


def _change(before: Sequence[int], after: Sequence[int]) -> str:
    percent = [100 * (b / a - 1) for a, b in zip(before, after, strict=True)]
    text = f"{100 * (sum(after) / sum(before) - 1):+.2f} %"
    if len(percent) > 1:
        text += f" ({fmean(percent):+.2f} ± {stdev(percent) / len(percent) ** 0.5:.2f})"
    return text


def _other(path: Path, side: int) -> Iterator[tuple[str, str, Pixels]]:
    samples = read_subject(path).samples
    if samples.dtype == np.uint8:
        colours = samples[:, :, : 3 if samples.shape[2] > 2 else 1]
        yield path.name.split("-")[0], path.name, _central(colours, side)


def _central(image: Pixels, side: int) -> Pixels:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _random(number: int, index: int) -> np.random.Generator:
    return np.random.default_rng([number, index])
