"""The paper's NCPN pixel by pixel: every feature is computed once and kept.

A sampling walk (`ncml_codec.learn.sampling.sampler.Walk`) of `ncpn.paper_network.pixelcnn`. The
stream `upper` depends on earlier rows only, so it is computed a row at a time; `upper_left` a place
at a time; at half and quarter resolution only at every second and fourth row and column.
Convolutions read kept features, attention kept keys and values ("Fast generation for convolutional
autoregressive models", Ramachandran et al. 2017). `PixelCNN.forward` is the specification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncml_codec.errors import UsageError
from ncml_codec.learn.likelihood.mixture import CENTRE, Logistics
from ncml_codec.learn.sampling.sampler import Places, raster_order
from ncpn.paper_network.attention import LineAttention, rotated
from ncpn.paper_network.pixelcnn import (
    PLANES,
    RESOLUTIONS,
    FirstLayer,
    GatedBlock,
    PixelCNN,
    Resampling,
    TwoStreamBlock,
)
from ncpn.paper_network.shifted import ShiftedConv, ShiftedUpsampling, concat_elu


class Region(NamedTuple):
    """Places that are computed at once: of one row, columns start to stop."""

    row: int
    start: int
    stop: int


class RasterWalk:
    """See the module. labels: long [batch], or None. Raises UsageError as the network does."""

    def __init__(
        self, model: PixelCNN, canvas: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> None:
        height, width = canvas.shape[2:]
        divisor = 2 ** (RESOLUTIONS - 1)
        if height % divisor or width % divisor:
            raise UsageError(
                f"image of {width} x {height} pixels: width and height must be multiples of"
                f" {divisor} for this network; choose another size"
            )
        self._model, self._canvas = model, canvas
        self._edges = not bool(t.any())
        self._first = _First(model.first, canvas, model.config.width)
        self._nodes = _nodes(model, self._first, model.condition(t.to(canvas.dtype), labels))
        self._out = model.out.weight().flatten(1)

    def order(self) -> Iterator[Places]:
        return iter(raster_order(*self._canvas.shape[2:]))

    def enter(self, places: Places) -> None:
        self._places = places
        row, column = (int(part[0]) for part in places)
        width = self._canvas.shape[3]
        self._first.know(self._canvas, (row * width + column - 1) // width, (column - 1) % width)
        if column == 0:
            for node in self._nodes:
                side = 2**node.level
                if row % side == 0:
                    node.upper_row(Region(row // side, 0, width // side))
        for node in self._nodes:
            side = 2**node.level
            if row % side == 0 and column % side == 0:
                place = column // side
                node.upper_left_place(Region(row // side, place, place + 1))
        last = self._nodes[-1].upper_left.at(Region(row, column, column + 1))
        outputs = F.linear(F.elu(last).flatten(1), self._out, self._model.out.bias)
        self._mixture = self._model.mixture(outputs[..., None, None])

    def channel(self, index: int) -> Logistics:
        rows, columns = self._places
        here = self._canvas[..., rows, columns].unsqueeze(-2)
        return self._mixture.channel(index, here, edges=self._edges)


class _Map:
    """Features of every place, with a border of zeros above, to the left and to the right."""

    def __init__(self, like: Tensor, features: int, level: int) -> None:
        batch, _, height, width = like.shape
        side = 2**level
        self.kept = like.new_zeros(batch, features, height // side + 1, width // side + 2)

    def at(self, region: Region) -> Tensor:
        """[batch, features, 1, stop - start]."""
        return self.kept[:, :, region.row + 1, None, region.start + 1 : region.stop + 1]

    def put(self, region: Region, values: Tensor) -> None:
        self.kept[:, :, region.row + 1, None, region.start + 1 : region.stop + 1] = values

    def around(self, region: Region, right: int) -> Tensor:
        """Two rows, the region's and that above, from a column before it to `right` after it."""
        rows = slice(region.row, region.row + 2)
        return self.kept[:, :, rows, region.start : region.stop + 1 + right]


class _Node:
    """A layer of both streams, and what it has computed. level: of the places it is run at."""

    def __init__(self, like: Tensor, features: int, level: int, out_level: int) -> None:
        self.level = level
        self.upper, self.upper_left = (_Map(like, features, out_level) for _ in range(2))

    def upper_row(self, region: Region) -> None:
        raise NotImplementedError

    def upper_left_place(self, region: Region) -> None:
        raise NotImplementedError


