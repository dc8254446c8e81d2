"""The models at hand: those that ship with the package, and files that the user names."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from ncml_codec.atomic_files import read_file
from ncml_codec.errors import FormatError, InputError, UnknownModel, UsageError
from ncml_codec.network.model_file import MAX_FILE_BYTES, Model, read_model

DEFAULT = "photo"
SUFFIX = ".ncpn"


def released() -> list[str]:
    """Names of the models that ship with the package: the default first."""
    folder = resources.files("ncpn") / "released"
    names = [e.name.removesuffix(SUFFIX) for e in folder.iterdir() if e.name.endswith(SUFFIX)]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def load(name: str) -> Model:
    """A released model by its name, or the model file at a path.

    Raises UsageError if there is none, InputError if the file cannot be read or is unsound.
    """
    if name in released():
        return _released(name)
    if name.endswith(SUFFIX) or "/" in name or Path(name).exists():
        try:
            return read_model(read_file(Path(name), MAX_FILE_BYTES))
        except FormatError as error:  # which is for the images that are decoded
            raise InputError(f"{name}: {error}") from error
    raise UsageError(f"model {name!r}: not one of {', '.join(released())}, nor a file *{SUFFIX}")


def find(identity: bytes, extra: Iterable[Model] = ()) -> tuple[str | None, Model]:
    """The model with this identity among `extra` and the released ones, and its name if it has one.

    Raises UnknownModel.
    """
    for model in extra:
        if model.identity == identity:
            return None, model
    for name in released():
        if _released(name).identity == identity:
            return name, _released(name)
    said = _former().get(identity.hex())
    if said:
        raise UnknownModel(f"made with the model {said}; give its file with -m")
    raise UnknownModel(
        f"made with the model {identity.hex()}, which is not at hand; give its file with -m"
    )


def _former() -> dict[str, str]:
    """Where models are that the package no longer has, in words, by identity."""
    text = (resources.files("ncpn") / "released" / "former.txt").read_text("ascii")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {
        identity: f"{name} ({identity}), which ncml-codec {release} has"
        for identity, name, release in rows
    }


@functools.cache
def _released(name: str) -> Model:
    return read_model((resources.files("ncpn") / "released" / f"{name}{SUFFIX}").read_bytes())
