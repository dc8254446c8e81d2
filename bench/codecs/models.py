"""`python -m bench models`: the released models side by side, from results of `bench codecs`.

It measures nothing but the models' own sizes; every other figure is one of the results it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import record
from bench.codecs import tables
from bench.codecs.measuring import LOSSLESS
from bench.codecs.tables import REFERENCE, bits_per_sample, mean_seconds, names_by_size
from bench.record import Record
from bench.rendering import markdown
from ncml_codec.errors import InputError
from ncml_codec.network import released_models
from ncml_codec.network.model_file import write_model

_TIMES = ("encode, s", "decode, s")


def run(results: Mapping[str, Sequence[Record]]) -> list[Record]:
    """A header, a record for each released model, and one for each codec and file of results.

    results: records of `bench codecs` by the name of their file. Raises InputError for others.
    """
    records = [record.header("models", results=list(results))]
    records += [_model(name) for name in released_models.released()]
    for place, lines in results.items():
        if record.bench_of(lines) != "codecs":
            raise InputError(f"{place}: not results of `python -m bench codecs`")
        records += _summary(place, lines)
    return records


def table(records: Sequence[Record]) -> str:
    """Markdown: the models, then every set of images with all codecs by size."""
    models = [r for r in records if "multiply_adds" in r]
    rows = [
        [
            r["model"],
            f"{r['multiply_adds']:,}",
            f"{r['bytes']:,}",
            f"{r['width']}, {r['blocks']}, {r['components']}",
            f"`{r['identity']}`",
        ]
        for r in models
    ]
    head = ["model", "multiply-adds a pixel", "file, bytes"]
    parts = [markdown([*head, "channels, blocks, logistics", "identity"], rows)]
    for place in records[0]["results"]:
        mine = [r for r in records if r.get("place") == place]
        parts.append(f"**{place}**: {mine[0]['of']} images; {mine[0]['machine']}.")
        parts.append(
            markdown(
                ["codec", "images", "bits per sub-pixel", f"against {REFERENCE}", *_TIMES],
                [_row(r) for r in mine],
            )
        )
    parts.append(
        "Whole files, metadata aside; seconds: mean of an image, one thread, without check."
        ' "Against" compares the same images alone. A number after a model\'s name is the level;'
        f" without one it is -1. Made by `{records[0]['machine']['command']}`."
    )
    return "\n\n".join(parts) + "\n"


def _model(name: str) -> Record:
    model = released_models.load(name)
    network = model.network
    return {
        "model": name,
        "multiply_adds": network.multiply_adds(),
        "bytes": len(write_model(network)),
        "width": network.width,
        "blocks": len(network.blocks),
        "components": network.k,
        "identity": model.identity.hex(),
    }


def _summary(place: str, lines: Sequence[Record]) -> list[Record]:
    results = tables.measured(lines)
    count = len({(r["folder"], r["image"]) for r in results})
    reference = tables.by_image(results, REFERENCE)
    found = []
    for name in names_by_size(results):
        done = [r for r in results if r["codec"] == name and r["state"] == LOSSLESS]
        found.append(
            {
                "place": place,
                "machine": record.describe(lines[0]["machine"]),
                "of": count,
                "codec": name,
                "images": len(done),
                "bits_per_sub_pixel": bits_per_sample(results, name),
                "against": tables.against(done, reference),
                "encode_seconds": mean_seconds(results, name, "encode_seconds"),
                "decode_seconds": mean_seconds(results, name, "decode_seconds"),
            }
        )
    return found


def _row(r: Record) -> list[str]:
    name = f"**{r['codec']}**" if r["codec"].startswith("ncml") else r["codec"]
    figures = [(r["bits_per_sub_pixel"], 4), (r["encode_seconds"], 3), (r["decode_seconds"], 3)]
    bits, encode, decode = ("" if v is None else f"{v:.{digits}f}" for v, digits in figures)
    return [name, f"{r['images']} of {r['of']}", bits, r["against"], encode, decode]