class _First(_Node):
    """`FirstLayer`: from the pixels that are known so far."""

    def __init__(self, layer: FirstLayer, canvas: Tensor, width: int) -> None:
        super().__init__(canvas, width, 0, 0)
        self._pixels = _Map(canvas, PLANES + 1, 0)
        self._pixels.kept[:, PLANES, 1:, 1:-1] = 1
        self._upper, self._above, self._left = map(
            _prepared, (layer.upper, layer.above, layer.left)
        )

    def know(self, canvas: Tensor, row: int, column: int) -> None:
        """Take the pixel that was drawn last; row -1: there is none."""
        if row >= 0:
            self._pixels.kept[:, :PLANES, row + 1, column + 1] = (
                canvas[:, :, row, column] / CENTRE - 1
            )

    def upper_row(self, region: Region) -> None:
        if region.row > 0:
            above = Region(region.row - 1, region.start, region.stop)
            self.upper.put(region, self._upper(self._pixels.around(above, 1)))

    def upper_left_place(self, region: Region) -> None:
        row, start, stop = region
        found = torch.zeros_like(self.upper_left.at(region))
        if row > 0:
            above = Region(row - 1, start, stop)
            found = found + self._above(self._pixels.around(above, 1)[:, :, 1:])
        if start > 0:
            found = found + self._left(self._pixels.around(Region(row, start, start), 0))
        self.upper_left.put(region, found)


class _Halving(_Node):
    """Places of half the resolution from the finer node's."""

    def __init__(self, layer: Resampling, finer: _Node, like: Tensor, width: int, level: int):
        super().__init__(like, width, level, level)
        self._finer = finer
        self._upper, self._upper_left = (_prepared(_conv(part)) for part in layer.children())

    def upper_row(self, region: Region) -> None:
        fine = Region(2 * region.row, 2 * region.start, 2 * region.stop)
        self.upper.put(region, self._upper(self._finer.upper.around(fine, 1)))

    def upper_left_place(self, region: Region) -> None:
        fine = Region(2 * region.row, 2 * region.start, 2 * region.start + 1)
        self.upper_left.put(region, self._upper_left(self._finer.upper_left.around(fine, 0)))


class _Doubling(_Node):
    """Places of twice the resolution: two rows, or two rows and columns, from each coarse one."""

    def __init__(self, layer: Resampling, coarser: _Node, like: Tensor, width: int, level: int):
        super().__init__(like, width, level, level - 1)
        self._coarser, self._layer = coarser, layer

    def upper_row(self, region: Region) -> None:
        self._spread(self._layer.upper, self._coarser.upper, self.upper, region)

    def upper_left_place(self, region: Region) -> None:
        self._spread(self._layer.upper_left, self._coarser.upper_left, self.upper_left, region)

    @staticmethod
    def _spread(layer: nn.Module, source: _Map, target: _Map, region: Region) -> None:
        assert isinstance(layer, ShiftedUpsampling)
        fine = layer(source.at(region))
        for row in range(2):
            place = Region(2 * region.row + row, 2 * region.start, 2 * region.stop)
            target.put(place, fine[:, :, row, None])


