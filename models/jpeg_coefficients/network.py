"""The network of one kind of plane: from known blocks to the code length of a block.

Two planes' networks make a model: luma (the first plane) and chroma (the others, which see the
first). A block is coded in this order: the place of the last coefficient that is not zero (its
`end`, 0 if there are none but DC), coefficients 1 to end in zigzag order, and DC at last. Each has
a distribution given all before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jpeg_coefficients.blocks import NEIGHBOURS, Batch

LAST = 63  # coefficients of a block, without DC
UNIT = 64.0  # integers to one float unit of an input
CLIP = 2047
LEAK = 0.125
LOG_SCALE = (-4.0, 6.0)
_FAR = 2  # neighbours whose coefficients are all read, then those of which `far` are
_GROUPS = 4


@dataclass(frozen=True)
class PlaneConfig:
    """Widths of a plane's network. far: coefficients read of NW, NE, WW and NN each.

    first, second: of the two layers of the trunk; hidden: of each coefficient's own layer;
    dc_hidden: of DC's; mixtures: components. chroma: reads the planes before.
    """

    first: int = 128
    second: int = 96
    hidden: int = 16
    dc_hidden: int = 32
    far: int = 28
    mixtures: int = 3
    chroma: bool = False
    end_first: bool = True
    features: str = "magnitude"
    descending: bool = False


@dataclass(frozen=True)
class Bits:
    """Code lengths in bits, each [n]."""

    end: Tensor
    ac: Tensor
    dc: Tensor

    @property
    def total(self) -> Tensor:
        return self.end + self.ac + self.dc


class PlaneNetwork(nn.Module):
    """See the module. `forward` gives the code length of every block of a batch."""

    earlier_mask: Tensor
    linear_mask: Tensor
    own_mask: Tensor

    def __init__(self, config: PlaneConfig) -> None:
        super().__init__()
        self.config = config
        hidden, k = config.hidden, config.mixtures
        self.first = nn.Linear(self.inputs(), config.first)
        self.end = nn.Linear(config.first, LAST + 1)
        self.second = nn.Linear(config.first, config.second)
        self.end_condition = nn.Parameter(torch.zeros(LAST + 1, config.second))
        self.heads = nn.Linear(config.second, LAST * hidden)
        self.earlier = nn.Parameter(torch.randn(2, LAST, LAST * hidden) * 0.05)
        self.out = nn.Parameter(torch.randn(LAST, hidden, 3 * k) * 0.05)
        start = torch.tensor([0.0] * k + [0.0] * k + [0.0, -1.0, 1.5, 3.0][:k])
        self.out_bias = nn.Parameter(start.repeat(LAST, 1, 1))
        self.dc_head = nn.Linear(config.second, config.dc_hidden)
        self.dc_earlier = nn.Linear(2 * LAST, config.dc_hidden, bias=False)
        self.dc_out = nn.Linear(config.dc_hidden, 3 * k)
        with torch.no_grad():
            self.dc_out.bias.copy_(start + torch.tensor([0.0] * 2 * k + [1.0] * k))
        roles = len(NEIGHBOURS) + (2 if config.chroma else 0)
        self.linear = nn.Parameter(torch.zeros(roles + 1, 64, 64))  # the block's own at last
        self.register_buffer("earlier_mask", self._earlier_mask(), persistent=False)
        self.register_buffer("linear_mask", _linear_mask(roles), persistent=False)
        self.register_buffer("own_mask", self._own_mask(), persistent=False)

    def inputs(self) -> int:
        """Of the first layer."""
        near = _FAR * 64 + (len(NEIGHBOURS) - _FAR) * self.config.far
        cross = 2 * 64 + 2 * 64 + 1 if self.config.chroma else 0
        return 2 * near + 64 + len(NEIGHBOURS) + cross

    def forward(self, batch: Batch) -> Bits:
        config = self.config
        own, neighbours = relative(batch)
        end = ends(own)
        order = torch.argsort(end)
        dequantised = (neighbours * batch.steps[:, None]).clamp(-CLIP, CLIP)
        mine = (own * batch.steps).clamp(-CLIP, CLIP)
        values, known = self.pair(neighbours, dequantised), batch.known
        parts = [
            *(values[:, :, role].flatten(1) for role in range(_FAR)),
            values[:, :, _FAR:, : config.far].flatten(1),
            batch.steps.log2() / 4,
            known,
        ]
        linear_inputs = dequantised
        if config.chroma:
            other = (batch.other * batch.steps).clamp(-CLIP, CLIP)
            parts += [batch.cross[:, 0] / UNIT, logarithm(batch.cross[:, 1])]
            parts += [self.pair(batch.other, other).flatten(1), batch.third[:, None]]
            both = torch.stack([batch.cross[:, 0], other], dim=1)
            # The first plane's DC says little of another one's.
            both = torch.cat([torch.zeros_like(both[..., :1]), both[..., 1:]], dim=2)
            linear_inputs = torch.cat([dequantised, both], dim=1)
        h = leaky(self.first(torch.cat(parts, dim=1)))
        if config.end_first:
            logits = self.end(h).float()
            end_bits = F.cross_entropy(logits, end, reduction="none") / math.log(2)
            h = leaky(self.second(h) + self.end_condition[end])
        else:
            end_bits = torch.zeros(len(own))
            h = leaky(self.second(h))
        mean = self.mean(linear_inputs, mine) / batch.steps
        before = self.pair(own[:, 1:], mine[:, 1:])
        hidden = leaky(self.dc_head(h) + self.dc_earlier(before.flatten(1)))
        dc = bits_of(own[:, 0], self.dc_out(hidden).float(), mean[:, 0], None)
        ac = self._ac_bits(h, before, own, end, mean, order)
        return Bits(end_bits, ac, dc)

    def pair(self, values: Tensor, dequantised: Tensor) -> Tensor:
        """Two features of each coefficient, [n, 2, ...]."""
        odd = logarithm(values)
        even = odd.abs() if self.config.features == "magnitude" else dequantised / UNIT
        return torch.stack([odd, even], dim=1)

    def mean(self, inputs: Tensor, mine: Tensor) -> Tensor:
        """What the linear path predicts, dequantised, [n, 64]."""
        with torch.autocast("cpu", enabled=False):
            weight = (self.linear[:-1] * self.linear_mask).flatten(0, 1)
            own = mine @ (self.linear[-1] * self.own_mask)
            return inputs.flatten(1) @ weight + own

    def _ac_bits(
        self, h: Tensor, before: Tensor, own: Tensor, end: Tensor, mean: Tensor, order: Tensor
    ) -> Tensor:
        """Blocks of like ends together: what lies behind the last end is not computed."""
        config, hidden = self.config, self.config.hidden
        weight = self.earlier * self.earlier_mask
        found = []
        for rows in order.chunk(_GROUPS):
            last = int(end[rows].max()) if config.end_first else LAST
            if last == 0:
                found.append(torch.zeros(len(rows)))
                continue
            inputs = before[rows][:, :, :last].flatten(1)
            taken = weight[:, :last, : last * hidden].flatten(0, 1)
            part = F.linear(
                h[rows], self.heads.weight[: last * hidden], self.heads.bias[: last * hidden]
            )
            g = leaky(part + inputs @ taken).view(len(rows), last, hidden)
            o = torch.einsum("nkh,kho->nko", g, self.out[:last]) + self.out_bias[:last, 0]
            places = torch.arange(1, last + 1)
            at_end = end[rows][:, None] == places if config.end_first else None
            bits = bits_of(
                own[rows][:, 1 : last + 1], o.float(), mean[rows][:, 1 : last + 1], at_end
            )
            if config.end_first:
                bits = bits * (places <= end[rows][:, None])
            found.append(bits.sum(1))
        result = torch.empty(len(own))
        result[order] = torch.cat(found)
        return result

    def _earlier_mask(self) -> Tensor:
        k = torch.arange(LAST)
        mask = k[:, None] > k if self.config.descending else k[:, None] < k
        return mask.float().repeat_interleave(self.config.hidden, dim=1)

    def _own_mask(self) -> Tensor:
        k = torch.arange(64)
        mask = k[:, None] > k if self.config.descending else k[:, None] < k
        row, column = zigzag()
        mask = mask & ((row[:, None] == row) | (column[:, None] == column))
        mask[:, 0] = True
        mask[0] = False
        return mask.float()


def relative(batch: Batch) -> tuple[Tensor, Tensor]:
    """Coefficients with DC as a difference from the mean of W's and N's, where they are known."""
    dc = batch.neighbours[..., 0]
    both = (dc[:, 0] + dc[:, 1]) / batch.known[:, :2].sum(1).clamp(min=1)
    level = both.floor()
    own, neighbours = batch.own.clone(), batch.neighbours.clone()
    own[:, 0] -= level
    neighbours[..., 0] = (dc - level[:, None]) * batch.known
    return own, neighbours


def ends(own: Tensor) -> Tensor:
    """The place of the last coefficient that is not zero; DC does not count."""
    places = torch.arange(64) * (own != 0)
    return places.amax(1)


def logarithm(values: Tensor) -> Tensor:
    """sign(v) log2(1 + |v|) / 2, in steps of 1/64."""
    size = (torch.log2(1 + values.abs()) * (UNIT / 2)).round() / UNIT
    return torch.sign(values) * size


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAK)


def bits_of(x: Tensor, o: Tensor, mean: Tensor, at_end: Tensor | None) -> Tensor:
    """Code length by a mixture of logistics of bins of width 1. at_end: where x is not 0."""
    weight, centre, scale = o.chunk(3, dim=-1)
    weight = F.log_softmax(weight, -1)
    centre = centre + mean[..., None]
    inverse = torch.exp(-scale.clamp(*LOG_SCALE))
    log_p = torch.logsumexp(_log_mass(x[..., None], centre, inverse) + weight, -1)
    if at_end is not None:
        zero = torch.logsumexp(_log_mass(torch.zeros_like(centre), centre, inverse) + weight, -1)
        left = torch.log1p(-torch.exp(zero).clamp(max=1 - 1e-5))
        log_p = log_p - left * at_end
    return -log_p.clamp(min=-40) / math.log(2)


def _log_mass(x: Tensor, centre: Tensor, inverse: Tensor) -> Tensor:
    low, high = (x - 0.5 - centre) * inverse, (x + 0.5 - centre) * inverse
    turned = low + high > 0
    a, b = torch.where(turned, -low, high), torch.where(turned, -high, low)
    width = torch.log1p(-torch.exp(-inverse.clamp(max=50)).clamp(max=1 - 1e-7))
    return F.logsigmoid(a) + F.logsigmoid(-b) + width


def zigzag() -> tuple[Tensor, Tensor]:
    """Vertical and horizontal frequency of each coefficient in zigzag order."""
    cells = sorted(
        ((i, j) for i in range(8) for j in range(8)),
        key=lambda c: (sum(c), c[1] if sum(c) % 2 else c[0]),
    )
    # Odd diagonals run down from the right, even ones up from the left.
    cells = sorted(cells, key=lambda c: (sum(c), c[0] if sum(c) % 2 else c[1]))
    row, column = zip(*cells, strict=True)
    return torch.tensor(row), torch.tensor(column)


def _linear_mask(roles: int) -> Tensor:
    """[roles, in, out]: W continues rows of frequencies, N columns; others the same frequency."""
    row, column = zigzag()
    same_row, same_column = row[:, None] == row, column[:, None] == column
    mask = torch.zeros(roles, 64, 64, dtype=torch.bool)
    mask[0], mask[1] = same_row, same_column
    mask[2:] = same_row & same_column
    mask[:, :, 0] = True
    return mask.float()
