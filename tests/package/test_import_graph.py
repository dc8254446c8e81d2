"""The import graph in CONTRIBUTING.md is the package's."""

from __future__ import annotations

from pathlib import Path

from tests.programs import import_graph


def test_the_graph_is_that_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    assert import_graph.page(text) == text, "run python -m tests.programs.import_graph"
    assert ("encode", "decode") in import_graph.arrows()
