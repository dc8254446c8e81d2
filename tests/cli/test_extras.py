"""Commands say which extra to install where its packages lack; all say -h and --version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import ncml_codec
from bench.__main__ import main as bench
from ncml_cli.evaluate import evaluate, sample
from ncml_cli.train import export, train
from ncml_cli.zip import ncmlzip
from ncml_codec import engines
from ncml_codec.errors import MissingPackage, naming_extras
from tests.builders.pictures import valley

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


def test_the_version_says_which_engine_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "why_not_native", lambda: None)
    said = CliRunner().invoke(ncmlzip.main, ["--version"]).stdout
    assert said == f"ncmlzip, version {ncml_codec.__version__}, native engine\n"
    monkeypatch.setattr(engines, "why_not_native", lambda: "no compiler")
    said = CliRunner().invoke(ncmlzip.main, ["--version"]).stdout
    assert said.endswith("numpy engine: no compiler\n")


def test_without_the_native_engine_a_call_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(valley(0, 0, 5, 6)).save(tmp_path / name)
    call = ["compress", "-1", "-f", str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert "native engine" not in CliRunner().invoke(ncmlzip.main, call).stderr
    monkeypatch.setattr(engines, "why_not_native", lambda: "no compiler")
    done = CliRunner().invoke(ncmlzip.main, call)
    assert done.exit_code == 0
    assert done.stderr.count("the native engine is not here: no compiler") == 1
    for quiet in (["--quiet"], ["--engine", "numpy"]):
        done = CliRunner().invoke(ncmlzip.main, [*call, *quiet])
        assert done.exit_code == 0
        assert "is not here" not in done.stderr
