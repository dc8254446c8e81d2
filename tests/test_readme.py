"""The README's commands are the ones that are tested."""

from __future__ import annotations

from tests.pictures import HERE

README = (HERE.parent / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The lines of all shell blocks."""
    blocks = README.split("```sh\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines()]


def test_ci_runs_the_test_command() -> None:
    (command,) = [line for line in commands() if line.endswith("/pytest")]
    assert command in (HERE.parent / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_first_command_restores_the_photograph_that_is_here() -> None:
    first = commands()[0]
    assert "ncmlzip compress -v tests/images/valley.png" in first
    assert "ncmlzip decompress -v valley.ncmz" in first
    assert (HERE / "images" / "valley.png").exists()


def test_there_is_nothing_left_to_fill_in() -> None:
    assert "RESULTS" not in README
    assert "SPEED" not in README
