"""All that judges a bit: counters of every context, the experts' opinions, and the mixer over them.

A context gives two inputs: what its counter says, and what followed when a counter of this context
had this history, in decisions of this kind.

The mixer makes one probability of all inputs, as logits. A logit is the weighted sum of the inputs.
The weights are the sum of two sets: one is chosen by what is decided, one by how many of the
contexts have been seen before. Both take the same gradient step down the code length, once a wave.
Two tables then correct the probability by what came of it before (adaptive probability maps,
"SSE"). After lpaq and paq8 (M. Mahoney), in batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.contexts import CONTEXTS, CORRECTED, Hashes
from ncml_codec.context_mixing.counters import Counters, Histories, counters, expected_of_histories
from ncml_codec.context_mixing.experts import EXPERTS
from ncml_codec.context_mixing.logits import LOGIT_MAX, LOGIT_UNIT, ONE, Integers64, squash, stretch

WEIGHT_BITS = 16
WEIGHT_MAX = 1 << 20  # 16 times an input
# The rate falls from 0.0035 to 0.001 with the waves that a set has learnt from; measured in
# bench/notebook/context-mixing.md.
RATE, FIRST_RATE, RATE_HALVING = 66, 8192, 50
BATCH = 16  # so many bits of a wave add their steps; more are averaged

BUCKETS = 33  # of a correcting table, 128 logits apart
BUCKET_BITS = 7
MAP_LIMIT = 127  # bits after which a bucket is a running mean
MAP_PRIOR = 4  # bits that its first value counts for


@dataclass(frozen=True)
class WeightSets:
    """Weights [sets, inputs] and the number of waves that each set has learnt from."""

    weights: Integers64
    waves: Integers64

    def learn(self, chosen: Integers64, steps: Integers64) -> None:
        """One step by the gradients [n, inputs] of the bits that used the `chosen` sets [n].

        Products: an error is below 2**16, an input below 2**12, the sum over n below 2**24 bits is
        below 2**52, times a rate below 2**8: int64 holds it, and float64 holds the sums.
        """
        sets, index = np.unique(chosen, return_inverse=True)
        member = (index[None, :] == np.arange(len(sets))[:, None]).astype(np.float64)
        with np.errstate(invalid="ignore"):  # see `engines.numpy_layers.without_warnings`
            product = member @ steps.astype(np.float64)
        sums = product.astype(np.int64)
        bits = member.sum(axis=1).astype(np.int64)
        waves = self.waves[sets]
        rate = RATE + FIRST_RATE // (RATE_HALVING + waves)
        whole = np.maximum(bits, BATCH)[:, None] << 20
        moved = self.weights[sets] + (sums * rate[:, None] + (whole >> 1)) // whole
        self.weights[sets] = np.clip(moved, -WEIGHT_MAX, WEIGHT_MAX)
        self.waves[sets] = np.minimum(waves + 1, 65535)


def weight_sets(sets: int, first: npt.NDArray[np.int64]) -> WeightSets:
    """Sets that all begin with the weights `first` [inputs]."""
    return WeightSets(np.tile(first, (sets, 1)), np.zeros(sets, np.int64))


@dataclass(frozen=True)
class Correction:
    """Adaptive probability maps: [contexts * 33] counters, read between two buckets."""

    buckets: Counters

    def read(self, context: Integers64, logit: Integers64) -> tuple[Integers64, Integers64]:
        """The corrected probabilities, and the nearer bucket of each, which learns."""
        at = np.clip(logit, -2047, 2047) + 2048
        bucket, share = context * BUCKETS + (at >> BUCKET_BITS), at & 127
        low = self.buckets.probability[bucket].astype(np.int64)
        high = self.buckets.probability[bucket + 1].astype(np.int64)
        return (low * (128 - share) + high * share) >> BUCKET_BITS, bucket + (share >= 64)


def correction(contexts: int) -> Correction:
    """Maps that change nothing yet."""
    buckets = counters(contexts * BUCKETS, MAP_LIMIT)
    first = squash((np.arange(BUCKETS) - 16) * 128)
    buckets.probability[:] = np.tile(first, contexts)
    buckets.seen[:] = MAP_PRIOR
    return Correction(buckets)


@dataclass(frozen=True)
class Mixed:
    """A wave's probabilities [n] of a one, and what it takes to learn from its bits."""

    probability: Integers64
    mixed: Integers64  # before the correction
    inputs: Integers64  # [n, inputs]
    sets: tuple[Integers64, Integers64]
    buckets: tuple[Integers64, Integers64]


