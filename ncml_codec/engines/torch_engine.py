"""The engine in torch: integers in int32 tensors, only the matrix products in float32.

It states the same computation as `numpy_engine` in other words (shifts of integers, not `floor` of
floats), so that the two check each other. Tensors live on one device; counts come back as
numpy arrays, since the coder works on the CPU. Heads that learn are in `torch_adaptation`, the
layers before them in `torch_body`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ncml_codec.engines.torch_adaptation import Coded, LearningHead, gradients
from ncml_codec.engines.torch_body import LearningBody
from ncml_codec.network import (
    COEFFICIENT_UNIT,
    FEATURE_GAINS,
    FEATURE_MAX,
    GATE_BITS,
    INPUT_UNIT,
    LEAK_SHIFT,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    MEAN_RANGE,
    PARAMETER_UNIT,
    PLANES,
    Integers,
    Layer,
    Network,
    table_names,
)
from ncml_codec.strength import BODY, STATIC
from ncml_codec.tables import CUMULATIVE_ONE, SYMBOLS, TOTAL, Weights, weights
from ncml_codec.wave import Tap, lag, wave_rows

_WEST, _NORTH, _NORTH_EAST = (0, -1), (-1, 0), (-1, 1)


def engine(network: Network, threads: int = 1) -> TorchEngine:
    """The engine for a network that has passed `network.check`, on the CPU. threads: not used."""
    del threads
    return TorchEngine(network, torch.device("cpu"))


class TorchEngine:
    """A network's layers and tables as tensors."""

    name = "torch"

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device
        self.first = _Product(network.first, device)
        self.blocks = [
            (_Product(block.taps, device), _Product(block.gate, device)) for block in network.blocks
        ]
        self.heads = [
            (
                _Product(head.trunk, device),
                None if head.earlier is None else _Product(head.earlier, device),
                _Product(head.out, device),
            )
            for head in network.heads
        ]
        self.tables = {
            name: torch.from_numpy(getattr(network.tables, name).astype("int32")).to(device)
            for name in table_names()
        }

    def __str__(self) -> str:
        return self.name

    def walk(self, height: int, width: int, strength: int = STATIC) -> TorchWalk:
        return TorchWalk(self, height, width, strength)

    def block(self, index: int, neighbours: Tensor, x: Tensor) -> Tensor:
        """x after a residual block."""
        taps, gate = self.blocks[index]
        a, b = gate(_leaky(taps(neighbours))).chunk(2, 1)
        limit = gate.limit
        share = a * self.tables["sigmoid"][(b + limit).long()] + (1 << (GATE_BITS - 1))
        return (x + (share >> GATE_BITS)).clamp(-limit, limit)


