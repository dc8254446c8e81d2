"""Inputs that another program changes while ncmlzip works on them are not lost."""

from __future__ import annotations

import os

import pytest

if not hasattr(os, "fork"):
    pytest.skip("changes the inputs of forked processes", allow_module_level=True)

from tests.programs.changing_inputs import (
    CHANGES,
    Change,
    change_at_every_call,
    change_at_random,
    other_of,
    replace_input,
    write_into_input,
)
from tests.programs.faults import SUFFIXES, scenes


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("compress --rm", replace_input),
        ("compress -f --rm", write_into_input),
        ("decompress --rm, streamed", replace_input),
        ("compress --rm, jpg", replace_input),
        ("decompress --rm, jpg", write_into_input),
    ],
)
def test_what_comes_to_an_inputs_name_is_never_lost(name: str, change: Change) -> None:
    every = (scene for suffix in SUFFIXES for scene in scenes(suffix=suffix))
    (scene,) = (scene for scene in every if scene.name == name)
    found = change_at_every_call(scene, change, other_of(scene, 24, 31))
    assert sum(found.values()) > 10
    assert set(found) == {"kept", "taken"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_inputs_that_change_at_random_moments_are_never_lost(change: Change) -> None:
    scene = next(scene for scene in scenes() if scene.name == "decompress --rm")
    assert change_at_random(scene, change, other_of(scene, 24, 31), 0.1)
