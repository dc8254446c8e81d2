"""The integer network: what a model file holds, and the proof that its arithmetic is exact.

Every layer is a matrix product of integers whose sums stay below 2**24 in absolute value,
whatever the inputs. So a float32 product gives the exact integer in any order of summation,
on any machine. After it come an arithmetic right shift, a clip and table look-ups. FORMAT.md
("The network") states the whole computation.

This module is the data and the proof. Engines compute; `ncpn.integers.export` makes networks from
trained weights; `model` is the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ncml_codec.errors import FormatError
from ncml_codec.network.wave_order import Tap, lag

Integers = npt.NDArray[np.int32]

SUM_LIMIT = 2**24  # float32 holds every integer up to here
ACTIVATION_MAX = 2047  # float16 and TF32 hold every integer up to 2048
WEIGHT_MAX = 2047
OUTPUT_MAX = 32767  # head outputs are not multiplied by weights again
PLANES = 3
LEAK_SHIFT = 3  # leaky ReLU: max(v, v >> 3)
GATE_BITS = 11  # the sigmoid table's 1 is 2**11

# Inputs. e = 4 (x - reference), an integer up to +-1020; 128 stands for 1.0 in float units.
INPUT_UNIT = 128
FEATURE_GAINS = (4, 16, 1)  # e times a gain, clamped to +-FEATURE_MAX
FEATURE_MAX = 2 * INPUT_UNIT
RESIDUAL_MAX = 1020
REFERENCE_MAX = 512

# Mixture parameters, as the heads put them out.
PARAMETER_UNIT = 64  # logits, log-scales: steps of 1/64; means: of 1/64 grey level
COEFFICIENT_UNIT = 256
LOG_SCALE_MIN, LOG_SCALE_MAX = -4.0, 5.0
MEAN_RANGE = 255.0  # means are clipped to +-255 around the middle grey of 128


@dataclass(frozen=True)
class Layer:
    """clip((weight @ a + bias) >> shift, -limit, limit), a the input vector.

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


@dataclass(frozen=True)
class Block:
    """x + (a * sigmoid[b] + 2**10 >> 11), (a, b) = gate(leaky(taps(leaky(x))))."""

    taps: Layer
    gate: Layer


@dataclass(frozen=True)
class Head:
    """The mixture of one plane: out(leaky(clip(trunk(h) + earlier(features)))).

    earlier is None for the first plane. Outputs: k logits, k means, k log-scales, and one
    coefficient for each earlier plane.
    """

    trunk: Layer
    earlier: Layer | None
    out: Layer


@dataclass(frozen=True)
class Tables:
    """Functions as integers: see FORMAT.md, "Tables", and `ncpn.integers.export.make_tables`.

    sigmoid: [2 * ACTIVATION_MAX + 1], of gate values from -ACTIVATION_MAX up, 2**GATE_BITS is 1.
    exponential: [1024], 2**16 exp(-i / 64).
    scale_mantissa, scale_shift: [577], 128 exp(-(i / 64 - 4)) = mantissa / 2**shift.
    logistic: [1025], 2**16 / (1 + exp(-(i / 32 - 16))).
    """

    sigmoid: Integers
    exponential: Integers
    scale_mantissa: Integers
    scale_shift: Integers
    logistic: Integers


@dataclass(frozen=True, eq=False)
class Network:
    """A whole integer network, equal only to itself. k: mixture components."""

    window: Sequence[Tap]
    near: Sequence[Tap]
    neighbours: Sequence[Tap]
    k: int
    first: Layer
    blocks: Sequence[Block]
    heads: Sequence[Head]
    tables: Tables

    @property
    def width(self) -> int:
        return self.first.outputs

    def multiply_adds(self) -> int:
        """Multiply-adds for one pixel."""
        return sum(layer.weight.size for _, layer in named_layers(self))


def named_layers(network: Network) -> list[tuple[str, Layer]]:
    """Every layer with its name, in the order of the model file."""
    layers = [("first", network.first)]
    for index, block in enumerate(network.blocks):
        layers += [(f"blocks.{index}.taps", block.taps), (f"blocks.{index}.gate", block.gate)]
    for index, head in enumerate(network.heads):
        layers.append((f"heads.{index}.trunk", head.trunk))
        if head.earlier is not None:
            layers.append((f"heads.{index}.earlier", head.earlier))
        layers.append((f"heads.{index}.out", head.out))
    return layers


def input_bounds(network: Network) -> dict[str, Integers]:
    """The largest absolute value of every input of every layer, by layer name."""
    first = first_input_bounds(len(network.window), len(network.near))
    bounds = {}
    for name, layer in named_layers(network):
        limit = FEATURE_MAX if name.endswith("earlier") else ACTIVATION_MAX
        bounds[name] = first if name == "first" else np.full(layer.inputs, limit, np.int32)
    return bounds


def first_input_bounds(window: int, near: int) -> Integers:
    """The same for the first layer, from the numbers of taps; see FORMAT.md, "Inputs"."""
    bounds = [RESIDUAL_MAX, FEATURE_MAX, REFERENCE_MAX, INPUT_UNIT]
    return np.repeat(bounds, [PLANES * window, 2 * PLANES * near, PLANES, 3]).astype(np.int32)


