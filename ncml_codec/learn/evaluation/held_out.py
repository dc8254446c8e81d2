"""Test likelihoods: bits per dimension of a whole data set, exactly, at chosen noise times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncml_codec.learn.data.crops import Images
from ncml_codec.learn.likelihood.objective import NoiseConditional, given, image_bits
from ncml_codec.learn.likelihood.processes import Process
from ncml_codec.learn.training.log import Table

EVALUATION_FIELDS = ("step", "bpd", "standard_error", "images")


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


def bits_per_dimension(
    model: NoiseConditional,
    images: Images,
    process: Process,
    times: Sequence[float],
    batch: int,
    device: torch.device,
    seed: int = 0,
    labelled: bool = False,
) -> list[Likelihood]:
    """The likelihood of every image at each time. No image is left out, whatever the batch size.

    labelled: given its label, model(x, t, labels=...).
    """
    found = []
    for t in times:
        bits, sizes = bits_by_image(model, images, process, t, batch, device, seed, labelled)
        found.append(_mean(bits, sizes, t, process))
    return found


@torch.no_grad()
def bits_by_image(
    model: NoiseConditional,
    images: Images,
    process: Process,
    t: float,
    batch: int,
    device: torch.device,
    seed: int = 0,
    labelled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Bits per dimension of every image at time t, in order, and its sub-pixels, float64 each."""
    generator = torch.Generator(device).manual_seed(seed)
    bits: list[Tensor] = []
    sizes: list[float] = []
    for pixels in images.batches(batch):
        x = torch.from_numpy(pixels).to(device).float()
        time = torch.full((len(x),), float(t), device=device)
        x_t = process.perturb(x, time, generator) if t > 0 else x
        labels = None
        if labelled and images.labels is not None:
            here = images.labels[len(sizes) : len(sizes) + len(x)]
            labels = torch.from_numpy(here).to(device)
        bits.append(image_bits(given(model, labels), x_t, time).double().cpu())
        sizes += [float(x[0].numel())] * len(x)
    return torch.cat(bits), torch.tensor(sizes, dtype=torch.float64)


class Evaluator:
    """Likelihoods of held-out images at t = 0 as training goes on, a line each in a table.

    To be called with the step and the network, which is on `device`.
    """

    def __init__(
        self,
        images: Images,
        process: Process,
        batch: int,
        device: torch.device,
        labelled: bool,
        table: Table,
        say: Callable[[str], None],
    ) -> None:
        self._images, self._process, self._batch = images, process, batch
        self._device, self._labelled = device, labelled
        self._table, self._say = table, say

    def __call__(self, step: int, model: NoiseConditional) -> None:
        (found,) = bits_per_dimension(
            model,
            self._images,
            self._process,
            [0.0],
            self._batch,
            self._device,
            labelled=self._labelled,
        )
        bpd, error = found.bits_per_dimension, found.standard_error
        values = (step, bpd, error, found.images)
        self._table.write(dict(zip(EVALUATION_FIELDS, values, strict=True)))
        self._say(f"step {step}  test bpd {bpd:.4f} +- {error:.4f} over {found.images} images")


def _mean(bits: Tensor, sizes: Tensor, t: float, process: Process) -> Likelihood:
    shares = sizes / sizes.sum()
    mean = float((shares * bits).sum())
    spread = math.sqrt(float((shares**2 * (bits - mean) ** 2).sum()))
    levels = float(process.std(torch.tensor(float(t), dtype=torch.float64)))
    return Likelihood(t, levels, mean, spread, len(bits))
