"""Many files with the torch engine on one device: images of one size walk together.

Files are as one by one, but always of format version 1: only the network is tried. What is
read and not yet written is bounded by `batches.TOGETHER` pixels, beyond which a file comes alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncml_cli.jobs import Compress, Decompress, Job, Test, about
from ncml_cli.report import Done, Outcome, attempt
from ncml_cli.targets import Target, free_target
from ncml_codec import batches, choice, codec, general, library, look
from ncml_codec.codec import Opened
from ncml_codec.container import Container, read_container
from ncml_codec.errors import FormatError, NcmlError, RoundTripError, UnsupportedImage, UsageError
from ncml_codec.files import read_file, status
from ncml_codec.levels import Level
from ncml_codec.model import Model
from ncml_codec.picture import Picture, Samples
from ncml_codec.pixels import encode_parts
from ncml_codec.png import unpack_chunks

if TYPE_CHECKING:
    from ncml_codec.engines.torch_engine import TorchEngine

Pairs = Sequence[tuple[Path, Target]]
Way = tuple[Sequence[Model], Level]  # of `library.of_level`


def run(job: Job, pairs: Pairs, device: str) -> Iterator[Outcome]:
    """What comes of every file, in order. Raises UsageError for a device that is not here."""
    engines = _Engines(device)
    for group in _groups(job, pairs):
        if isinstance(job, Compress):
            yield from _compress(job, group, engines)
        elif isinstance(job, Decompress | Test):
            yield from _restore(job, group, engines)


class _Engines:
    """Engines of the models that files name, each made once."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._made: dict[bytes, TorchEngine] = {}

    def of(self, model: Model) -> TorchEngine:
        from ncml_codec.engines import torch_engine

        if model.identity not in self._made:
            self._made[model.identity] = torch_engine.on_device(model.network, self._device)
        return self._made[model.identity]


def _groups(job: Job, pairs: Pairs) -> Iterator[Pairs]:
    group: list[tuple[Path, Target]] = []
    pixels = 0
    for source, target in pairs:
        size = job.pixels(source) or batches.TOGETHER
        if group and pixels + size > batches.TOGETHER:
            yield group
            group, pixels = [], 0
        group.append((source, target))
        pixels += size
    yield group


def _compress(job: Compress, pairs: Pairs, engines: _Engines) -> list[Outcome]:
    started = time.perf_counter()
    found: list[Outcome] = [Done()] * len(pairs)
    opened: dict[int, tuple[Path, Picture]] = {}
    for index, (source, target) in enumerate(pairs):
        try:
            path = free_target(source, target, job.force)
            image = job.opened(source)
            if not image.kind.is_first_version:
                raise UnsupportedImage(
                    f"{source}: {image.kind} samples; only 8-bit grey and RGB images go through"
                    " the network together. Leave out --device"
                )
            opened[index] = path, Picture(image.rows(0, image.height), image.chunks)
        except NcmlError as error:
            found[index] = error
    pictures = [picture for _, picture in opened.values()]
    ways = library.of_level(job.level, job.model)
    files = _encoded(pictures, ways, engines)
    containers = [read_container(data) for data in files]
    decoded = _decoded(containers, _all(ways), engines) if job.check else None
    names = ", ".join(str(engines.of(model)) for model in _all(ways))
    more = f"{time.perf_counter() - started:.2f} s for {len(files)} images, engine {names}"
    for at, (index, (path, picture)) in enumerate(opened.items()):
        source = pairs[index][0]
        if decoded is not None:
            chunks = unpack_chunks(containers[at].metadata)
            problem = _difference(picture, decoded[at], chunks)
            if problem:
                found[index] = RoundTripError(f"{source}: {problem}; nothing was written")
                continue
        size = picture.samples.size
        found[index] = attempt(partial(job.finish, source, path, files[at], size, more))
    return found


def _all(ways: Sequence[Way]) -> list[Model]:
    return [model for models, _ in ways for model in models]


