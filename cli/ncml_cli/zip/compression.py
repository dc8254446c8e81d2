"""`ncmlzip compress`: the job that makes a `.ncmz` file of an image or a JPEG file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncml_cli.report import Done
from ncml_cli.zip.jobs import Rest, Route, about, check_size, warning
from ncml_cli.zip.settings import Settings, engine_of
from ncml_cli.zip.targets import Target, free_target
from ncml_codec.atomic_files import InputFile
from ncml_codec.encode import image_encoder, jpeg_encoder, levels
from ncml_codec.network.model_file import Model
from ncml_codec.picture import row_readers
from ncml_codec.picture.image_files import admit_all
from ncml_codec.picture.picture import Source

if TYPE_CHECKING:
    from ncml_cli.meter import Meter


@dataclass(frozen=True)
class Packed:
    """A `.ncmz` file's bytes. samples: how many the image has, None for a JPEG file; how: it was
    coded; not_kept: as of `picture.Picture`; facts: further ones, for --json."""

    data: bytes
    samples: int | None
    how: str
    not_kept: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Compress:
    """An image to a `.ncmz` file.

    model: None for the level's own; strip: leave metadata out, see `row_readers.stripped`, and
    remove inputs that hold what is not kept; decoded: take lossy files for the pixels that they
    decode to; preview_side: see `preview.with_preview`.
    """

    settings: Settings
    model: Model | None
    force: bool
    remove: bool
    check: bool
    level: int
    strip: bool = False
    decoded: bool = False
    preview_side: int | None = None

    def pixels(self, source: Path) -> int | None:
        return row_readers.size_of(source)

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        path = free_target(source, target, self.force)
        started = time.perf_counter()
        with InputFile(source) as file:
            is_jpeg = not self.decoded and jpeg_encoder.is_jpeg(file)
            packed = (self._jpeg if is_jpeg else self._image)(file, threads, bar)
        seconds = time.perf_counter() - started
        route = Route(source, file.state, path, self.force)
        return partial(self._finish, route, packed, f"{seconds:.2f} s, {packed.how}")

    def _image(self, file: InputFile, threads: int, bar: Meter | None) -> Packed:
        picture, source = self._opened(file), file.path
        pixels, passes = picture.width * picture.height, 2 if self.check else 1
        with self.settings.effort(threads, bar, pixels * passes) as effort:
            how = (self.model, effort, self.level, self.preview_side)
            data = about(source, lambda: image_encoder.encode(picture, *how))
            if self.check:
                about(source, lambda: image_encoder.verify(data, picture, self.model, effort))
        # Any network of the level tells the engine: all are for the same one.
        network = levels.of_level(self.level, self.model)[0][0][0]
        engine = engine_of(effort, network)
        return Packed(data, pixels * picture.planes, engine, picture.not_kept)

    def _opened(self, file: InputFile) -> Source:
        """The image as it is to be kept. Raises InputError."""
        most = self.settings.memory
        admit = (
            partial(image_encoder.check_memory, most, self.level, self.model) if most else admit_all
        )
        limit, decoded = self.settings.max_pixels, self.decoded
        picture = about(file.path, lambda: row_readers.open_image(file, limit, decoded, admit))
        return row_readers.stripped(picture) if self.strip else picture

    def _jpeg(self, file: InputFile, threads: int, bar: Meter | None) -> Packed:
        """Of a JPEG file, which comes back byte for byte."""
        source = file.path
        check_size(source, file.status.st_size, self.settings)
        data = file.read()
        with self.settings.effort(threads, bar, None) as effort:
            most = self.settings.max_pixels
            how = (None, effort, self.level, most, self.strip, self.preview_side)
            made = about(source, lambda: jpeg_encoder.encode(data, *how))
            if self.check:
                about(source, lambda: jpeg_encoder.verify(made, None, effort))
        facts = {"kept": "whole" if made.kept_whole else "coefficients"}
        if made.kept_whole:
            facts["reason"] = made.kept_whole
        said = made.kept_whole or "by its coefficients"
        if made.left_out:
            said += "; another JPEG file will come back, without what is not kept"
        left_out = [f"{kind} ({length} bytes)" for kind, length in made.left_out.items()]
        return Packed(made.data, None, said, left_out, facts)

    def _finish(self, route: Route, packed: Packed, more: str) -> Done:
        """Write the file, remove the input if it is not to be kept.

        Raises NotKept after writing if the input holds more than may be lost, and keeps it.
        """
        before, after = route.read.size, len(packed.data)
        written = route.write(packed.data)
        bits = 8 * after / packed.samples if packed.samples else None
        facts = {
            "output": str(route.path),
            "input_bytes": before,
            "output_bytes": after,
            **({"bits_per_sub_pixel": round(bits, 4)} if bits else {}),
            "checked": self.check,
            "not_kept": list(packed.not_kept),
            **packed.facts,
        }
        if self.remove:
            route.remove_input(written, () if self.strip else packed.not_kept, facts)
        return Done(
            f"{route.source} -> {route.path}: {before} -> {after} bytes"
            f" ({100 * after / max(before, 1):.1f} %)"
            + (f", {bits:.3f} bits per sub-pixel" if bits else ", a JPEG file"),
            f"{more}, {'checked' if self.check else 'not checked'}",
            facts,
            warning(route.source, packed.not_kept),
        )
