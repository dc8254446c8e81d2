"""`python -m bench codecs`: sizes, times and memory of our models and of rivals, same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench import record
from bench.codecs import costs, ours, programs, quoted
from bench.codecs.contenders import Contender, Refused
from bench.codecs.measuring import LOSSLESS, Plan, Result, measure
from bench.codecs.ours import Variant
from bench.codecs.rivals import rivals
from bench.codecs.subjects import Subject, read_subject
from bench.record import Record
from ncml_codec.errors import InputError, UsageError
from ncml_codec.picture.image_files import Picture

INPUT = "the file as given"

Say = Callable[[str], None]


def run(
    images: Sequence[Path],
    variants: Sequence[Variant],
    rival_names: Sequence[str],
    engine: str,
    plan: Plan,
    pictures: bool,
    say: Say,
) -> list[Record]:
    """Measure everything; a header, then one record by image and codec.

    pictures: also record a thumbnail of each image, and the map of what its pixels cost by the
    first variant's model of each image. Raises UsageError for unknown rivals, models, levels
    and engines.
    """
    others = choose(rival_names)
    contenders = [*others.values(), *(ours.contender(variant, engine) for variant in variants)]
    folders = sorted({path.resolve().parent.name for path in images})
    measured = {short for short in others if short in programs.PROGRAMS}
    figures = quoted.figures_for({path.name for path in images}, measured)
    records = [
        record.header(
            "codecs",
            repeats=plan.repeats,
            threads=plan.threads,
            folders=folders,
            contenders=[
                {"codec": c.name, "settings": c.settings, "version": c.version} for c in contenders
            ],
            quoted=[asdict(figure) for figure in figures],
        )
    ]
    for path in images:
        try:
            subject = read_subject(path)
        except InputError as error:
            records.append({"image": path.name, "unreadable": str(error)})
            say(f"{path.name}: {error}")
            continue
        records.append(_input_file(subject))
        if pictures:
            records.append(_pictures(subject, variants, engine))
        for contender in contenders:
            result = measure(contender, subject, plan)
            variant = next((v for v in variants if v.name == contender.name), None)
            if variant is not None and result.state == LOSSLESS and variant.level == "static":
                result = _with_ideal(result, contender.prepare(subject), variant, engine)
            records.append(asdict(result))
            say(_line(result))
    return records


def choose(names: Sequence[str]) -> dict[str, Contender]:
    """Rivals by short name; `all` is every one that is here. Raises UsageError for others."""
    known = {**rivals(), **programs.installed()}
    if list(names) == ["all"]:
        return known
    for name in names:
        if name in programs.PROGRAMS and name not in known:
            needed = " and ".join(
                sorted({programs.PROGRAMS[name].encode[0], programs.PROGRAMS[name].decode[0]})
            )
            raise UsageError(f"rival {name}: {needed} not found on the path")
        if name not in known:
            raise UsageError(f"rival {name!r}: not one of all, {', '.join(known)}")
    return {name: known[name] for name in names}


def _input_file(subject: Subject) -> Record:
    """The size of the file that was given: its maker's PNG may beat every PNG made here."""
    return asdict(
        Result(
            INPUT,
            "size of the file, metadata included; nothing is run",
            subject.name,
            subject.folder,
            subject.samples.size,
            LOSSLESS,
            bytes=len(subject.data),
            lossless=True,
        )
    )


def _pictures(subject: Subject, variants: Sequence[Variant], engine: str) -> Record:
    found: Record = {
        "picture": subject.name,
        "folder": subject.folder,
        "thumbnail": costs.thumbnail(subject),
    }
    if variants:
        try:
            picture = ours.prepare(subject)
        except Refused:
            return found
        if not picture.kind.suits_network:
            return found
        bits = costs.bits_by_pixel(variants[0].taken(picture), picture.samples, engine)
        found |= {"cost_map": costs.cost_picture(bits), "cost_model": variants[0].name}
        found |= {"cost_full_scale_bits": costs.FULL_SCALE_BITS, "ideal_bytes": bits.sum() / 8}
    return found


def _with_ideal(result: Result, picture: Picture, variant: Variant, engine: str) -> Result:
    if not picture.kind.suits_network:
        return result
    bits = costs.bits_by_pixel(variant.taken(picture), picture.samples, engine)
    return replace(result, ideal_bytes=float(bits.sum()) / 8)


def _line(result: Result) -> str:
    if result.state != LOSSLESS or result.bytes is None:
        return f"{result.image[:24]:24} {result.codec:22} {result.state.upper()}: {result.why}"
    return (
        f"{result.image[:24]:24} {result.codec:22} {8 * result.bytes / result.samples:.4f} bpsp"
        f"  {result.encode_seconds:7.3f} s  {result.decode_seconds:7.3f} s"
    )
