"""The optional native modules, manual pages and files for desktops; the rest is in pyproject.toml.

Without a C++17 compiler, or without pybind11, the package is built without the native modules, and
numpy and Python compute the same. With NCML_NATIVE=required in the environment, as for wheels, the
build fails instead.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup

# Each module is built from the sources in the folder `native` beside it.
MODULES = (
    "ncml_codec.engines._native",
    "ncml_codec.jpeg._native",
    "ncml_codec.coefficients._native",
)


REQUIRED = os.environ.get("NCML_NATIVE") == "required"


def native_extensions() -> list[Extension]:
    """The extensions, or nothing if pybind11's headers are not here."""
    try:
        import pybind11
    except ImportError:
        if REQUIRED:
            raise
        print("pybind11 is not here: the native modules are left out", file=sys.stderr)
        return []
    if sys.platform == "win32":
        flags, links = ["/std:c++17", "/O2", "/EHsc"], []
    else:
        flags, links = ["-std=c++17", "-O3", "-fvisibility=hidden", "-pthread"], ["-pthread"]
        # Doubles round after each operation (FORMAT.md, section 4.4), and may be vectors.
        flags += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
        # GCC 12 warns of its own AVX-512 intrinsics, hundreds of times.
        flags += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    extensions = []
    for module in MODULES:
        folder = Path(*module.split(".")[:-1], "native")
        extensions.append(
            Extension(
                module,
                sources=[path.as_posix() for path in sorted(folder.glob("*.cpp"))],
                depends=[path.as_posix() for path in sorted(folder.glob("*.h"))],
                include_dirs=[pybind11.get_include()],
                extra_compile_args=flags,
                extra_link_args=links,
                language="c++",
                optional=not REQUIRED,
            )
        )
    return extensions


def man_pages() -> list[str]:
    """The manual pages of the tools, written into `build`."""
    sys.path += [".", "models", "cli"]
    from ncml_cli import man_pages

    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return man_pages.write(Path("build", "man"), project["version"])


def desktop_files() -> list[tuple[str, list[str]]]:
    """What tells a desktop of the format, and where below the prefix it belongs."""
    from ncml_cli import desktop

    folder = Path("cli", "ncml_cli", "desktop")
    return [
        (Path("share", place).as_posix(), [(folder / name).as_posix()])
        for name, place in desktop.PLACES.items()
    ]


setup(
    ext_modules=native_extensions(),
    data_files=[("share/man/man1", man_pages()), *desktop_files()],
)
