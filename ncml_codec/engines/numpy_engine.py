"""The reference engine, in numpy: the specification of the wave walk, and fast enough to use.

Whole numbers in float32 throughout, see `numpy_layers`.

Activations are stored by wave in rings: the neighbour (di, dj) of all the wave's pixels is one
contiguous slice, slot (s + dj + 2 di) mod R, rows i + di.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ncml_codec.engines import numpy_whole
from ncml_codec.engines.numpy_layers import (
    NORTH,
    NORTH_EAST,
    WEST,
    Floats,
    Layers,
    leaky,
    residual_features,
    without_warnings,
)
from ncml_codec.engines.stepwise import steps
from ncml_codec.entropy.coder import Decoder
from ncml_codec.network import distribution
from ncml_codec.network.adaptation import STATIC, Adaptation, Learns
from ncml_codec.network.body_learning import AdaptiveBody
from ncml_codec.network.colour_counts import Colours, Masses
from ncml_codec.network.distribution import Mixtures, Weights
from ncml_codec.network.head_learning import AdaptiveHead, Coded, gradients
from ncml_codec.network.integer_network import PLANES, Integers, Network
from ncml_codec.network.wave_order import Tap, lag, wave_count, wave_pixels, wave_rows


def engine(network: Network, threads: int = 1) -> NumpyEngine:
    """The engine for a network that has passed `integer_network.check`.

    threads: those of numpy's BLAS.
    """
    del threads
    return NumpyEngine(network)


class NumpyEngine:
    """A network, its layers as float32 matrices."""

    name = "numpy"

    def __init__(self, network: Network) -> None:
        self.network = network
        self.layers = Layers(network)

    def __str__(self) -> str:
        return self.name

    def walk(self, height: int, width: int, adaptation: Adaptation = STATIC) -> NumpyWalk:
        return NumpyWalk(self, height, width, adaptation)

    def survey(
        self,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
        others: Collection[Adaptation] = (),
    ) -> NumpySurvey:
        """See `engines.Engine`."""
        return NumpySurvey(self, samples, adaptation, others)

    def read(
        self,
        payload: bytes | memoryview,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation = STATIC,
    ) -> Iterator[int]:
        """See `engines.Engine`."""
        walk = self.walk(samples.shape[0], samples.shape[1], adaptation)
        return steps(walk, samples, Decoder(payload), is_known=False)

    def code_length(self, samples: npt.NDArray[np.uint8]) -> float:
        """See `engines.Engine`."""
        return numpy_whole.code_length(self.layers, samples)


class NumpyWalk:
    """State of one image; see `engines.Walk`."""

    def __init__(
        self, engine: NumpyEngine, height: int, width: int, adaptation: Adaptation
    ) -> None:
        network = engine.network
        mode, strength = adaptation.colour_mode, adaptation.strength
        self.colours = Colours(mode) if mode else None
        self.adaptive = [
            AdaptiveHead(head, network.k, strength) for head in network.heads if adaptation.learns
        ]
        body = adaptation.learns == Learns.NETWORK
        self.body = AdaptiveBody(network, self.adaptive, strength) if body else None
        self.coded = 0  # planes of the last wave
        self.last = np.empty((0, network.width), np.float32)  # its x after all blocks
        self.engine, self.height, self.width = engine, height, width
        seen = {*network.window, WEST, NORTH, NORTH_EAST}
        self.samples = _Ring(height, PLANES + 1, seen)  # 4 (x - 128) by plane, 1 if inside
        self.hidden = [_Ring(height, network.width, network.neighbours) for _ in network.blocks]

    @without_warnings
    def begin(self, wave: int) -> int:
        if self.body is not None:
            if self.coded:
                self.body.learn(_doubles(self.last), self.coded)
            self.body.remember_heads()
        self.wave, self.coded = wave, 0
        self.rows = wave_rows(wave, self.height, self.width)
        self._window()
        engine = self.engine
        inputs = engine.layers.first_inputs(self.slices, self.reference)
        if self.body is None:
            x = engine.layers.first(inputs)
        else:
            x = _floats(self.body.first(_doubles(inputs)))
        for index, ring in enumerate(self.hidden):
            ring.open(wave, self.rows)[:] = leaky(x)
            neighbours = ring.gather(wave, self.rows)
            if self.body is None:
                x = engine.layers.block(index, neighbours, x)
            else:
                x = _floats(self.body.block(index, _doubles(neighbours), _doubles(x)))
        self.last = x
        self.trunk = leaky(x)
        self.current = self.samples.open(wave, self.rows)
        self.current[:, PLANES] = 1
        self.residuals = np.empty((len(x), PLANES), np.int32)
        self.values = np.empty((len(x), PLANES), np.int32)
        self.coding = -1
        return len(x)

    @without_warnings
    def high(self, plane: int) -> Weights:
        engine, features = self.engine, self._features(plane)
        if self.adaptive:
            seen = None if features is None else _doubles(features)
            outputs = self.adaptive[plane].outputs(_doubles(self.trunk), seen, self._phases())
        else:
            outputs = engine.layers.head(plane, self.trunk, features)
        self.coding, self.outputs = plane, outputs
        self.mixture = self._mixture(plane, outputs)
        self.masses: Masses | None = None
        if self.colours is not None and self.colours.concern(plane):
            earlier = self.values[:, :plane]
            self.masses = self.colours.masses(plane, self.mixture, earlier, engine.network.tables)
            return distribution.weights(self.masses.high_counts())
        return distribution.weights(distribution.high_counts(self.mixture, engine.network.tables))

    def low(self, plane: int, high: Integers) -> Weights:
        network_tables = self.engine.network.tables
        if self.masses is not None:
            return distribution.weights(self.masses.low_counts(self.mixture, high, network_tables))
        return distribution.weights(distribution.low_counts(self.mixture, high, network_tables))

    @without_warnings
    def static_bits(self, plane: int, values: Integers) -> float:
        """What these samples take by the model's own head, in bits, if only heads learn. Asked
        before they are `put`, as is `mode_bits`."""
        outputs = self.engine.layers.head(plane, self.trunk, self._features(plane))
        mixture = self._mixture(plane, outputs)
        return distribution.sample_bits(mixture, values, self.engine.network.tables)

    def mode_bits(self, plane: int, mode: int, values: Integers) -> float:
        """What these samples take with a lower colour mode, in bits."""
        assert self.colours is not None
        network_tables = self.engine.network.tables
        masses = self.colours.masses_in(mode, plane)
        if masses is None:
            return distribution.sample_bits(self.mixture, values, network_tables)
        high = values >> 4
        below = masses.low_counts(self.mixture, high, network_tables)
        return distribution.bits(masses.high_counts(), high) + distribution.bits(below, values & 15)

    @without_warnings
    def put(self, plane: int, values: Integers) -> None:
        if self.adaptive and self.coding == plane:
            k = self.engine.network.k
            coded = Coded(values, self.outputs[:, 2 * k : 3 * k], self.residuals[:, :plane])
            gradient = gradients(self.mixture, coded, self.engine.network.tables)
            self.adaptive[plane].learn(gradient)
            self.coded = plane + 1
        if self.colours is not None and self.coding == plane:
            self.colours.learn(values)
        self.values[:, plane] = values
        quarters = 4 * (values.astype(np.int32) - 128)
        self.current[:, plane] = quarters
        self.residuals[:, plane] = quarters - self.reference[:, plane].astype(np.int32)

    def _features(self, plane: int) -> Floats | None:
        """What a plane's head sees of the planes before it."""
        return residual_features(self.residuals[:, :plane]) if plane else None

    def _mixture(self, plane: int, outputs: Integers) -> Mixtures:
        return distribution.mixtures(
            outputs,
            self.engine.network.k,
            self.reference[:, plane].astype(np.int32),
            self.residuals[:, :plane],
            self.engine.network.tables,
        )

    def _phases(self) -> Integers:
        """(row mod 2) * 2 + column mod 2 of every pixel."""
        rows = np.arange(*self.rows, dtype=np.int32)
        return (rows & 1) * 2 + (self.wave & 1)

    def _window(self) -> None:
        """Neighbours of every pixel, 4 (x - 128), and the reference 2 W + N + NE of x - 128."""
        slices = {tap: self.samples.at(self.wave, self.rows, tap) for tap in self.samples.taps}
        west, north, north_east = (
            slices[tap][:, :PLANES].copy() for tap in (WEST, NORTH, NORTH_EAST)
        )
        first, stop = self.rows
        if first == 0:
            north[0] = north_east[0] = west[0]
        if self.wave - 2 * (stop - 1) == 0:
            west[-1] = north[-1]
        if self.wave - 2 * first == self.width - 1:
            north_east[0] = north[0]
        self.slices = slices
        self.reference: Floats = (west + west + north + north_east) * np.float32(0.25)


