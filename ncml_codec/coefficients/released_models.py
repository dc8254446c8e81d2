"""The networks for JPEG coefficients at hand: those that ship with the package."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import resources

from ncml_codec.coefficients.model_file import SUFFIX, Model, read_model
from ncml_codec.errors import UnknownModel, UsageError

DEFAULT = "jpeg"


def released() -> list[str]:
    """Names of the models that ship with the package: the default first."""
    folder = resources.files("jpeg_coefficients") / "released"
    names = [e.name.removesuffix(SUFFIX) for e in folder.iterdir() if e.name.endswith(SUFFIX)]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def load(name: str = DEFAULT) -> Model:
    """A released model. Raises UsageError if there is none of this name."""
    if name not in released():
        raise UsageError(f"JPEG model {name!r}: not one of {', '.join(released())}")
    return _released(name)


def name_of(model: Model) -> str:
    """Its name if it is a released one, else its identity in hexadecimal."""
    names = [name for name in released() if load(name).identity == model.identity]
    return names[0] if names else model.identity.hex()


def find(identity: bytes, extra: Iterable[Model] = ()) -> Model:
    """The model with this identity among `extra` and the released ones. Raises UnknownModel."""
    for model in (*extra, *map(load, released())):
        if model.identity == identity:
            return model
    raise UnknownModel(f"made with the JPEG model {identity.hex()}, which is not at hand")


@functools.cache
def _released(name: str) -> Model:
    file = resources.files("jpeg_coefficients") / "released" / f"{name}{SUFFIX}"
    return read_model(file.read_bytes())
