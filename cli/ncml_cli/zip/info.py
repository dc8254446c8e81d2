"""What `ncmlzip info` tells of a file: all that its header and sections say without its pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ncml_codec import engines, jpeg
from ncml_codec.coefficients.released_models import find, name_of
from ncml_codec.decode import costs, file_info, jpeg_decoder
from ncml_codec.decode.layers import method_of
from ncml_codec.errors import UnknownModel
from ncml_codec.format import directory
from ncml_codec.format.container import DRAFT, Container, payload_bytes
from ncml_codec.format.kept_file import Coding, KeptHead
from ncml_codec.format.tiles import Tiles
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import kinds, orientation, png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.kinds import Kind
from ncml_codec.zstd_frames import unpacked_bytes

_LISTED = 10  # tiles of a layer that are shown to people


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
    found = directory.read_directory(data, max_pixels)
    if found.kept is not None:
        return _of_jpeg(source, data, found.kept, max_pixels) | {"work": work}
    file = found.read(data)
    header = file.header
    records = png_chunks.unpack_chunks(file.metadata)
    samples = header.width * header.height * header.planes
    raw = (samples * header.kind.bit_depth + 7) // 8
    coded = [layer for layer in file.layers if isinstance(layer, Tiles)]
    return {
        "file": str(source),
        "format_draft": DRAFT,
        "width": header.width,
        "height": header.height,
        "kind": described(header.kind, records),
        **(_of_network(coded[0], models) if coded else {}),
        "transform": header.transform.name.lower(),
        "payload_bytes": sum(payload_bytes(layer) for layer in file.layers),
        "work": work,
        "bytes": len(data),
        "raw_bytes": raw,
        "ratio": round(raw / len(data), 4),
        "bits_per_sub_pixel": round(8 * len(data) / samples, 4),
        "metadata_bytes": len(file.metadata),
        "metadata": [_named(kind) for kind, _ in records if kind != png_chunks.PIXELS],
        "sections": _sections(file, len(data)),
    }


def _of_jpeg(source: Path, data: bytes, head: KeptHead, max_pixels: int) -> dict[str, Any]:
    """Facts of a JPEG file: what it is and holds, as far as it is not kept whole."""
    file = head.read(data)
    found: dict[str, Any] = {
        "file": str(source),
        "format_draft": DRAFT,
        "width": head.width,
        "height": head.height,
        "kind": "JPEG file",
        "kept": head.coding.name.lower(),
    }
    file_bytes = head.payload_bytes
    if head.coding == Coding.WHOLE:
        file_bytes = unpacked_bytes(file.payloads[0], "payload")
    else:
        recipe = jpeg_decoder.unpack_recipe(file.recipe, max_pixels)
        file_bytes = recipe.size
        try:
            found["model"] = name_of(find(head.identity))
        except UnknownModel:
            found["model"] = "not at hand"
        found["model_identity"] = head.identity.hex()
        found["jpeg"] = asdict(jpeg.file_info(recipe))
    sections = [("preview", head.preview_bytes), ("recipe", head.recipe_bytes)]
    sections = [(name, length) for name, length in sections if length]
    sections += [(f"payload {index}", length) for index, length in enumerate(head.lengths)]
    sections.insert(0, ("header, checksums", len(data) - sum(length for _, length in sections)))
    return found | {
        "bytes": len(data),
        "file_bytes": file_bytes,
        "ratio": round(file_bytes / len(data), 4),
        "sections": [{"section": name, "bytes": length} for name, length in sections],
    }


def described(kind: Kind, chunks: Sequence[png_chunks.Chunk]) -> str:
    """A kind in words: "16-bit RGBA", "8-bit palette of 13 colours"."""
    if kind.colour_type != kinds.PALETTE:
        return str(kind)
    return f"{kind} of {len(dict(chunks).get(b'PLTE', b'')) // 3} colours"


def _named(kind: bytes) -> str:
    return "trailer" if kind == png_chunks.TRAILER else kind.decode("latin-1")


def _of_network(layer: Tiles, models: Sequence[Model]) -> dict[str, Any]:
    """Facts of the first layer that the network codes."""
    identity = layer.layout.identity
    try:
        found, model = released_models.find(identity, models)
        name = found or "given with -m"
        engine = str(engines.load("auto", model.network, os.cpu_count() or 1))
    except UnknownModel:
        name, engine = "not at hand", "none"
    return {
        "model": name,
        "model_identity": identity.hex(),
        "adaptation": ", ".join(sorted({str(tile.adaptation) for tile in layer.tiles})),
        "turn": orientation.describe(layer.layout.turn),
        "engine_here": engine,
        "tiles": len(layer.tiles),
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The facts for people."""
    facts = dict(found) | _flat(found.get("jpeg", {}))
    said = [
        f"{key + ':':22}{', '.join(value) if isinstance(value, list) else value}"
        for key, value in facts.items()
        if key not in ("sections", "jpeg")
    ]
    for section in found["sections"]:
        method = section.get("method")
        more = f", {section['planes']} planes by {method}" if method else ""
        said.append(f"{section['section'] + ':':22}{section['bytes']} bytes{more}")
        tiles = section.get("tiles", [])
        for index, tile in enumerate(tiles[:_LISTED] if len(tiles) > 1 else []):
            said.append(f"  tile {index:<15}{tile['bytes']} bytes, {tile['adaptation']}")
        if len(tiles) > _LISTED:
            said.append(f"  and {len(tiles) - _LISTED} more tiles, see --json")
    return said


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a JPEG file is, for people: metadata as "EXIF 1234"."""
    held = [f"{name} {count}" for name, count in facts.get("metadata", {}).items()]
    return {**facts, **({"metadata": held or ["none"]} if facts else {})}


def _sections(file: Container, length: int) -> list[dict[str, Any]]:
    """Every section and its bytes in the order of the file; checksums count as the header's."""
    found: list[dict[str, Any]] = []
    sections = {"preview": file.preview, "metadata": file.metadata, "table": file.table}
    for name, content in sections.items():
        if content:
            found.append({"section": name, "bytes": len(content)})
    for index, layer in enumerate(file.layers):
        own = {"section": f"layer {index}", "bytes": payload_bytes(layer), "planes": layer.planes}
        found.append(own | {"method": method_of(layer).name.lower()})
        if isinstance(layer, Tiles):
            found[-1]["tiles"] = [
                {"bytes": len(tile.payload), "adaptation": str(tile.adaptation)}
                for tile in layer.tiles
            ]
    rest = length - sum(section["bytes"] for section in found)
    return [{"section": "header, checksums", "bytes": rest}, *found]
