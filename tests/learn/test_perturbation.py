"""p_pi: which sub-pixels move, how far, and how often."""

from __future__ import annotations

import numpy as np
import pytest

from ncml_codec.errors import UsageError
from ncml_codec.learn.data.perturbation import perturbed
from tests.builders.pictures import extremes, valley


def draw(share: float, seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, int(1000 * share)])


def test_at_zero_it_is_the_data() -> None:
    image = valley(0, 0, 40, 30)
    assert np.array_equal(perturbed(image, 0.0, draw(0.0)), image)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_moves_have_their_probabilities(share: float) -> None:
    image = np.full((200, 200, 3), 100, np.uint8)
    moves = perturbed(image, share, draw(share)).astype(int) - image
    assert set(np.unique(moves)) <= {-1, 0, 1}
    count = image.size
    for move, chance in ((-1, share / 2), (0, 1 - share), (1, share / 2)):
        error = np.sqrt(max(chance * (1 - chance), 1e-9) / count)
        assert abs((moves == move).mean() - chance) < 5 * error


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_at_the_ends_of_the_range_moves_are_reflected(share: float) -> None:
    for name, image in extremes(60, 60).items():
        moves = perturbed(image, share, draw(share)).astype(int) - image
        assert np.abs(moves).max() == 1, name
        moved = np.abs(moves).mean()
        assert abs(moved - share) < 5 * np.sqrt(share * (1 - share) / image.size) + 1e-12, name


def test_the_input_is_not_changed_and_the_generator_decides() -> None:
    image = valley(0, 0, 20, 20)
    before = image.copy()
    one, same, other = (perturbed(image, 0.5, draw(0.5, seed)) for seed in (1, 1, 2))
    assert np.array_equal(image, before)
    assert np.array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_other_shares_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="at least 0"):
        perturbed(valley(0, 0, 4, 4), share, draw(0.0))
