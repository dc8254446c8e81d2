"""Fixtures: a trained network that is tiny and kept with the golden files."""

from __future__ import annotations

import pytest

from ncml_codec.model import Model, read_model
from tests.pictures import GOLDEN


@pytest.fixture(scope="session")
def tiny() -> Model:
    return read_model((GOLDEN / "tiny.ncpn").read_bytes())
