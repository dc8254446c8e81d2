"""Manual pages hold every command and every option, and roff prints them without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

from ncml_cli.man_pages import TOOLS
from tests.builders.pictures import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("man")
    command = [sys.executable, "-m", "ncml_cli.man_pages", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_every_installed_tool_has_a_page(folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {path.stem for path in folder.iterdir()} == set(project["scripts"])


@pytest.mark.parametrize("name", TOOLS)
def test_a_page_holds_every_command_and_option(folder: Path, name: str) -> None:
    text = (folder / f"{name}.1").read_text().replace("\\-", "-")
    main = import_module(TOOLS[name]).main
    inner = main.commands.values() if isinstance(main, click.Group) else ()
    for command in (main, *inner):
        if command is not main:
            assert f'.SS "{command.name}"\n' in text
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                for flag in option.opts:
                    assert re.search(rf"^\\fB.*{re.escape(flag)}\b", text, re.M), flag
                assert " ".join((option.help or "").split()) in text
    assert "\\fB-h, --help\\fR" in text


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
@pytest.mark.parametrize("name", TOOLS)
def test_a_page_prints_without_warnings(folder: Path, name: str) -> None:
    command = ["man", "-l", "--warnings", str(folder / f"{name}.1")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "SYNOPSIS" in done.stdout