class NumpySurvey:
    """A walk along a known image; see `engines.Survey`."""

    def __init__(
        self,
        engine: NumpyEngine,
        samples: npt.NDArray[np.uint8],
        adaptation: Adaptation,
        others: Collection[Adaptation],
    ) -> None:
        self.engine, self.samples, self.adaptation = engine, samples, adaptation
        self.code_lengths = dict.fromkeys(others, 0.0)  # of the waves so far

    def __iter__(self) -> Iterator[tuple[Weights, Integers]]:
        height, width, planes = self.samples.shape
        pixels = np.ascontiguousarray(self.samples).reshape(-1, planes)
        walk = self.engine.walk(height, width, self.adaptation)
        for wave in range(wave_count(height, width)):
            if walk.begin(wave) == 0:
                continue
            here = pixels[wave_pixels(wave, height, width)].astype(np.int32)
            weights: list[Weights] = []
            symbols: list[Integers] = []
            for plane in range(PLANES):
                known = here[:, min(plane, planes - 1)]
                if plane < planes:
                    nibbles = [known >> 4, known & 15]
                    weights += [walk.high(plane), walk.low(plane, nibbles[0])]
                    symbols += nibbles
                    for other in self.code_lengths:
                        self.code_lengths[other] += (
                            walk.mode_bits(plane, other.colour_mode, known)
                            if other.learning == self.adaptation.learning
                            else walk.static_bits(plane, known)
                        )
                walk.put(plane, known)
            yield np.concatenate(weights), np.concatenate(symbols)


