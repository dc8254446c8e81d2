"""Fixtures: the networks that are kept with the golden files."""

from __future__ import annotations

import pytest

from ncml_codec.model import Model, read_model
from tests.pictures import GOLDEN


@pytest.fixture(scope="session")
def tiny() -> Model:
    return read_model((GOLDEN / "tiny.ncpn").read_bytes())


@pytest.fixture(scope="session")
def wild() -> Model:
    """A network of random integers, which reaches every clip."""
    return read_model((GOLDEN / "wild.ncpn").read_bytes())
