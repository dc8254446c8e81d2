"""Commands say which extra to install where its packages lack; all say -h and --version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.__main__ import main as bench
from ncml_cli.evaluate import evaluate, sample
from ncml_cli.train import export, train
from ncml_cli.zip import ncmlzip
from ncml_codec.errors import MissingPackage, naming_extras

COMMANDS = {
    "ncml-train": ["train.train", "--data", ".", "--out", "run"],
    "ncml-eval": ["evaluate.evaluate", "bpd", "run", "--data", "."],
    "ncml-eval curves": ["evaluate.evaluate", "curves", "run", "-o", "x.png"],
    "ncml-sample": ["evaluate.sample", "run", "-o", "x.png"],
    "ncml-export": ["train.export", "run", "-o", "x.ncpn", "--data", "."],
    "ncmlzip unbundle": ["zip.ncmlzip", "unbundle", "x.ncpb", "--checkpoint", "run", "-O", "."],
}
_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["torch", "safetensors", "tqdm", "matplotlib", "scipy"]))
import importlib
name, *sys.argv[1:] = sys.argv[1:]
importlib.import_module("ncml_cli." + name).main()
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_package_names_its_extra(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT, *COMMANDS[name]]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert "pip install 'ncml-codec[train]'" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch_fidelity", "quality"), ("imagecodecs", "bench"), ("matplotlib.figure", "train")],
)
def test_other_extras_are_named_too(package: str, extra: str) -> None:
    with pytest.raises(MissingPackage, match=extra), naming_extras():
        raise ModuleNotFoundError(name=package)


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), naming_extras():
        raise ModuleNotFoundError(name="ncml_codec.none")


@pytest.mark.parametrize("module", [ncmlzip, train, evaluate, export, sample])
def test_all_commands_know_help_and_version(module: object) -> None:
    main = module.main  # type: ignore[attr-defined]
    assert isinstance(main, click.Command)
    commands = [[], *([name] for name in getattr(main, "commands", {}))]
    for words in commands:
        assert CliRunner().invoke(main, [*words, "-h"]).output.startswith("Usage")
    assert "version" in CliRunner().invoke(main, ["--version"]).output


def test_bench_knows_help_and_version() -> None:
    assert CliRunner().invoke(bench, ["-h"]).output.startswith("Usage")
    assert "version" in CliRunner().invoke(bench, ["--version"]).output
