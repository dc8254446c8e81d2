"""The batch engine, in torch: images of one size walk together, on a GPU or on the CPU.

The computation is that of `numpy_engine`, whole numbers in float32, with one axis more. A wave's
pixels are a frame of rows: on CUDA as many as the longest wave has, so that every wave is the same
work and is replayed as a CUDA graph; elsewhere as many as the wave has. Rows of the frame beyond
the wave hold zeros in the rings and nonsense elsewhere, which nothing reads.

Matrix products: inputs and weights are whole numbers of at most 2047, which TF32 (11 bits) holds
exactly, and sums stay below 2**24, which float32 holds exactly. So TF32 is allowed, once `_exact`
has seen this device multiply without an error; else products are full float32.

The CUDA part has not been run: no GPU was at hand. `tests/test_batch_engine.py` has the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ncml_codec.errors import UsageError
from ncml_codec.network import (
    ACTIVATION_MAX,
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
    SUM_LIMIT,
    Integers,
    Layer,
    Network,
    table_names,
)
from ncml_codec.tables import CUMULATIVE_ONE, SYMBOLS, TOTAL, Weights
from ncml_codec.wave import Tap, lag, wave_count, wave_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEST, _NORTH, _NORTH_EAST = (0, -1), (-1, 0), (-1, 1)
DEVICES = ("auto", "cpu", "cuda")


def engine(network: Network, device: str = "auto") -> BatchEngine:
    """The engine for a network that has passed `network.check`.

    device: cpu, cuda, or auto, which is cuda where there is one. Raises UsageError.
    """
    if device not in DEVICES:
        raise UsageError(f"device {device!r}: not one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch finds no CUDA device here; try --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return BatchEngine(network, torch.device(device))


class BatchEngine:
    """A network's layers and tables on a device. tf32: whether products may use it."""

    name = "torch"

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device
        self.tf32 = device.type == "cuda" and _exact(device)
        self.first = _Product(network.first, device)
        self.blocks = [(_Product(b.taps, device), _Product(b.gate, device)) for b in network.blocks]
        self.trunks = [_Product(head.trunk, device) for head in network.heads]
        self.earlier = [
            None if head.earlier is None else _Product(head.earlier, device)
            for head in network.heads
        ]
        self.outs = [_Product(head.out, device) for head in network.heads]
        self.tables = {
            name: torch.from_numpy(getattr(network.tables, name).astype("int32")).to(device)
            for name in table_names()
        }
        self.sigmoid = self.tables["sigmoid"].float()

    def __str__(self) -> str:
        if self.device.type == "cpu":
            return "torch (cpu)"
        precision = "TF32" if self.tf32 else "float32"
        return f"torch ({torch.cuda.get_device_name(self.device)}, {precision} products)"

    def walk(self, count: int, height: int, width: int) -> BatchWalk:
        """Begin `count` images of this size."""
        with _precision(self):
            return BatchWalk(self, count, height, width)


