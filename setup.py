"""The optional native engine; everything else is in pyproject.toml.

Without a C++17 compiler, or without pybind11, the package is built without it and the numpy
engine computes the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("ncml_codec", "engines", "native")


def native_extensions() -> list[Extension]:
    """The extension, or nothing if pybind11's headers are not here."""
    try:
        import pybind11
    except ImportError:
        print("pybind11 is not here: the native engine is left out", file=sys.stderr)
        return []
    if sys.platform == "win32":
        flags, links = ["/std:c++17", "/O2", "/EHsc"], []
    else:
        flags, links = ["-std=c++17", "-O3", "-fvisibility=hidden", "-pthread"], ["-pthread"]
        # Doubles round after each operation (FORMAT.md, section 4.4), and may be vectors.
        flags += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
        # GCC 12 warns of its own AVX-512 intrinsics, hundreds of times.
        flags += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    return [
        Extension(
            "ncml_codec.engines._native",
            sources=[path.as_posix() for path in sorted(FOLDER.glob("*.cpp"))],
            depends=[path.as_posix() for path in sorted(FOLDER.glob("*.h"))],
            include_dirs=[pybind11.get_include()],
            extra_compile_args=flags,
            extra_link_args=links,
            language="c++",
            optional=True,
        )
    ]


setup(ext_modules=native_extensions())
