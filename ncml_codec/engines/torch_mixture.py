"""From the heads' outputs to the coder's weights, and back to the outputs' gradient, in torch.

What `tables` and `adaptation` specify, in other words. Leading axes are free, [...]; whole numbers
are int32 unless said otherwise. For float64 the rules of `torch_adaptation` hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.adaptation import GRADIENT_MAX, GRADIENT_UNIT, LEAST_MASS
from ncml_codec.network import (
    COEFFICIENT_UNIT,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    MEAN_RANGE,
    PARAMETER_UNIT,
    Network,
)
from ncml_codec.tables import CUMULATIVE_ONE, SYMBOLS, TOTAL, TOTAL_BITS

_MEAN_LIMIT = int(MEAN_RANGE * PARAMETER_UNIT)
_LEAST_SCALE, _MOST_SCALE = int(LOG_SCALE_MIN * PARAMETER_UNIT), int(LOG_SCALE_MAX * PARAMETER_UNIT)
_Z_LIMIT = 16 << 13  # the logistic table's end, in steps of 2**-13
_ONE = 1 << 16  # of the logistic table
_RECIPROCAL_BITS = 36


@dataclass(frozen=True)
class Mixture:
    """Mixtures of sub-pixels, [..., k]; see `tables.Mixtures`."""

    weight: Tensor
    mean: Tensor
    mantissa: Tensor
    shift: Tensor

    def component(self, index: int) -> Mixture:
        """One of the k, [..., 1]."""
        parts = (self.weight, self.mean, self.mantissa, self.shift)
        return Mixture(*(part[..., index : index + 1] for part in parts))


class Distribution:
    """A network's tables on a device, and what is computed with them."""

    def __init__(self, network: Network, device: torch.device) -> None:
        def tensor(values: npt.NDArray[np.integer]) -> Tensor:
            return torch.from_numpy(values.astype("int32")).to(device)

        tables, self._k = network.tables, network.k
        self._exponential, self._logistic = tensor(tables.exponential), tensor(tables.logistic)
        self._mantissa, self._shift = tensor(tables.scale_mantissa), tensor(tables.scale_shift)
        self._ranks = torch.arange(SYMBOLS + 1, dtype=torch.int32, device=device)
        self._boundaries = torch.arange(1, 256, dtype=torch.int32, device=device)

    def mixture(self, outputs: Tensor, reference: Tensor, residuals: Tensor) -> Mixture:
        """Of one plane's outputs [..., 3 k + c].

        reference: [...], in quarter levels from 128; residuals: [..., c], of the c earlier planes,
        in quarter levels.
        """
        k, earlier = self._k, residuals.shape[-1]
        logits, means, scales, coefficients = outputs.split([k, k, k, earlier], -1)
        limit = 8 * COEFFICIENT_UNIT - 1
        linear = (coefficients.clamp(-limit, limit) * residuals + 8) >> 4
        centre = 16 * reference + linear.sum(-1, dtype=torch.int32)
        at = scales.clamp(_LEAST_SCALE, _MOST_SCALE) - _LEAST_SCALE
        return Mixture(
            weight=self._softmax(logits),
            mean=(means + centre[..., None]).clamp(-_MEAN_LIMIT, _MEAN_LIMIT),
            mantissa=self._mantissa[at],
            shift=self._shift[at],
        )

    def high(self, mixture: Mixture) -> Tensor:
        """The coder's weights of the high nibbles, float32 [..., 16]: see `tables.weights`."""
        inside = self._cumulative(mixture, 16 * self._ranks[1:SYMBOLS])
        at = F.pad(F.pad(inside, (1, 0)), (0, 1), value=CUMULATIVE_ONE)
        return _weights((at >> 6) - (at >> 26) + self._ranks)

    def low(self, mixture: Mixture, high: Tensor) -> Tensor:
        """The weights of the low nibbles given the high ones [...]."""
        inside, reciprocal = self._within(mixture, high, self._ranks.expand(*high.shape, -1))
        cumulative = (inside * reciprocal >> _RECIPROCAL_BITS) + self._ranks
        cumulative = cumulative.masked_fill(self._ranks == SYMBOLS, TOTAL)
        flat = (TOTAL // SYMBOLS) * self._ranks.long()
        return _weights(torch.where(inside[..., -1:] == 0, flat, cumulative))

    def levels(self, mixture: Mixture) -> Tensor:
        """Masses of all 256 levels, those with one high nibble in a row: see `tables.level_masses`.

        Whole numbers in float64 [..., 16, 16], of sum 2**24.
        """
        inside = self._cumulative(mixture.component(0), self._boundaries)
        for index in range(1, self._k):  # one by one, for a k-th of the memory
            inside = inside + self._cumulative(mixture.component(index), self._boundaries)
        at = F.pad(F.pad(inside, (1, 0)), (0, 1), value=CUMULATIVE_ONE) >> 6
        return at.diff(dim=-1).double().unflatten(-1, (SYMBOLS, SYMBOLS))

    def bits(self, mixture: Mixture, values: Tensor) -> Tensor:
        """The code length of samples [...], by the counts of both their nibbles, float64 [...]."""
        high, low = values >> 4, values & 15
        edges = torch.stack([16 * high, 16 * high + 16], -1)
        at = self._at(mixture, edges)
        first, last = ((at >> 6) - (at >> 26)).unbind(-1)
        ranks = torch.stack([torch.zeros_like(low), low, low + 1, torch.full_like(low, 16)], -1)
        inside, reciprocal = self._within(mixture, high, ranks)
        cumulative = inside * reciprocal >> _RECIPROCAL_BITS
        _, begin, end, _ = cumulative.unbind(-1)
        end = end.masked_fill(low == SYMBOLS - 1, TOTAL - SYMBOLS)
        within = (end - begin + 1).masked_fill(inside[..., -1] == 0, TOTAL // SYMBOLS)
        both = (last - first + 1).long() * within
        return 2 * TOTAL_BITS - both.double().log2()

    def gradients(
        self, mixture: Mixture, outputs: Tensor, values: Tensor, residuals: Tensor
    ) -> Tensor:
        """-d ln P / d outputs in units of 1 / 512, whole numbers up to +-32767, float64.

        Shaped as `outputs`, of which `mixture` was made with these residuals. values: the samples,
        [...]. Float units: of logits, of means (8 grey levels), of log-scales, of coefficients.
        """
        edges, levels = self._at_components(mixture, torch.stack([values, values + 1], -1))
        weight, log_scales = mixture.weight.long(), outputs[..., 2 * self._k : 3 * self._k]
        value = values[..., None]
        begin, end = levels.long().unbind(-2)
        begin, end = begin.masked_fill(value == 0, 0), end.masked_fill(value == 255, _ONE)
        mass = weight * (end - begin)
        total = (mass.sum(-1, keepdim=True) + LEAST_MASS).double()
        inverse = torch.ones_like(total) / total

        logit = weight.double() * 2.0**-14 - mass.double() * inverse
        share = weight.double() * inverse
        begin_slope, end_slope = begin * (_ONE - begin), end * (_ONE - end)
        mean = share * (end_slope - begin_slope).double() * mixture.mantissa.double()
        mean = mean / (1 << (20 + mixture.shift.long())).double()  # exact, as by 2**-n
        z_begin, z_end = edges.long().unbind(-2)
        scale = share * (z_end * end_slope - z_begin * begin_slope).double() * 2.0**-29
        too_low = (log_scales <= _LEAST_SCALE) & (scale > 0)
        too_high = (log_scales >= _MOST_SCALE) & (scale < 0)
        scale = scale.masked_fill(too_low | too_high, 0.0)

        centre, *others = mean.unbind(-1)
        for other in others:  # One by one: the order of this sum matters to the last bit.
            centre = centre + other
        linear = centre[..., None] * residuals.double() * 2.0**-5
        scaled = torch.cat([logit, mean, scale, linear], -1) * GRADIENT_UNIT
        return (scaled.clamp(-GRADIENT_MAX, GRADIENT_MAX) + 0.5).floor()

    def _softmax(self, logits: Tensor) -> Tensor:
        table = self._exponential
        below = logits.amax(-1, keepdim=True) - logits
        raw = table[below.clamp(max=len(table) - 1)]
        weight = (raw << 14) // raw.sum(-1, keepdim=True, dtype=torch.int32)
        rest = (1 << 14) - weight.sum(-1, keepdim=True, dtype=torch.int32)
        return torch.cat([weight[..., :1] + rest, weight[..., 1:]], -1)

    def _within(self, mixture: Mixture, high: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """B(n) of FORMAT.md, section 6, for n of `ranks`, and R; int64 [..., m] and [..., 1].

        ranks: [..., m], 0 first and 16 last.
        """
        at = self._at(mixture, 16 * high[..., None] + ranks)
        inside = (at - at[..., :1]).long()
        mass = inside[..., -1:].clamp(min=1)
        return inside, ((TOTAL - SYMBOLS) << _RECIPROCAL_BITS) // mass

    def _at(self, mixture: Mixture, boundaries: Tensor) -> Tensor:
        """F of FORMAT.md, section 5, at boundaries [..., m] of grey levels, 0 to 256."""
        at = self._cumulative(mixture, boundaries).masked_fill(boundaries == 0, 0)
        return at.masked_fill(boundaries == 256, CUMULATIVE_ONE)

    def _cumulative(self, mixture: Mixture, boundaries: Tensor) -> Tensor:
        _, levels = self._at_components(mixture, boundaries)
        return (levels * mixture.weight[..., None, :]).sum(-1, dtype=torch.int32)

    def _at_components(self, mixture: Mixture, boundaries: Tensor) -> tuple[Tensor, Tensor]:
        """z of FORMAT.md, section 5, without its 131072, at boundaries [..., m] of grey levels, and
        the logistic function there, of 2**16; [..., m, k]."""
        mean, mantissa, shift = (
            part[..., None, :] for part in (mixture.mean, mixture.mantissa, mixture.shift)
        )
        z = (64 * boundaries - (128 * 64 + 32))[..., None] - mean
        z = (z * mantissa >> shift).clamp(-_Z_LIMIT, _Z_LIMIT - 1)
        index = z + _Z_LIMIT >> 8
        below, above = self._logistic[index], self._logistic[index + 1]
        return z, below + ((above - below) * (z & 255) + 128 >> 8)


def mass_weights(masses: Tensor) -> Tensor:
    """The coder's weights in proportion to masses, float32 [..., 16]: see `tables.mass_counts`.

    masses: whole numbers in float64, likewise.
    """
    sums = F.pad(masses.cumsum(-1), (1, 0))
    mass, ranks = sums[..., -1:], torch.arange(SYMBOLS + 1, device=masses.device)
    ratio = torch.full_like(mass, TOTAL - SYMBOLS) / mass.clamp(min=1)
    cumulative = ((sums * ratio).floor() + ranks).masked_fill(ranks == SYMBOLS, TOTAL)
    return _weights(torch.where(mass == 0, (TOTAL // SYMBOLS) * ranks, cumulative))


def _weights(cumulative: Tensor) -> Tensor:
    return (cumulative.diff(dim=-1) - 1).float()
