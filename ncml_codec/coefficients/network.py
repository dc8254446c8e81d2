"""The network of integers for JPEG coefficients: its numbers, its computation, and their proof.

A layer is clip((W a + b) >> shift), and every sum stays within 32 bits, whatever the inputs:
weights and activations have 16 bits, and `check` proves the sums. So any order of summation, any
SIMD instruction and any number of threads give the same integers. This module is the specification;
its matrix products run in float64, which holds all these sums exactly.

For one block, with n_k the number of hidden units of a coefficient:

1. Inputs of the trunk: for every coefficient of the neighbours L(v) if v > 0, and L(-v) if v < 0,
   L(m) = round(32 log2(1 + m)), a table; the steps' logarithms; which neighbours there are. For
   chroma also the first plane's coefficients here, and the second's. Most coefficients are 0, so
   the first layer is a sum over those that are not.
2. h = leaky(first(inputs)); the masses of the block's end are exponentials of end(h).
3. g = leaky(second(h) + a vector of the end).
4. Coefficient k = 1, ..., end: o = out_k(leaky(head_k([g, L of coefficients 1 to k - 1]))). A
   mixture of logistics of means o + linear_k, log-scales and logits o.
5. DC at last, as the difference from the mean of its neighbours.

linear_k is a sum over dequantised coefficients of neighbours and of the block itself: those of the
row of frequencies to the left, of the column above, of the same frequency elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ncml_codec.coefficients.planes import DEQUANTISED_MAX, NEAR, NEIGHBOURS, Seen, dequantised
from ncml_codec.errors import FormatError

Integers = npt.NDArray[np.int32]
Integers64 = npt.NDArray[np.int64]

SUM_LIMIT = 2**31
ACTIVATION_MAX = 2047
WEIGHT_MAX = 32767
OUTPUT_MAX = 32767
LEAK_SHIFT = 3
PARAMETER_UNIT = 64  # outputs: logits, log-scales and means in 1/64
LOG_SCALE_MIN, LOG_SCALE_MAX = -4.0, 6.0
LOGARITHMS = 2048  # of the table L; larger values count as its last
INPUT_MAX = 352  # its last
FLAG = 64  # an input that says yes
LINEAR_BITS = 13  # of the linear path's weights below 1
LAST = 63  # coefficients of a block without DC


@dataclass(frozen=True)
class Layer:
    """clip((weight @ a + bias) >> shift, +-limit).

    weight: [outputs, inputs]; bias, shift: [outputs]; rounding is folded into bias.
    """

    weight: Integers
    bias: Integers
    shift: Integers
    limit: int = ACTIVATION_MAX

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    def __call__(self, inputs: Integers, more: Integers | None = None) -> Integers:
        """[n, outputs] of inputs [n, inputs]. more: added to the sums."""
        sums = inputs.astype(np.float64) @ self.weight.T.astype(np.float64)
        whole = sums.astype(np.int64) + self.bias
        if more is not None:
            whole += more
        found: Integers = np.clip(whole >> self.shift, -self.limit, self.limit).astype(np.int32)
        return found


@dataclass(frozen=True)
class Tables:
    """Functions as integers.

    logarithm: [2048], round(32 log2(1 + m)). exponential: [1024], 2**16 exp(-i / 64).
    scale_mantissa, scale_shift: [641], 128 exp(-(i / 64 - 4)) = mantissa / 2**shift.
    logistic: [1025], 2**16 / (1 + exp(-(i / 32 - 16))).
    """

    logarithm: Integers
    exponential: Integers
    scale_mantissa: Integers
    scale_shift: Integers
    logistic: Integers


@dataclass(frozen=True)
class PlaneNetwork:
    """Of luma or chroma. far: coefficients read of each neighbour but W and N.

    end_bias: [64, second's outputs], added to second's sums. heads: [63] layers, of inputs g and
    the positive, then the negative parts of coefficients 1 to 63, of which those from k on have no
    weight; outs: [63]. dc_head, dc_out: the same for DC. linear: [roles + 1, 64, 64], in 2**-13, of
    the neighbours, chroma's two other planes, and the block itself, by input and output.
    """

    chroma: bool
    far: int
    first: Layer
    end: Layer
    second: Layer
    end_bias: Integers
    heads: tuple[Layer, ...]
    outs: tuple[Layer, ...]
    dc_head: Layer
    dc_out: Layer
    linear: Integers

    def multiply_adds(self) -> int:
        """By block, if no coefficient is 0."""
        layers = [self.first, self.end, self.second, self.dc_head, self.dc_out]
        layers += [*self.heads, *self.outs]
        return sum(layer.weight.size for layer in layers) + self.linear.size


@dataclass(frozen=True, eq=False)
class Network:
    """Both planes' networks and the tables that they share."""

    luma: PlaneNetwork
    chroma: PlaneNetwork
    tables: Tables

    def plane(self, component: int) -> PlaneNetwork:
        """The network of a component: the second and the third are chroma."""
        return self.chroma if component in (1, 2) else self.luma


@dataclass(frozen=True)
class Trunk:
    """What a network makes of n blocks before they are coded.

    hidden: of the first layer; linear: the sums of the linear path without the block itself,
    [n, 64]. reciprocals: [64].
    """

    hidden: Integers
    linear: Integers64
    reciprocals: Integers64


def trunk(network: PlaneNetwork, seen: Seen, steps: Integers, third: bool, tables: Tables) -> Trunk:
    """The first layer and the linear path. steps: [64], quantisation steps, at least 1."""
    count = len(seen.known)
    near, far = seen.neighbours[:, :NEAR], seen.neighbours[:, NEAR:, : network.far]
    parts = [
        *(part.reshape(count, -1) for part in (parts_of(near, tables), parts_of(far, tables))),
        np.broadcast_to(logarithms(steps - 1, tables), (count, 64)),
        seen.known * FLAG,
    ]
    sources = dequantised(seen.neighbours, steps)
    if network.chroma:
        other = dequantised(seen.other, steps)
        parts += [seen.cross[:, 0], logarithms(seen.cross[:, 1], tables)]
        parts += [parts_of(seen.other, tables).reshape(count, -1)]
        parts += [np.full((count, 1), FLAG * third, np.int32)]
        both = np.stack([seen.cross[:, 0], other], axis=1)
        sources = np.concatenate([sources, both], axis=1)
    hidden = leaky(network.first(np.concatenate(parts, axis=1)))
    roles = sources.shape[1]
    weights = network.linear[:roles].reshape(-1, 64).astype(np.float64)
    linear = (sources.reshape(count, -1).astype(np.float64) @ weights).astype(np.int64)
    # 2**24 / step to the nearest.
    reciprocals = ((1 << 25) // steps.astype(np.int64) + 1) >> 1
    return Trunk(hidden, linear, reciprocals)


class Block:
    """The n blocks of a wave while they are coded: what their distributions are made of."""

    def __init__(
        self, network: PlaneNetwork, before: Trunk, end: Integers64, steps: Integers, tables: Tables
    ) -> None:
        self.network, self.before, self.steps, self.tables = network, before, steps, tables
        more = network.end_bias[end]
        self.g = leaky(network.second(before.hidden, more))
        count = len(end)
        self.parts = np.zeros((count, 2, LAST), np.int32)
        self.linear = before.linear.copy()

    def outputs(self, k: int, rows: npt.NDArray[np.intp]) -> tuple[Integers, Integers64]:
        """A head's outputs [m, 3 K] and the linear path's mean [m], in 1/64; k = 0 is DC."""
        head = self.network.heads[k - 1] if k else self.network.dc_head
        out = self.network.outs[k - 1] if k else self.network.dc_out
        inputs = np.concatenate([self.g[rows], self.parts[rows].reshape(len(rows), -1)], axis=1)
        mean = self.linear[rows, k] * self.before.reciprocals[k] >> 31
        return out(leaky(head(inputs))), mean

    def add(self, k: int, rows: npt.NDArray[np.intp], values: Integers64) -> None:
        """Coefficient k, 1 to 63, of these blocks."""
        plain = values.astype(np.int32)
        self.parts[rows, :, k - 1] = parts_of(plain[:, None], self.tables)[..., 0]
        weights = self.network.linear[-1, k].astype(np.int64)
        mine = dequantised(plain, self.steps[k : k + 1]).astype(np.int64)
        self.linear[rows] += mine[:, None] * weights


def parts_of(values: Integers, tables: Tables) -> Integers:
    """L of the positive and of the negative values: [n, ..., m] to [n, ..., 2, m]."""
    size = logarithms(np.abs(values), tables)
    return np.stack([np.where(values > 0, size, 0), np.where(values < 0, size, 0)], axis=-2)


def logarithms(sizes: Integers, tables: Tables) -> Integers:
    """L of numbers from 0 up."""
    found: Integers = tables.logarithm[np.minimum(sizes, LOGARITHMS - 1)]
    return found


def leaky(x: Integers) -> Integers:
    found: Integers = np.maximum(x, x >> LEAK_SHIFT)
    return found


def first_bounds(far: int, chroma: bool) -> Integers:
    """The largest absolute value of each input of the first layer."""
    values = 2 * (64 * NEAR + far * (len(NEIGHBOURS) - NEAR))
    bounds = [np.full(values + 64, INPUT_MAX), np.full(len(NEIGHBOURS), FLAG)]
    if chroma:
        bounds += [np.full(64, DEQUANTISED_MAX), np.full(3 * 64, INPUT_MAX), np.full(1, FLAG)]
    return np.concatenate(bounds).astype(np.int32)


def layers(network: PlaneNetwork) -> Iterator[tuple[str, Layer, Integers]]:
    """Every layer, its name, and the bounds of its inputs."""
    first, second = network.first.outputs, network.second.outputs
    inner = np.full(first, ACTIVATION_MAX)
    yield "first", network.first, first_bounds(network.far, network.chroma)
    yield "end", network.end, inner
    yield "second", network.second, inner
    own = np.concatenate([np.full(second, ACTIVATION_MAX), np.full(2 * LAST, INPUT_MAX)])
    for k, (head, out) in enumerate(zip(network.heads, network.outs, strict=True), 1):
        yield f"heads.{k}", head, own
        yield f"outs.{k}", out, np.full(head.outputs, ACTIVATION_MAX)
    yield "dc_head", network.dc_head, own
    yield "dc_out", network.dc_out, np.full(network.dc_head.outputs, ACTIVATION_MAX)


def largest_sums(layer: Layer, bounds: npt.NDArray[np.integer]) -> Integers64:
    """sum |w| bound + |b| of every output: no partial sum in any order is larger."""
    weights = np.abs(layer.weight.astype(np.int64))
    sums: Integers64 = weights @ bounds.astype(np.int64) + np.abs(layer.bias.astype(np.int64))
    return sums


def check(network: Network) -> None:
    """Raise FormatError unless shapes fit together and every sum is proved below 2**31."""
    for name, plane in (("luma", network.luma), ("chroma", network.chroma)):
        if plane.chroma != (name == "chroma"):
            raise FormatError(f"{name}: of the other kind of plane")
        _check_shapes(name, plane)
        for part, layer, bounds in layers(plane):
            _check_layer(f"{name}.{part}", layer, bounds, plane)
        _check_linear(name, plane)
    tables = network.tables
    steps = int((LOG_SCALE_MAX - LOG_SCALE_MIN) * PARAMETER_UNIT) + 1
    _check_table("logarithm", tables.logarithm, LOGARITHMS, 0, INPUT_MAX)
    _check_table("exponential", tables.exponential, 1024, 0, 2**16)
    _check_table("scale_mantissa", tables.scale_mantissa, steps, 1, 2**13 - 1)
    _check_table("scale_shift", tables.scale_shift, steps, 0, 31)
    _check_table("logistic", tables.logistic, 1025, 0, 2**16)
    if tables.exponential[0] != 2**16:
        raise FormatError("table exponential: must begin with 65536, so that weights sum above 0")
    if (np.diff(tables.logistic) < 0).any():
        raise FormatError("table logistic: must rise")


def _check_shapes(name: str, plane: PlaneNetwork) -> None:
    first, second = plane.first.outputs, plane.second.outputs
    if not 1 <= plane.far <= 64:
        raise FormatError(f"{name}: {plane.far} coefficients of far neighbours, not 1 to 64")
    if len(plane.heads) != LAST or len(plane.outs) != LAST:
        raise FormatError(f"{name}: {len(plane.heads)} heads, not {LAST}")
    outputs = plane.dc_out.outputs
    if outputs % 3 or not 3 <= outputs <= 24:
        raise FormatError(f"{name}: {outputs} outputs of a head, not 3 to 24 and divisible by 3")
    own = second + 2 * LAST
    expected = {
        "first": (first, len(first_bounds(plane.far, plane.chroma))),
        "end": (LAST + 1, first),
        "second": (second, first),
        "dc_head": (plane.dc_head.outputs, own),
        "dc_out": (outputs, plane.dc_head.outputs),
    }
    for k, head in enumerate(plane.heads, 1):
        expected[f"heads.{k}"] = (head.outputs, own)
        expected[f"outs.{k}"] = (outputs, head.outputs)
    for part, layer, _ in layers(plane):
        if layer.weight.shape != expected[part] or 0 in expected[part]:
            raise FormatError(f"{name}.{part}: shape {layer.weight.shape}, not {expected[part]}")
        if layer.bias.shape != (layer.outputs,) or layer.shift.shape != (layer.outputs,):
            raise FormatError(f"{name}.{part}: bias or shift do not match {layer.outputs} outputs")
    roles = len(NEIGHBOURS) + (2 if plane.chroma else 0) + 1
    if plane.linear.shape != (roles, 64, 64) or plane.end_bias.shape != (LAST + 1, second):
        raise FormatError(f"{name}: shape of the linear path or of the end's biases")


def _check_layer(name: str, layer: Layer, bounds: Integers, plane: PlaneNetwork) -> None:
    if np.abs(layer.weight).max() > WEIGHT_MAX:
        raise FormatError(f"{name}: a weight is beyond {WEIGHT_MAX}")
    if layer.shift.min() < 0 or layer.shift.max() > 30:
        raise FormatError(f"{name}: a shift is not between 0 and 30")
    part = name.partition(".")[2]
    outer = part == "end" or part.startswith(("outs.", "dc_out"))
    if layer.limit != (OUTPUT_MAX if outer else ACTIVATION_MAX):
        raise FormatError(f"{name}: outputs clipped at {layer.limit}")
    worst = largest_sums(layer, bounds)
    if part == "second":
        worst = worst + np.abs(plane.end_bias.astype(np.int64)).max(axis=0)
    if int(worst.max()) >= SUM_LIMIT:
        raise FormatError(f"{name}: a sum can reach {int(worst.max())}, which is not below 2**31")
    if part.startswith("heads."):
        after = layer.weight[:, -2 * LAST :].reshape(-1, 2, LAST)[..., int(part[6:]) - 1 :]
        if after.any():
            raise FormatError(f"{name}: a weight of a coefficient that is not yet known")


def _check_linear(name: str, plane: PlaneNetwork) -> None:
    if np.abs(plane.linear.astype(np.int64)).max() > WEIGHT_MAX:
        raise FormatError(f"{name}.linear: a weight is beyond {WEIGHT_MAX}")
    worst = int(np.abs(plane.linear.astype(np.int64)).sum(axis=(0, 1)).max()) * DEQUANTISED_MAX
    if worst >= SUM_LIMIT:
        raise FormatError(f"{name}.linear: a sum can reach {worst}, which is not below 2**31")
    k = np.arange(64)
    known = (k[:, None] < k) & (k[:, None] > 0) | ((k == 0) & (k[:, None] > 0))
    if plane.linear[-1][~known].any():
        raise FormatError(f"{name}.linear: a weight of a coefficient that is not yet known")


def _check_table(name: str, table: Integers, size: int, low: int, high: int) -> None:
    if table.shape != (size,):
        raise FormatError(f"table {name}: shape {table.shape}, not ({size},)")
    if table.min() < low or table.max() > high:
        raise FormatError(f"table {name}: a value is not between {low} and {high}")


def table_names() -> list[str]:
    """The tables in the order of the model file."""
    return [field.name for field in fields(Tables)]
