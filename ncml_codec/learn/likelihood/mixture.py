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

    def at(self, rows: Tensor, columns: Tensor) -> Distribution:
        """The distribution of some places only: rows, columns [n] become [.., 1, n]."""
        ...

    def channel(self, index: int, x: Tensor, *, edges: Tensor | bool = True) -> Logistics:
        """One channel's distribution given the earlier channels of the same pixel in x.

        x, edges: as in `log_mass`; channels of x from `index` on are not looked at.
        """
        ...


@dataclass(frozen=True)
class Logistics:
    """One channel's mixture of logistics, each [batch, k, height, width].

    log_weights: of the components, normalised; means and log_scales as in `Mixture`.
    """

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor

    def draw(self, uniform: Tensor, *, whole: bool) -> Tensor:
        """Sub-pixels with exactly the probabilities of `log_mass`, [batch, height, width].

        uniform: [3, batch, height, width], above 0 and below 1. They choose the component (by
        inversion), the logistic's quantile, and the place in the bin of width 1, in this order.
        whole: grey levels 0 to 255, the outer ones taking the tails (t = 0); else real numbers.
        """
        choice, quantile, place = uniform
        bounds = self.log_weights.exp().cumsum(1)
        component = (bounds < choice[:, None] * bounds[:, -1:]).sum(1, keepdim=True)
        mean = self.means.gather(1, component)[:, 0]
        scale = self.log_scales.gather(1, component)[:, 0].exp()
        value = mean + scale * torch.logit(quantile)
        return value.round().clamp(0, 255) if whole else value + (place - 0.5)


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

    def at(self, rows: Tensor, columns: Tensor) -> Mixture:
        """See `Distribution`."""
        parts = (self.logits, self.means, self.log_scales)
        return Mixture(*(part[..., rows, columns].unsqueeze(-2) for part in parts))

    def channel(self, index: int, x: Tensor, *, edges: Tensor | bool = True) -> Logistics:
        """See `Distribution`. What it depends on, the network has put into the parameters."""
        del x, edges
        log_weights = F.log_softmax(self.logits[:, index], 1)
        return Logistics(log_weights, self.means[:, index], self.log_scales[:, index])


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

    def at(self, rows: Tensor, columns: Tensor) -> JointMixture:
        """See `Distribution`."""
        parts = (self.logits, self.means, self.log_scales, self.coefficients)
        return JointMixture(*(part[..., rows, columns].unsqueeze(-2) for part in parts))

    def channel(self, index: int, x: Tensor, *, edges: Tensor | bool = True) -> Logistics:
        """See `Distribution`. Weights are those given the earlier channels, by Bayes' rule."""
        means = self._means_given(x)
        log_weights = F.log_softmax(self.logits, 1)
        if index:
            scales = self.log_scales[:, :index]
            before = _log_bin(x[:, :index], means[:, :index], scales, edges)
            log_weights = F.log_softmax(log_weights + before.sum(1), 1)
        return Logistics(log_weights, means[:, index], self.log_scales[:, index])

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
