"""Fixtures: the networks that are kept with the golden files."""

from __future__ import annotations

import os

# Before numpy and torch are imported: their threads slow down small products, and very much where
# something else runs beside the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from ncml_codec.network.model_file import Model, read_model
from tests.builders.pictures import GOLDEN

# On a busy machine examples take their time; what fails is printed so that it can be tried again.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("busy")


@pytest.fixture(scope="session")
def tiny() -> Model:
    return read_model((GOLDEN / "tiny.ncpn").read_bytes())


@pytest.fixture(scope="session")
def wild() -> Model:
    """A network of random integers, which reaches every clip."""
    return read_model((GOLDEN / "wild.ncpn").read_bytes())