def largest_sums(layer: Layer, bounds: Integers) -> npt.NDArray[np.int64]:
    """sum |w| bound + |b| of every output: no partial sum in any order is larger."""
    weights = np.abs(layer.weight.astype(np.int64))
    return weights @ bounds.astype(np.int64) + np.abs(layer.bias.astype(np.int64))


def check(network: Network) -> None:
    """Raise FormatError unless shapes fit together and every sum is proved below 2**24.

    Run on every model file that is read: engines rely on it, also for memory safety.
    """
    _check_taps(network)
    _check_shapes(network)
    bounds = input_bounds(network)
    for name, layer in named_layers(network):
        _check_layer(name, layer, bounds[name])
    tables = network.tables
    _check_table("sigmoid", tables.sigmoid, 2 * ACTIVATION_MAX + 1, 0, 2**GATE_BITS)
    _check_table("exponential", tables.exponential, 1024, 0, 2**16)
    steps = int((LOG_SCALE_MAX - LOG_SCALE_MIN) * PARAMETER_UNIT) + 1
    _check_table("scale_mantissa", tables.scale_mantissa, steps, 1, 2**13 - 1)
    _check_table("scale_shift", tables.scale_shift, steps, 0, 31)
    _check_table("logistic", tables.logistic, 1025, 0, 2**16)
    if tables.exponential[0] != 2**16:
        raise FormatError("table exponential: must begin with 65536, so that weights sum above 0")
    if (np.diff(tables.logistic) < 0).any() or (np.diff(tables.logistic) > 2**12).any():
        raise FormatError("table logistic: must rise, by at most 4096 a step")


def _check_taps(network: Network) -> None:
    taps = [*network.window, *network.near]
    if not (network.window and network.near and network.neighbours):
        raise FormatError("taps: window, near and neighbours must not be empty")
    if not all(lag(tap) > 0 for tap in taps):
        raise FormatError("window: a tap is not in an earlier wave")
    if not set(network.near) <= set(network.window):
        raise FormatError("near: a tap is not in the window")
    if not all(lag(tap) > 0 or tap == (0, 0) for tap in network.neighbours):
        raise FormatError("neighbours: a tap is neither in an earlier wave nor (0, 0)")
    if not all(max(map(abs, tap)) <= 8 for tap in [*taps, *network.neighbours]):
        raise FormatError("taps: an offset is beyond 8")


def _check_shapes(network: Network) -> None:
    for name, layer in named_layers(network):
        if (layer.weight.ndim, layer.bias.ndim, layer.shift.ndim) != (2, 1, 1):
            raise FormatError(f"{name}: not a matrix and two vectors")
    width, k = network.width, network.k
    if not (1 <= k <= 16 and len(network.heads) == PLANES):
        raise FormatError(f"network: {k} components, {len(network.heads)} heads; not 1 to 16, 3")
    inputs = PLANES * (len(network.window) + 2 * len(network.near) + 1) + 3
    expected = {"first": (width, inputs)}
    for index, block in enumerate(network.blocks):
        expected[f"blocks.{index}.taps"] = (
            block.taps.outputs,
            width * len(network.neighbours),
        )
        expected[f"blocks.{index}.gate"] = (2 * width, block.taps.outputs)
    for index, head in enumerate(network.heads):
        hidden = head.trunk.outputs
        expected[f"heads.{index}.trunk"] = (hidden, width)
        if (head.earlier is None) != (index == 0):
            raise FormatError(f"heads.{index}.earlier: must be there for all planes but the first")
        expected[f"heads.{index}.earlier"] = (hidden, index * len(FEATURE_GAINS))
        expected[f"heads.{index}.out"] = (3 * k + index, hidden)
    for name, layer in named_layers(network):
        if layer.weight.shape != expected[name]:
            raise FormatError(f"{name}: shape {layer.weight.shape}, not {expected[name]}")
        if layer.bias.shape != (layer.outputs,) or layer.shift.shape != (layer.outputs,):
            raise FormatError(f"{name}: bias or shift do not match {layer.outputs} outputs")


def _check_layer(name: str, layer: Layer, bounds: Integers) -> None:
    if layer.weight.size == 0:
        raise FormatError(f"{name}: empty")
    if np.abs(layer.weight).max() > WEIGHT_MAX:
        raise FormatError(f"{name}: a weight is beyond {WEIGHT_MAX}")
    if layer.shift.min() < 0 or layer.shift.max() > 24:
        raise FormatError(f"{name}: a shift is not between 0 and 24")
    limit = OUTPUT_MAX if name.endswith("out") else ACTIVATION_MAX
    if layer.limit != limit:
        raise FormatError(f"{name}: outputs clipped at {layer.limit}, not {limit}")
    worst = int(largest_sums(layer, bounds).max())
    if worst >= SUM_LIMIT:
        raise FormatError(f"{name}: a sum can reach {worst}, which is not below 2**24")


def _check_table(name: str, table: Integers, size: int, low: int, high: int) -> None:
    if table.shape != (size,):
        raise FormatError(f"table {name}: shape {table.shape}, not ({size},)")
    if table.min() < low or table.max() > high:
        raise FormatError(f"table {name}: a value is not between {low} and {high}")


def table_names() -> Sequence[str]:
    """The tables in the order of the model file."""
    return [field.name for field in fields(Tables)]


def tables_from(values: Mapping[str, Integers]) -> Tables:
    """Tables from arrays by name."""
    return Tables(**{name: values[name] for name in table_names()})
