"""The mixing coder's pass over an image, wave by wave: the specification of FORMAT.md's "The mixing
coder" in numpy. Native code computes the same.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing import contexts, experts
from ncml_codec.context_mixing.contexts import ITEMS, TAPS, Hashes, fold, places
from ncml_codec.context_mixing.ensemble import CANDIDATES, DEPTH_MAX, ensemble
from ncml_codec.context_mixing.experts import EXPERTS
from ncml_codec.context_mixing.logits import Integers64, stretch
from ncml_codec.network.wave_order import wave_count, wave_rows


@dataclass(frozen=True)
class Plan:
    """An image's size, bits of each component, what is used.

    depths: bits of each component's samples, 0 to 16. candidates: whole pixels are guessed first.
    fitted: experts use least squares.
    """

    height: int
    width: int
    depths: tuple[int, ...]
    candidates: bool
    fitted: bool


SOURCES = 6  # of candidates: what followed the same twelve and six neighbours, W, N, NE, NW

Mask = npt.NDArray[np.bool_]

# Sends the probabilities of a group of decisions and, if the image is known, their bits; is sent
# the bits.
Decisions = Generator[tuple[Integers64, Integers64 | None], Integers64, None]


class Walk:
    """One pass; `samples` [components, height * width] are full when it has ended.

    samples: those of the image when encoding.
    """

    def __init__(self, plan: Plan, samples: Integers64 | None) -> None:
        self.plan, self.known = plan, samples
        pixels, components = plan.height * plan.width, len(plan.depths)
        # The last place stands for the outside.
        self._samples = np.zeros((components, pixels + 1), np.int64)
        self._errors = np.zeros((components, pixels + 1), np.int64)
        self._hashes = np.zeros(pixels + 1, np.uint32)
        self._bits = contexts.slot_bits(pixels, components)
        self._ensemble = ensemble(self._bits)
        self._scales = [experts.scales() for _ in plan.depths]
        self._fits = [experts.fits(c, plan.height) for c in range(components)]
        self._followers = np.zeros((2, 1 << self._bits), np.int64)
        self._component = contexts.chains(contexts.COMPONENT)
        self._candidate = contexts.chains(contexts.CANDIDATE)

    @property
    def samples(self) -> Integers64:
        return self._samples[:, :-1]

    def decisions(self) -> Decisions:
        """All decisions of the image in coding order, in groups that are judged together."""
        height, width = self.plan.height, self.plan.width
        for wave in range(wave_count(height, width)):
            rows = np.arange(*wave_rows(wave, height, width))
            if len(rows):
                yield from self._wave(rows, wave - 2 * rows)

    def _wave(self, rows: Integers64, columns: Integers64) -> Decisions:
        near = places(rows, columns, self.plan.height, self.plan.width)
        here = rows * self.plan.width + columns
        items = np.zeros((len(ITEMS), len(rows)), np.uint32)
        items[: len(TAPS)] = self._hashes[near]
        items[ITEMS["six"]] = _hash_of(items, contexts.SIX)
        items[ITEMS["twelve"]] = _hash_of(items, contexts.TWELVE)
        left = np.ones(len(rows), bool)
        if self.plan.candidates:
            left = yield from self._guess(near, here, items)
        current = np.zeros(len(rows), np.uint32)
        for component in range(len(self.plan.depths)):
            items[ITEMS["current"]] = current
            yield from self._code(component, rows, near, here, items, left)
            current = fold(current, self._samples[component, here].astype(np.uint32) + np.uint32(1))
        self._hashes[here] = current
        if self.plan.candidates:
            for table, name in zip(self._followers, ("twelve", "six"), strict=True):
                slots = self._follower_slots(items[ITEMS[name]])
                table[slots] = 0
                np.maximum.at(table, slots, here + 1)

    def _follower_slots(self, hashes: Hashes) -> Integers64:
        return (hashes >> np.uint32(32 - self._bits)).astype(np.int64)

    def _guess(
        self, near: Integers64, here: Integers64, items: Hashes
    ) -> Generator[tuple[Integers64, Integers64 | None], Integers64, Mask]:
        """Whether each pixel is one of its candidates; which pixels are left."""
        n = len(here)
        last = [
            table[self._follower_slots(items[ITEMS[name]])] - 1
            for table, name in zip(self._followers, ("twelve", "six"), strict=True)
        ]
        source = np.stack([*last, near[0], near[1], near[3], near[2]])
        there = source >= 0
        value = self._hashes[source]
        rank = np.full((SOURCES, n), CANDIDATES, np.int64)
        candidate = np.zeros((CANDIDATES + 1, n), np.int64)
        count = np.zeros(n, np.int64)
        for k in range(SOURCES):
            new = there[k].copy()
            for earlier in range(k):
                same = there[k] & there[earlier] & (value[k] == value[earlier])
                rank[k] = np.where(same & new, rank[earlier], rank[k])
                new &= ~same
            new &= count < CANDIDATES
            rank[k, new] = count[new]
            candidate[count[new], np.flatnonzero(new)] = source[k, new]
            count += new
        items[ITEMS["sources"]] = (rank << (2 * np.arange(SOURCES))[:, None]).sum(axis=0)
        equal = _equalities(items)
        items[ITEMS["equal"]] = equal
        items[ITEMS["first"]] = self._hashes[candidate[0]]
        bases = self._candidate.hashes(items, 0)
        left = np.ones(n, bool)
        for k in range(CANDIDATES):
            active = np.flatnonzero(left & (count > k))
            if not len(active):
                continue
            guess = self._samples[:, candidate[k, active]]
            truth = None
            if self.known is not None:
                truth = (self.known[:, here[active]] == guess).all(axis=0).astype(np.int64)
            base = bases[:, active]
            hashes = fold(base, np.uint32(k + 1))
            opinions = np.zeros((EXPERTS, len(active)), np.int64)
            judged = self._ensemble.judge(k, hashes, opinions)
            bits = yield judged.probability, truth
            self._ensemble.learn(judged, bits)
            hit = active[bits == 1]
            self._samples[:, here[hit]] = guess[:, bits == 1]
            left[hit] = False
        return left

    def _code(
        self,
        component: int,
        rows: Integers64,
        near: Integers64,
        here: Integers64,
        items: Hashes,
        left: Mask,
    ) -> Decisions:
        """A component of the pixels that are left, and what is learnt from it for all."""
        depth = self.plan.depths[component]
        if depth == 0:
            return
        if self.plan.fitted:
            inputs, mean = experts.inputs(
                component, lambda c: (self._samples[c][near], self._samples[c][here])
            )
        active = np.flatnonzero(left)
        if len(active):
            top = 1 << depth
            near, own = near[:, active], here[active]
            seen = self._samples[component][near]
            before = None
            if component:
                other = self._samples[component - 1]
                before = (other[near], other[own])
            mean_centre, joint, median = experts.fixed_centres(seen, before, top)
            centre = np.stack([median, mean_centre, joint, median])
            if self.plan.fitted:
                for k, fit in enumerate(self._fits[component]):
                    predicted = fit.predict(rows[active], inputs[:, active]) + mean[active]
                    centre[k] = experts.fitted_centre(predicted, top)
            energy = experts.energy(self._errors[component][near[:6]])
            scaled = 4 * energy
            if component:
                error = self._errors[component - 1, own]
                scaled += np.searchsorted(experts.EARLIER_ERRORS, error, side="right")
            scale = self._scales[component].scale(scaled)
            bases = self._bases(component, items[:, active], seen, before, centre)
            yield from self._tree(component, own, centre, scale, bases)
            sample = self._samples[component, own]
            errors = np.abs(experts.CENTRE_UNIT * sample - centre)
            self._scales[component].learn(scaled, errors)
            self._errors[component, own] = errors[0]
        if self.plan.fitted:
            values = self._samples[component, here] - mean
            for fit in self._fits[component]:
                fit.learn(rows, inputs, values)

    def _bases(
        self,
        component: int,
        items: Hashes,
        seen: Integers64,
        before: tuple[Integers64, Integers64] | None,
        centre: Integers64,
    ) -> Hashes:
        numbers = {
            "gradient": (seen[0] + seen[1] - seen[2]) >> max(self.plan.depths[component] - 8, 0),
            "joint": centre[2] >> 4,
        }
        if before is not None:
            numbers["before"] = before[1] >> max(self.plan.depths[component - 1] - 8, 0) >> 2
        for name, values in numbers.items():
            items[ITEMS[name]] = (values & 0xFFFFFFFF).astype(np.uint32)
        return self._component.hashes(items, 1 + component)

    def _tree(
        self,
        component: int,
        own: Integers64,
        centre: Integers64,
        scale: Integers64,
        bases: Hashes,
    ) -> Decisions:
        """The samples of some pixels, bit by bit from the highest."""
        depth = self.plan.depths[component]
        low = np.zeros(len(own), np.int64)
        for level in range(depth):
            width = 1 << (depth - level)
            half = width >> 1
            node = ((1 << level) | (low >> (depth - level))).astype(np.uint32)
            hashes = fold(bases, node[None])
            place = np.clip((centre[0] - 16 * (low + half) + 8) >> (depth - level), -40, 40)
            spread = _log2(np.maximum(scale[0] >> (depth - level), 1))
            relative = fold(bases[contexts.RELATIVE], (place + 100).astype(np.uint32))
            relative = fold(relative, spread.astype(np.uint32))
            hashes[contexts.RELATIVE] = fold(relative, np.uint32(depth - level))
            opinions = experts.opinions(centre, scale, low, width, 1 << depth)
            truth = None
            if self.known is not None:
                truth = self.known[component, own] >> (depth - level - 1) & 1
            kind = CANDIDATES + DEPTH_MAX * component + level
            judged = self._ensemble.judge(kind, hashes, stretch(opinions))
            bits = yield judged.probability, truth
            self._ensemble.learn(judged, bits)
            low = low + bits * half
        self._samples[component, own] = low


def _hash_of(items: Hashes, names: tuple[str, ...]) -> Hashes:
    found = np.ones(items.shape[1], np.uint32)
    for name in names:
        found = fold(found, items[ITEMS[name]])
    return found


def _equalities(items: Hashes) -> Integers64:
    """Which neighbours' pixels are equal, one bit a pair."""
    pairs = ("W N", "W NW", "N NE", "N NN", "W WW", "N NW", "NE NNE")
    named = [pair.split() for pair in pairs]
    bits = [(items[ITEMS[a]] == items[ITEMS[b]]).astype(np.int64) for a, b in named]
    found: Integers64 = np.stack([bit << k for k, bit in enumerate(bits)]).sum(axis=0)
    return found


def _log2(values: Integers64) -> Integers64:
    """Floor of the logarithm, at most 15, of numbers from 1."""
    found: Integers64 = np.searchsorted(1 << np.arange(1, 16), values, side="right")
    return found
