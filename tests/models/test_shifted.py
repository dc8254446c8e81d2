"""Shifted convolutions: what each place reads, weight normalisation and its initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncpn.paper_network.shifted import (
    PLACE,
    UPPER,
    UPPER_LEFT,
    ShiftedConv,
    ShiftedUpsampling,
    concat_elu,
    initialise,
    shift_down,
    shift_right,
)

Places = set[tuple[int, int]]


def read_by(layer: nn.Module, row: int, column: int) -> Places:
    """The places of a 4 x 6 input that an output place depends on."""
    x = torch.randn(1, 3, 4, 6, requires_grad=True)
    layer(x)[0, :, row, column].sum().backward()
    assert x.grad is not None
    return {(i, j) for i, j in x.grad[0].abs().sum(0).nonzero().tolist()}


def test_windows_read_above_and_to_the_left() -> None:
    upper, upper_left, place = (ShiftedConv(3, 2, w) for w in (UPPER, UPPER_LEFT, PLACE))
    assert read_by(upper, 2, 3) == {(i, j) for i in (1, 2) for j in (2, 3, 4)}
    assert read_by(upper_left, 2, 3) == {(i, j) for i in (1, 2) for j in (2, 3)}
    assert read_by(place, 2, 3) == {(2, 3)}
    assert read_by(upper_left, 0, 0) == {(0, 0)}


def test_halving_reads_up_to_twice_its_place() -> None:
    upper, upper_left = (ShiftedConv(3, 2, w, stride=2) for w in (UPPER, UPPER_LEFT))
    assert upper(torch.zeros(1, 3, 4, 6)).shape == (1, 2, 2, 3)
    assert read_by(upper, 1, 1) == {(i, j) for i in (1, 2) for j in (1, 2, 3)}
    assert read_by(upper_left, 1, 1) == {(i, j) for i in (1, 2) for j in (1, 2)}


def test_doubling_writes_at_twice_its_place_or_later() -> None:
    upper, upper_left = (ShiftedUpsampling(3, 2, w) for w in (UPPER, UPPER_LEFT))
    for layer in (upper, upper_left):
        assert layer(torch.zeros(1, 3, 4, 6)).shape == (1, 2, 8, 12)
    for row in (4, 5):
        assert read_by(upper, row, 6) == {(2, 3)}
        assert read_by(upper, row, 7) == {(2, 3), (2, 4)}
        assert read_by(upper_left, row, 6) == {(2, 3)}
        assert read_by(upper_left, row, 7) == {(2, 3)}


@pytest.mark.parametrize("kind", [ShiftedConv, ShiftedUpsampling])
def test_the_gain_is_the_norm_of_the_weights(kind: type[nn.Module]) -> None:
    layer = kind(3, 2, UPPER)
    x = torch.randn(1, 3, 4, 6)
    with torch.no_grad():
        before = layer(x)
        layer.direction.mul_(7)
        torch.testing.assert_close(layer(x), before)
        layer.gain.mul_(3)
        torch.testing.assert_close(layer(x), 3 * before)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_initialisation_gives_unit_variance(scale: float) -> None:
    torch.manual_seed(0)
    layer = ShiftedConv(3, 5, UPPER, initial_scale=scale)
    network = _Alone(layer)
    x = 40 + 9 * torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        layer.gain.fill_(17.0)  # what was there before does not matter
        layer.bias.fill_(-3.0)
    initialise(network, x, torch.zeros(4))
    y = layer(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    deviation = y.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.full((5,), scale), rtol=1e-4, atol=0)


class _Alone(nn.Module):
    """One layer as a network of x and t."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_initialisation_leaves_no_hooks_and_the_mode() -> None:
    network = _Alone(ShiftedConv(3, 5, UPPER))
    network.train()
    initialise(network, torch.randn(2, 3, 4, 4), torch.zeros(2))
    assert network.training
    assert not network.layer._forward_hooks
    with pytest.raises(RuntimeError):
        initialise(network, torch.randn(2, 4, 4, 4), torch.zeros(2))
    assert not network.layer._forward_hooks


def test_shifts_and_concat_elu_are_their_definitions() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert shift_down(x)[0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]
    assert shift_right(x)[0, 0].tolist() == [[0, 0, 1], [0, 3, 4]]
    one = concat_elu(torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(
        one, torch.tensor([[2.0, torch.e**-1 - 1, torch.e**-2 - 1, 1.0]]), rtol=1e-6, atol=1e-6
    )