@dataclass(frozen=True)
class Mixer:
    """Two families of weight sets and two of maps."""

    families: tuple[WeightSets, WeightSets]
    maps: tuple[Correction, Correction]

    def mix(
        self,
        inputs: Integers64,
        sets: tuple[Integers64, Integers64],
        contexts: tuple[Integers64, Integers64],
    ) -> Mixed:
        """By inputs [n, inputs], and each bit's two weight sets and two contexts of maps."""
        weights = self.families[0].weights[sets[0]] + self.families[1].weights[sets[1]]
        total = (weights * inputs).sum(axis=1) >> WEIGHT_BITS
        logit = np.clip(total, -LOGIT_MAX, LOGIT_MAX)
        mixed = squash(logit)
        first, at_first = self.maps[0].read(contexts[0], logit)
        second, at_second = self.maps[1].read(contexts[1], logit)
        probability = np.clip((2 * mixed + first + second) >> 2, 1, ONE - 1)
        return Mixed(probability, mixed, inputs, sets, (at_first, at_second))

    def learn(self, wave: Mixed, bits: Integers64) -> None:
        """Learn a wave's bits [n]."""
        steps = wave.inputs * (bits * ONE - wave.mixed)[:, None]
        for family, chosen in zip(self.families, wave.sets, strict=True):
            family.learn(chosen, steps)
        for correcting, where in zip(self.maps, wave.buckets, strict=True):
            correcting.buckets.update(where, bits)


CANDIDATES = 3
COMPONENTS_MAX, DEPTH_MAX = 8, 16
KINDS = CANDIDATES + COMPONENTS_MAX * DEPTH_MAX  # of decisions: candidates, then bits of components
STAGES = CANDIDATES + COMPONENTS_MAX
INPUTS = 2 * CONTEXTS + EXPERTS + 1
COUNTER_LIMIT = STATE_LIMIT = 255
STATE_PRIOR = 4  # bits that a history's first value counts for; none of an empty history
MAP_BITS = 12  # of the second correction's hashed contexts
CONTEXT_WEIGHT, EXPERT_WEIGHT = ONE // 20, 3 * ONE // 10  # bench/notebook/context-mixing.md


@dataclass(frozen=True)
class Judged:
    """A group's probabilities [n] of a one, and the places that learn from its bits."""

    probability: Integers64
    mixed: Mixed
    slots: Integers64  # [CONTEXTS, n]
    states: Integers64


@dataclass(frozen=True)
class Ensemble:
    """What is learnt from one image; slots are the places of its counters, 2**bits a context."""

    bits: int
    counters: Counters
    histories: Histories
    expected: Counters  # [CONTEXTS, KINDS, 256 histories]
    mixer: Mixer

    def judge(self, kind: int, hashes: Hashes, opinions: Integers64) -> Judged:
        """The probabilities of a group of decisions of one kind.

        hashes: [CONTEXTS, n], of contexts and the place in the tree. opinions: logits [EXPERTS, n].
        """
        n = hashes.shape[1]
        slots = (hashes >> np.uint32(32 - self.bits)).astype(np.int64)
        slots += (np.arange(CONTEXTS) << self.bits)[:, None]
        seen = self.counters.seen[slots] > 0
        direct = np.where(seen, stretch(self.counters.probability[slots].astype(np.int64)), 0)
        states = (np.arange(CONTEXTS)[:, None] * KINDS + kind) * 256
        states = states + self.histories.state[slots]
        expected = stretch(self.expected.probability[states].astype(np.int64))
        constant = np.full((1, n), LOGIT_UNIT)
        inputs = np.concatenate([direct, expected, opinions, constant]).T
        known = seen.sum(axis=0)
        guess = kind < CANDIDATES
        stage = kind if guess else CANDIDATES + (kind - CANDIDATES) // DEPTH_MAX
        level = 4 * kind + (0 * known if guess else 4 * known // (CONTEXTS + 1))
        mapped = (hashes[CORRECTED] >> np.uint32(32 - MAP_BITS)).astype(np.int64)
        mixed = self.mixer.mix(
            inputs, (np.full(n, kind), known + (CONTEXTS + 1) * stage), (level, mapped)
        )
        return Judged(mixed.probability, mixed, slots, states)

    def learn(self, judged: Judged, bits: Integers64) -> None:
        """Learn the group's bits [n]."""
        self.mixer.learn(judged.mixed, bits)
        slots, everywhere = judged.slots.ravel(), np.tile(bits, CONTEXTS)
        ones, zeros = self.counters.update(slots, everywhere)
        self.histories.update(slots, ones, zeros)
        self.expected.update(judged.states.ravel(), everywhere)


def ensemble(bits: int) -> Ensemble:
    """Nothing learnt yet, with 2**bits counters a context."""
    states = counters(CONTEXTS * KINDS * 256, STATE_LIMIT)
    states.probability[:] = np.tile(expected_of_histories(), CONTEXTS * KINDS)
    states.seen[:] = np.tile(np.r_[0, np.full(255, STATE_PRIOR)], CONTEXTS * KINDS)
    first = np.array([CONTEXT_WEIGHT] * 2 * CONTEXTS + [EXPERT_WEIGHT] * EXPERTS + [0], np.int64)
    second = np.zeros(INPUTS, np.int64)
    mixer = Mixer(
        (weight_sets(KINDS, first), weight_sets((CONTEXTS + 1) * STAGES, second)),
        (correction(4 * KINDS), correction(1 << MAP_BITS)),
    )
    histories = Histories(np.zeros(CONTEXTS << bits, np.uint8))
    return Ensemble(bits, counters(CONTEXTS << bits, COUNTER_LIMIT), histories, states, mixer)
