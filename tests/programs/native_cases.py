"""Cases of the native decoder's fuzzing, `tests.programs.native_fuzz`, and the laws they obey.

A case is what one call into native code is given: an image's size, a network, an adaptation, an
instruction set, threads, and a payload. The laws: every instruction set and every number of threads
give the same samples or the same refusal, and what is encoded comes back.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.context_mixing.passes import code
from ncml_codec.context_mixing.walk import Plan
from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.engines import _native
from ncml_codec.engines.native_engine import INSTRUCTION_SETS, ISA_VARIABLE, NativeEngine
from ncml_codec.entropy import range_coder
from ncml_codec.errors import FormatError
from ncml_codec.format.tiles import adaptation_of
from ncml_codec.network.adaptation import Learns
from ncml_codec.network.distribution import Weights
from ncml_codec.network.integer_network import Integers, Network, check, named_layers, table_names
from ncml_codec.network.model_file import Model, read_model
from ncml_codec.network.wave_order import lag
from tests.builders.networks import extreme_network, random_network
from tests.builders.pictures import GOLDEN

LARGEST = 1 << 14  # pixels of an image of kind `file`

Samples = npt.NDArray[np.uint8]
Settings = dict[str, Any]


class LawBroken(Exception):
    """Two computations that must agree do not."""


@dataclass(frozen=True)
class Case:
    """One call into native code. settings: all but the payload, as JSON has it."""

    kind: str
    settings: Settings
    payload: bytes

    def to_bytes(self) -> bytes:
        """A line of JSON, and the payload."""
        line = json.dumps({"kind": self.kind, **self.settings}, sort_keys=True)
        return line.encode() + b"\n" + self.payload

    @staticmethod
    def from_bytes(data: bytes) -> Case:
        line, _, payload = data.partition(b"\n")
        settings = json.loads(line)
        return Case(settings.pop("kind"), settings, payload)


def run_case(case: Case) -> list[str]:
    """What the case was, as it is counted. Raises LawBroken, or ends the process."""
    return _RUNS[case.kind](case.settings, case.payload)


def run_network(settings: Settings, payload: bytes) -> list[str]:
    """Decode a payload twice, by other instruction sets and threads."""
    network = network_of(settings["network"])
    shape, adaptation = tuple(settings["shape"]), settings["adaptation"]
    found = [
        decoded(engine_of(network, how), payload, shape, adaptation) for how in settings["engines"]
    ]
    equal(found[0], found[1], "engines decode differently")
    labels = [f"decode, {learner(adaptation)}", "refused" if found[0] is None else "decoded"]
    return [*labels, *engine_labels(settings)]


def run_encode(settings: Settings, payload: bytes) -> list[str]:
    """Encode the payload's bytes as samples; by others they come back."""
    network = network_of(settings["network"])
    shape, adaptation = tuple(settings["shape"]), settings["adaptation"]
    samples = np.resize(np.frombuffer(payload, np.uint8), shape)
    first, second = (engine_of(network, how) for how in settings["engines"])
    words = encoded(first, samples, adaptation)
    equal(decoded(second, words, shape, adaptation), samples, "samples do not come back")
    if not np.isfinite(first.code_length(samples)):
        raise LawBroken("a code length that is no number")
    return [f"encode, {learner(adaptation)}", *engine_labels(settings)]


def run_mixing(settings: Settings, payload: bytes) -> list[str]:
    """Decode a payload of the mixing coder, and encode what it holds."""
    plan = plan_of(settings)
    label = f"mixing{', candidates' * plan.candidates}{', fitted' * plan.fitted}"
    try:
        samples = code(plan, None, NativeCoder(payload), "native")
    except FormatError:
        return [label, "refused"]
    for component, depth in zip(samples, plan.depths, strict=True):
        if component.size and int(component.max()) >> depth:
            raise LawBroken(f"a sample of more than {depth} bits")
    if settings["again"]:
        again = code(plan, None, NativeCoder(mixing_encoded(plan, samples)), "native")
        equal(again, samples, "samples of the mixing coder do not come back")
    return [label, "decoded"]


def run_mixing_encode(settings: Settings, payload: bytes) -> list[str]:
    """Encode the payload's numbers of 16 bits as samples: they come back."""
    plan, samples = plan_of(settings), mixing_samples(settings, payload)
    again = code(plan, None, NativeCoder(mixing_encoded(plan, samples)), "native")
    equal(again, samples, "samples of the mixing coder do not come back")
    return ["mixing, encode"]


