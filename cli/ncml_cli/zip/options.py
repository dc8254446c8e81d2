"""Options that several of ncmlzip's commands have, as decorators; what they mean is in `calls`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ncml_cli.zip.inputs import PIPE, file_named

Command = Callable[..., None]

MAX_PIXELS = 1 << 29  # as `image_files.MAX_PIXELS`, which is not imported for --help
# What --to takes: suffixes of `image_files.WRITABLE`.
FORMATS = ("png", "webp", "bmp", "tif", "ppm", "pgm", "pbm")
# Files that cannot be read are found as they are worked on: one of them is not a wrong call.
_NAME = click.Path(readable=False)
_PATH = click.Path(readable=False, path_type=Path)

_MAX_PIXELS = click.option(
    "--max-pixels",
    type=click.IntRange(1, MAX_PIXELS),
    default=MAX_PIXELS,
    help="Refuse larger images, before they take memory. Default and most: 2^29.",
)


def inputs(command: Command) -> Command:
    """files, recursive, files_from."""
    return _with(
        command,
        click.argument("files", nargs=-1, type=_NAME, callback=_paths),
        click.option("-r", "--recursive", is_flag=True, help="Take the files in folders, too."),
        click.option(
            "--files-from",
            type=_PATH,
            metavar="LIST",
            help="Also the files named in LIST, one a line or NUL between them; - is stdin.",
        ),
    )


def outputs(command: Command) -> Command:
    """output, stdout, folder, mirror, force, remove, skip_existing, dry_run."""
    return _with(
        command,
        click.option("-o", "--output", type=_PATH, help="Output, for one input; - is stdout."),
        click.option("-c", "--stdout", is_flag=True, help="Write to standard output."),
        click.option("-O", "--output-dir", "folder", type=_PATH, help="Write into this folder."),
        click.option(
            "--mirror",
            is_flag=True,
            help="With -O: in the same folders there as below the folder that is named.",
        ),
        click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
        click.option(
            "--rm/--keep",
            " /-k",
            "remove",
            default=False,
            help="Remove the input once the output is read back; -k, the default, keeps it.",
        ),
        click.option("--skip-existing", is_flag=True, help="Leave files whose output exists."),
        click.option("--dry-run", is_flag=True, help="Say what would become what; write nothing."),
    )


def region(command: Command) -> Command:
    """region: four numbers, or None."""
    said = "Only this part: column and row of its corner, width and height, in pixels."
    return _with(command, click.option("--region", metavar="X,Y,W,H", callback=_numbers, help=said))


def effort(command: Command) -> Command:
    """model, engine, threads, at_once, max_pixels, memory."""
    return _with(
        command,
        click.option("-m", "--model", help="A released model's name, or a model file."),
        click.option("--engine", default="auto", help="auto, native or numpy: same bytes."),
        click.option(
            "-T",
            "--threads",
            type=click.IntRange(0),
            help="Threads for all files together; 0, the default: one for each processor.",
        ),
        click.option(
            "-j",
            "--jobs",
            "at_once",
            type=click.IntRange(1),
            help="Files at once, each in a process. By default small ones only, where it pays.",
        ),
        _MAX_PIXELS,
        click.option(
            "--memory",
            metavar="SIZE",
            callback=_size,
            help="Take no more memory, by an estimate: fewer threads, fewer of the trials for"
            " a smaller file, or refuse. 200MiB, 1G.",
        ),
    )


def pixels(command: Command) -> Command:
    """max_pixels."""
    return _with(command, _MAX_PIXELS)


def work(command: Command) -> Command:
    """max_work: in multiply-adds, or None."""
    said = (
        "Refuse files whose decoding takes more work, in multiply-adds as `info` says, by their"
        " headers. Default: ten times that of a square image alike."
    )
    return _with(command, click.option("--max-work", metavar="N", callback=_size, help=said))


def speech(command: Command) -> Command:
    """quiet, verbose, as_json."""
    return _with(
        command,
        click.option("-q", "--quiet", is_flag=True, help="Errors only."),
        click.option("-v", "--verbose", is_flag=True, help="Say more about each file."),
        click.option(
            "--json", "as_json", is_flag=True, help="A JSON object a line and file, on stdout."
        ),
    )


def preview(command: Command) -> Command:
    """preview_side: pixels, 0 for none, None for the default."""
    said = (
        "Longest side of the preview that the file gets, 32 to 1024 pixels, or none. Default: 256"
        " for images of a megapixel and more. It takes at most 4 kB and 1 % of the file."
    )
    made = click.option("--preview", "preview_side", metavar="SIZE|none", callback=_side, help=said)
    return _with(command, made)


def levels(command: Command) -> Command:
    """level: 1 to 9, or None."""
    said = {
        1: "Fastest: the network stays as it is.",
        2: "Its heads learn from the image; -3 tries three learning rates, -4 five.",
        5: "The default: as -2, with a larger network.",
        6: "As -5 with three learning rates tried; -7: with five.",
        8: "The whole network learns.",
        9: "Smallest: several rates tried, of two networks.",
    }
    made = [
        click.option(
            f"-{level}",
            "level",
            flag_value=level,
            type=int,
            default=None,
            help=said.get(level),
            hidden=level not in said,
        )
        for level in range(1, 10)
    ]
    said_all = "The same as a number: 1 to 9."
    made.append(click.option("--level", "level", type=click.IntRange(1, 9), help=said_all))
    return _with(command, *made)


def _with(command: Command, *made: Callable[[Command], Command]) -> Command:
    for one in reversed(made):
        command = one(command)
    return command


def _size(context: click.Context, parameter: Any, text: str | None) -> int | None:
    """A whole number, maybe with K, M, G or T, which stand for powers of 1024: 200M, 200MiB."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,17})(?:([KMGT])(?:i?B)?)?", text, re.IGNORECASE)
    if not found:
        raise click.BadParameter(f"{text!r}: not a number such as 1000000, 200MiB or 1G")
    return int(found[1]) << 10 * (" KMGT".index((found[2] or " ").upper()))


def _side(context: click.Context, parameter: Any, text: str | None) -> int | None:
    if text is None:
        return None
    if text == "none":
        return 0
    if not re.fullmatch("[0-9]{2,4}", text) or not 32 <= int(text) <= 1024:
        raise click.BadParameter(f"{text!r}: neither none nor a number from 32 to 1024")
    return int(text)


def _numbers(context: click.Context, parameter: Any, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: not whole numbers with commas: X,Y,W,H") from error


def _paths(context: click.Context, parameter: Any, names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(PIPE if name == str(PIPE) else file_named(name) for name in names)
