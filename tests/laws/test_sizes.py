"""Compressed sizes are kept in git: a change of size is a difference that someone reviews.

tests/golden/sizes.json holds the bytes of generated images in tiles, by model (with its identity)
and level; other layers also depend on the versions of zlib, zstd and libwebp.
After a change that is meant: python -m tests.laws.test_sizes
"""

from __future__ import annotations

import json

import numpy as np

from bench.codecs import ours
from bench.codecs.ours import Variant
from bench.codecs.subjects import Subject
from ncml_codec.encode import tile_encoder
from ncml_codec.network import released_models
from ncml_codec.picture.image_files import encode_file, from_array
from tests.builders.pictures import GOLDEN, Samples, extremes, through_ycbcr, valley

LEVELS = ("static", "5", "8")
KEPT = GOLDEN / "sizes.json"
UPDATE = "python -m tests.laws.test_sizes"

Sizes = dict[str, dict[str, int | str]]


def images() -> dict[str, Samples]:
    """What is coded: parts of the photograph, a chart, and what is unlike photographs."""
    rows, columns = np.mgrid[0:48, 0:64]
    smooth = np.stack([rows, columns, (rows + columns) // 2], axis=2) * 2
    text = np.full((48, 64, 3), 250, np.uint8)
    text[8:40:6, 5:60:3] = 20
    made = {
        "valley": valley(60, 120, 96, 128),
        "valley on a lattice": through_ycbcr(valley(60, 120, 96, 128)),
        "valley grey": valley(60, 120, 64, 64)[:, :, :1],
        "row": valley(100, 0, 1, 200),
        "smooth": smooth.astype(np.uint8),
        "text": text,
    }
    return {**made, **extremes(32, 32)}


def sizes() -> Sizes:
    """Bytes of every image by every released model at LEVELS."""
    found: Sizes = {}
    for variant in ours.variants(released_models.released(), LEVELS):
        model = released_models.load(variant.model)
        level = 1 if variant.level == "static" else int(variant.level)
        found[variant.name] = {"model": model.identity.hex()}
        for name, samples in images().items():
            data = tile_encoder.encode(from_array(samples), model, level=level)
            found[variant.name][name] = len(data)
    return found


def subject(name: str, samples: Samples) -> Subject:
    return Subject(name, "made", encode_file(from_array(samples), "image.png"), samples)


def test_sizes_are_those_that_are_kept() -> None:
    kept, found = json.loads(KEPT.read_text(encoding="utf-8")), sizes()
    differences = [
        f"{variant}, {name}: {kept.get(variant, {}).get(name)} before, {size} now"
        for variant, by_image in found.items()
        for name, size in by_image.items()
        if kept.get(variant, {}).get(name) != size
    ]
    differences += [f"{name}: gone" for name in kept if name not in found]
    assert not differences, (
        "compressed sizes moved; if that is meant, run `"
        + UPDATE
        + "` and commit the difference:\n  "
        + "\n  ".join(differences)
    )


def test_the_same_image_gives_the_same_bytes() -> None:
    contender = ours.contender(Variant(released_models.DEFAULT, LEVELS[0]), "auto")
    prepared = contender.prepare(subject("valley", images()["valley"]))
    assert len({contender.encode(prepared, threads) for threads in (1, 1, 2, 3)}) == 1


if __name__ == "__main__":
    KEPT.write_text(json.dumps(sizes(), indent=1) + "\n", encoding="utf-8")
    print(f"{KEPT}: written")
