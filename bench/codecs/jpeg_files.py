"""`python -m bench jpeg`: our coding of JPEG files against Lepton, JPEG XL and zstd.

A codec counts only on files of which it gives back every byte, which is checked before it is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from bench import record
from bench.codecs.jpeg_codecs import LEVELS, JpegCodec, JpegFile
from bench.codecs.measuring import FAILED, LOSSLESS, LOSSY
from bench.record import Record
from bench.rendering import markdown
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import Coding

OURS = "ncmlzip"  # the default level, which is compared with every rival file by file
REFERENCE = "Lepton"

_TIMES = ("encode_seconds", "decode_seconds", "encode_cpu_seconds", "decode_cpu_seconds")


def run(
    files: Sequence[JpegFile],
    codecs: Sequence[JpegCodec],
    threads: Sequence[int],
    repeats: int,
    note: str,
    say: Callable[[str], None],
) -> list[Record]:
    """A header, then one record by file, codec and number of threads.

    Codecs without threads are measured once. note: a sentence for the report, on the machine.
    """
    contenders = [{"codec": c.name, "settings": c.settings, "version": c.version} for c in codecs]
    records = [record.header("jpeg", repeats=repeats, note=note, contenders=contenders)]
    for file in files:
        for codec in codecs:
            for count in threads if codec.threaded else threads[:1]:
                records.append(measure(file, codec, count, repeats))
        sizes = ", ".join(
            f"{r['codec']} {r['bytes'] / len(file.data):.4f}"
            for r in records[1:]
            if (r["folder"], r["image"], r["threads"]) == (file.group, file.name, threads[0])
            and r["state"] == LOSSLESS
        )
        say(f"{file.group}: {file.name}: {len(file.data)} bytes; {sizes}")
    return records


def measure(file: JpegFile, codec: JpegCodec, threads: int, repeats: int) -> Record:
    """Bytes, and medians of seconds by the clock and of the processor, of one file.

    The pass that checks losslessness is not timed. Whatever the codec raises becomes the state
    `failed` with the message: a bench goes on.
    """
    found: Record = {"codec": codec.name, "image": file.name, "folder": file.group}
    found |= {"threads": threads, "file_bytes": len(file.data), "state": FAILED}
    try:
        coded = codec.encode(file.data, threads)
        found["bytes"] = len(coded)
        if codec.decode(coded, threads) != file.data:
            return found | {"state": LOSSY, "why": "the decoded file is another"}
        times = [_pass(file.data, codec, threads) for _ in range(repeats)]
    except Exception as error:
        return found | {"why": f"{type(error).__name__}: {error}"[:300]}
    if codec.name in LEVELS and _is_kept_whole(coded):
        found["why"] = "kept whole under zstd"
    found |= dict(zip(_TIMES, map(median, zip(*times, strict=True)), strict=True))
    return found | {"state": LOSSLESS}


def _pass(data: bytes, codec: JpegCodec, threads: int) -> tuple[float, float, float, float]:
    """Seconds by the clock, then of the processor: both of both ways."""
    clock, cpu = time.perf_counter(), time.process_time()
    coded = codec.encode(data, threads)
    clock_between, cpu_between = time.perf_counter(), time.process_time()
    codec.decode(coded, threads)
    clock_after, cpu_after = time.perf_counter(), time.process_time()
    return (
        clock_between - clock,
        clock_after - clock_between,
        cpu_between - cpu,
        (cpu_after - cpu_between),
    )


def _is_kept_whole(coded: bytes) -> bool:
    kept = read_directory(coded).kept
    return kept is not None and kept.read(coded).coding == Coding.WHOLE


def table(records: Sequence[Record]) -> str:
    """Markdown: totals by group, files on which ours is not the smallest, problems, settings."""
    results = [r for r in records if "codec" in r]
    parts = [
        "Share: bytes of the coded files by those of the JPEG files. MB of JPEG a second by the"
        f" clock; in brackets, by seconds of the processor. Medians of {records[0]['repeats']}."
        " Coders alone: no start-up, no files; every file came back before anything was timed."
        " Sums hold the files that all codecs of a table gave back. A codec that gave back no file"
        " of a group is not in its table.",
        records[0].get("note", ""),
    ]
    for group in dict.fromkeys(r["folder"] for r in results):
        parts.append(_group(group, [r for r in results if r["folder"] == group]))
    parts.append(_problems(results))
    contenders = [[c["codec"], c["settings"], c["version"]] for c in records[0]["contenders"]]
    parts.append("Settings and versions.")
    parts.append(markdown(["codec", "settings", "version"], contenders))
    parts.append(f"Measured on {record.describe(records[0]['machine'])}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _group(group: str, results: Sequence[Record]) -> str:
    some = {r["codec"] for r in results if r["state"] == LOSSLESS}
    results = [r for r in results if r["codec"] in some]
    failed = {r["image"] for r in results if r["state"] != LOSSLESS}
    results = [r for r in results if r["image"] not in failed]
    if not results:
        return f"**{group}**: no file came back from all codecs."
    names = list(dict.fromkeys((r["codec"], r["threads"]) for r in results))
    reference = sum(r["bytes"] for r in results if (r["codec"], r["threads"]) == (REFERENCE, 1))
    rows = []
    for codec, threads in names:
        mine = [r for r in results if (r["codec"], r["threads"]) == (codec, threads)]
        total = sum(r["bytes"] for r in mine)
        share = f"{total / sum(r['file_bytes'] for r in mine):.4f}"
        name = codec + (f", {threads} threads" if threads > 1 else "")
        against = f"{total / reference:.4f}" if reference else ""
        speeds = [_speed(mine, way) for way in ("encode", "decode")]
        rows.append([f"**{name}**" if codec in LEVELS else name, share, against, *speeds])
    files = {r["image"]: r["file_bytes"] for r in results}
    size = f"{len(files)} files, {sum(files.values()):,} bytes"
    head = ["codec", "share", f"against {REFERENCE}", "encode, MB/s", "decode, MB/s"]
    return f"**{group}**: {size}. {_larger(results)}\n\n{markdown(head, rows)}"


def _speed(results: Sequence[Record], way: str) -> str:
    """MB of JPEG a second, by the clock and by the processor."""
    megabytes = sum(r["file_bytes"] for r in results) / 1e6
    clock = sum(r[f"{way}_seconds"] for r in results)
    cpu = sum(r[f"{way}_cpu_seconds"] for r in results)
    return f"{megabytes / clock:.2f} ({megabytes / cpu:.2f})"


def _larger(results: Sequence[Record]) -> str:
    """The files on which a rival is as small as ours at the default level, or smaller."""
    found = []
    for image in dict.fromkeys(r["image"] for r in results):
        here = [r for r in results if r["image"] == image]
        ours = min((r["bytes"] for r in here if r["codec"] == OURS), default=None)
        if ours is None:
            continue
        smaller: dict[str, int] = {}
        for r in here:
            if r["codec"] not in LEVELS and r["bytes"] <= ours:
                smaller[r["codec"]] = min(r["bytes"], smaller.get(r["codec"], r["bytes"]))
        if smaller:
            sizes = ", ".join(f"{codec} {size:,}" for codec, size in smaller.items())
            why = next((f" ({r['why']})" for r in here if r["codec"] == OURS and "why" in r), "")
            found.append(f"{image}: ours {ours:,}{why}, {sizes}")
    if not found:
        return f"No rival is as small as {OURS} on any file."
    return f"Rivals as small as {OURS}, or smaller, bytes: " + "; ".join(found) + "."


def _problems(results: Sequence[Record]) -> str:
    rows = [
        [r["codec"], r["folder"], r["image"], r["state"], r["why"]] for r in results if "why" in r
    ]
    if not rows:
        return ""
    return "Worth a remark.\n\n" + markdown(["codec", "group", "file", "state", "why"], rows)
