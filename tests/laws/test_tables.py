"""Counts: what the coder needs of them, and that they are the mixture they stand for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec.network import distribution
from tests.builders.mixtures import one_of, random_outputs
from tests.builders.networks import exact_tables

TABLES = exact_tables()
SETTINGS = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 2))


@given(SETTINGS, st.sampled_from([40, 400, 32767]))
def test_counts_are_positive_and_sum_to_the_total(
    setting: tuple[int, int, int], spread: int
) -> None:
    seed, k, earlier = setting
    outputs, reference, residuals = random_outputs(seed, k, earlier, spread)
    mixture = distribution.mixtures(outputs, k, reference, residuals, TABLES)
    assert (mixture.weight >= 0).all()
    assert (mixture.weight.sum(axis=1) == 2**14).all()
    high = np.random.default_rng(seed).integers(0, 16, 40).astype(np.int32)
    for counts in (
        distribution.high_counts(mixture, TABLES),
        distribution.low_counts(mixture, high, TABLES),
    ):
        assert counts.shape == (40, 16)
        assert counts.min() >= 1
        assert (counts.sum(axis=1, dtype=np.int64) == distribution.TOTAL).all()


@given(SETTINGS, st.sampled_from([40, 400, 32767]))
def test_a_samples_bits_are_those_of_its_two_counts(
    setting: tuple[int, int, int], spread: int
) -> None:
    seed, k, earlier = setting
    outputs, reference, residuals = random_outputs(seed, k, earlier, spread)
    mixture = distribution.mixtures(outputs, k, reference, residuals, TABLES)
    values = np.random.default_rng(seed).choice([0, 15, 16, 100, 239, 240, 255], 40)
    values = values.astype(np.int32)
    high = np.take_along_axis(distribution.high_counts(mixture, TABLES), values[:, None] >> 4, 1)
    low = distribution.low_counts(mixture, values >> 4, TABLES)
    low = np.take_along_axis(low, values[:, None] & 15, 1)
    wanted = -np.log2(high / distribution.TOTAL) - np.log2(low / distribution.TOTAL)
    found = [
        distribution.sample_bits(one_of(mixture, at), values[at : at + 1], TABLES)
        for at in range(40)
    ]
    # Differences of logarithms that nearly cancel, of about 48.
    assert np.abs(wanted[:, 0] - found).max() < 1e-12
    whole = distribution.sample_bits(mixture, values, TABLES)
    assert abs(whole - wanted.sum()) < 1e-9


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_counts_are_the_discretised_logistic_mixture(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (40, k))
    means = random.uniform(0, 255, (40, k))
    log_scales = random.uniform(-1, 4, (40, k))
    outputs = np.concatenate([64 * logits, 64 * (means - 128), 64 * log_scales], axis=1)
    rounded = np.rint(outputs).astype(np.int32)
    nothing = np.zeros((40, 0), np.int32)
    mixture = distribution.mixtures(rounded, k, np.zeros(40, np.int32), nothing, TABLES)
    found = probabilities(mixture)
    wanted = discretised_logistic(*np.split(rounded / 64, 3, axis=1))
    excess = (wanted * np.log2(wanted / found)).sum(axis=1)
    # Tables of 16 bits and weights of 14: a few thousandths of a bit for the worst of mixtures (the
    # worst of 40,000 random ones was 0.0041).
    assert excess.max() < 0.008
    assert excess.mean() < 0.0015


def probabilities(mixture: distribution.Mixtures) -> npt.NDArray[np.float64]:
    """[n, 256] from both stages."""
    high = distribution.high_counts(mixture, TABLES) / distribution.TOTAL
    rows = [
        distribution.low_counts(mixture, np.full(len(high), nibble, np.int32), TABLES)
        / distribution.TOTAL
        for nibble in range(16)
    ]
    return (high[:, :, None] * np.stack(rows, axis=1)).reshape(len(high), 256)


def discretised_logistic(
    logits: npt.NDArray[np.float64],
    means: npt.NDArray[np.float64],
    log_scales: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The 256 masses by definition, in float64."""
    edges = np.arange(257) - 128.5
    z = (edges[None, :, None] - means[:, None]) * np.exp(-log_scales)[:, None]
    cumulative = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
    cumulative[:, 0], cumulative[:, 256] = 0, 1
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    masses = (np.diff(cumulative, axis=1) * weights[:, None]).sum(axis=2)
    return np.maximum(masses, 1e-12)
