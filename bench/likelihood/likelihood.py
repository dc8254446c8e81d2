"""`python -m bench likelihood`: from a trained network's bits per dimension to bytes of a file.

Every step of the chain on the same images: the float network; the integer network, its mixture
evaluated in float64; the integer tables' ideal code length; the words that the range coder gives;
those with the sections' checksums; the file of them. Clean images and perturbed ones, p_pi. The
network alone: nothing learns from the image, and colours on a lattice gain nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from bench import record
from bench.codecs.subjects import SUFFIXES
from bench.record import Record
from bench.rendering import markdown
from ncml_codec import engines
from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import TILE_EXPONENT, samples_crc
from ncml_codec.engines.numpy_engine import NumpyEngine, NumpyWalk
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Encoder, Meter
from ncml_codec.errors import InputError
from ncml_codec.format.container import of_tiles, write
from ncml_codec.format.tiles import Tile, TileLayout, Tiles
from ncml_codec.learn.data.crops import read_rgb
from ncml_codec.learn.data.datasets import open_dataset
from ncml_codec.learn.data.perturbation import perturbed
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC, Adaptation
from ncml_codec.network.integer_network import PARAMETER_UNIT, Integers
from ncml_codec.network.model_file import Model, identified
from ncml_codec.picture import png_chunks
from ncpn import runs
from ncpn.integers import calibration, validation
from ncpn.network import NCPN
from ncpn.wave_network.wave import WaveNCPN

Pixels = npt.NDArray[np.uint8]
Say = Callable[[str], None]

STEPS = {
    "float_bits": "float network",
    "network_bits": "integer network",
    "tables_bits": "integer tables",
    "coder_bits": "range coder",
    "payload_bits": "with checksums",
    "file_bits": "file",
}
SECTION_BYTES = 8  # checksums of a tile's words and of its samples


@dataclass(frozen=True)
class Chain:
    """One image at one pi, bits per sub-pixel at every step; None where a network has no files.

    network_bits: of the integer network's mixture in float64, without the tables' rounding.
    """

    float_bits: float
    network_bits: float | None = None
    tables_bits: float | None = None
    coder_bits: float | None = None
    payload_bits: float | None = None
    file_bits: float | None = None


def run(
    checkpoints: Sequence[str],
    source: str,
    shares: Sequence[float],
    limit: int | None,
    crop: int | None,
    seed: int,
    say: Say,
) -> list[Record]:
    """A header, then one record by checkpoint, pi and image.

    checkpoints: folders of training runs, or RUN=MODEL with the released name or file of the
    integer network that was made of it; else it is made now, from these images. crop: the central
    part that is used, so many pixels a side. Raises InputError and UsageError.
    """
    images = [(name, _central(image, crop)) for name, image in read_images(source, limit)]
    settings = {"checkpoints": list(checkpoints), "data": source, "crop": crop, "seed": seed}
    records = [record.header("likelihood", pi=list(shares), **settings)]
    for checkpoint in checkpoints:
        folder, _, made = checkpoint.partition("=")
        network = runs.from_pretrained(Path(folder))
        integers: Model | None = None
        used = images
        if not isinstance(network, WaveNCPN):
            used = [(name, _central(image, None, 4)) for name, image in images]
        elif made:
            integers = released_models.load(made)
        else:
            samples = [_central(image, 192) for _, image in images[:16]]
            integers = identified(calibration.best_integers(network, samples))
        for share in shares:
            for index, (name, image) in enumerate(used):
                random = np.random.default_rng([seed, index])
                moved = perturbed(image, share, random)
                chain = measure(network, integers, moved)
                found = {"run": checkpoint, "pi": share, "image": name, "samples": image.size}
                records.append({**found, **asdict(chain)})
                say(_line(records[-1]))
    return records


def measure(network: NCPN, integers: Model | None, image: Pixels) -> Chain:
    """The chain of one image, uint8 [height, width, 3]. integers: None for a network without."""
    floating = validation.float_bits(network, image)
    if integers is None:
        return Chain(floating)
    exact = ideal = 0.0
    height, width, planes = image.shape
    layout = TileLayout(width, height, planes, integers.identity, TILE_EXPONENT)
    engine = _Watched(NumpyEngine(integers.network))
    tiles: list[Tile] = []
    for top, left, rows, columns in layout.tiles():
        samples = np.ascontiguousarray(image[top : top + rows, left : left + columns])
        meter = Meter()
        walk_tile(engine, samples.shape, samples, meter)
        ideal += meter.bits
        exact += engine.last.bits
        tiles.append(_tile(integers, samples))
    data = write(of_tiles(Tiles(layout, tiles), png_chunks.pack_chunks(())))
    if not np.array_equal(image_decoder.decode(data, [integers]).samples, image):
        raise InputError("an image did not come back from its file; no likelihood is worth much")
    words = sum(len(tile.payload) for tile in tiles)
    sections = words + SECTION_BYTES * len(tiles)
    bits = [exact, ideal, 8.0 * words, 8.0 * sections, 8.0 * len(data)]
    return Chain(floating, *(value / image.size for value in bits))


def _tile(model: Model, samples: Pixels) -> Tile:
    """By the network alone, without learning and without colours."""
    encoder = Encoder()
    engine = engines.load("auto", model.network)
    walk_tile(engine, samples.shape, samples, encoder, adaptation=STATIC)
    return Tile(encoder.finish(), samples_crc(samples), STATIC)


def read_images(source: str, limit: int | None) -> list[tuple[str, Pixels]]:
    """Names and images, uint8 [height, width, 3], of a folder or of `kind:PATH` (test split).

    Raises InputError if there is none.
    """
    kind, colon, rest = source.partition(":")
    if colon and kind != "folder":
        return list(_numbered(source, limit))
    folder = Path(rest if colon else source)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)[:limit]
    if not paths:
        raise InputError(f"{folder}: no image files ({' '.join(sorted(SUFFIXES))})")
    return [(path.name, read_rgb(path)) for path in paths]


def table(records: Sequence[Record]) -> str:
    """Markdown: the chain over all images by run and pi, then every image."""
    lines = [r for r in records if "float_bits" in r]
    rows, groups = [], dict.fromkeys((r["run"], r["pi"]) for r in lines)
    for run_, share in groups:
        mine = [r for r in lines if (r["run"], r["pi"]) == (run_, share)]
        rows.append([run_name(run_), f"{share:g}", str(len(mine)), *_steps(total(mine))])
    single = [
        [run_name(r["run"]), f"{r['pi']:g}", r["image"], *_steps({step: r[step] for step in STEPS})]
        for r in lines
    ]
    first = records[0]
    data = Path(first["data"]).name
    cut = f", central {first['crop']} pixels" if first["crop"] else ""
    names = list(STEPS.values())
    words = (
        f"Bits per sub-pixel at each step from the model to the file ({data}{cut}; t = 0), and how"
        " much that step adds. pi: share of sub-pixels moved by one level. Float network; integer"
        " network with its mixture in float64; ideal code length of the integer tables; words of"
        " the range coder; with the sections' checksums; whole file. Every file was decoded and"
        " compared. A run without integers has no files."
    )
    return (
        f"{words}\n\n{markdown(['run', 'pi', 'images', *names], rows)}\n\n"
        f"{markdown(['run', 'pi', 'image', *names], single)}\n\n"
        f"Measured on {record.describe(first['machine'])}.\n"
    )


def total(lines: Sequence[Record]) -> dict[str, float | None]:
    """Bits per sub-pixel of all these images together, at every step."""
    samples = sum(r["samples"] for r in lines)
    return {
        step: None
        if any(r[step] is None for r in lines)
        else sum(r[step] * r["samples"] for r in lines) / samples
        for step in STEPS
    }


def run_name(checkpoint: str) -> str:
    """A checkpoint in a word: the last part of its folder."""
    return checkpoint.partition("=")[0].rstrip("/").rpartition("/")[2]


def masses(walk: NumpyWalk, values: Integers) -> npt.NDArray[np.float64]:
    """Probabilities of grey levels [n] under the mixtures of the walk's current plane."""
    mixture = walk.mixture
    # mantissa 2**-shift takes 1/64 levels to steps of 2**-13 (tables._cumulative)
    steepness = np.ldexp(mixture.mantissa.astype(float), -mixture.shift) * PARAMETER_UNIT / 2**13
    distance = (values[:, None] - 128 - mixture.mean / PARAMETER_UNIT) * steepness
    lower = np.where(values[:, None] == 0, -np.inf, distance - steepness / 2)
    upper = np.where(values[:, None] == 255, np.inf, distance + steepness / 2)
    # on the side where the logistic is small, so that far tails keep their digits
    flip = distance > 0
    mass = np.where(flip, expit(-lower) - expit(-upper), expit(upper) - expit(lower))
    weighted: npt.NDArray[np.float64] = (mass * mixture.weight).sum(axis=1) / 2**14
    return np.maximum(weighted, 2.0**-1000)