def run_coder(settings: Settings, payload: bytes) -> list[str]:
    """The range coder by rows of any weights: what plain Python finds, or a refusal."""
    weights = rows_of(**settings["rows"])
    decoder = _native.RangeDecoder(np.frombuffer(payload, np.uint8))
    try:
        found = decoder.decode(weights)
    except ValueError:
        if settings["rows"]["sound"]:
            raise
        return ["range coder", "rows refused"]
    if settings["rows"]["sound"]:
        expected = range_coder.RangeDecoder(np.frombuffer(payload, np.uint8)).decode(weights)
        equal(found, expected, "the range coders differ")
    if found is not None and not ((found >= 0) & (found < weights.shape[1])).all():
        raise LawBroken("a symbol that is not in its alphabet")
    return ["range coder", "refused" if found is None else "decoded"]


def run_file(settings: Settings, payload: bytes) -> list[str]:
    """A `.ncmz` file with sound checksums: a picture or a FormatError."""
    isa, threads = settings["engines"][0]
    os.environ[ISA_VARIABLE] = INSTRUCTION_SETS[isa % len(INSTRUCTION_SETS)]
    try:
        image_decoder.decode(payload, [golden()], Effort("native", threads), max_pixels=LARGEST)
    except FormatError:
        return ["resealed file", "refused"]
    finally:
        del os.environ[ISA_VARIABLE]
    return ["resealed file", "decoded"]


def run_unsound(settings: Settings, payload: bytes) -> list[str]:
    """A network that `integer_network.check` never saw: refused, or what it decodes is harmless."""
    network = network_of(settings["network"])
    arguments = unsound(network, settings["change"])
    isa = settings["engines"][0][0] % len(INSTRUCTION_SETS)
    try:
        packed = _native.Engine(INSTRUCTION_SETS[isa], *arguments)
    except ValueError:
        return ["unsound network", "network refused"]
    samples = np.zeros(settings["shape"], np.uint8)
    how = adaptation_of(settings["adaptation"])
    body = how.learns == Learns.NETWORK
    shape = settings["shape"][:2]
    walk = _native.Walk(packed, *shape, 1, body, how.strength, how.colour_mode)
    decoder = _native.RangeDecoder(np.frombuffer(payload, np.uint8))
    try:
        while walk.read(decoder, samples, 64):
            pass
    except ValueError:  # tables of no distribution: the range coder refuses its rows
        return ["unsound network", "rows refused"]
    return ["unsound network", "decoded"]


_RUNS: dict[str, Callable[[Settings, bytes], list[str]]] = {
    "network": run_network,
    "encode": run_encode,
    "mixing": run_mixing,
    "mixing-encode": run_mixing_encode,
    "coder": run_coder,
    "file": run_file,
    "unsound": run_unsound,
}


class NativeCoder:
    """A `coder.Coder` that decodes by the native range coder."""

    def __init__(self, payload: bytes) -> None:
        self._decoder = _native.RangeDecoder(np.frombuffer(payload, np.uint8))

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        found = self._decoder.decode(weights)
        if found is None:
            raise FormatError("no stream")
        return found


class NativeEncoder:
    """A `coder.Coder` that encodes by the native range coder."""

    def __init__(self) -> None:
        self._encoder = _native.RangeEncoder()

    def code(self, weights: Weights, symbols: Integers | None) -> Integers:
        assert symbols is not None
        self._encoder.encode(symbols, weights)
        return symbols

    def finish(self) -> bytes:
        return self._encoder.finish()


def decoded(
    engine: NativeEngine, payload: bytes, shape: tuple[int, ...], adaptation: int
) -> Samples | None:
    """The samples, None where the coder notices damage."""
    samples = np.zeros(shape, np.uint8)
    try:
        pixels = sum(engine.read(payload, samples, adaptation_of(adaptation)))
    except FormatError:
        return None
    if pixels != shape[0] * shape[1]:
        raise LawBroken(f"{pixels} pixels of {shape}")
    return samples


def encoded(engine: NativeEngine, samples: Samples, adaptation: int) -> bytes:
    """The payload of samples [height, width, planes]."""
    encoder = NativeEncoder()
    how = adaptation_of(adaptation)
    comparison = engine.survey(samples, how, how.counted_along())
    for weights, symbols in comparison:
        encoder.code(weights.reshape(-1, weights.shape[-1]), symbols)
    if not all(np.isfinite(bits) for bits in comparison.code_lengths.values()):
        raise LawBroken("a code length that is no number")
    return encoder.finish()


def plan_of(settings: Settings) -> Plan:
    depths = tuple(settings["depths"])
    return Plan(*settings["size"], depths, settings["candidates"], settings["fitted"])


def mixing_samples(settings: Settings, payload: bytes) -> Integers64:
    """Samples [components, pixels] of as many bits as the plan says."""
    depths = np.array(settings["depths"])
    (height, width), components = settings["size"], len(depths)
    words = np.resize(np.frombuffer(payload, "<u2"), (components, height * width))
    return words.astype(np.int64) & ((1 << depths) - 1)[:, None]


