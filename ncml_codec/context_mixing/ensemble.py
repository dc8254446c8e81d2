"""All that judges a bit: counters of every context, the experts' opinions, and the mixer over them.

A context gives two inputs: what its counter says, and what followed when a counter of this context
had this history, in decisions of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ncml_codec.context_mixing.contexts import CONTEXTS, CORRECTED
from ncml_codec.context_mixing.counters import Counters, Histories, counters, expected_of_histories
from ncml_codec.context_mixing.experts import EXPERTS
from ncml_codec.context_mixing.logits import LOGIT_UNIT, ONE, Integers64, stretch
from ncml_codec.context_mixing.mixer import Mixed, Mixer, correction, weight_sets
from ncml_codec.context_mixing.neighbours import Hashes

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
