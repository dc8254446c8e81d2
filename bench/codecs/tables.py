"""What `bench codecs` measured, as Markdown: totals, kinds, problems, every image, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import record
from bench.codecs.measuring import FAILED, LOSSLESS, LOSSY, REFUSED
from bench.record import Record
from bench.rendering import markdown

REFERENCE = "JPEG XL effort 9"  # sizes are compared with it, image by image


def table(records: Sequence[Record]) -> str:
    """Markdown: totals by codec, quoted figures, what was refused, every image, settings."""
    results = measured(records)
    images = list(dict.fromkeys((r["folder"], r["image"]) for r in results))
    parts = [_totals(records, results, len(images))]
    parts += [_kinds(results), _problems(records, results), _every_image(results)]
    parts.append(_settings(records))
    parts.append(f"Measured on {record.describe(records[0]['machine'])}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def measured(records: Sequence[Record]) -> list[Record]:
    """The records of measurements, those of older files completed."""
    return [
        {"folder": "", "state": LOSSLESS if line["lossless"] else LOSSY, **line}
        for line in records
        if "codec" in line and "settings" in line and "image" in line
    ]


def names_by_size(results: Sequence[Record]) -> list[str]:
    """Codecs from the largest files to the smallest; those that coded nothing come first."""
    names = dict.fromkeys(r["codec"] for r in results)
    return sorted(names, key=lambda name: -(bits_per_sample(results, name) or 1e9))


def bits_per_sample(results: Sequence[Record], codec: str) -> float | None:
    """Bits per sub-pixel of all images that the codec coded, None if there are none."""
    mine = [r for r in results if r["codec"] == codec and r["state"] == LOSSLESS]
    samples = sum(r["samples"] for r in mine)
    return 8 * sum(r["bytes"] for r in mine) / samples if samples else None


def mean_seconds(results: Sequence[Record], codec: str, key: str) -> float | None:
    """Mean seconds an image of one kind of time, None where it was not measured."""
    mine = [r.get(key) for r in results if r["codec"] == codec and r["state"] == LOSSLESS]
    known = [value for value in mine if value is not None]
    return sum(known) / len(known) if known else None


def _totals(records: Sequence[Record], results: Sequence[Record], count: int) -> str:
    threads = records[0].get("threads", 1)
    reference = by_image(results, REFERENCE)
    head = ["codec", "images", "bits per sub-pixel", f"against {REFERENCE}", "encode, s"]
    head += ["decode, s"] + ([f"encode, {threads} threads", "decode"] if threads > 1 else [])
    head += ["peak, MiB", "state"]
    rows = []
    for name in names_by_size(results):
        mine = [r for r in results if r["codec"] == name]
        done = [r for r in mine if r["state"] == LOSSLESS]
        row = [_bold(name), f"{len(done)} of {count}", _figure(bits_per_sample(results, name), 4)]
        row.append(against(done, reference))
        keys = ["encode_seconds", "decode_seconds"]
        keys += ["encode_seconds_all", "decode_seconds_all"] if threads > 1 else []
        row += [_figure(mean_seconds(results, name, key), 3) for key in keys]
        peaks = [r["peak_mib"] for r in done if r.get("peak_mib") is not None]
        row += [_figure(max(peaks, default=None), 0), _state(mine)]
        rows.append(row)
    for figure in records[0].get("quoted", []):
        row = [f"*{figure['codec']}*", "*24*", f"*{figure['bits']:.3f}*", ""]
        row += [_quoted_seconds(figure[key]) for key in ("encode_seconds", "decode_seconds")]
        row += ["", ""] if threads > 1 else []
        rows.append([*row, "", f"*quoted*: {figure['source']}, {figure['device']}"])
    words = (
        f"{count} images, whole files, metadata aside. Seconds: mean of an image, each the median"
        f" of {records[0].get('repeats', 1)} (one, if the image takes longer than 5 s), one thread"
        " unless stated; pixels were compared before anything was timed. Against: the same images"
        " alone, those that both code. Peak: the most that one image adds to the process."
    )
    if records[0].get("quoted"):
        words += " *Quoted* figures are published ones of another machine, not measured here."
    return words + "\n\n" + markdown(head, rows)


def _kinds(results: Sequence[Record]) -> str:
    """Sizes by the first word of the images' names (`scan-...`), if there are several."""
    kinds = sorted({r["image"].split("-")[0] for r in results if "-" in r["image"]})
    if len(kinds) < 2 or any("-" not in r["image"] for r in results):
        return ""
    rows = []
    for name in names_by_size(results):
        row = [name]
        for kind in kinds:
            mine = [r for r in results if r["codec"] == name and r["image"].startswith(f"{kind}-")]
            done = [r for r in mine if r["state"] == LOSSLESS]
            share = "" if len(done) == len(mine) else f" ({len(done)} of {len(mine)})"
            bits = bits_per_sample(mine, name)
            row.append("none" if bits is None else f"{bits:.3f}{share}")
        rows.append(row)
    words = "Bits per sub-pixel by kind of image, over those that the codec takes."
    return words + "\n\n" + markdown(["codec", *kinds], rows)


