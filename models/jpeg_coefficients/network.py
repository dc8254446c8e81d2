"""The network of one kind of plane: from known blocks to the code length of a block.

Two planes' networks make a model: luma (the first plane) and chroma (the others, which see the
first). A block is coded in this order: the place of the last coefficient that is not zero (its
`end`, 0 if there are none but DC), coefficients 1 to end in zigzag order, and DC at last. Each has
a distribution given all before it. `ncml_codec.coefficients.network` is the same in integers.
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
NEAR = 2  # neighbours whose coefficients are all read, before those of which `far` are
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


@dataclass(frozen=True)
class Bits:
    """Code lengths in bits, each [n]."""

    end: Tensor
    ac: Tensor
    dc: Tensor

    @property
    def total(self) -> Tensor:
        return self.end + self.ac + self.dc


@dataclass(frozen=True)
class Features:
    """What layers read, each [n, ...]: trunk; linear [n, roles, 64], dequantised; own, the block,
    relative; mine, dequantised; before [n, 2, 63], of coefficients 1 to 63."""

    trunk: Tensor
    linear: Tensor
    own: Tensor
    mine: Tensor
    before: Tensor


class PlaneNetwork(nn.Module):
    """See the module. `forward` gives the code length of every block of a batch."""

    earlier_mask: Tensor
    linear_mask: Tensor

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
        scales = torch.tensor([0.0, -1.0, 1.5, 3.0, -2.0, 4.0, 0.7, 2.2][:k])
        start = torch.cat([torch.zeros(2 * k), scales])
        self.out_bias = nn.Parameter(start.repeat(LAST, 1, 1))
        self.dc_head = nn.Linear(config.second, config.dc_hidden)
        self.dc_earlier = nn.Linear(2 * LAST, config.dc_hidden, bias=False)
        self.dc_out = nn.Linear(config.dc_hidden, 3 * k)
        with torch.no_grad():
            self.dc_out.bias.copy_(torch.cat([torch.zeros(2 * k), scales + 1]))
        roles = len(NEIGHBOURS) + (2 if config.chroma else 0)
        self.linear = nn.Parameter(torch.zeros(roles + 1, 64, 64))  # the block's own at last
        earlier = torch.ones(LAST, LAST).triu(1).repeat_interleave(hidden, dim=1)
        self.register_buffer("earlier_mask", earlier, persistent=False)
        self.register_buffer("linear_mask", linear_mask(roles), persistent=False)

    def inputs(self) -> int:
        """Of the first layer."""
        near = NEAR * 64 + (len(NEIGHBOURS) - NEAR) * self.config.far
        cross = 2 * 64 + 2 * 64 + 1 if self.config.chroma else 0
        return 2 * near + 64 + len(NEIGHBOURS) + cross

    def forward(self, batch: Batch) -> Bits:
        features = self.features(batch)
        own = features.own
        end = ends(own)
        h, g = self.trunk(features, end)
        logits = self.end(leaky(h)).float()
        end_bits = F.cross_entropy(logits, end, reduction="none") / math.log(2)
        mean = self.mean(features) / batch.steps
        dc = bits_of(own[:, 0], self.dc_out(leaky(self.dc(features, leaky(g)))), mean[:, 0], None)
        return Bits(end_bits, self._ac_bits(leaky(g), features, end, mean), dc)

    def features(self, batch: Batch) -> Features:
        """From coefficients to what the layers read."""
        far = self.config.far
        own, neighbours = relative(batch)
        dequantised = (neighbours * batch.steps[:, None]).clamp(-CLIP, CLIP)
        mine = (own * batch.steps).clamp(-CLIP, CLIP)
        values = pair(neighbours)
        parts = [
            *(values[:, :, role].flatten(1) for role in range(NEAR)),
            values[:, :, NEAR:, :far].flatten(1),
            batch.steps.log2() / 4,
            batch.known,
        ]
        if self.config.chroma:
            other = (batch.other * batch.steps).clamp(-CLIP, CLIP)
            parts += [batch.cross[:, 0] / UNIT, logarithm(batch.cross[:, 1])]
            parts += [pair(batch.other).flatten(1), batch.third[:, None]]
            both = torch.stack([batch.cross[:, 0], other], dim=1)
            # DC of other planes says little without a reference.
            both = torch.cat([torch.zeros_like(both[..., :1]), both[..., 1:]], dim=2)
            dequantised = torch.cat([dequantised, both], dim=1)
        return Features(torch.cat(parts, dim=1), dequantised, own, mine, pair(own[:, 1:]))

    def trunk(self, features: Features, end: Tensor) -> tuple[Tensor, Tensor]:
        """What the two layers give before they are leaky."""
        h = self.first(features.trunk)
        return h, self.second(leaky(h)) + self.end_condition[end]

    def dc(self, features: Features, g: Tensor) -> Tensor:
        """DC's hidden layer before it is leaky. g: of the trunk, leaky."""
        return self.dc_head(g) + self.dc_earlier(features.before.flatten(1))

    def mean(self, features: Features) -> Tensor:
        """What the linear path predicts, dequantised, [n, 64]."""
        weight = self.linear * self.linear_mask
        with torch.autocast("cpu", enabled=False):
            neighbours = features.linear.flatten(1) @ weight[:-1].flatten(0, 1)
            return neighbours + features.mine @ weight[-1]

    def ac(self, g: Tensor, before: Tensor, last: int) -> Tensor:
        """The hidden layers of coefficients 1 to last before they are leaky, [n, last, hidden]."""
        width = last * self.config.hidden
        weight = (self.earlier * self.earlier_mask)[:, :last, :width].flatten(0, 1)
        heads = F.linear(g, self.heads.weight[:width], self.heads.bias[:width])
        return (heads + before[:, :, :last].flatten(1) @ weight).unflatten(1, (last, -1))

    def _ac_bits(self, g: Tensor, features: Features, end: Tensor, mean: Tensor) -> Tensor:
        """Blocks of like ends together: what lies behind the last end is not computed."""
        order = torch.argsort(end)
        found = []
        for rows in order.chunk(_GROUPS):
            last = int(end[rows].max())
            if last == 0:
                found.append(torch.zeros(len(rows)))
                continue
            hidden = leaky(self.ac(g[rows], features.before[rows], last))
            o = torch.einsum("nkh,kho->nko", hidden, self.out[:last]) + self.out_bias[:last, 0]
            places = torch.arange(1, last + 1)
            ended = end[rows][:, None]
            x, centre = features.own[rows][:, 1 : last + 1], mean[rows][:, 1 : last + 1]
            bits = bits_of(x, o, centre, ended == places)
            found.append((bits * (places <= ended)).sum(1))
        result = torch.empty(len(end))
        result[order] = torch.cat(found)
        return result


