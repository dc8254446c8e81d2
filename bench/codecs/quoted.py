"""Published figures of codecs that are not measured here, always shown as quoted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quoted:
    """One codec on one set of images. bits: per sub-pixel; seconds: an image, as published."""

    codec: str
    data: str
    bits: float
    encode_seconds: float | None
    decode_seconds: float | None
    device: str
    source: str


KODAK = "kodak"
_WANG = "WangXuan95/Image-Compression-Benchmark"
_CPU = "i7-12700H, one thread"
_PAPER = "published figure, not checked here"

# short name of bench.codecs.programs, or of no program; the photographs of the Kodak suite, all 24,
# RGB
FIGURES = {
    "gralic": Quoted("GraLIC", KODAK, 2.803, 0.34, 0.40, _CPU, _WANG),
    "emma": Quoted("EMMA", KODAK, 2.604, 1.24, 1.36, _CPU, _WANG),
    "l3c": Quoted("L3C", KODAK, 3.26, None, None, "GPU", _PAPER),
    "dlpr": Quoted("DLPR (22 M parameters)", KODAK, 2.86, None, 1.8, "GPU", _PAPER),
    "mgcf": Quoted("MGCF (575 k parameters)", KODAK, 2.77, None, 1.7, "GPU", _PAPER),
    "arib": Quoted("ArIB-BPS (147 M parameters)", KODAK, 2.78, None, 7.0, "GPU", _PAPER),
    "hpac": Quoted("HPAC (677 k parameters)", KODAK, 2.73, None, 0.9, "GPU", _PAPER),
    "hpac-ft": Quoted("HPAC, tuned to each image", KODAK, 2.52, None, 0.9, "GPU", _PAPER),
    "callic": Quoted("CALLIC, tuned to each image", KODAK, 2.54, 9.7, 1.7, "GPU", _PAPER),
}


def figures_for(images: set[str], measured: set[str]) -> list[Quoted]:
    """What is published for exactly these images, less what was measured.

    images: file names; measured: short names of programs that ran. Kodak counts only whole.
    """
    kodak = {f"kodim{number:02}.png" for number in range(1, 25)}
    if images != kodak:
        return []
    return [figure for short, figure in FIGURES.items() if short not in measured]
