"""`ncmlzip integrate`: thumbnails of `.ncmz` files in the file managers of the user's desktop."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from ncml_cli.report import failing_cleanly, shown
from ncml_codec.errors import InputError, UsageError


@click.command()
@click.option("--remove", is_flag=True, help="Take away again what this command wrote.")
@failing_cleanly
def integrate(remove: bool) -> None:
    """Let file managers know `.ncmz` files and show their previews.

    Writes the type image/x-ncmz and a thumbnailer into $XDG_DATA_HOME (~/.local/share), for this
    user alone. File managers that follow freedesktop.org take them at their next start: Thunar,
    PCManFM and Caja, and others that use tumbler. GNOME Files runs thumbnailers in a sandbox
    that sees programs below /usr alone, so there the package must be installed system-wide.
    """
    from ncml_cli import desktop
    from ncml_codec.atomic_files import write_atomically

    if sys.platform in ("win32", "darwin"):
        raise UsageError("this is for desktops by freedesktop.org: Linux and BSD")
    program = shutil.which(Path(sys.argv[0]).name) or shutil.which("ncmlzip")
    share = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for name, folder in desktop.PLACES.items():
        path = share / folder / name
        if remove:
            path.unlink(missing_ok=True)
            click.echo(f"{shown(str(path))}: removed", err=True)
            continue
        text = (desktop.FOLDER / name).read_text(encoding="utf-8")
        if name == desktop.THUMBNAILER:
            if program is None:
                raise InputError("ncmlzip is not on the PATH, so nobody could start it")
            text = text.replace("Exec=ncmlzip ", f"Exec={_quoted(program)} ")
            text = text.replace("TryExec=ncmlzip\n", f"TryExec={program}\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), replace=True)
        click.echo(f"{shown(str(path))}: written", err=True)
    _update(share / "mime")


def _quoted(program: str) -> str:
    """A word of a command line as desktop entries quote it: % stands for more there."""
    return shlex.quote(os.path.abspath(program)).replace("%", "%%")


def _update(mime: Path) -> None:
    tool = shutil.which("update-mime-database")
    if tool is None:
        click.echo(
            "update-mime-database is not here (Debian: shared-mime-info): run it on"
            f" {shown(str(mime))}",
            err=True,
        )
        return
    done = subprocess.run([tool, mime], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"update-mime-database: {done.stderr.strip()}")