class BatchWalk:
    """State of images of one size; as `engines.Walk`, with an axis of images before the pixels'.

    For wave 0, 1, ...: `begin`, then for each plane `high`, `low` and `put`; or `known` instead of
    all of it.
    """

    def __init__(self, engine: BatchEngine, count: int, height: int, width: int) -> None:
        self.engine, self.count, self.height, self.width = engine, count, height, width
        network, device = engine.network, engine.device
        waves = wave_count(height, width)
        spans = [wave_rows(wave, height, width) for wave in range(waves)]
        self.longest = max(stop - first for first, stop in spans)
        clocks = [(wave, first, stop) for wave, (first, stop) in enumerate(spans)]
        self._clocks = torch.tensor(clocks, dtype=torch.int64, device=device)
        self._clock = self._clocks[0].clone()  # wave, first row, one past the last row
        seen = [*network.window, *({_WEST, _NORTH, _NORTH_EAST} - set(network.window))]
        # 4 (x - 128) by plane, 1 if inside
        self._samples = _Ring(self, PLANES + 1, seen)
        self._hidden = [_Ring(self, network.width, network.neighbours) for _ in network.blocks]
        self._near = torch.tensor([seen.index(tap) for tap in network.near], device=device)
        self._sides = torch.tensor(
            [seen.index(tap) for tap in (_WEST, _NORTH, _NORTH_EAST)], device=device
        )
        self.pixels = self.longest
        self._fixed = device.type == "cuda"
        self._steps: dict[tuple[str, int], Callable[[], None]] = {}
        self._reserve(self.longest)
        if self._fixed:
            self._capture()

    def begin(self, wave: int) -> int:
        """Compute what depends on earlier waves; the number of pixels of each image."""
        first, stop = wave_rows(wave, self.height, self.width)
        if stop > first:
            if not self._fixed:
                self._reserve(stop - first)
            self.pixels = stop - first
            self._clock.copy_(self._clocks[wave])
            self._run("begin", 0)
        return max(stop - first, 0)

    def high(self, plane: int) -> Weights:
        """The coder's weights of the high nibbles, [image, pixels, 16]: see `tables.weights`."""
        self._run("high", plane)
        return self._host(self._weights)

    def low(self, plane: int, high: Integers) -> Weights:
        """The weights of the low nibbles given the high ones [image, pixels]."""
        self._nibbles[:, : self.pixels] = torch.from_numpy(high).to(self.engine.device)
        self._run("low", plane)
        return self._host(self._weights)

    def put(self, plane: int, values: Integers) -> None:
        """The wave's samples of this plane, [image, pixels], now known."""
        self._values[:, : self.pixels] = torch.from_numpy(values).to(self.engine.device)
        self._run("put", plane)

    def known(self, wave: int, values: Integers) -> Weights:
        """All weights of a wave whose samples are known, in coding order.

        values: [image, pixels, planes] of the coded planes. Returns [image, 2 planes * pixels, 16].
        What is computed comes to the host once.
        """
        self.begin(wave)
        planes = values.shape[2]
        samples = torch.from_numpy(values).to(self.engine.device)
        parts = []
        for plane in range(PLANES):
            here = samples[:, :, min(plane, planes - 1)]
            if plane < planes:
                self._run("high", plane)
                parts.append(self._weights[:, : self.pixels].clone())
                self._nibbles[:, : self.pixels] = here >> 4
                self._run("low", plane)
                parts.append(self._weights[:, : self.pixels].clone())
            self._values[:, : self.pixels] = here
            self._run("put", plane)
        weights: Weights = torch.cat(parts, 1).cpu().numpy()
        return weights

    @property
    def rows(self) -> int:
        """Rows of the frame."""
        return self._weights.shape[1]

    @property
    def clock(self) -> tuple[Tensor, Tensor, Tensor]:
        """The wave, its first row and one past its last row, on the device."""
        wave, first, stop = self._clock.unbind()
        return wave, first, stop

    def _host(self, weights: Tensor) -> Weights:
        host: Weights = weights[:, : self.pixels].cpu().numpy()
        return host

    def _reserve(self, rows: int) -> None:
        """Everything that a step reads or writes beside the rings, for a frame of `rows`."""
        engine, device = self.engine, self.engine.device
        k = engine.network.k

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros((self.count, rows, *shape), dtype=dtype, device=device)

        self._ranks = torch.arange(SYMBOLS + 1, dtype=torch.int32, device=device)
        self._boundaries = 16 * self._ranks[1:SYMBOLS]
        self._gains = torch.tensor(FEATURE_GAINS, dtype=torch.float32, device=device)
        self._trunk = zeros(engine.network.width, dtype=torch.float32)
        self._reference = zeros(PLANES, dtype=torch.float32)
        self._residuals = zeros(PLANES, dtype=torch.float32)
        self._current = zeros(PLANES + 1, dtype=torch.float32)
        self._mixture = [zeros(k) for _ in range(4)]  # weight, mean, mantissa, shift
        self._weights = zeros(SYMBOLS, dtype=torch.float32)
        self._nibbles, self._values = zeros(), zeros()

    def _run(self, name: str, plane: int) -> None:
        step = self._steps.get((name, plane))
        if step is not None:
            step()
            return
        with _precision(self.engine), torch.inference_mode():
            self._step(name, plane)

    def _step(self, name: str, plane: int) -> None:
        if name == "begin":
            self._begin()
        elif name == "high":
            self._high(plane)
        elif name == "low":
            self._low()
        else:
            self._put(plane)

    def _capture(self) -> None:
        """Every step as a CUDA graph. What running them leaves in the rings is cleared."""
        names = [("begin", 0)]
        for plane in range(PLANES):
            names += [("high", plane), ("low", plane), ("put", plane)]
        with _precision(self.engine), torch.inference_mode():
            stream = torch.cuda.Stream(self.engine.device)
            stream.wait_stream(torch.cuda.current_stream(self.engine.device))
            with torch.cuda.stream(stream):
                for name, plane in names * 2:
                    self._step(name, plane)
            torch.cuda.current_stream(self.engine.device).wait_stream(stream)
            for name, plane in names:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    self._step(name, plane)
                self._steps[name, plane] = graph.replay
            for ring in (self._samples, *self._hidden):
                ring.values.zero_()

    def _begin(self) -> None:
        engine = self.engine
        x = engine.first(self._first_inputs())
        for ring, (taps, gate) in zip(self._hidden, engine.blocks, strict=True):
            ring.write(_leaky(x))
            h = _leaky(taps(ring.gather().permute(1, 2, 0, 3).flatten(2)))
            a, b = gate(h).chunk(2, 2)
            share = a * engine.sigmoid[(b + gate.limit).int()] + (1 << (GATE_BITS - 1))
            x = (x + (share * 2.0**-GATE_BITS).floor()).clamp(-gate.limit, gate.limit)
        self._trunk.copy_(_leaky(x))
        self._current.zero_()
        self._current[:, :, PLANES] = 1

    def _first_inputs(self) -> Tensor:
        """[image, row, input], in the order of FORMAT.md, "Inputs"."""
        seen = self._samples.gather()  # [tap, image, row, plane and flag]
        sides = seen[self._sides]
        self._reference.copy_(self._reference_of(sides))
        window = seen[: len(self.engine.network.window)]
        residuals = (window[..., :PLANES] - self._reference) * window[..., PLANES:]
        near = self._side_by_side(residuals[self._near])
        fine = [(near * gain).clamp(-FEATURE_MAX, FEATURE_MAX) for gain in FEATURE_GAINS[:2]]
        flags = self._side_by_side(sides[..., PLANES:]) * INPUT_UNIT
        return torch.cat([self._side_by_side(residuals), *fine, self._reference, flags], 2)

    def _side_by_side(self, taps: Tensor) -> Tensor:
        """[tap, image, row, feature] as [image, row, tap * feature]."""
        return taps.permute(1, 2, 0, 3).flatten(2)

    def _reference_of(self, sides: Tensor) -> Tensor:
        """2 W + N + NE of levels minus 128; at the borders what is inside stands in."""
        wave, first, _ = self.clock
        i = (first + torch.arange(self.rows, device=self.engine.device))[:, None]
        j = wave - 2 * i
        west, north, north_east = sides[..., :PLANES].unbind()
        north = torch.where(i == 0, west, north)
        north_east = torch.where(i == 0, west, north_east)
        west = torch.where(j == 0, north, west)
        north_east = torch.where(j == self.width - 1, north, north_east)
        return (2 * west + north + north_east) * 0.25

    def _high(self, plane: int) -> None:
        engine, k = self.engine, self.engine.network.k
        z = engine.trunks[plane](self._trunk)
        earlier = engine.earlier[plane]
        if earlier is not None:
            scaled = self._residuals[:, :, :plane, None] * self._gains
            features = scaled.clamp(-FEATURE_MAX, FEATURE_MAX).flatten(2)
            z = (z + earlier(features)).clamp(-earlier.limit, earlier.limit)
        outputs = engine.outs[plane](_leaky(z)).int()
        logits, means, scales, coefficients = outputs.split([k, k, k, plane], 2)
        limit = 8 * COEFFICIENT_UNIT - 1
        residuals = self._residuals[:, :, :plane].int()
        linear = (coefficients.clamp(-limit, limit) * residuals + 8) >> 4
        centre = 16 * self._reference[:, :, plane].int() + linear.sum(2, dtype=torch.int32)
        mean_limit = int(MEAN_RANGE * PARAMETER_UNIT)
        low, top = (int(end * PARAMETER_UNIT) for end in (LOG_SCALE_MIN, LOG_SCALE_MAX))
        index = scales.clamp(low, top) - low
        found = (
            self._softmax(logits),
            (means + centre[:, :, None]).clamp(-mean_limit, mean_limit),
            engine.tables["scale_mantissa"][index],
            engine.tables["scale_shift"][index],
        )
        for kept, new in zip(self._mixture, found, strict=True):
            kept.copy_(new)
        inside = self._cumulative(self._boundaries.expand(self.count, self.rows, -1))
        at = F.pad(F.pad(inside, (1, 0)), (0, 1), value=CUMULATIVE_ONE)
        self._give((at >> 6) - (at >> 26) + self._ranks)

    def _low(self) -> None:
        """Of the mixture that `_high` left."""
        nibble = self._nibbles[:, :, None]
        at = self._cumulative(16 * nibble + self._ranks)
        ranks = self._ranks.expand_as(at)
        at = torch.where((nibble == 0) & (ranks == 0), 0, at)
        at = torch.where((nibble == 15) & (ranks == SYMBOLS), CUMULATIVE_ONE, at)
        inside = (at - at[:, :, :1]).long()
        mass = inside[:, :, SYMBOLS:]
        reciprocal = ((TOTAL - SYMBOLS) << 36) // mass.clamp(min=1)
        cumulative = (inside * reciprocal >> 36) + ranks
        cumulative = torch.where(ranks == SYMBOLS, TOTAL, cumulative)
        self._give(torch.where(mass == 0, (TOTAL // SYMBOLS) * ranks.long(), cumulative))

    def _put(self, plane: int) -> None:
        quarters = 4.0 * (self._values - 128)
        self._current[:, :, plane] = quarters
        self._residuals[:, :, plane] = quarters - self._reference[:, :, plane]
        if plane == PLANES - 1:
            self._samples.write(self._current)

    def _give(self, cumulative: Tensor) -> None:
        self._weights.copy_(cumulative.diff(dim=2) - 1)

    def _softmax(self, logits: Tensor) -> Tensor:
        table = self.engine.tables["exponential"]
        raw = table[(logits.amax(2, keepdim=True) - logits).clamp(max=len(table) - 1)]
        weight = (raw << 14) // raw.sum(2, keepdim=True, dtype=torch.int32)
        rest = (1 << 14) - weight.sum(2, keepdim=True, dtype=torch.int32)
        return torch.cat([weight[:, :, :1] + rest, weight[:, :, 1:]], 2)

    def _cumulative(self, boundaries: Tensor) -> Tensor:
        table, end = self.engine.tables["logistic"], 16 << 13
        weight, mean, mantissa, shift = (part[:, :, None] for part in self._mixture)
        z = (64 * boundaries - (128 * 64 + 32))[..., None] - mean
        z = (z * mantissa >> shift).clamp(-end, end - 1) + end
        index = z >> 8
        below, above = table[index], table[index + 1]
        value = below + ((above - below) * (z & 255) + 128 >> 8)
        return (value * weight).sum(3, dtype=torch.int32)


class _Product:
    """clip(floor((a @ weight + bias) 2**-shift)) of whole numbers in float32.

    weight: [inputs, outputs], or [image, inputs, outputs] where images have weights of their own;
    bias, scale: to match.
    """

    def __init__(self, layer: Layer, device: torch.device) -> None:
        weight = np.ascontiguousarray(layer.weight.T, dtype=np.float32)
        scale = np.ldexp(np.float32(1), -layer.shift).astype(np.float32)
        self.weight = torch.from_numpy(weight).to(device)
        self.bias = torch.from_numpy(layer.bias.astype(np.float32)).to(device)
        self.scale = torch.from_numpy(scale).to(device)
        self.limit = layer.limit

    def __call__(self, inputs: Tensor) -> Tensor:
        sums = torch.matmul(inputs, self.weight) + self.bias
        return (sums * self.scale).floor().clamp(-self.limit, self.limit)


class _Ring:
    """The last waves' values, [slot, image, row, feature]; zero outside the images."""

    def __init__(self, walk: BatchWalk, features: int, taps: Sequence[Tap]) -> None:
        device = walk.engine.device
        self.walk = walk
        self.slots = max(lag(tap) for tap in taps) + 1
        # A ring's turn moves the first row of a wave by at most this; what it leaves is cleared.
        self.lead = self.slots // 2 + 1
        reach = max(abs(di) for di, _ in taps)
        self.margin = reach + self.lead
        self.stride = walk.height + walk.longest + 2 * self.margin
        shape = (self.slots, walk.count, self.stride, features)
        self.values = torch.zeros(shape, dtype=torch.float32, device=device)
        self._lags = torch.tensor([lag(tap) for tap in taps], device=device)[:, None, None]
        self._rows = torch.tensor([di for di, _ in taps], device=device)[:, None, None]
        self._images = torch.arange(walk.count, device=device)[:, None]

    def write(self, values: Tensor) -> None:
        """The wave's values [image, row, feature]; rows of the frame beyond the wave become 0."""
        wave, first, stop = self.walk.clock
        rows = first + torch.arange(-self.lead, self.walk.rows, device=values.device)
        padded = F.pad(values, (0, 0, self.lead, 0))
        inside = ((rows >= first) & (rows < stop))[:, None]
        slot = wave % self.slots
        index = (slot * self.walk.count + self._images) * self.stride + self.margin + rows
        flat = self.values.flatten(0, 2)
        flat.index_copy_(0, index.flatten(), torch.where(inside, padded, 0.0).flatten(0, 1))

    def gather(self) -> Tensor:
        """The neighbours of the wave's pixels, [tap, image, row, feature]."""
        wave, first, _ = self.walk.clock
        rows = first + torch.arange(self.walk.rows, device=self.values.device) + self._rows
        slot = (wave - self._lags) % self.slots
        index = (slot * self.walk.count + self._images) * self.stride + self.margin + rows
        return self.values.flatten(0, 2)[index]


def _leaky(x: Tensor) -> Tensor:
    return torch.maximum(x, (x * 2.0**-LEAK_SHIFT).floor())


@contextmanager
def _precision(engine: BatchEngine) -> Iterator[None]:
    """Products in TF32 if this engine may, else in full float32, whatever the program has set."""
    if engine.device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = engine.tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _exact(device: torch.device) -> bool:
    """Whether TF32 products of whole numbers up to 2047, sums just below 2**24, are exact here."""
    random = torch.Generator().manual_seed(0)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        for rows, inputs, outputs in ((1, 240, 48), (37, 48, 96), (513, 48, 48), (4096, 211, 13)):
            a = torch.randint(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (rows, inputs), generator=random)
            most = (SUM_LIMIT - 1) // (ACTIVATION_MAX * inputs)
            w = torch.randint(-most, most + 1, (inputs, outputs), generator=random)
            w[0] = ACTIVATION_MAX  # the largest weight, too
            a[:, 0] = a[:, 0].clamp(-most, most)
            found = torch.matmul(a.float().to(device), w.float().to(device)).cpu()
            if not torch.equal(found.long(), a @ w):
                return False
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return True
