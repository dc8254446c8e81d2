"""The proof: no network gets through whose sums might not be exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ncml_codec.errors import FormatError
from ncml_codec.network.integer_network import (
    SUM_LIMIT,
    Network,
    check,
    input_bounds,
    largest_sums,
    named_layers,
)
from tests.builders.networks import random_network


@pytest.mark.parametrize("seed", range(5))
def test_random_networks_pass(seed: int) -> None:
    check(random_network(seed))


def test_the_bound_is_reached_by_an_input() -> None:
    network = random_network(1)
    bounds = input_bounds(network)
    for name, layer in named_layers(network):
        worst = np.where(layer.weight < 0, -1, 1) * bounds[name]
        reached = np.abs((layer.weight.astype(np.int64) * worst).sum(axis=1))
        sums = largest_sums(layer, bounds[name])
        assert (reached + np.abs(layer.bias) == sums).all()
        assert sums.max() < SUM_LIMIT


def broken(network: Network, what: str) -> Network:
    """The network with one thing wrong."""
    first, tables = network.first, network.tables
    if what == "sum":
        bias = first.bias.copy()
        bias[2] = SUM_LIMIT - 1
        return replace(network, first=replace(first, bias=bias))
    if what == "weight":
        weight = first.weight.copy()
        weight[0, 0] = 2048
        return replace(network, first=replace(first, weight=weight))
    if what == "shift":
        return replace(network, first=replace(first, shift=first.shift - 20))
    if what == "shape":
        return replace(network, first=replace(first, weight=first.weight[:, 1:]))
    if what == "window":
        return replace(network, window=[*network.window[:-1], (0, 1)])
    if what == "neighbours":
        return replace(network, neighbours=[*network.neighbours[:-1], (-1, 2)])
    if what == "near":
        return replace(network, near=[(-4, 0), *network.near[1:]])
    if what == "empty":
        return replace(network, near=[])
    if what == "offset":
        return replace(network, window=[(-9, 0), *network.window[1:]])
    if what == "components":
        return replace(network, k=17)
    if what == "logistic":
        return replace(network, tables=replace(tables, logistic=tables.logistic[::-1].copy()))
    if what == "exponential":
        return replace(network, tables=replace(tables, exponential=tables.exponential * 0))
    return replace(network, tables=replace(tables, scale_mantissa=tables.scale_mantissa * 2))


@pytest.mark.parametrize(
    "what",
    [
        "sum",
        "weight",
        "shift",
        "shape",
        "window",
        "neighbours",
        "near",
        "empty",
        "offset",
        "components",
        "logistic",
        "exponential",
        "mantissa",
    ],
)
def test_unsound_networks_are_refused(what: str) -> None:
    with pytest.raises(FormatError):
        check(broken(random_network(2), what))
