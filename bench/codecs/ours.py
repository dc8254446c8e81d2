"""Our codec in the bench: every model at every level is one contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.codecs.contenders import Contender, Refused, Samples
from bench.codecs.subjects import Subject
from bench.record import commit
from ncml_codec import __version__
from ncml_codec.decode import image_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import excerpt, image_encoder, levels, orientation_search
from ncml_codec.encode.levels import Level, of_level
from ncml_codec.errors import UnsupportedImage, UsageError
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import decode_file
from ncml_codec.picture.picture import Picture, expanded

LEVELS = ("static", *(str(level) for level in levels.LEVELS if level > 1))  # fastest first
AUTO = "auto"  # each level's own model


@dataclass(frozen=True)
class Variant:
    """model: a released model's name, a model file's path, or AUTO; level: one of LEVELS."""

    model: str
    level: str

    @property
    def name(self) -> str:
        if self.model == AUTO:
            return f"ncmlzip -{self._number()}"
        model = Path(self.model).name.removesuffix(released_models.SUFFIX)
        return f"ncml {model}" + ("" if self.level == "static" else f" {self.level}")

    def _number(self) -> int:
        return 1 if self.level == "static" else int(self.level)

    def ways(self) -> list[tuple[list[Model], Level]]:
        """As `of_level`. Raises UsageError for a model that is not here."""
        return of_level(self._number(), self._named())

    def taken(self, picture: Picture) -> Model:
        """The model with which it codes a photograph, before any second one is tried."""
        return orientation_search.chosen(excerpt.of(picture), self.ways()[0][0])[1]

    def encode(self, picture: Picture, effort: Effort) -> bytes:
        """The file."""
        return image_encoder.encode(picture, self._named(), effort, level=self._number())

    def _named(self) -> Model | None:
        return None if self.model == AUTO else released_models.load(self.model)


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
    models = [model for models, _ in variant.ways() for model in models]
    made = ", ".join(f"model {model.identity.hex()}" for model in models)

    def encode(picture: Picture, threads: int) -> bytes:
        return variant.encode(picture, Effort(engine, threads))

    def decode(data: bytes, threads: int) -> Samples:
        return expanded(image_decoder.decode(data, models, Effort(engine, threads)))

    return Contender(
        variant.name,
        f"level {variant.level}, engine {engine}, without the check after compressing",
        f"ncml-codec {__version__}, commit {commit()}, {made}",
        prepare,
        encode,
        decode,
        threaded=True,
    )


def prepare(subject: Subject) -> Picture:
    """What ncmlzip would read from the file, and it refuses what ncmlzip refuses.

    Of the metadata only the palette, without which its indices mean nothing, and transparency.
    """
    try:
        picture = decode_file(subject.data, subject.name)
        needed = [one for one in picture.chunks if one[0] in (b"PLTE", b"tRNS", png_chunks.PIXELS)]
        return replace(picture, chunks=needed if len(needed) > 1 else [])
    except UnsupportedImage as error:
        raise Refused(str(error).removeprefix(f"{subject.name}: ")) from error