class _Ring:
    """The last waves' values, [slot, row, feature]; zero outside the image."""

    def __init__(self, height: int, features: int, taps: Sequence[Tap] | set[Tap]) -> None:
        self.taps = list(taps)
        self.slots = max(lag(tap) for tap in taps) + 1
        self.reach = max(abs(di) for di, _ in taps)
        self.margin = self.reach + self.slots
        self.values = np.zeros((self.slots, height + 2 * self.margin, features), np.float32)

    def open(self, wave: int, rows: tuple[int, int]) -> Floats:
        """The wave's own rows, to be written; around them the slot's older wave is cleared.

        A ring's turn moves the ends of a wave by at most slots / 2 rows.
        """
        slot = self.values[wave % self.slots]
        first, stop = rows[0] + self.margin, rows[1] + self.margin
        slot[first - self.slots : first] = 0
        slot[stop : stop + self.slots] = 0
        rows_open: Floats = slot[first:stop]
        return rows_open

    def at(self, wave: int, rows: tuple[int, int], tap: Tap) -> Floats:
        """The neighbours at `tap` of the wave's pixels, a view."""
        slot = self.values[(wave - lag(tap)) % self.slots]
        shift = self.margin + tap[0]
        neighbours: Floats = slot[rows[0] + shift : rows[1] + shift]
        return neighbours

    def gather(self, wave: int, rows: tuple[int, int]) -> Floats:
        """All neighbours of the wave's pixels side by side, taps in order."""
        parts = [self.at(wave, rows, tap) for tap in self.taps]
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _doubles(x: Floats) -> npt.NDArray[np.float64]:
    return x.astype(np.float64)


def _floats(x: npt.NDArray[np.float64]) -> Floats:
    return x.astype(np.float32)
