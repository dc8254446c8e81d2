"""Cases of the fuzzing of native coefficients, `tests.programs.jpeg_fuzz`, and the laws they obey.

A case is what a file from a stranger can hand to `ncml_codec.coefficients._native`: shapes, steps,
a sound network, and coefficients or a payload. The laws: what is encoded comes back, a payload
gives coefficients or is refused, and the Python modules give the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ncml_codec.coefficients import codec
from ncml_codec.coefficients.network import (
    SUM_LIMIT,
    WEIGHT_MAX,
    Integers,
    Layer,
    Network,
    PlaneNetwork,
    check,
    layers,
)
from ncml_codec.coefficients.planes import DEQUANTISED_MAX, PlaneQuantisation
from ncml_codec.errors import FormatError
from tests.builders.coefficient_networks import random_network
from tests.builders.edits import edited
from tests.programs.native_cases import Case, LawBroken

_SIDE = 7  # blocks of a plane's longer side, at most


@dataclass(frozen=True)
class _Shapes:
    shapes: tuple[tuple[int, int, int], ...]
    quantisation: PlaneQuantisation


def draw_coefficients(chance: random.Random) -> Case:
    """A case of any planes. Its payload is coefficients, or a stream that is sound or damaged."""
    count = chance.choice((1, 1, 2, 3, 3, 4))
    both = chance.random() < 0.05
    most = 2 if both else _SIDE  # Python takes a second for a few blocks of noise
    sides = [[chance.randint(1, most), chance.randint(1, most)] for _ in range(count)]
    if chance.random() < 0.5:
        sides[1:] = [sides[-1]] * (count - 1)  # the third plane sees the second one
    settings = {
        "network": [
            chance.randrange(8),
            chance.choice((1, 2, 12, 17)),
            chance.choice((1, 4, 5)),
            chance.choice((1, 2, 3, 8)),
            chance.random() < 0.4,
        ],
        "sides": sides,
        "steps": chance.choice((0, 1, 2, 16, 99, 65535)),
        "static": chance.random() < 0.3,
        "both": both,
        "seed": chance.getrandbits(32),
        "spread": chance.choice((0, 1, 3, 8, 11, 15)),
    }
    if chance.random() < 0.3:
        return Case("coefficients", settings, b"")
    if chance.random() < 0.3:
        words = chance.randbytes(4 * chance.choice((0, 1, 3, 50, 400)))
        return Case("payload", settings, words)
    payload = edited(chance, _encoded(settings, "native"))
    whole = len(payload) if chance.random() < 0.1 else len(payload) // 4 * 4
    return Case("payload", settings, payload[:whole])


def run_coefficients(settings: dict[str, Any]) -> str:
    """Encodes the case's coefficients, which must come back."""
    payload = _encoded(settings, "native")
    if settings["both"] and payload != _encoded(settings, "python"):
        raise LawBroken("Python encodes to other bytes")
    if not _same(_decoded(settings, payload, "native"), _known(settings)):
        raise LawBroken("other coefficients came back")
    return "came back"


def run_payload(settings: dict[str, Any], payload: bytes) -> str:
    """Decodes any bytes to coefficients, or a refusal."""
    found = _decoded(settings, payload, "native")
    if settings["both"] and not _same(_decoded(settings, payload, "python"), found):
        raise LawBroken("Python decodes to other coefficients")
    return "refused" if found is None else "decoded"


def _encoded(settings: dict[str, Any], engine: str) -> bytes:
    known, network = _known(settings), _network(*settings["network"])
    return codec.encode(known, _shapes(settings), network, static=settings["static"], engine=engine)


def _decoded(
    settings: dict[str, Any], payload: bytes, engine: str
) -> tuple[codec.Coefficients, ...] | None:
    network = _network(*settings["network"])
    try:
        return codec.decode(
            payload, _shapes(settings), network, static=settings["static"], engine=engine
        )
    except FormatError:
        return None


def _same(
    mine: tuple[codec.Coefficients, ...] | None, other: tuple[codec.Coefficients, ...] | None
) -> bool:
    if mine is None or other is None:
        return mine is other
    return all(np.array_equal(a, b) for a, b in zip(mine, other, strict=True))


def _shapes(settings: dict[str, Any]) -> _Shapes:
    sides, most = settings["sides"], settings["steps"]
    steps = np.random.default_rng(settings["seed"]).integers(0, most + 1, (len(sides), 64))
    return _Shapes(tuple((down, across, 64) for down, across in sides), steps.astype(np.uint16))


def _known(settings: dict[str, Any]) -> tuple[codec.Coefficients, ...]:
    chance, spread = np.random.default_rng(settings["seed"]), settings["spread"]
    planes = []
    for down, across in settings["sides"]:
        blocks = chance.integers(-(1 << spread), 1 << spread, (down, across, 64), np.int16)
        last = chance.integers(0, 65, (down, across, 1))
        planes.append(np.where(np.arange(64) < last, blocks, np.int16(0)))
    return tuple(planes)


@lru_cache(maxsize=64)
def _network(seed: int, width: int, hidden: int, mixtures: int, extreme: bool) -> Network:
    network = random_network(seed, width, hidden, mixtures)
    if extreme:
        planes = (at_bounds(network.luma), at_bounds(network.chroma))
        network = Network(*planes, network.tables)
    check(network)
    return network


def at_bounds(plane: PlaneNetwork) -> PlaneNetwork:
    """The network with weights and biases as large as its proof allows."""
    made: dict[str, Any] = {"heads": [], "outs": []}
    for name, layer, bounds in layers(plane):
        taken = np.abs(plane.end_bias).max() if name == "second" else 0
        stronger = _at_bounds(layer, bounds, int(taken))
        part, _, of = name.partition(".")
        if of:
            made[part].append(stronger)
        else:
            made[part] = stronger
    stacks = {name: tuple(made.pop(name)) for name in ("heads", "outs")}
    sums = np.abs(plane.linear.astype(np.int64)).sum(axis=(0, 1)).max() * DEQUANTISED_MAX
    linear = plane.linear * np.int32((SUM_LIMIT - 1) // sums)
    return replace(plane, **made, **stacks, linear=linear)


def _at_bounds(layer: Layer, bounds: Integers, taken: int) -> Layer:
    weight = layer.weight.astype(np.int64)
    sums = np.abs(weight) @ bounds.astype(np.int64)
    room = SUM_LIMIT - 1 - taken
    factor = max(1, min(room // max(1, int(sums.max())), WEIGHT_MAX // np.abs(weight).max()))
    rest = room - factor * sums
    bias = np.where(layer.bias < 0, -rest, rest)
    return replace(layer, weight=(factor * weight).astype(np.int32), bias=bias.astype(np.int32))
