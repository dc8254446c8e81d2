"""Mixtures of discretised logistics: the distribution of a pixel (PixelCNN++, eq. 2 and 3).

Grey levels 0 to 255 are bins of width 1; at t = 0 the outer bins take the tails. Noisy
images, t > 0, are real numbers: there the mass of the bin of width 1 around x is used, without
tails, which differs from the density only by what the bin smooths.

Two parametrisations, one law (`Distribution`): `Mixture` has components of its own for every
sub-pixel, `JointMixture` one choice of component for the three channels of a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

CENTRE = 127.5  # the level that a joint mixture's channels are regressed around


class Distribution(Protocol):
    """The distribution of the sub-pixels of a batch, in coding order of pixels and channels."""

    def log_mass(self, x: Tensor, *, edges: Tensor | bool = True) -> Tensor:
        """Log-probability of each sub-pixel given the earlier ones, in nats, in x's shape.

        x: grey levels, [batch, channel, height, width]; the mass is that of the bin of width 1
        around x. edges: whether bins 0 and 255 take the tails (True for images at t = 0, whose
        256 masses then sum to 1), one value or one per image.
        """
        ...


@dataclass(frozen=True)
class Mixture:
    """Parameters for every sub-pixel, each [batch, channel, k, height, width].

    logits: of the component weights; means: grey levels; log_scales: natural logarithm of the
    logistic's scale in grey levels.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor

    def log_mass(self, x: Tensor, *, edges: Tensor | bool = True) -> Tensor:
        """See `Distribution`."""
        log_component = _log_bin(x, self.means, self.log_scales, edges)
        return torch.logsumexp(log_component + F.log_softmax(self.logits, 2), 2)


@dataclass(frozen=True)
class JointMixture:
    """Parameters for every pixel: k logistics in three dimensions, one per channel.

    logits: [batch, k, height, width], of the component weights, shared by the channels. means (grey
    levels), log_scales (as in `Mixture`) and coefficients: [batch, 3, k, height, width]. A
    component's mean of G is means + c_0 (R - 127.5), of B means + c_1 (R - 127.5) + c_2 (G - 127.5)
    with its three coefficients c (PixelCNN++, eq. 3, in grey levels). No parameter depends on the
    pixel itself.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor

    def log_mass(self, x: Tensor, *, edges: Tensor | bool = True) -> Tensor:
        """See `Distribution`. The sum over channels is log sum_k pi_k prod_c P(x_c | k, x_<c).

        By the chain rule a channel's share is what it adds to the logarithm, so that every
        channel's masses given the earlier channels sum to 1 too.
        """
        log_component = _log_bin(x, self._means_given(x), self.log_scales, edges)
        log_prior = F.log_softmax(self.logits, 1)[:, None]
        joint = torch.logsumexp(log_prior + log_component.cumsum(1), 2)
        return joint - F.pad(joint[:, :-1], (0, 0, 0, 0, 1, 0))

    def _means_given(self, x: Tensor) -> Tensor:
        red, green = (x[:, channel, None] - CENTRE for channel in (0, 1))
        c = self.coefficients
        shift = torch.stack(
            [torch.zeros_like(c[:, 0]), c[:, 0] * red, c[:, 1] * red + c[:, 2] * green], 1
        )
        return self.means + shift


def bits_per_dimension(nats: Tensor) -> Tensor:
    """Mean of negative log-likelihoods in nats per sub-pixel, as bits per sub-pixel."""
    return nats.mean() / math.log(2)


def _log_bin(x: Tensor, means: Tensor, log_scales: Tensor, edges: Tensor | bool) -> Tensor:
    """Each component's log-mass of the bin around x, in the shape of means."""
    value = x[:, :, None]
    inverse = torch.exp(-log_scales)
    centred = value - means
    upper = (centred + 0.5) * inverse
    lower = (centred - 0.5) * inverse
    log_inside = _log_sigmoid_difference(upper, lower, inverse)
    edges = torch.as_tensor(edges, device=x.device)
    if edges.ndim:
        edges = edges[:, None, None, None, None]
    log_component = torch.where(edges & (value < 0.5), F.logsigmoid(upper), log_inside)
    return torch.where(edges & (value > 254.5), F.logsigmoid(-lower), log_component)


def _log_sigmoid_difference(upper: Tensor, lower: Tensor, gap: Tensor) -> Tensor:
    """log(sigmoid(upper) - sigmoid(lower)), accurate in both tails; gap: upper - lower > 0.

    sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), and every factor is stable.
    The gap is not taken from u and l, whose difference cancels where both are large.
    """
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-gap))