def _problems(records: Sequence[Record], results: Sequence[Record]) -> str:
    """What was refused, failed or came back changed, grouped by the reason."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for r in results:
        if r["state"] != LOSSLESS or r.get("why"):
            key = (r["codec"], r["state"], r.get("why") or "")
            reasons.setdefault(key, []).append(r["image"])
    rows = []
    for (codec, state, why), names in reasons.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        rows.append([codec, state, why, str(len(names)), shown])
    for r in records:
        if "unreadable" in r:
            rows.append(["all", "unreadable", r["unreadable"], "1", r["image"]])
    if not rows:
        return ""
    return "Left out of the sums, or else worth a remark.\n\n" + markdown(
        ["codec", "state", "why", "images", "which"], rows
    )


def _every_image(results: Sequence[Record]) -> str:
    names = names_by_size(results)
    rows = []
    for folder, image in dict.fromkeys((r["folder"], r["image"]) for r in results):
        here = {r["codec"]: r for r in results if (r["folder"], r["image"]) == (folder, image)}
        sizes = {n: r["bytes"] for n, r in here.items() if r["state"] == LOSSLESS}
        best = min(sizes.values(), default=None)
        row = [image]
        for name in names:
            r = here.get(name)
            if r is None or name not in sizes:
                row.append(r["state"] if r else "")
            else:
                bits = f"{8 * r['bytes'] / r['samples']:.3f}"
                row.append(f"**{bits}**" if r["bytes"] == best else bits)
        rows.append(row)
    return "Bits per sub-pixel of every image.\n\n" + markdown(["image", *names], rows)


def _settings(records: Sequence[Record]) -> str:
    contenders = records[0].get("contenders")
    if not contenders:
        return ""
    rows = [[c["codec"], c["settings"], c["version"]] for c in contenders]
    return "Settings and versions.\n\n" + markdown(["codec", "settings", "version"], rows)


def by_image(results: Sequence[Record], codec: str) -> Mapping[tuple[str, str], int]:
    """Bytes of what the codec coded, by folder and name of the image."""
    return {
        (r["folder"], r["image"]): r["bytes"]
        for r in results
        if r["codec"] == codec and r["state"] == LOSSLESS
    }


def against(done: Sequence[Record], reference: Mapping[tuple[str, str], int]) -> str:
    """How much larger, in percent, over the images that `reference` (see `by_image`) has too."""
    both = [r for r in done if (r["folder"], r["image"]) in reference]
    if not both:
        return ""
    theirs = sum(reference[r["folder"], r["image"]] for r in both)
    return f"{100 * (sum(r['bytes'] for r in both) / theirs - 1):+.1f} %"


def _state(mine: Sequence[Record]) -> str:
    counts = {s: sum(r["state"] == s for r in mine) for s in (LOSSY, FAILED, REFUSED)}
    words = [f"**{count} {state}**" for state, count in counts.items() if count]
    return ", ".join(words) or LOSSLESS


def _bold(name: str) -> str:
    """Our own codec stands out."""
    return f"**{name}**" if name.startswith("ncml") else name


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _quoted_seconds(value: float | None) -> str:
    return "" if value is None else f"*{value:.2f}*"
