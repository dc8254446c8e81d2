"""Axial attention: what each place may see, against a brute-force twin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ncml_codec.errors import UsageError
from ncpn.paper_network.attention import NORM_EPSILON, AxialAttention, LineAttention, rotated


def random_(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module in float64 with nothing left at zero or one."""
    torch.manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module


def seen_from(module: AxialAttention, row: int, column: int) -> set[tuple[int, int]]:
    """The places whose features change the output at a place, by gradient, of 5 x 6."""
    x = torch.randn(1, 16, 5, 6, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, row, column].sum().backward()
    assert x.grad is not None
    return {(i, j) for i, j in x.grad[0].abs().sum(0).nonzero().tolist()}


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 5), (0, 5), (4, 0)])
def test_upper_left_attends_to_what_is_above_and_to_the_left(place: tuple[int, int]) -> None:
    module = random_(AxialAttention(16, 4, rows_causal=True))
    assert isinstance(module, AxialAttention)
    expected = {(i, j) for i in range(place[0] + 1) for j in range(place[1] + 1)}
    assert seen_from(module, *place) == expected


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 5), (0, 5), (4, 0)])
def test_upper_attends_to_all_of_its_row_and_the_rows_above(place: tuple[int, int]) -> None:
    module = random_(AxialAttention(16, 4, rows_causal=False))
    assert isinstance(module, AxialAttention)
    expected = {(i, j) for i in range(place[0] + 1) for j in range(6)}
    assert seen_from(module, *place) == expected


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_definition(causal: bool) -> None:
    module = random_(LineAttention(8, 2, causal=causal), 1)
    assert isinstance(module, LineAttention)
    x = torch.randn(1, 1, 5, 8, dtype=torch.float64)
    inside = (x[0, 0] - x[0, 0].mean(1, keepdim=True)) / (
        x[0, 0].var(1, correction=0, keepdim=True) + NORM_EPSILON
    ).sqrt()
    inside = inside * module.norm.weight + module.norm.bias
    queries, keys, values = (inside @ module.queries_keys_values.weight.T).split(8, 1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        query, key = rotated(queries[:, part]), rotated(keys[:, part])
        rows = []
        for place in range(5):
            reach = place + 1 if causal else 5
            products = (query[place] * key[:reach]).sum(1) / math.sqrt(4)
            weights = products.exp() / products.exp().sum()
            rows.append((weights[:, None] * values[:reach, part]).sum(0))
        heads.append(torch.stack(rows))
    expected = torch.cat(heads, 1) @ module.out.weight.T + module.out.bias
    # Angles are computed in float32.
    torch.testing.assert_close(module(x)[0, 0], expected, rtol=1e-6, atol=1e-6)


def test_rotation_keeps_lengths_and_depends_on_distance_alone() -> None:
    one, other = torch.randn(2, 1, 8)

    def product(place: int, distance: int) -> Tensor:
        turned = [rotated(vector.expand(20, 8)) for vector in (one, other)]
        return (turned[0][place] * turned[1][place + distance]).sum()

    torch.testing.assert_close(rotated(one.expand(20, 8)).norm(dim=1), one.norm().expand(20))
    torch.testing.assert_close(product(0, 5), product(12, 5), rtol=1e-4, atol=1e-4)
    assert abs(product(0, 5) - product(0, 6)) > 1e-3


def test_the_skip_is_rescaled() -> None:
    module = AxialAttention(16, 4, rows_causal=True)
    with torch.no_grad():
        for line in (module.rows, module.columns):
            line.out.weight.zero_()
    x = torch.randn(2, 16, 3, 5)
    torch.testing.assert_close(module(x), x / math.sqrt(2))


def test_a_width_that_does_not_split_into_pairs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"12.*8 heads"):
        LineAttention(12, 8, causal=True)
