"""The NCML objective: likelihood of the data under a continuum of noise levels (seed paper, eq. 6).

The expectation over t of E log p_{theta, t}(x_t), estimated by one noise time per image.
With the process `Clean` it is plain maximum likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ncml_codec.learn.mixture import Distribution
from ncml_codec.learn.noise import Process, draw_times, perturb

NoiseConditional = Callable[[Tensor, Tensor], Distribution]


@dataclass(frozen=True)
class Parts:
    """Negative log-likelihoods of a batch in bits per dimension.

    total: the mean over all images, to be minimised; clean, noisy: the means over those with
    t = 0 and t > 0, nan where there are none (detached).
    """

    total: Tensor
    clean: Tensor
    noisy: Tensor


def ncml(
    model: NoiseConditional,
    x: Tensor,
    process: Process,
    clean_share: float,
    generator: torch.Generator,
) -> Parts:
    """The objective on a batch of clean images x: float [batch, 3, height, width], levels."""
    t = draw_times(process, x.shape[0], clean_share, generator).to(x.dtype)
    x_t = x if process.horizon == 0 else perturb(process, x, t, generator)
    bits = image_bits(model, x_t, t)
    detached = bits.detach()
    clean = t == 0
    return Parts(bits.mean(), detached[clean].mean(), detached[~clean].mean())


def image_bits(model: NoiseConditional, x_t: Tensor, t: Tensor) -> Tensor:
    """Bits per dimension of each image, [batch], given its noise time t [batch].

    At t = 0, x_t is on the integer grid and the outer bins take the tails; at t > 0 the mass of
    the bin of width 1 around x_t stands for the density.
    """
    nats = -model(x_t, t).log_mass(x_t, edges=t == 0)
    return nats.mean(dim=(1, 2, 3)) / math.log(2)
