"""Records of the comparison MLE against NCML: how much to measure, what was measured, and its file.

`bench.comparison.measurements` measures; a page is made of the records of several runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ncml_codec.atomic_files import write_atomically
from ncml_codec.errors import InputError
from ncml_codec.learn.evaluation import outliers
from ncml_codec.learn.training.checkpoint import load_config
from ncpn import presets, runs
from ncpn.bundles import bundle_file

SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Settings:
    """How much to measure; the page repeats it.

    data: a data set of `ncml_codec.learn.data.datasets` of 32 x 32 images. images: of the test set,
    for likelihoods; curve_images: for delta log p at `times` noise times; coded: coded to bytes;
    outliers: of each set; samples: of each grid; steps: of refinement; bundled: coded to bytes
    where the codec does not run the network; distance_samples: for the distance in classifier
    features, the first of them those of the grid, 0 for none; completed: images completed, three
    times each.
    """

    data: str
    others: Sequence[str] = ("constant", "uniform")
    classifier: str | None = None
    images: int = 200
    curve_images: int = 48
    times: int = 5
    coded: int = 100
    bundled: int = 16
    outliers: int = 100
    samples: int = 16
    steps: int = 30
    distance_samples: int = 0
    completed: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """A run's figures, plain JSON values, and its pictures as levels [count, 3, 32, 32].

    bits: by pi, of each test image; places: by set of outliers, what each image contributes to the
    AUROC of the paper's statistic (`outliers.placements`). Runs are compared image by image.
    """

    facts: dict[str, Any]
    bits: dict[float, Tensor]
    places: dict[str, tuple[Tensor, Tensor]]
    plain: Tensor
    refined: Tensor | None
    completions: Tensor


def save(measured: Measured, path: Path) -> None:
    """One safetensors file, so that a page of many hours can be gone on with."""
    tensors = {f"bits/{share}": values for share, values in measured.bits.items()}
    for name, (inside, outside) in measured.places.items():
        tensors |= {f"inside/{name}": inside, f"outside/{name}": outside}
    tensors |= {"plain": measured.plain, "completions": measured.completions}
    if measured.refined is not None:
        tensors["refined"] = measured.refined
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, serialise(whole, {"facts": json.dumps(measured.facts)}), replace=True)


def load(path: Path, settings: Settings) -> Measured | None:
    """What `save` wrote; None if there is nothing, or it was measured with other settings."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})["facts"])
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    if facts["settings"] != json.loads(json.dumps(asdict(settings))):
        return None
    bits = {share: tensors[f"bits/{share}"] for share in SHARES}
    names = outliers.names(settings.others)
    places = {name: (tensors[f"inside/{name}"], tensors[f"outside/{name}"]) for name in names}
    return Measured(
        facts, bits, places, tensors["plain"], tensors.get("refined"), tensors["completions"]
    )


def kind(run: Path) -> str:
    """Of network: "wave" or "paper"."""
    model = load_config(run).get("model")
    if not isinstance(model, dict) or model.get("kind") not in presets.KINDS:
        raise InputError(f"{run}: its config.json holds no network of presets.py")
    return str(model["kind"])


def kept(run: Path, folder: Path) -> Path:
    """Where a run's figures are kept: by its network and weights."""
    return folder / f"{bundle_file.identity(runs.from_pretrained(run))[:16]}.safetensors"
