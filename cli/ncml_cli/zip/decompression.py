"""`ncmlzip decompress` and `test`: the jobs that decode a `.ncmz` file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ncml_cli.report import Done
from ncml_cli.zip.jobs import SMALL, Rest, Route, about, check_size, warning
from ncml_cli.zip.settings import Settings, engine_of
from ncml_cli.zip.targets import Target, free_target, image_name, names_no_format
from ncml_codec.atomic_files import FileState, InputFile
from ncml_codec.decode import image_decoder, jpeg_decoder, region, salvage, tile_decoder
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.image_decoder import Opened
from ncml_codec.decode.region import Region
from ncml_codec.decode.salvage import Loss, Salvaged
from ncml_codec.errors import FormatError, InputError, NcmlError
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import is_kept
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import WRITABLE, encode_parts, not_held, written_bytes
from ncml_codec.picture.picture import Samples

if TYPE_CHECKING:
    from ncml_cli.meter import Meter

_HEAD = 1 << 12  # bytes that hold the header of any small image's file


@dataclass(frozen=True)
class Restored:
    """What came out of a file. data: of the output, or what it is if it is written already; size:
    in words; engine: empty for a JPEG file; not_kept: what the image's format cannot hold."""

    data: bytes | FileState
    size: str
    engine: str = ""
    not_kept: Sequence[str] = ()
    losses: Sequence[Loss] = ()


@dataclass(frozen=True)
class Decompress:
    """A `.ncmz` file to an image.

    models: looked at before the released ones. keep_going: write what is left of a damaged file.
    part: write this part of the image alone. suffix: of the format to write; None for the name's.
    strip: as of `Compress`.
    """

    settings: Settings
    models: Sequence[Model]
    force: bool
    remove: bool
    keep_going: bool = False
    part: Region | None = None
    suffix: str | None = None
    strip: bool = False

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        path = free_target(source, target, self.force)
        data, read = _read(source, self.settings)
        route = Route(source, read, path, self.force)
        is_jpeg = is_kept(data) and not self.part and path.suffix.lower() not in WRITABLE
        started = time.perf_counter()
        pixels = 0 if is_jpeg else _coded_pixels(source)
        with self.settings.effort(threads, bar, pixels) as effort:
            route, restored = (self._jpeg if is_jpeg else self._image)(route, data, effort)
        more = _said(started, restored.engine)
        return partial(self._finish, route, restored, more)

    def _image(self, route: Route, data: bytes, effort: Effort) -> tuple[Route, Restored]:
        """The image, or a part or what is left of it."""
        found = about(route.source, lambda: self._opened(data, effort))
        return route, self._encoded(route, data, found, effort)

    def _opened(self, data: bytes, effort: Effort) -> Salvaged:
        most, work = self.settings.max_pixels, self.settings.max_work
        if self.keep_going:
            return salvage.open_file(data, self.models, effort, most, work)
        if self.part:
            return Salvaged(region.open_file(data, self.part, self.models, effort, most, work))
        return Salvaged(image_decoder.open_file(data, self.models, effort, most, work))

    def _jpeg(self, route: Route, data: bytes, effort: Effort) -> tuple[Route, Restored]:
        """The very JPEG file; with `keep_going` the pixels that are left of a damaged one."""
        source = route.source
        if self.strip:
            raise InputError(
                f"{source}: a JPEG file comes back as it was; give --strip to compress"
            )
        damage = jpeg_decoder.Damage() if self.keep_going else None
        found, size = _jpeg_file(source, data, self.settings, effort, damage)
        if not damage:
            return route, Restored(found, size)
        # The plan of the call does not know this output, so it must not replace any file.
        path = route.path.with_name(f"{route.path.name}.png")
        route = replace(route, path=free_target(source, path, force=False), replace=False)
        opened = about(
            source, lambda: image_decoder.of_jpeg(found, self.settings.max_pixels, effort)
        )
        left = Salvaged(opened, others=[Loss(*each) for each in damage])
        return route, self._encoded(route, data, left, effort)

    def _encoded(self, route: Route, file: bytes, found: Salvaged, effort: Effort) -> Restored:
        """The image in its format; that of a large one is written as it is decoded."""
        opened, name = found.opened, str(route.path)
        bands = _bands_about(route.source, opened.bands)
        chunks = png_chunks.needed(opened.chunks) if self.strip else opened.chunks
        pixels = opened.width * opened.height
        check_size(
            route.source, len(file) + written_bytes(pixels, opened.kind, name), self.settings
        )
        # Parts are computed as they are asked for.
        parts = encode_parts(opened.shape, chunks, bands, name, opened.kind)
        data = b"".join(parts) if pixels <= SMALL else route.write(parts)
        not_kept = not_held(chunks, opened.kind, name)
        if is_kept(file) and not self.part:
            not_kept = ["the JPEG file, of which these are the pixels", *not_kept]
        engine = engine_of(effort, opened.model)
        return Restored(data, _size(opened), engine, not_kept, found.losses)

    def _finish(self, route: Route, restored: Restored, more: str) -> Done:
        """Write the image if it is not, remove the input if it is not to be kept.

        Raises FormatError after writing if tiles are lost, and NotKept as `Compress` does; both
        keep the input.
        """
        source, path, not_kept = route.source, route.path, restored.not_kept
        written = restored.data
        if isinstance(written, bytes):
            written = route.write(written)
        if restored.losses:
            raise FormatError(
                f"{source}: damaged: {salvage.summary(restored.losses)}. What is left is in {path},"
                f" lost pixels in grey ({tile_decoder.LOST}); {source} is kept"
                + (f"; not kept: {', '.join(not_kept)}" if not_kept else "")
            )
        facts = {
            "output": str(path),
            "input_bytes": route.read.size,
            "output_bytes": written.size,
            "size": restored.size,
            "not_kept": list(not_kept),
        }
        if self.remove:
            route.remove_input(written, () if self.strip else not_kept, facts)
        is_fallback = (
            self.suffix is None
            and names_no_format(source)
            and path.name == image_name(source, part=self.part)
        )
        note = ", as PNG, since the name has no suffix of a lossless format" if is_fallback else ""
        said = f"{source} -> {path}: {restored.size}{note}"
        return Done(said, more, facts, warning(source, not_kept))