class _Watched:
    """The numpy engine; the exact code length of what its last walk was told is kept."""

    name = "numpy"

    def __init__(self, engine: NumpyEngine) -> None:
        self._engine = engine
        self.last: _ExactWalk

    def walk(self, height: int, width: int, adaptation: Adaptation = STATIC) -> engines.Walk:
        self.last = _ExactWalk(self._engine.walk(height, width, adaptation))
        return self.last


class _ExactWalk:
    """A walk that adds up -log2 of its integer mixtures' masses, computed in float64."""

    def __init__(self, walk: NumpyWalk) -> None:
        self._walk = walk
        self.bits = 0.0

    def begin(self, wave: int) -> int:
        return self._walk.begin(wave)

    def high(self, plane: int) -> npt.NDArray[np.float32]:
        return self._walk.high(plane)

    def low(self, plane: int, high: Integers) -> npt.NDArray[np.float32]:
        return self._walk.low(plane, high)

    def put(self, plane: int, values: Integers) -> None:
        self.bits -= float(np.log2(masses(self._walk, values)).sum())
        self._walk.put(plane, values)


def _central(image: Pixels, side: int | None, multiple: int = 1) -> Pixels:
    """The middle of an image, at most side x side, sides cut down to whole multiples."""
    sizes = [min(side or length, length) // multiple * multiple for length in image.shape[:2]]
    top, left = ((image.shape[axis] - sizes[axis]) // 2 for axis in range(2))
    return np.ascontiguousarray(image[top : top + sizes[0], left : left + sizes[1]])


def _numbered(source: str, limit: int | None) -> Iterator[tuple[str, Pixels]]:
    for index, batch in enumerate(open_dataset(source, "test", 1).batches(1)):
        if limit is not None and index >= limit:
            return
        yield f"{index:05}", np.ascontiguousarray(batch[0].transpose(1, 2, 0))


def _steps(bits: dict[str, float | None]) -> list[str]:
    """Each step's bits, and after the first how many percent it adds to the step before."""
    cells, before = [], None
    for step in STEPS:
        value = bits[step]
        if value is None:
            cells.append("none")
            continue
        added = "" if before is None else f" ({100 * (value / before - 1):+.3f} %)"
        cells.append(f"{value:.4f}{added}")
        before = value
    return cells


def _line(found: Record) -> str:
    file = "no file" if found["file_bits"] is None else f"file {found['file_bits']:.4f}"
    return (
        f"{found['run']}  pi {found['pi']:g}  {found['image'][:24]:24}"
        f" float {found['float_bits']:.4f}  {file}"
    )
