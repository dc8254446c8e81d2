"""The NCML objective: likelihood of the data under a continuum of noise levels (NCML paper, eq. 6).

The expectation over t of E log p_{theta, t}(x_t), estimated by one noise time per image.
With the process `Clean` it is plain maximum likelihood. In eq. 7 the noisy terms regularise the
clean one with weights lambda_t = mu(t) / mu(0); mu(0) is `clean_share` here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ncml_codec.learn.likelihood.mixture import Distribution
from ncml_codec.learn.likelihood.processes import Process

TIME_BINS = 4

NoiseConditional = Callable[[Tensor, Tensor], Distribution]


@dataclass(frozen=True)
class Parts:
    """Negative log-likelihoods of a batch in bits per dimension.

    total: the weighted mean over all images, to be minimised. The rest is detached: clean, noisy:
    the plain means over images with t = 0 and t > 0, nan where there are none; by_time: [bins],
    the plain means over equal parts of (0, T], nan where there are none.
    """

    total: Tensor
    clean: Tensor
    noisy: Tensor
    by_time: Tensor


def ncml(
    model: NoiseConditional,
    x: Tensor,
    process: Process,
    clean_share: float,
    generator: torch.Generator,
    importance: bool = False,
) -> Parts:
    """The objective on a batch of clean images x: float [batch, 3, height, width], levels.

    clean_share, importance: see `Process.draw_times`.
    """
    t, weight = process.draw_times(x.shape[0], clean_share, importance, generator)
    x_t = x if process.horizon == 0 else process.perturb(x, t, generator)
    bits = image_bits(model, x_t, t)
    detached = bits.detach()
    clean = t == 0
    place = torch.ceil(t * (TIME_BINS / process.horizon)) if process.horizon else 0 * t
    by_time = torch.stack([detached[place == index + 1].mean() for index in range(TIME_BINS)])
    return Parts((weight * bits).mean(), detached[clean].mean(), detached[~clean].mean(), by_time)


def given(model: Callable[..., Distribution], labels: Tensor | None) -> NoiseConditional:
    """The network asked with the images' classes, long [batch]; None: without."""
    return model if labels is None else partial(model, labels=labels)


def image_bits(model: NoiseConditional, x_t: Tensor, t: Tensor) -> Tensor:
    """Bits per dimension of each image, [batch], given its noise time t [batch].

    At t = 0, x_t is on the integer grid and the outer bins take the tails; at t > 0 the mass of
    the bin of width 1 around x_t stands for the density.
    """
    nats = -model(x_t, t).log_mass(x_t, edges=t == 0)
    return nats.mean(dim=(1, 2, 3)) / math.log(2)