@dataclass(frozen=True)
class Test:
    """Decode a `.ncmz` file and check every checksum; name all that is damaged."""

    settings: Settings
    models: Sequence[Model]

    def pixels(self, source: Path) -> int | None:
        return _coded_pixels(source)

    def start(self, source: Path, target: Target, threads: int, bar: Meter | None) -> Rest:
        if isinstance(target, NcmlError):
            raise target
        data, read = _read(source, self.settings)
        started = time.perf_counter()
        with self.settings.effort(threads, bar, _coded_pixels(source)) as effort:
            size, engine = (self._jpeg if is_kept(data) else self._image)(source, data, effort)
        facts = {"input_bytes": read.size, "size": size}
        done = Done(f"{source}: sound, {size}", _said(started, engine), facts)
        return lambda: done

    def _jpeg(self, source: Path, data: bytes, effort: Effort) -> tuple[str, str]:
        return _jpeg_file(source, data, self.settings, effort)[1], ""

    def _image(self, source: Path, data: bytes, effort: Effort) -> tuple[str, str]:
        """The image's size in words, and the engine. Raises FormatError with all that is lost."""
        most, work = self.settings.max_pixels, self.settings.max_work
        found = about(source, lambda: salvage.open_file(data, self.models, effort, most, work))
        for _ in _bands_about(source, found.opened.bands):
            pass
        if found.losses:
            raise FormatError(f"{source}: {salvage.summary(found.losses)}")
        return _size(found.opened), engine_of(effort, found.opened.model)


def _read(source: Path, settings: Settings) -> tuple[bytes, FileState]:
    """A file's bytes, and its state. Raises BeyondLimit if they are more than --memory allows."""
    with InputFile(source) as file:
        check_size(source, file.status.st_size, settings)
        return file.read(), file.state


def _jpeg_file(
    source: Path,
    data: bytes,
    settings: Settings,
    effort: Effort,
    damage: jpeg_decoder.Damage | None = None,
) -> tuple[bytes, str]:
    """The JPEG file in a `.ncmz` file's bytes, see `jpeg_decoder.restore`; its size in words."""
    most, work = settings.max_pixels, settings.max_work
    kept = about(source, lambda: read_directory(data, most).kept)
    assert kept is not None
    found = about(source, lambda: jpeg_decoder.restore(kept, data, (), effort, most, work, damage))
    return found, f"{kept.width} x {kept.height}, a JPEG file"


def _size(opened: Opened) -> str:
    return f"{opened.width} x {opened.height}"


def _said(started: float, engine: str) -> str:
    """What -v adds. engine: empty if there is none."""
    seconds = f"{time.perf_counter() - started:.2f} s"
    return f"{seconds}, {engine}" if engine else seconds


def _coded_pixels(source: Path) -> int | None:
    """Pixels of a `.ncmz` file; None if its beginning does not say, which decoding reports."""
    try:
        if not source.is_file():
            return None
        with source.open("rb") as file:
            header = image_decoder.read_header(file.read(_HEAD))
    except (NcmlError, OSError):
        return None
    return header.width * header.height


def _bands_about(source: Path, bands: Iterator[Samples]) -> Iterator[Samples]:
    """The bands; the errors of decoding them name the file."""
    while (band := about(source, lambda: next(bands, None))) is not None:
        yield band
