"""Manual pages of the tools, made from their help texts.

`python -m ncml_cli.man_pages FOLDER` writes them; `setup.py` does so for the wheel. The help texts
need click and no other dependency.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

import click

TOOLS = {  # the same as in `entry`, whose import changes how signals are handled
    "ncmlzip": "ncml_cli.zip.ncmlzip",
    "ncml-train": "ncml_cli.train.train",
    "ncml-eval": "ncml_cli.evaluate.evaluate",
    "ncml-export": "ncml_cli.train.export",
    "ncml-sample": "ncml_cli.evaluate.sample",
}


def write(folder: Path, version: str) -> list[str]:
    """Write a page NAME.1 for each tool, and return the paths. version: of the package."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in TOOLS.items():
        text = page(name, import_module(module).main, version)
        (folder / f"{name}.1").write_text(text, encoding="utf-8")
    return [(folder / f"{name}.1").as_posix() for name in TOOLS]


def page(name: str, command: click.Command, version: str) -> str:
    """The manual page of a tool, in the man macros of roff."""
    context = click.Context(command, info_name=name, **command.context_settings)
    summary = _escaped(f"{name} - {command.get_short_help_str(limit=200)}")
    lines = [f'.TH "{_escaped(name.upper())}" 1 "" "ncml-codec {version}" "User Commands"']
    lines += [".SH NAME", summary, ".SH SYNOPSIS", _usage(context)]
    lines += [".SH DESCRIPTION", *_paragraphs(command), ".SH OPTIONS", *_options(context)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for inner, found in command.commands.items():
            below = click.Context(found, context, inner, **found.context_settings)
            lines += [f'.SS "{_escaped(inner)}"', _usage(below), *_paragraphs(found)]
            lines += _options(below)
    return "\n".join(lines) + "\n"


def _usage(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"\\fB{_escaped(context.command_path)}\\fR {_escaped(pieces)}"


def _paragraphs(command: click.Command) -> Iterator[str]:
    """The help text. As with click, a paragraph that begins with a backspace keeps its lines."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = [_escaped(line) for line in paragraph.splitlines() if line != "\b"]
        yield from [".PP", ".nf", *lines, ".fi"] if "\b" in paragraph else [".PP", *lines]


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1]:
            yield from (".TP", f"\\fB{_escaped(record[0])}\\fR", _escaped(record[1]))


def _escaped(text: str) -> str:
    """Text that roff prints unchanged. Hyphens stay ASCII, so that options can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    import sys

    print(*write(Path(sys.argv[1]), metadata.version("ncml-codec")), sep="\n")
