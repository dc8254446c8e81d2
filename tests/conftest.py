"""Fixtures: the networks that are kept with the golden files."""

from __future__ import annotations

import os

# Before numpy and torch are imported: their threads slow down small products, and very much where
# something else runs beside the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
