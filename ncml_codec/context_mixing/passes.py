"""A pass of the mixing coder over an image: a walk gives probabilities, a coder codes by them.

The walk is native code where the package was built with it, or numpy; the bytes are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ncml_codec.context_mixing import contexts, logits
from ncml_codec.context_mixing.logits import Integers64
from ncml_codec.context_mixing.walk import Plan, Walk
from ncml_codec.engines import chosen
from ncml_codec.entropy.coder import Coder
from ncml_codec.network.distribution import Weights

if TYPE_CHECKING:
    from ncml_codec.engines._native import Mixing


def code(plan: Plan, samples: Integers64 | None, coder: Coder, engine: str = "auto") -> Integers64:
    """Code the image's decisions; its samples [components, pixels].

    samples: None when decoding. engine: auto, native or numpy. Raises UsageError for another one
    or one that is not here, and FormatError where the coder notices damage.
    """
    if chosen(engine) == "numpy":
        return _code_numpy(plan, samples, coder)
    return _code_native(plan, samples, coder)


def _code_numpy(plan: Plan, samples: Integers64 | None, coder: Coder) -> Integers64:
    walk = Walk(plan, samples)
    decisions = walk.decisions()
    group = next(decisions, None)
    while group is not None:
        probability, truth = group
        symbols = None if truth is None else truth.astype(np.int32)
        bits = coder.code(weights(probability), symbols).astype(np.int64)
        try:
            group = decisions.send(bits)
        except StopIteration:
            group = None
    return walk.samples


def _code_native(plan: Plan, samples: Integers64 | None, coder: Coder) -> Integers64:
    walk = _native_walk(plan)
    if samples is not None:
        known = samples.astype(np.uint16)
        while (group := walk.survey(known)) is not None:
            coder.code(*group)
        return samples
    while (asked := walk.ask()) is not None:
        walk.tell(coder.code(asked, None))
    return walk.samples().astype(np.int64)


def _native_walk(plan: Plan) -> Mixing:
    from ncml_codec.engines import _native

    tables = [logits.stretch_table(), logits.squash_table(), logits.distribution_table()]
    lists = [
        [[contexts.ITEMS[name] for name in names] for names in chains]
        for chains in (contexts.COMPONENT, contexts.CANDIDATE)
    ]
    bits = contexts.slot_bits(plan.height * plan.width, len(plan.depths))
    return _native.Mixing(
        plan.height, plan.width, plan.depths, plan.candidates, plan.fitted, bits, tables, *lists
    )


def weights(probability: Integers64) -> Weights:
    """The coder's weights [n, 2] of bits that are 1 with these probabilities, in 65536ths."""
    ones = probability << 8
    return np.stack([(1 << 24) - ones - 1, ones - 1], axis=1).astype(np.float32)