def mixing_encoded(plan: Plan, samples: Integers64) -> bytes:
    """The mixing coder's words of samples [components, pixels]."""
    encoder = NativeEncoder()
    code(plan, samples, encoder, "native")
    return encoder.finish()


def equal(first: Any, second: Any, said: str) -> None:
    if (first is None) != (second is None):
        raise LawBroken(said)
    if first is not None and not np.array_equal(first, second):
        raise LawBroken(said)


@lru_cache(maxsize=1)
def golden() -> Model:
    return read_model((GOLDEN / "tiny.ncpn").read_bytes())


def network_of(recipe: Settings) -> Network:
    return _network_of(json.dumps(recipe, sort_keys=True))


@lru_cache(maxsize=64)
def _network_of(recipe: str) -> Network:
    """A network that `integer_network.check` accepts. recipe: what `a_network` draws."""
    found = json.loads(recipe)
    if found == {}:
        network: Network = golden().network
        return network
    extreme, far = found.pop("extreme"), found.pop("far")
    if far:
        found |= far_taps(found["seed"])
    network = random_network(**found)
    if extreme:
        network = extreme_network(found["seed"], network)
    check(network)
    return network


def far_taps(seed: int) -> dict[str, Any]:
    """Taps as far away as a model may have them."""
    chance = random.Random(seed)
    every = [(i, j) for i in range(-8, 9) for j in range(-8, 9) if lag((i, j)) > 0]
    window = chance.sample(every, chance.randint(1, 12))
    near = chance.sample(window, chance.randint(1, min(3, len(window))))
    return {
        "window": window,
        "near": near,
        "neighbours": [*chance.sample(every, chance.randint(1, 6)), (0, 0)],
    }


def engine_of(network: Network, how: Sequence[int]) -> NativeEngine:
    """how: an instruction set of this processor, counted round, and threads."""
    isa, threads = how
    return NativeEngine(network, threads, INSTRUCTION_SETS[isa % len(INSTRUCTION_SETS)])


def engine_labels(settings: Settings) -> list[str]:
    chosen = settings["engines"]
    isas = {INSTRUCTION_SETS[isa % len(INSTRUCTION_SETS)] for isa, _ in chosen}
    return [*sorted(isas), *(f"{threads} threads" for threads in {one[1] for one in chosen})]


def learner(adaptation: int) -> str:
    how = adaptation_of(adaptation)
    return f"{how.learns.name.lower()}{' and colours' if how.colour_mode else ''}"


def rows_of(rows: int, width: int, seed: int, sound: bool) -> Weights:
    """Weights of the range coder, [rows, width]; if they are not sound, any floats."""
    chance = np.random.default_rng(seed)
    # Counts of 1 are frequent, as is one count that is nearly all.
    bounds = chance.choice(
        [0, 5, 2**24 - width, *chance.integers(0, 2**24 - width, 4)], (rows, width - 1)
    )
    weights = np.diff(np.sort(bounds), axis=1, prepend=0, append=2**24 - width).astype(np.float32)
    if not sound:
        wild = np.array([np.nan, np.inf, -np.inf, -1, 0.5, 2**24, 2**31, -0.0, 1e-40], np.float32)
        weights[chance.integers(rows), chance.integers(width)] = chance.choice(wild)
    return weights


def unsound(network: Network, change: Sequence[Any]) -> list[Any]:
    """The arguments of `_native.Engine` with one thing changed."""
    what, which, value = change
    arguments: list[Any] = [list(network.window), list(network.near), list(network.neighbours)]
    layers = [[layer.weight, layer.bias, layer.shift] for _, layer in named_layers(network)]
    tables = [getattr(network.tables, name).copy() for name in table_names()]
    k = network.k
    if what == "tap":
        taps = arguments[which % 3]
        taps[value[0] % len(taps)] = (value[1], value[2])
    elif what == "taps":
        arguments[which % 3] = (arguments[which % 3] * 3)[: value[0] % 40]
    elif what == "k":
        k = value[0]
    elif what == "shape":
        layer = layers[which % len(layers)]
        part = value[0] % 3
        shape = list(layer[part].shape)
        shape[value[1] % len(shape)] = abs(value[2]) % 40
        layer[part] = np.resize(layer[part], shape)
    elif what == "layers":
        layers = [*layers[: which % len(layers)], *layers[value[0] % len(layers) :]]
    elif what == "table":
        table = tables[which % len(tables)]
        table[value[0] % len(table)] = value[1]
    elif what == "tables":
        tables[which % len(tables)] = tables[which % len(tables)][: value[0] % 5000]
    elif what == "shift":
        layer = layers[which % len(layers)]
        layer[2] = layer[2].copy()
        layer[2][value[0] % len(layer[2])] = value[1]
    return [*arguments, k, [tuple(layer) for layer in layers], tables]
