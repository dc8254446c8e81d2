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
from ncml_codec import batches, codec, general
from ncml_codec.codec import Opened
from ncml_codec.container import read_container
from ncml_codec.errors import NcmlError, RoundTripError, UnsupportedImage, UsageError
from ncml_codec.files import read_file, status
from ncml_codec.model import Model
from ncml_codec.picture import Picture, Samples
from ncml_codec.pixels import encode_parts
from ncml_codec.png import unpack_chunks

if TYPE_CHECKING:
    from ncml_codec.engines.torch_engine import TorchEngine

Pairs = Sequence[tuple[Path, Target]]


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
    engine = engines.of(job.model)
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
    files = batches.encode(pictures, job.model, engine, level=job.level)
    containers = [read_container(data) for data in files]
    decoded = batches.decode(containers, engine) if job.check else None
    more = f"{time.perf_counter() - started:.2f} s for {len(files)} images, engine {engine}"
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
    decoded: dict[int, Samples | NcmlError] = {}
    models = {one.model.identity: one.model for _, one in opened.values()}
    for identity, model in models.items():
        mine = [index for index in opened if opened[index][1].model.identity == identity]
        containers = [opened[index][1].container for index in mine]
        decoded.update(zip(mine, batches.decode(containers, engines.of(model)), strict=True))
    names = ", ".join(str(engines.of(model)) for model in models.values())
    more = f"{time.perf_counter() - started:.2f} s for {len(opened)} images, engine {names}"
    for index, (path, one) in opened.items():
        source = pairs[index][0]
        found[index] = attempt(partial(_give, job, source, path, one, decoded[index], more))
    return found


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