def _encoded(pictures: Sequence[Picture], ways: Sequence[Way], engines: _Engines) -> list[bytes]:
    """The smallest file of every picture. ways: as of `library.of_level`."""
    (models, level), *others = ways
    looked = [look.chosen(picture, models) for picture in pictures]
    turns = [turn for turn, _ in looked]
    files = [b""] * len(pictures)

    def encode(some: Sequence[int], model: Model, level: Level) -> None:
        made = batches.encode(
            [pictures[n] for n in some],
            model,
            engines.of(model),
            level=level,
            turns=[turns[n] for n in some],
        )
        for n, file in zip(some, made, strict=True):
            files[n] = min(files[n] or file, file, key=len)

    for model in models:
        encode([n for n, (_, by) in enumerate(looked) if by is model], model, level)
    for several, level in others:
        some = [n for n, picture in enumerate(pictures) if choice.is_for_all_models(picture)]
        for model in several:
            encode(some, model, level)
    return files


def _difference(
    picture: Picture, decoded: Samples | NcmlError, chunks: Sequence[tuple[bytes, bytes]]
) -> str | None:
    if isinstance(decoded, NcmlError) or not np.array_equal(decoded, picture.samples):
        return "decoding gave other pixels"
    if list(chunks) != list(picture.chunks):
        return "decoding gave other metadata"
    return None


def _restore(job: Decompress | Test, pairs: Pairs, engines: _Engines) -> list[Outcome]:
    started = time.perf_counter()
    found: list[Outcome] = [Done()] * len(pairs)
    opened: dict[int, tuple[Path, Opened]] = {}
    for index, (source, target) in enumerate(pairs):
        try:
            if isinstance(job, Decompress):
                path = free_target(source, target, job.force)
            elif isinstance(target, NcmlError):
                raise target
            else:
                path = target
            opened[index] = path, about(source, partial(_open, source, job))
        except NcmlError as error:
            found[index] = error
    models = {one.model.identity: one.model for _, one in opened.values()}
    containers = [one.container for _, one in opened.values()]
    decoded = _decoded(containers, list(models.values()), engines)
    names = ", ".join(str(engines.of(model)) for model in models.values())
    more = f"{time.perf_counter() - started:.2f} s for {len(opened)} images, engine {names}"
    for (index, (path, one)), samples in zip(opened.items(), decoded, strict=True):
        source = pairs[index][0]
        found[index] = attempt(partial(_give, job, source, path, one, samples, more))
    return found


def _decoded(
    containers: Sequence[Container], models: Sequence[Model], engines: _Engines
) -> list[Samples | FormatError]:
    """What is in each of them. models: those that they were made with, among others."""
    found: dict[int, Samples | FormatError] = {}
    for model in models:
        mine = [n for n, one in enumerate(containers) if one.header.identity == model.identity]
        together = [containers[n] for n in mine]
        found.update(zip(mine, batches.decode(together, engines.of(model)), strict=True))
    return [found[n] for n in range(len(containers))]


def _open(source: Path, job: Decompress | Test) -> Opened:
    data = read_file(source)
    if general.is_general(data):
        raise UsageError("a file of format version 2, which has no tiles; leave out --device")
    return codec.open_file(data, job.models, max_pixels=job.settings.max_pixels)


def _give(
    job: Decompress | Test,
    source: Path,
    path: Path,
    opened: Opened,
    samples: Samples | NcmlError,
    more: str,
) -> Done:
    if isinstance(samples, NcmlError):
        raise type(samples)(f"{source}: {samples}")
    size = f"{opened.header.width} x {opened.header.height}"
    if isinstance(job, Test):
        return job.finish(source, status(source).st_size, size, more)
    shape = (opened.header.height, opened.header.width, opened.header.planes)
    data = b"".join(encode_parts(shape, opened.chunks, [samples], str(path)))
    return job.finish(source, path, data, size, more)