class TorchWalk:
    """State of one image; see `engines.Walk`."""

    def __init__(self, engine: TorchEngine, height: int, width: int, strength: int) -> None:
        network, device, rate = engine.network, engine.device, strength % BODY
        self.learning = [
            LearningHead(head, network.k, rate, 1, device)
            for head in network.heads
            if rate != STATIC
        ]
        self.body: LearningBody | None = None
        if strength >= BODY:
            self.body = LearningBody(network, self.learning, rate, 1, device)
        self.inner: list[Tensor] = []  # what the heads of the wave's coded planes pass back
        self.engine, self.height, self.width = engine, height, width
        taps = {*network.window, _WEST, _NORTH, _NORTH_EAST}
        self.samples = _Ring(height, PLANES + 1, taps, engine.device)
        self.hidden = [
            _Ring(height, network.width, network.neighbours, engine.device) for _ in network.blocks
        ]

    @torch.inference_mode()
    def begin(self, wave: int) -> int:
        engine, body = self.engine, self.body
        if body is not None and self.inner:
            body.learn(self.inner, self.pixels)
        self.inner = []
        rows = wave_rows(wave, self.height, self.width)
        inputs = self._first_inputs(wave, rows)
        x = engine.first(inputs) if body is None else body.first(inputs[None])[0]
        for index, ring in enumerate(self.hidden):
            ring.open(wave, rows).copy_(_leaky(x))
            taps = [ring.at(wave, rows, tap) for tap in engine.network.neighbours]
            neighbours = torch.cat(taps, 1)
            if body is None:
                x = engine.block(index, neighbours, x)
            else:
                x = body.block(index, neighbours[None], x[None])[0]
        self.pixels: Tensor = torch.tensor(len(x), dtype=torch.float64, device=engine.device)
        self.trunk = _leaky(x)
        self.current = self.samples.open(wave, rows)
        self.current[:, PLANES] = 1
        self.residuals = torch.zeros((len(x), PLANES), dtype=torch.int32, device=engine.device)
        row = torch.arange(*rows, device=engine.device)
        self.phases = 2 * (row & 1) + (wave & 1)
        self.coding = -1
        return len(x)

    @torch.inference_mode()
    def high(self, plane: int) -> Weights:
        engine, k = self.engine, self.engine.network.k
        self.coding, outputs = plane, self._outputs(plane)
        logits, means, scales, coefficients = outputs.split([k, k, k, plane], 1)
        self.log_scales = scales
        limit = 8 * COEFFICIENT_UNIT - 1
        linear = (coefficients.clamp(-limit, limit) * self.residuals[:, :plane] + 8) >> 4
        centre = 16 * self.reference[:, plane] + linear.sum(1, dtype=torch.int32)
        mean_limit = int(MEAN_RANGE * PARAMETER_UNIT)
        self.mean = (means + centre[:, None]).clamp(-mean_limit, mean_limit)
        low, top = (int(end * PARAMETER_UNIT) for end in (LOG_SCALE_MIN, LOG_SCALE_MAX))
        index = (scales.clamp(low, top) - low).long()
        self.mantissa = engine.tables["scale_mantissa"][index]
        self.shift = engine.tables["scale_shift"][index]
        self.weight = self._softmax(logits)
        boundaries = torch.arange(16, 256, 16, dtype=torch.int32, device=engine.device)
        at = self._cumulative(boundaries.expand(len(outputs), -1))
        ends = torch.tensor([0, CUMULATIVE_ONE], dtype=torch.int32, device=engine.device)
        first, last = ends.expand(len(outputs), -1).split(1, 1)
        at = torch.cat([first, at, last], 1)
        return _weights((at >> 6) - (at >> 26) + self._ranks())

    @torch.inference_mode()
    def low(self, plane: int, high: Integers) -> Weights:
        del plane  # of the mixture that `high` left
        nibble = torch.from_numpy(high).to(self.engine.device)
        at = self._cumulative(16 * nibble[:, None] + self._ranks())
        at[nibble == 0, 0] = 0
        at[nibble == 15, SYMBOLS] = CUMULATIVE_ONE
        inside = (at - at[:, :1]).long()
        mass = inside[:, SYMBOLS:]
        reciprocal = ((TOTAL - SYMBOLS) << 36) // mass.clamp(min=1)
        cumulative = (inside * reciprocal >> 36) + self._ranks()
        cumulative[:, SYMBOLS] = TOTAL
        flat = (TOTAL // SYMBOLS) * self._ranks().long()
        return _weights(torch.where(mass == 0, flat, cumulative))

    @torch.inference_mode()
    def put(self, plane: int, values: Integers) -> None:
        known = torch.from_numpy(values).to(self.engine.device).int()
        if self.learning and self.coding == plane:
            self._learn(plane, known)
        quarters = 4 * (known - 128)
        self.current[:, plane] = quarters
        self.residuals[:, plane] = quarters - self.reference[:, plane]

    def _first_inputs(self, wave: int, rows: tuple[int, int]) -> Tensor:
        network = self.engine.network
        slices = {tap: self.samples.at(wave, rows, tap) for tap in self.samples.taps}
        self.reference = self._reference(wave, rows, slices)
        residuals = {
            tap: (slices[tap][:, :PLANES] - self.reference) * slices[tap][:, PLANES:]
            for tap in network.window
        }
        near = torch.cat([residuals[tap] for tap in network.near], 1)
        fine = [(near * gain).clamp(-FEATURE_MAX, FEATURE_MAX) for gain in FEATURE_GAINS[:2]]
        flags = [slices[tap][:, PLANES:] * INPUT_UNIT for tap in (_WEST, _NORTH, _NORTH_EAST)]
        parts = [residuals[tap] for tap in network.window]
        return torch.cat([*parts, *fine, self.reference, *flags], 1)

    def _reference(self, wave: int, rows: tuple[int, int], slices: dict[Tap, Tensor]) -> Tensor:
        """2 W + N + NE of levels minus 128; at the borders what is inside stands in."""
        i = torch.arange(*rows, device=self.engine.device)[:, None]
        j = wave - 2 * i
        west, north, north_east = (slices[tap][:, :PLANES] for tap in (_WEST, _NORTH, _NORTH_EAST))
        north = torch.where(i == 0, west, north)
        north_east = torch.where(i == 0, west, north_east)
        west = torch.where(j == 0, north, west)
        north_east = torch.where(j == self.width - 1, north, north_east)
        return (2 * west + north + north_east) >> 2

    def _outputs(self, plane: int) -> Tensor:
        """The outputs of a plane's head, [n, 3 k + plane]."""
        if self.learning:
            features = self._features(plane)[None] if plane else None
            return self.learning[plane].outputs(self.trunk[None], features, self.phases)[0]
        trunk, earlier, out = self.engine.heads[plane]
        z = trunk(self.trunk)
        if earlier is not None:
            z = (z + earlier(self._features(plane))).clamp(-earlier.limit, earlier.limit)
        return out(_leaky(z))

    def _learn(self, plane: int, values: Tensor) -> None:
        """Changes the head of a plane whose samples are known."""
        edges, levels = self._logistic(torch.stack([values, values + 1], 1))
        coded = Coded(
            values=values,
            weight=self.weight,
            mantissa=self.mantissa,
            shift=self.shift,
            edges=edges,
            levels=levels,
            log_scales=self.log_scales,
            residuals=self.residuals[:, :plane],
        )
        self.inner.append(self.learning[plane].learn(gradients(coded)[None], self.pixels))

    def _features(self, plane: int) -> Tensor:
        gains = torch.tensor(FEATURE_GAINS, dtype=torch.int32, device=self.engine.device)
        scaled = self.residuals[:, :plane, None] * gains
        return scaled.clamp(-FEATURE_MAX, FEATURE_MAX).flatten(1)

    def _softmax(self, logits: Tensor) -> Tensor:
        table = self.engine.tables["exponential"]
        below = (logits.amax(1, keepdim=True) - logits).clamp(max=len(table) - 1)
        raw = table[below.long()]
        weight = (raw << 14) // raw.sum(1, keepdim=True, dtype=torch.int32)
        rest = (1 << 14) - weight.sum(1, dtype=torch.int32)
        return torch.cat([weight[:, :1] + rest[:, None], weight[:, 1:]], 1)

    def _cumulative(self, boundaries: Tensor) -> Tensor:
        """The distribution function at boundaries [n, m] of grey levels, of 2**30."""
        _, levels = self._logistic(boundaries)
        return (levels * self.weight[:, None]).sum(2, dtype=torch.int32)

    def _logistic(self, boundaries: Tensor) -> tuple[Tensor, Tensor]:
        """z of each component at boundaries [n, m], and the table's function of it: [n, m, k]."""
        table, end = self.engine.tables["logistic"], 16 << 13
        position = 64 * boundaries - (128 * 64 + 32)
        z = (position[:, :, None] - self.mean[:, None]) * self.mantissa[:, None]
        z = (z >> self.shift[:, None]).clamp(-end, end - 1)
        index = (z + end >> 8).long()
        below, above = table[index], table[index + 1]
        return z, below + ((above - below) * (z & 255) + 128 >> 8)

    def _ranks(self) -> Tensor:
        return torch.arange(SYMBOLS + 1, dtype=torch.int32, device=self.engine.device)


class _Product:
    """clip((a @ weight + bias) >> shift): the product in float32, exact, the rest in int32."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self.weight = torch.from_numpy(layer.weight.T.astype("float32")).to(device)
        self.bias = torch.from_numpy(layer.bias.astype("int32")).to(device)
        self.shift = torch.from_numpy(layer.shift.astype("int32")).to(device)
        self.limit = layer.limit

    def __call__(self, inputs: Tensor) -> Tensor:
        sums = torch.mm(inputs.float(), self.weight).int() + self.bias
        return (sums >> self.shift).clamp(-self.limit, self.limit)


class _Ring:
    """The last waves' values, [slot, row, feature], zero outside the image (see `numpy_engine`)."""

    def __init__(
        self, height: int, features: int, taps: Iterable[Tap], device: torch.device
    ) -> None:
        self.taps = list(taps)
        self.slots = max(lag(tap) for tap in self.taps) + 1
        self.margin = max(abs(di) for di, _ in self.taps)
        self.height = height
        shape = (self.slots, height + 2 * self.margin, features)
        self.values = torch.zeros(shape, dtype=torch.int32, device=device)

    def open(self, wave: int, rows: tuple[int, int]) -> Tensor:
        slot = self.values[wave % self.slots]
        slot.zero_()
        return slot[rows[0] + self.margin : rows[1] + self.margin]

    def at(self, wave: int, rows: tuple[int, int], tap: Tap) -> Tensor:
        slot = self.values[(wave - lag(tap)) % self.slots]
        return slot[rows[0] + self.margin + tap[0] : rows[1] + self.margin + tap[0]]


def _leaky(x: Tensor) -> Tensor:
    return torch.maximum(x, x >> LEAK_SHIFT)


def _weights(cumulative: Tensor) -> Weights:
    counts: Integers = cumulative.diff(dim=1).int().cpu().numpy()
    return weights(counts)