class _Block(_Node):
    """A `TwoStreamBlock`. mirror: the node that it also reads, on the way up."""

    def __init__(
        self,
        layer: TwoStreamBlock,
        before: _Node,
        mirror: _Node | None,
        condition: Tensor,
        like: Tensor,
        level: int,
    ) -> None:
        width = layer.upper_attention.rows.out.in_features
        super().__init__(like, width, level, level)
        self._before, self._mirrors = before, [] if mirror is None else [mirror]
        self._gated = _Gated(layer.upper, condition, _Map(like, width, level), 1)
        self._gated_left = _Gated(layer.upper_left, condition, _Map(like, width, level), 0)
        height, columns = (size // 2**level for size in like.shape[2:])
        self._rows = layer.upper_attention.rows
        self._columns = _Lines(layer.upper_attention.columns, like, columns, height)
        self._rows_left = _Lines(layer.upper_left_attention.rows, like, 1, columns)
        self._columns_left = _Lines(layer.upper_left_attention.columns, like, columns, height)

    def upper_row(self, region: Region) -> None:
        others = [mirror.upper.at(region) for mirror in self._mirrors]
        x = self._gated(self._before.upper, others, region)
        places = x.permute(0, 2, 3, 1)
        h = self._rows(places)[:, 0]
        self.upper.put(region, _joined(x, h + self._columns(places[:, 0] + h, 0, region.row)))

    def upper_left_place(self, region: Region) -> None:
        others = [mirror.upper_left.at(region) for mirror in self._mirrors]
        x = self._gated_left(self._before.upper_left, [self.upper.at(region), *others], region)
        place = x[:, :, :, 0].transpose(1, 2)
        h = self._rows_left(place, 0, region.start)
        h = h + self._columns_left(place + h, region.start, region.row)
        self.upper_left.put(region, _joined(x, h))


class _Gated:
    """A `GatedBlock` with its hidden layer kept. right: columns its filters reach to the right."""

    def __init__(self, layer: GatedBlock, condition: Tensor, hidden: _Map, right: int) -> None:
        self._condition = layer.condition(condition)[:, :, None, None]
        self._inner, self._gate = _prepared(layer.inner), _prepared(layer.gate)
        self._others = None if layer.others is None else _prepared(layer.others)
        self._hidden, self._right = hidden, right

    def __call__(self, before: _Map, others: list[Tensor], region: Region) -> Tensor:
        h = self._inner(concat_elu(before.around(region, self._right))) + self._condition
        if self._others is not None:
            h = h + self._others(concat_elu(torch.cat(others, 1)))
        self._hidden.put(region, h)
        gates = self._gate(concat_elu(self._hidden.around(region, self._right)))
        a, b = gates.chunk(2, 1)
        return before.at(region) + a * torch.sigmoid(b)


class _Lines:
    """A causal `LineAttention` with its keys and values kept: one place of some lines at a time."""

    def __init__(self, layer: LineAttention, like: Tensor, lines: int, length: int) -> None:
        self._layer = layer
        width = layer.out.in_features
        shape = (len(like), lines, layer.heads, length, width // layer.heads)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)

    def __call__(self, x: Tensor, first: int, place: int) -> Tensor:
        """x: [batch, line, width], the features at `place` of the lines from `first` on."""
        layer, lines = self._layer, slice(first, first + x.shape[1])
        parts = layer.queries_keys_values(layer.norm(x)).unflatten(2, (3, layer.heads, -1))
        queries, keys, values = (part.unsqueeze(3) for part in parts.unbind(2))
        self._keys[:, lines, :, place : place + 1] = rotated(keys, place)
        self._values[:, lines, :, place : place + 1] = values
        known = slice(0, place + 1)
        mixed = F.scaled_dot_product_attention(
            rotated(queries, place),
            self._keys[:, lines, :, known],
            self._values[:, lines, :, known],
        )
        return layer.out(mixed.flatten(2))


def _nodes(model: PixelCNN, first: _First, condition: Tensor) -> list[_Node]:
    """The layers in the order of `PixelCNN.forward`."""
    like, width = first.upper.kept[:, :, 1:, 1:-1], model.config.width
    passed: list[_Node] = [first]
    for level in range(RESOLUTIONS):
        if level:
            passed.append(
                _Halving(_pair(model.halvings[level - 1]), passed[-1], like, width, level)
            )
        for block in model.down[level].children():
            passed.append(_Block(_two(block), passed[-1], None, condition, like, level))
    nodes = list(passed)
    last = passed.pop()
    for level in reversed(range(RESOLUTIONS)):
        for block in model.up[level].children():
            last = _Block(_two(block), last, passed.pop(), condition, like, level)
            nodes.append(last)
        if level:
            last = _Doubling(_pair(model.doublings[level - 1]), last, like, width, level)
            nodes.append(last)
    return nodes


def _prepared(layer: ShiftedConv) -> Callable[[Tensor], Tensor]:
    """The layer on a part of its input that is padded already; its filters normalised once."""
    weight, bias, stride = layer.weight(), layer.bias, layer.stride
    flat = weight.flatten(1)

    def apply(x: Tensor) -> Tensor:
        if x.shape[2:] == weight.shape[2:]:  # one place: a matrix product is quicker
            return F.linear(x.flatten(1), flat, bias)[..., None, None]
        return F.conv2d(x, weight, bias, stride)

    return apply


def _joined(x: Tensor, h: Tensor) -> Tensor:
    """Skip rescaling. x: [batch, width, 1, n]; h: [batch, n, width]."""
    return (x + h.transpose(1, 2).unsqueeze(2)) / math.sqrt(2)


def _two(block: nn.Module) -> TwoStreamBlock:
    assert isinstance(block, TwoStreamBlock)
    return block


def _pair(layer: nn.Module) -> Resampling:
    assert isinstance(layer, Resampling)
    return layer


def _conv(layer: nn.Module) -> ShiftedConv:
    assert isinstance(layer, ShiftedConv)
    return layer
