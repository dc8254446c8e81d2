"""What `ncmlzip info` tells of a file: all that its header and sections say without its pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncml_codec import engines, library, png
from ncml_codec.container import Container, read_container
from ncml_codec.errors import UnknownModel
from ncml_codec.model import Model
from ncml_codec.strength import describe

_LISTED = 10  # sections that are shown to people


def facts_of(source: Path, data: bytes, models: Sequence[Model]) -> dict[str, Any]:
    """A file's facts by name, as JSON has them. models: looked at before the released ones.

    ratio: bytes of the samples for each byte of the file. Raises FormatError for a file that is
    not sound as far as its sections' checksums tell.
    """
    container = read_container(data)
    header = container.header
    try:
        found, model = library.find(header.identity, models)
        name = found or "given with -m"
        engine = str(engines.load("auto", model.network, os.cpu_count() or 1))
    except UnknownModel:
        name, engine = "not at hand", "none"
    samples = header.width * header.height * header.planes
    chunks = [kind.decode("latin-1") for kind, _ in png.unpack_chunks(container.metadata)]
    return {
        "file": str(source),
        "width": header.width,
        "height": header.height,
        "kind": "8-bit RGB" if header.planes == 3 else "8-bit grey",
        "model": name,
        "model_identity": header.identity.hex(),
        "adaptation": ", ".join(sorted({describe(tile.adaptation) for tile in container.tiles})),
        "engine_here": engine,
        "bytes": len(data),
        "raw_bytes": samples,
        "ratio": round(samples / len(data), 4),
        "bits_per_sub_pixel": round(8 * len(data) / samples, 4),
        "tiles": len(container.tiles),
        "payload_bytes": sum(len(tile.payload) for tile in container.tiles),
        "metadata_bytes": len(container.metadata),
        "metadata": [kind for kind in chunks if kind != "IDAT"],
        "sections": _sections(container, len(data)),
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
        more = f", {section['adaptation']}" if "adaptation" in section else ""
        said.append(f"  {section['section'] + ':':20}{section['bytes']} bytes{more}")
    left = len(sections) - _LISTED
    return [*said, f"  and {left} more, see --json"] if left > 0 else said


def _sections(container: Container, length: int) -> list[dict[str, Any]]:
    """Every section and its bytes in the order of the file; checksums count as the header's."""
    found: list[dict[str, Any]] = []
    if container.metadata:
        found.append({"section": "metadata", "bytes": len(container.metadata)})
    for index, tile in enumerate(container.tiles):
        found.append(
            {
                "section": f"tile {index}",
                "bytes": len(tile.payload),
                "adaptation": describe(tile.adaptation),
            }
        )
    rest = length - sum(section["bytes"] for section in found)
    return [{"section": "header, checksums", "bytes": rest}, *found]
