"""What `ncmlzip info` tells of a file: all that its header and sections say without its pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncml_codec import engines
from ncml_codec.decode import costs, file_info, layers
from ncml_codec.errors import UnknownModel
from ncml_codec.format import layered_container
from ncml_codec.format.adaptation import describe
from ncml_codec.format.container import Container, read_container
from ncml_codec.format.layered_container import General
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import kinds, orientation, png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.kinds import Kind

_TRANSFORMS = {
    layered_container.SAMPLES: "none",
    layered_container.PALETTE: "palette",
    layered_container.VALUES: "values",
}
_LISTED = 10  # sections that are shown to people


def facts_of(
    source: Path,
    data: bytes,
    models: Sequence[Model],
    limits: tuple[int, int | None] = (MAX_PIXELS, None),
) -> dict[str, Any]:
    """A file's facts by name, as JSON has them. models: looked at before the released ones.

    limits: max_pixels, and max_work or None. work: of decoding in multiply-adds, see `costs`; None
    if the model is not at hand. ratio: bytes of the samples for each byte of the file. Raises
    FormatError for a file that is not sound as far as its sections' checksums tell, BeyondLimit.
    """
    max_pixels, max_work = limits
    work = file_info.inspect_bytes(data, models=models, max_pixels=max_pixels).work
    if max_work is not None:
        costs.Work(work or 0, 0).check(max_work)
    file = (
        layered_container.read(data) if layered_container.is_general(data) else read_container(data)
    )
    header = file.header
    records = png_chunks.unpack_chunks(file.metadata)
    samples = header.width * header.height * header.planes
    raw = (samples * header.kind.bit_depth + 7) // 8
    own = _of_layers(file, models) if isinstance(file, General) else _of_tiles(file, models)
    return {
        "file": str(source),
        "format_version": data[4],
        "width": header.width,
        "height": header.height,
        "kind": described(header.kind, records),
        **own,
        "work": work,
        "bytes": len(data),
        "raw_bytes": raw,
        "ratio": round(raw / len(data), 4),
        "bits_per_sub_pixel": round(8 * len(data) / samples, 4),
        "metadata_bytes": len(file.metadata),
        "metadata": [_named(kind) for kind, _ in records if kind != png_chunks.PIXELS],
        "sections": _sections(file, len(data)),
    }


def described(kind: Kind, chunks: Sequence[png_chunks.Chunk]) -> str:
    """A kind in words: "16-bit RGBA", "8-bit palette of 13 colours"."""
    if kind.colour_type != kinds.PALETTE:
        return str(kind)
    return f"{kind} of {len(dict(chunks).get(b'PLTE', b'')) // 3} colours"


def _named(kind: bytes) -> str:
    return "trailer" if kind == png_chunks.TRAILER else kind.decode("latin-1")


def _of_tiles(file: Container, models: Sequence[Model]) -> dict[str, Any]:
    return {
        **_of_model(file, models),
        "tiles": len(file.tiles),
        "payload_bytes": sum(len(tile.payload) for tile in file.tiles),
    }


def _of_layers(file: General, models: Sequence[Model]) -> dict[str, Any]:
    """With the model of the first layer that has one."""
    coded = [layer.payload for layer in file.layers if layer.method == layers.NETWORK]
    found = _of_model(read_container(bytes(coded[0])), models) if coded else {}
    return {
        **found,
        "transform": _TRANSFORMS[file.header.transform],
        "payload_bytes": sum(len(layer.payload) for layer in file.layers),
    }


def _of_model(file: Container, models: Sequence[Model]) -> dict[str, Any]:
    try:
        found, model = released_models.find(file.header.identity, models)
        name = found or "given with -m"
        engine = str(engines.load("auto", model.network, os.cpu_count() or 1))
    except UnknownModel:
        name, engine = "not at hand", "none"
    return {
        "model": name,
        "model_identity": file.header.identity.hex(),
        "adaptation": ", ".join(sorted({describe(tile.adaptation) for tile in file.tiles})),
        "turn": orientation.describe(file.header.turn),
        "engine_here": engine,
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The facts for people."""
    said = [
        f"{key + ':':22}{', '.join(value) if isinstance(value, list) else value}"
        for key, value in found.items()
        if key != "sections"
    ]
    sections = found["sections"]
    said.append(f"{'sections:':22}{len(sections)}")
    for section in sections[:_LISTED]:
        how = section.get("adaptation") or section.get("method")
        more = f", {how}" if how else ""
        said.append(f"  {section['section'] + ':':20}{section['bytes']} bytes{more}")
    left = len(sections) - _LISTED
    return [*said, f"  and {left} more, see --json"] if left > 0 else said


def _sections(file: Container | General, length: int) -> list[dict[str, Any]]:
    """Every section and its bytes in the order of the file; checksums count as the header's."""
    found: list[dict[str, Any]] = []
    if file.metadata:
        found.append({"section": "metadata", "bytes": len(file.metadata)})
    if isinstance(file, General):
        if file.table:
            found.append({"section": "table", "bytes": len(file.table)})
        found += [
            {
                "section": f"layer {index}",
                "bytes": len(layer.payload),
                "planes": layer.planes,
                "method": layers.by_number(layer.method).name,
            }
            for index, layer in enumerate(file.layers)
        ]
    else:
        found += [
            {
                "section": f"tile {index}",
                "bytes": len(tile.payload),
                "adaptation": describe(tile.adaptation),
            }
            for index, tile in enumerate(file.tiles)
        ]
    rest = length - sum(section["bytes"] for section in found)
    return [{"section": "header, checksums", "bytes": rest}, *found]
