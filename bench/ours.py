"""Our codec in the bench: every model at every level is one contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contenders import Contender, Refused, Samples
from bench.record import commit
from bench.subjects import Subject
from ncml_codec import __version__, codec, levels, library
from ncml_codec.codec import Effort
from ncml_codec.errors import UnsupportedImage, UsageError
from ncml_codec.model import Model
from ncml_codec.pixels import Picture, decode_file

LEVELS = ("static", *(str(level) for level in levels.LEVELS if level > 1))  # fastest first


@dataclass(frozen=True)
class Variant:
    """model: a released model's name or a model file's path; level: one of LEVELS."""

    model: str
    level: str

    @property
    def name(self) -> str:
        model = Path(self.model).name.removesuffix(library.SUFFIX)
        return f"ncml {model}" + ("" if self.level == "static" else f" {self.level}")


def variants(models: Sequence[str], levels: Sequence[str]) -> list[Variant]:
    """Every model at every level.

    Raises UsageError for a level that does not exist, and for models of one name.
    """
    for level in levels:
        if level not in LEVELS:
            raise UsageError(f"level {level!r}: not one of {', '.join(LEVELS)}")
    found = [Variant(model, level) for model in models for level in levels]
    names = [variant.name for variant in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two contenders would be called {', '.join(sorted(twice))}")
    return found


def contender(variant: Variant, engine: str) -> Contender:
    """The codec at this variant. Pixels only: metadata is left out, as it is of every rival.

    Raises UsageError for an unknown model or engine.
    """
    model = library.load(variant.model)

    def encode(picture: Picture, threads: int) -> bytes:
        return _encode(picture, model, variant.level, Effort(engine, threads))

    def decode(data: bytes, threads: int) -> Samples:
        return codec.decode(data, [model], Effort(engine, threads)).samples

    return Contender(
        variant.name,
        f"level {variant.level}, engine {engine}, without the check after compressing",
        f"ncml-codec {__version__}, commit {commit()}, model {model.identity.hex()}",
        prepare,
        encode,
        decode,
        threaded=True,
    )


def _encode(picture: Picture, model: Model, level: str, effort: Effort) -> bytes:
    """The file at a level by its name here."""
    return codec.encode(picture, model, effort, level=1 if level == "static" else int(level))


def prepare(subject: Subject) -> Picture:
    """What ncmlzip would read from the file, and it refuses what ncmlzip refuses."""
    try:
        return replace(decode_file(subject.data, subject.name), chunks=[])
    except UnsupportedImage as error:
        raise Refused(str(error).removeprefix(f"{subject.name}: ")) from error
