"""Every engine and instruction set of this machine, and what tests ask of them all."""

from __future__ import annotations

import numpy as np
import pytest

from ncml_codec import engines
from ncml_codec.encode.tile_encoder import code_survey
from ncml_codec.engines import Engine, Walk
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Coder
from ncml_codec.format.tiles import adaptation_of
from ncml_codec.network.adaptation import STATIC, Adaptation
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers, Network
from ncml_codec.network.wave_order import wave_rows
from tests.builders.networks import random_network
from tests.builders.pictures import Samples

# In the order in which the native engine looks for them.
INSTRUCTION_SETS = ["avx512vnni", "avx512", "avxvnni", "avx2", "neon", "portable"]


class Recorder:
    """A coder that keeps the counts."""

    def __init__(self) -> None:
        self.counts: list[Integers] = []

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self.counts.append(weights.astype(np.int32) + 1)
        return symbols


class Stepwise:
    """An engine without its survey, so that it is walked stage by stage."""

    def __init__(self, engine: Engine) -> None:
        self.name, self._engine = engine.name, engine

    def walk(self, height: int, width: int, adaptation: Adaptation = STATIC) -> Walk:
        return self._engine.walk(height, width, adaptation)


def code(engine: Engine | Stepwise, array: Samples, coder: Coder, byte: int = 0) -> None:
    """Encode a tile by the engine's survey, or by its walk if it is `Stepwise`.

    byte: states the adaptation, as everywhere in these builders.
    """
    adaptation = adaptation_of(byte)
    if isinstance(engine, Stepwise):
        walk_tile(engine, array.shape, array, coder, adaptation=adaptation)
        return
    survey = engine.survey(np.ascontiguousarray(array), adaptation)
    code_survey(survey, array.shape[2], coder, lambda pixels: None)


def all_counts(
    engine: str | Engine | Stepwise, network: Network, array: Samples, byte: int = 0
) -> Integers:
    recorder = Recorder()
    engine = engines.load(engine, network) if isinstance(engine, str) else engine
    code(engine, array, recorder, byte)
    return np.concatenate(recorder.counts)


def native(network: Network, isa: str, threads: int = 1) -> Engine:
    """The native engine with this instruction set; skips the test where there is none."""
    missing = engines.why_not_native()
    if missing:
        pytest.skip(f"no native engine: {missing}")
    from ncml_codec.engines.native_engine import INSTRUCTION_SETS as HERE
    from ncml_codec.engines.native_engine import NativeEngine

    if isa not in HERE:
        pytest.skip(f"this processor or this build has no {isa}")
    return NativeEngine(network, threads, isa)


def engine_of(name: str, network: Network, threads: int = 1) -> Engine:
    """The engine of this name, or the native one with this instruction set; skips as `native`."""
    if name in INSTRUCTION_SETS:
        return native(network, name, threads)
    return engines.load(name, network)


def drawn(
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    room: int = 1,
) -> tuple[Network, Samples]:
    """A network and an image of noise for it. room: of `random_network`."""
    array = np.random.default_rng(seed).integers(0, 256, (*size, planes), np.uint8)
    return random_network(seed, width, blocks, hidden, k, room=room), array


def assert_causal(engine: Engine | str, network: Network, before: Samples, adaptation: int) -> None:
    """A pixel changes no counts of earlier and equal waves, and those of a later one if there is
    any."""
    first = all_counts(engine, network, before, adaptation)
    bottom, right = before.shape[0] - 1, before.shape[1] - 1
    places = ((0, 0), (bottom // 2, right // 2), (bottom, right), (bottom // 3, 0), (0, right))
    for row, column in places:
        after = before.copy()
        after[row, column] ^= 255
        second = all_counts(engine, network, after, adaptation)
        place = first_row_of_pixel(before.shape, row, column)
        assert (first[:place] == second[:place]).all()
        assert (first[place:] != second[place:]).any() or (row, column) == (bottom, right)


def first_row_of_pixel(shape: tuple[int, ...], row: int, column: int) -> int:
    """Where the wave of a pixel begins in the counts, plus nothing of the wave itself but plane 0's
    high nibbles, which depend on earlier waves alone."""
    wave = column + 2 * row
    sizes = []
    for earlier in range(wave + 1):
        first, stop = wave_rows(earlier, shape[0], shape[1])
        sizes.append(stop - first)
    return 6 * sum(sizes[:-1]) + sizes[-1]
