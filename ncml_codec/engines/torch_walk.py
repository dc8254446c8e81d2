"""Images of one size walk together: the computation of `numpy_engine` with one axis more.

Where they learn, each image has parameters of its own and learns from itself alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ncml_codec.engines.torch_adaptation import LearningHead
from ncml_codec.engines.torch_body import LearningBody
from ncml_codec.engines.torch_colours import Colours
from ncml_codec.engines.torch_device import Steps
from ncml_codec.engines.torch_layers import leaky
from ncml_codec.engines.torch_rings import Frame, Ring, Samples
from ncml_codec.network import FEATURE_GAINS, FEATURE_MAX, PLANES, Integers
from ncml_codec.strength import BODY, STATIC, colour_mode, learning
from ncml_codec.tables import Doubles, Weights

if TYPE_CHECKING:
    from ncml_codec.engines.torch_engine import TorchEngine


class BatchWalk:
    """State of `count` images; as `engines.Walk`, with an axis of images before the pixels'.

    For wave 0, 1, ...: `begin`, then for each plane `high`, `low` and `put`; or, where the wave has
    pixels, `known` or `compared` instead of all of it. adaptation: of all images, see `strength`.
    """

    def __init__(
        self, engine: TorchEngine, count: int, height: int, width: int, adaptation: int
    ) -> None:
        network, place = engine.network, engine.place.device
        mode, strength = colour_mode(adaptation), learning(adaptation)
        rate = strength % BODY
        self.engine, self._steps = engine, Steps(engine.place)
        self.learning = [
            LearningHead(head, network.k, rate, count, place)
            for head in network.heads
            if rate != STATIC
        ]
        self.body: LearningBody | None = None
        if strength >= BODY:
            self.body = LearningBody(network, self.learning, rate, count, place)
        self.colours = Colours(mode, count, place) if mode else None
        frame = Frame(height, width, engine.place.record is not None, place)
        self._frame, self._samples = frame, Samples(frame, count, network)
        self._hidden = [
            Ring(frame, count, network.width, network.neighbours) for _ in network.blocks
        ]
        self._gains = torch.tensor(FEATURE_GAINS, dtype=torch.int32, device=place)
        self._nibbles = torch.zeros((count, frame.longest), dtype=torch.int32, device=place)
        self._values = torch.zeros_like(self._nibbles)
        self._static_bits = torch.zeros(count, dtype=torch.float64, device=place)
        self._inner: dict[int, Tensor] = {}  # by plane: what its head passes back to the body
        self._coding = -1  # the plane whose distributions were asked for last
        self._coded = 0  # planes of the wave

    @property
    def static_bits(self) -> Doubles:
        """Of the waves that were `compared`: each image's code length by the model's own heads."""
        bits: Doubles = self._static_bits.cpu().numpy()
        return bits

    def begin(self, wave: int) -> int:
        """Compute what depends on earlier waves; the number of pixels of each image."""
        if self.body is not None and self._coded:
            self._steps.run(self._learn_body, self._coded)
        self._coding, self._coded = -1, 0
        pixels = self._frame.move(wave)
        if pixels:
            self._steps.run(self._begin, PLANES)
        return pixels

    def high(self, plane: int) -> Weights:
        """The coder's weights of the high nibbles, [image, pixels, 16]: see `tables.weights`."""
        return _on_host(self._weights(self._high, plane))

    def low(self, plane: int, high: Integers) -> Weights:
        """The weights of the low nibbles given the high ones [image, pixels]."""
        self._nibbles[:, : self._frame.pixels] = self._on_device(high)
        return _on_host(self._weights(self._low, plane))

    def put(self, plane: int, values: Integers) -> None:
        """The wave's samples of this plane, [image, pixels], now known."""
        self._values[:, : self._frame.pixels] = self._on_device(values)
        self._learn_and_put(plane)

    def known(self, wave: int, values: Integers) -> Weights:
        """All weights of a wave whose samples are known, in coding order.

        values: [image, pixels, planes] of the coded planes. Returns [image, 2 planes * pixels, 16].
        What is computed comes to the host once.
        """
        return self._show(wave, values, ())

    def compared(self, wave: int, values: Integers) -> Weights:
        """As `known`, where heads alone learn; and `static_bits` grow by what the wave takes
        without learning. Only the heads are computed twice."""
        return self._show(wave, values, (self._count_static,))

    def _show(
        self, wave: int, values: Integers, more: tuple[Callable[[int], Tensor | None], ...]
    ) -> Weights:
        pixels, planes = self.begin(wave), values.shape[2]
        samples, parts = self._on_device(values), []
        for plane in range(PLANES):
            self._values[:, :pixels] = samples[:, :, min(plane, planes - 1)]
            if plane < planes:
                self._nibbles[:, :pixels] = samples[:, :, plane] >> 4
                parts += [self._weights(step, plane) for step in (self._high, self._low)]
                for step in more:
                    self._steps.run(step, plane)
            self._learn_and_put(plane)
        return _on_host(torch.cat(parts, 1))

    def _weights(self, step: Callable[[int], Tensor], plane: int) -> Tensor:
        self._coding = plane
        weights = self._steps.run(step, plane)
        assert weights is not None
        return weights[:, : self._frame.pixels]

    def _learn_and_put(self, plane: int) -> None:
        if self.learning and self._coding == plane:
            self._steps.run(self._learn, plane)
            self._coded = plane + 1
        if self._colours_of(plane) is not None and self._coding == plane:
            self._steps.run(self._learn_colours, plane)
        self._steps.run(self._put, plane)

    def _on_device(self, values: Integers) -> Tensor:
        return torch.from_numpy(values).to(self._values.device)

    # What follows are the steps and what they use. See `Steps` for what they may do.

    def _begin(self, planes: int) -> None:
        frame, body = self._frame, self.body or self.engine.body
        inputs, reference = self._samples.inputs()
        x = body.first(inputs)
        for index, ring in enumerate(self._hidden):
            ring.write(leaky(x).float())
            x = body.block(index, ring.gather().flatten(2), x)
        self._trunk, self._reference = leaky(x).float(), reference.int()
        self._residuals = torch.zeros_like(self._reference[:, :, :planes])
        rows = frame.image_rows()
        self._phases = 2 * (rows & 1) + (frame.number & 1)
        self._inside = (rows < frame.stop)[:, None]
        self._pixels = (frame.stop - frame.first).double()

    def _high(self, plane: int) -> Tensor:
        head = self.learning[plane] if self.learning else self.engine.heads[plane]
        self._outputs = head.outputs(self._trunk, self._features(plane), self._phases)
        self._mixture = self.engine.distribution.mixture(self._outputs, *self._context(plane))
        colours = self._colours_of(plane)
        if colours is not None:
            levels = self.engine.distribution.levels(self._mixture)
            self._masses = colours.masses(plane, levels, self._earlier(plane))
            return self._masses.high()
        return self.engine.distribution.high(self._mixture)

    def _low(self, plane: int) -> Tensor:
        """Of the mixture, and the masses, that `_high` left."""
        high = self._nibbles[:, : self._frame.rows]
        weights = self.engine.distribution.low(self._mixture, high)
        return weights if self._colours_of(plane) is None else self._masses.low(high, weights)

    def _count_static(self, plane: int) -> None:
        """What the plane's samples take by the model's own head."""
        head, distribution = self.engine.heads[plane], self.engine.distribution
        outputs = head.outputs(self._trunk, self._features(plane), self._phases)
        mixture = distribution.mixture(outputs, *self._context(plane))
        bits = distribution.bits(mixture, self._values[:, : self._frame.rows])
        self._static_bits += (bits * self._inside[:, 0]).sum(1)

    def _learn(self, plane: int) -> None:
        gradient = self.engine.distribution.gradients(
            self._mixture,
            self._outputs,
            self._values[:, : self._frame.rows],
            self._residuals[:, :, :plane],
        )
        inner = self.learning[plane].learn(gradient * self._inside, self._pixels)
        self._inner[plane] = inner

    def _learn_colours(self, plane: int) -> None:
        colours = self._colours_of(plane)
        assert colours is not None
        values, inside = self._values[:, : self._frame.rows], self._inside[:, 0]
        colours.learn(plane, values, self._earlier(plane), inside)

    def _put(self, plane: int) -> None:
        quarters = 4 * (self._values[:, : self._frame.rows] - 128)
        self._residuals[:, :, plane] = quarters - self._reference[:, :, plane]
        self._samples.put(plane, quarters)

    def _learn_body(self, planes: int) -> None:
        """From the heads of so many planes."""
        assert self.body is not None
        self.body.learn([self._inner[plane] for plane in range(planes)], self._pixels)

    def _context(self, plane: int) -> tuple[Tensor, Tensor]:
        """The plane's reference, and the residuals of the planes before it."""
        return self._reference[:, :, plane], self._residuals[:, :, :plane]

    def _colours_of(self, plane: int) -> Colours | None:
        """If there are factors on this plane's levels."""
        return self.colours if self.colours is not None and self.colours.concern(plane) else None

    def _earlier(self, plane: int) -> Tensor:
        """The samples of the planes before it, [image, row, plane]."""
        quarters = self._residuals[:, :, :plane] + self._reference[:, :, :plane]
        return (quarters >> 2) + 128

    def _features(self, plane: int) -> Tensor | None:
        """What a plane's head sees of the planes before it."""
        if plane == 0:
            return None
        scaled = self._residuals[:, :, :plane, None] * self._gains
        return scaled.clamp(-FEATURE_MAX, FEATURE_MAX).flatten(2).float()


def _on_host(weights: Tensor) -> Weights:
    host: Weights = weights.cpu().numpy()
    return host
