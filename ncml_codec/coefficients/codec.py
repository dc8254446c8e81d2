"""Coefficients of a JPEG file to bytes and back, by a network of integers.

The order is this. Components come one after the other, each with corrections of its own. A plane's
waves come in order; within a wave first the ends of all its blocks, then coefficient 1 of those
blocks whose end is 1 or more, coefficient 2 likewise, up to 63, at last DC of all blocks. Within
each of these, decisions come round by round (`decisions`): the first of every block from the top
down, then the second of those blocks that have one, and so on. Corrections learn after each round.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ncml_codec.coefficients.decisions import (
    Corrections,
    code_choices,
    code_numbers,
)
from ncml_codec.coefficients.mixtures import exponentials, mixtures
from ncml_codec.coefficients.network import LAST, Block, Network, PlaneNetwork, trunk
from ncml_codec.coefficients.planes import Plane, Shapes, plane_of
from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.entropy.coder import Coder, Decoder, Encoder, Meter
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.network.wave_order import wave_count

Coefficients = npt.NDArray[np.int16]  # [rows, columns, 64], zigzag order, quantised


ENGINES = ("auto", "native", "python")


def encode(
    coefficients: Sequence[Coefficients],
    layout: Shapes,
    network: Network,
    *,
    static: bool = False,
    engine: str = "auto",
) -> bytes:
    """The payload of all components, shaped as the layout says.

    static: nothing is learned. engine: all give the same bytes. Raises UsageError.
    """
    if _is_native(engine):
        from ncml_codec.coefficients import native_walk

        return native_walk.encode(tuple(coefficients), layout, network, static)
    encoder = Encoder()
    _code(encoder, layout, network, static, coefficients)
    return encoder.finish()


def decode(
    payload: bytes,
    layout: Shapes,
    network: Network,
    *,
    static: bool = False,
    engine: str = "auto",
) -> tuple[Coefficients, ...]:
    """What `encode` was given. Raises FormatError at some damage; most goes unnoticed."""
    if _is_native(engine):
        from ncml_codec.coefficients import native_walk

        return native_walk.decode(payload, layout, network, static)
    return _code(Decoder(payload), layout, network, static, None)


def code_length(
    coefficients: Sequence[Coefficients], layout: Shapes, network: Network, *, static: bool = False
) -> float:
    """The ideal code length in bits, which the payload exceeds by a word or two."""
    meter = Meter()
    _code(meter, layout, network, static, coefficients)
    return meter.bits


def why_not_native() -> str | None:
    """Why native code cannot run, or None if it can."""
    try:
        importlib.import_module("ncml_codec.coefficients._native")
    except ImportError as error:
        return f"its module is not here or cannot be loaded: {error}"
    return None


def _is_native(engine: str) -> bool:
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: not one of {', '.join(ENGINES)}")
    missing = why_not_native() if engine != "python" else None
    if engine == "native" and missing:
        raise UsageError(f"engine native: {missing}")
    return engine != "python" and not missing


class _Learned:
    """What one component's decisions have taught."""

    def __init__(self, static: bool) -> None:
        self.ends, self.numbers = Corrections(1, LAST + 1), Corrections(64)
        self.ends.static = self.numbers.static = static


def _code(
    coder: Coder,
    layout: Shapes,
    network: Network,
    static: bool,
    known: Sequence[Coefficients] | None,
) -> tuple[Coefficients, ...]:
    before: list[Coefficients] = []
    for index in range(len(layout.shapes)):
        plane = plane_of(layout, index, before)
        walk = _Walk(coder, network.plane(index), network, index == 2, _Learned(static))
        walk.code(plane, None if known is None else known[index])
        before.append(plane.coefficients())
    return tuple(before)


class _Walk:
    """Through one component, encoding and decoding alike."""

    def __init__(
        self, coder: Coder, own: PlaneNetwork, network: Network, third: bool, learned: _Learned
    ) -> None:
        self.coder, self.network, self.tables = coder, own, network.tables
        self.third, self.learned = third, learned

    def code(self, plane: Plane, known: Coefficients | None) -> None:
        for number in range(wave_count(plane.rows, plane.columns)):
            rows, columns = plane.wave(number)
            if len(rows) == 0 or not (0 <= columns[0] < plane.columns):
                continue
            wave = None if known is None else known[rows, columns].astype(np.int64)
            plane.add(rows, columns, self._wave(plane, rows, columns, wave))

    def _wave(
        self,
        plane: Plane,
        rows: npt.NDArray[np.intp],
        columns: npt.NDArray[np.intp],
        known: Integers64 | None,
    ) -> npt.NDArray[np.int32]:
        """The blocks of a wave, [n, 64]."""
        seen = plane.seen(rows, columns)
        before = trunk(self.network, seen, plane.steps, self.third, self.tables)
        masses = exponentials(self.network.end(before.hidden).astype(np.int64), self.tables)
        known_end = None if known is None else ends(known)
        end = code_choices(masses, self.coder, self.learned.ends, known_end)
        block = Block(self.network, before, end, plane.steps, self.tables)
        found = np.zeros((len(rows), 64), np.int64)
        for k in range(1, int(end.max()) + 1):
            here = np.flatnonzero(end >= k)
            values = self._numbers(block, k, here, end[here] > k, known)
            found[here, k] = values
            block.add(k, here, values)
        level = seen.level.astype(np.int64)
        relative = None if known is None else known - level[:, None]
        everyone = np.arange(len(rows))
        found[:, 0] = level + self._numbers(block, 0, everyone, everyone >= 0, relative)
        if found.min() < -(1 << 15) or found.max() >= 1 << 15:
            raise FormatError("JPEG coefficients: a coefficient of more than 16 bits")
        return found.astype(np.int32)

    def _numbers(
        self,
        block: Block,
        k: int,
        rows: npt.NDArray[np.intp],
        may_be_zero: npt.NDArray[np.bool_],
        known: Integers64 | None,
    ) -> Integers64:
        outputs, mean = block.outputs(k, rows)
        distribution = mixtures(outputs, mean, self.tables)
        own = None if known is None else known[rows, k]
        corrections = self.learned.numbers
        return code_numbers(distribution, may_be_zero, self.coder, corrections, k, own)


def ends(blocks: npt.NDArray[np.integer]) -> Integers64:
    """The place of each block's last coefficient that is not 0, without DC; 0 if there is none."""
    places: Integers64 = (np.arange(64) * (blocks != 0)).max(axis=1).astype(np.int64)
    return places
