"""Test likelihoods: bits per dimension of a whole data set, exactly, at chosen noise times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ncml_codec.learn.data import Images
from ncml_codec.learn.log import EVALUATIONS, Table
from ncml_codec.learn.noise import Process
from ncml_codec.learn.objective import NoiseConditional, image_bits

EVALUATION_FIELDS = ("step", "bpd", "standard_error", "images")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Likelihood:
    """Over all images: bits per dimension at time t, and the standard error of that mean.

    Images count by their sub-pixels, so that it is the size of all of them coded together. At
    t > 0 one draw of noise for each image.
    """

    t: float
    noise_levels: float
    bits_per_dimension: float
    standard_error: float
    images: int


@torch.no_grad()
def bits_per_dimension(
    model: NoiseConditional,
    images: Images,
    process: Process,
    times: Sequence[float],
    batch: int,
    device: torch.device,
    seed: int = 0,
) -> list[Likelihood]:
    """The likelihood of every image at each time. No image is left out, whatever the batch size."""
    found = []
    for t in times:
        generator = torch.Generator(device).manual_seed(seed)
        bits: list[Tensor] = []
        sizes: list[float] = []
        for pixels in images.batches(batch):
            x = torch.from_numpy(pixels).to(device).float()
            time = torch.full((len(x),), float(t), device=device)
            x_t = process.perturb(x, time, generator) if t > 0 else x
            bits.append(image_bits(model, x_t, time).double().cpu())
            sizes += [float(x[0].numel())] * len(x)
        found.append(_mean(torch.cat(bits), torch.tensor(sizes, dtype=torch.float64), t, process))
    return found


class Evaluator:
    """Likelihoods of held-out images at t = 0 as training goes on, in a run's evaluations.csv."""

    def __init__(
        self, images: Images, process: Process, batch: int, run: Path, step: int, say: Say
    ) -> None:
        self.images, self.process, self.batch, self.say = images, process, batch, say
        self.table = Table(run / EVALUATIONS, EVALUATION_FIELDS, step)

    def __call__(self, step: int, model: NoiseConditional) -> None:
        device = next(model.parameters()).device if isinstance(model, nn.Module) else None
        (found,) = bits_per_dimension(
            model, self.images, self.process, [0.0], self.batch, device or torch.device("cpu")
        )
        self.table.write(
            {
                "step": step,
                "bpd": found.bits_per_dimension,
                "standard_error": found.standard_error,
                "images": found.images,
            }
        )
        self.say(
            f"step {step}  test bpd {found.bits_per_dimension:.4f} +- {found.standard_error:.4f}"
        )


def _mean(bits: Tensor, sizes: Tensor, t: float, process: Process) -> Likelihood:
    shares = sizes / sizes.sum()
    mean = float((shares * bits).sum())
    spread = math.sqrt(float((shares**2 * (bits - mean) ** 2).sum()))
    levels = float(process.std(torch.tensor(float(t), dtype=torch.float64)))
    return Likelihood(t, levels, mean, spread, len(bits))
