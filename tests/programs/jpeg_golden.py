"""Write tests/golden/jpeg, for `make_golden`: files that must give JPEG files back for ever.

They are coded by a random network of their own, since released ones may go.
"""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

from ncml_codec.coefficients.model_file import Model, read_model, write_model
from ncml_codec.decode.jpeg_decoder import restore
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import Coding
from tests.builders.coefficient_networks import jpeg_bytes, random_network, thinned
from tests.builders.digests import sha256
from tests.builders.jpeg_files import drawn_jpeg
from tests.builders.kept_jpegs import kept_jpeg
from tests.builders.pictures import GOLDEN

FOLDER = GOLDEN / "jpeg"
MODEL = GOLDEN / "coefficients.ncjp"
CODINGS = {"static": Coding.STATIC, "whole": Coding.WHOLE}  # all others learn


def golden_model() -> Model:
    """The network of the golden files."""
    return read_model(MODEL.read_bytes())


def _saved(mode: str, size: tuple[int, int], seed: int, **options: object) -> bytes:
    rng = np.random.default_rng(seed)
    shape = (3, 4) if mode == "L" else (3, 4, len(mode))
    small = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode)
    data = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(data, "JPEG", optimize=True, **options)
    return data.getvalue()


def _four_one_one() -> bytes:
    """Units of four blocks of luma in a row. Pillow writes none: those of 4:2:0, laid out anew."""
    data = _saved("RGB", (32, 32), 4, quality=60, subsampling=2)
    at = data.index(b"\xff\xc0") + 5
    changed = bytearray(data)
    changed[at : at + 4] = (16).to_bytes(2, "big") + (64).to_bytes(2, "big")
    assert changed[at + 6] == 0x22
    changed[at + 6] = 0x41
    return bytes(changed)


def _strange(seed: int) -> bytes:
    """A file of odd restarts, runs of zeros and padding, if the seed was searched for."""
    return drawn_jpeg(random.Random(seed)).data


def jpegs() -> dict[str, bytes]:
    """The JPEG files by name."""
    baseline = jpeg_bytes(1, (24, 16))
    return {
        "baseline": baseline,
        "static": jpeg_bytes(2, (16, 24), 90),
        "progressive": _saved("RGB", (24, 17), 3, quality=85, progressive=True),
        "restarts": _saved("RGB", (40, 24), 5, quality=75, restart_marker_blocks=2),
        "grey": _saved("L", (20, 28), 6, quality=92),
        "cmyk": _saved("CMYK", (16, 16), 7, quality=80),
        "four_one_one": _four_one_one(),
        "odd_size": _saved("RGB", (17, 9), 8, quality=95, subsampling=1),
        "one_block": _saved("L", (8, 8), 9, quality=50),
        "one_pixel": _saved("RGB", (1, 1), 10, quality=75, subsampling=0),
        "trailing": jpeg_bytes(11, (16, 16), 70, 0) + b"behind the end\xff\xd8",
        "cut": baseline[:-30],
        "two_tiles": _saved("L", (1030, 8), 12, quality=5),
        "strange": _strange(1333),
        "strange_progressive": _strange(275),
        "whole": b"\xff\xd8\xff\xc9" + b"arithmetic coding is not read " * 3,
    }


def write() -> dict[str, str]:
    """Write the network and all files. The SHA-256 of the JPEG files; raises if one differs."""
    FOLDER.mkdir(exist_ok=True)
    MODEL.write_bytes(write_model(thinned(random_network(77, 6, 3, 2), 77)))
    model = golden_model()
    files = jpegs()
    for name, data in files.items():
        coded = kept_jpeg(data, model, CODINGS.get(name, Coding.LEARNING))
        head = read_directory(coded).kept
        assert head is not None
        assert restore(head, coded, [model]) == data
        (FOLDER / f"{name}.ncmz").write_bytes(coded)
    return {name: sha256(data) for name, data in files.items()}
