"""Mixtures of discretised logistics: the distribution of a sub-pixel (PixelCNN++, eq. 2).

Grey levels 0 to 255 are bins of width 1; at t = 0 the outer bins take the tails. Noisy
images, t > 0, are real numbers: there the mass of the bin of width 1 around x is used, without
tails, which differs from the density only by what the bin smooths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Parameters for every sub-pixel, each [batch, channel, k, height, width].

    logits: of the component weights; means: grey levels; log_scales: natural logarithm of the
    logistic's scale in grey levels.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor


def log_mass(x: Tensor, mixture: Mixture, *, edges: Tensor | bool = True) -> Tensor:
    """Log-probability of the bin of width 1 around each sub-pixel, in nats, in x's shape.

    x: grey levels, [batch, channel, height, width]. edges: whether bins 0 and 255 take the tails
    (True for images at t = 0, whose 256 masses then sum to 1), one value or one per image.
    """
    value = x[:, :, None]
    inverse = torch.exp(-mixture.log_scales)
    centred = value - mixture.means
    upper = (centred + 0.5) * inverse
    lower = (centred - 0.5) * inverse
    log_inside = _log_sigmoid_difference(upper, lower)
    edges = torch.as_tensor(edges, device=x.device)
    if edges.ndim:
        edges = edges[:, None, None, None, None]
    log_component = torch.where(edges & (value < 0.5), F.logsigmoid(upper), log_inside)
    log_component = torch.where(edges & (value > 254.5), F.logsigmoid(-lower), log_component)
    return torch.logsumexp(log_component + F.log_softmax(mixture.logits, 2), 2)


def bits_per_dimension(nats: Tensor) -> Tensor:
    """Mean of negative log-likelihoods in nats per sub-pixel, as bits per sub-pixel."""
    return nats.mean() / math.log(2)


def _log_sigmoid_difference(upper: Tensor, lower: Tensor) -> Tensor:
    """log(sigmoid(upper) - sigmoid(lower)) for upper > lower, accurate in both tails.

    sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), and every factor is stable.
    """
    gap = upper - lower
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-gap))