def relative(batch: Batch) -> tuple[Tensor, Tensor]:
    """Coefficients with DC as a difference from the mean of W's and N's, where they are known."""
    dc = batch.neighbours[..., 0]
    level = ((dc[:, 0] + dc[:, 1]) / batch.known[:, :2].sum(1).clamp(min=1)).floor()
    own, neighbours = batch.own.clone(), batch.neighbours.clone()
    own[:, 0] -= level
    neighbours[..., 0] = (dc - level[:, None]) * batch.known
    return own, neighbours


def ends(own: Tensor) -> Tensor:
    """The place of the last coefficient that is not zero; DC does not count."""
    places = torch.arange(64) * (own != 0)
    return places.amax(1)


def pair(values: Tensor) -> Tensor:
    """Two features of each coefficient, its logarithm with its sign and without, [n, 2, ...]."""
    odd = logarithm(values)
    return torch.stack([odd, odd.abs()], dim=1)


def logarithm(values: Tensor) -> Tensor:
    """sign(v) log2(1 + |v|) / 2, in steps of 1/64."""
    size = (torch.log2(1 + values.abs()) * (UNIT / 2)).round() / UNIT
    return torch.sign(values) * size


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAK)


def bits_of(x: Tensor, o: Tensor, mean: Tensor, at_end: Tensor | None) -> Tensor:
    """Code length by a mixture of logistics of bins of width 1. at_end: where x is not 0."""
    weight, centre, scale = o.float().chunk(3, dim=-1)
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
    cells = [(i, j) for i in range(8) for j in range(8)]
    # Odd diagonals run down from the right, even ones up from the left.
    cells.sort(key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))
    row, column = zip(*cells, strict=True)
    return torch.tensor(row), torch.tensor(column)


def linear_mask(roles: int) -> Tensor:
    """[roles + 1, in, out]: W continues rows of frequencies, N columns; others the same frequency.

    The block's own, at last: earlier coefficients of the same row or column. DC reads all.
    """
    row, column = zigzag()
    same_row, same_column = row[:, None] == row, column[:, None] == column
    mask = torch.zeros(roles + 1, 64, 64, dtype=torch.bool)
    mask[0], mask[1] = same_row, same_column
    mask[2:-1] = same_row & same_column
    mask[-1] = torch.ones(64, 64).triu(1).bool() & (same_row | same_column)
    mask[:, :, 0] = True
    mask[-1, 0] = False
    return mask.float()
