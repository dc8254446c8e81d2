"""What moved between two files of results: every changed size, and times beyond what noise is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from bench.record import Record, bench_of
from ncml_codec.errors import UsageError

NOISE = 0.10  # times of a quiet machine repeat to within a tenth; a busy one's do not
_NAMES = ("run", "codec", "folder", "image", "pi", "size", "engine", "isa", "threads", "model")
_EXACT = ("bytes", "sha256", "state", "file_bits", "tables_bits", "coder_bits", "samples")
_TIMED = ("seconds", "per_second", "peak_mib")


def moved(older: Sequence[Record], newer: Sequence[Record]) -> str:
    """The differences in words, one a line; `nothing moved` if there are none.

    Sizes are compared exactly, image by image; times by group, as the median of the ratios. How
    these scatter is said in any case.
    Raises UsageError for files of two kinds of bench.
    """
    if bench_of(older) != bench_of(newer):
        raise UsageError(f"results of bench {bench_of(older)} and of bench {bench_of(newer)}")
    before, after = _by_name(older), _by_name(newer)
    lines = _groups("gone", [name for name in before if name not in after])
    lines += _groups("new", [name for name in after if name not in before])
    both = [name for name in before if name in after]
    ratios = _ratios(before, after, both)
    lines += _sizes(before, after, both) + _times(ratios)
    commits = [records[0]["machine"]["commit"] for records in (older, newer)]
    head = f"{len(both)} measurements in both, commits {commits[0]} and {commits[1]}"
    return "\n".join([head, *(lines or ["nothing moved"]), *_noise(ratios)])


Name = tuple[tuple[str, object], ...]


def _by_name(records: Sequence[Record]) -> Mapping[Name, Record]:
    found = {}
    for record in records[1:]:
        name = tuple((key, record[key]) for key in _NAMES if key in record and record[key] != "")
        if name and "thumbnail" not in record:
            # older files name no folder; an image's name is enough where it is the only one
            found[tuple(part for part in name if part[0] != "folder")] = record
    return found


def _sizes(
    before: Mapping[Name, Record], after: Mapping[Name, Record], both: Sequence[Name]
) -> list[str]:
    lines = []
    for name in both:
        old, new = before[name], after[name]
        for key in _EXACT:
            if key not in old or key not in new or old[key] == new[key]:
                continue
            if key == "sha256" and old.get("bytes") != new.get("bytes"):
                continue  # said already
            if isinstance(old[key], (int, float)) and isinstance(new[key], (int, float)):
                change = f" ({100 * (new[key] / old[key] - 1):+.3f} %)" if old[key] else ""
                lines.append(f"{_words(name)}: {key} {old[key]:g} to {new[key]:g}{change}")
            else:
                lines.append(f"{_words(name)}: {key} {old[key]} to {new[key]}")
    return lines


def _ratios(
    before: Mapping[Name, Record], after: Mapping[Name, Record], both: Sequence[Name]
) -> Mapping[tuple[str, str], Sequence[float]]:
    """What was timed, now by before, by group and kind."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for name in both:
        group = _group(name)
        for key, old in before[name].items():
            new = after[name].get(key)
            if any(word in key for word in _TIMED) and old and new:
                ratios.setdefault((group, key), []).append(new / old)
    return ratios


def _times(ratios: Mapping[tuple[str, str], Sequence[float]]) -> list[str]:
    middles = {group: median(found) for group, found in ratios.items()}
    return [
        f"{group}: {key} {100 * (ratio - 1):+.0f} % (median of {len(ratios[group, key])})"
        for (group, key), ratio in middles.items()
        if abs(ratio - 1) > NOISE
    ]


def _noise(ratios: Mapping[tuple[str, str], Sequence[float]]) -> list[str]:
    """How times scatter, whatever moved: of a repeated run, its noise."""
    lines = []
    for kind in dict.fromkeys(key for _, key in ratios):
        middles = [median(found) for (_, key), found in ratios.items() if key == kind]
        single = [ratio for (_, key), found in ratios.items() if key == kind for ratio in found]
        if len(single) < 2:
            continue
        low, _, high = quantiles(single, n=4, method="inclusive")
        lines.append(
            f"{kind}, now by before: medians {min(middles):.2f} to {max(middles):.2f},"
            f" half of {len(single)} single ones {low:.2f} to {high:.2f}"
        )
    return lines


def _groups(word: str, names: Sequence[Name]) -> list[str]:
    counts = Counter(_group(name) for name in names)
    return [f"{word}: {group} ({count} measurements)" for group, count in counts.items()]


def _group(name: Name) -> str:
    return _words(tuple(part for part in name if part[0] not in ("image", "pi")))


def _words(name: Name) -> str:
    return ", ".join(f"{value}" if key != "pi" else f"pi {value}" for key, value in name)
