"""The scaling plots of `python -m bench speed`, as one small PNG beside its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_INCHES = (10.0, 3.6)
_DOTS_AN_INCH = 80


def scaling(records: Sequence[dict[str, Any]], target: Path) -> None:
    """Left: pixels a second by image size. Right: multiply-adds a second by threads and
    instruction set, with the share of the peak."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (sizes, threads) = pyplot.subplots(1, 2, figsize=_INCHES)
    _sizes(sizes, [r for r in records if "size" in r])
    _threads(threads, [r for r in records if "isa" in r])
    figure.tight_layout()
    figure.savefig(target, dpi=_DOTS_AN_INCH, metadata={"Software": None})
    pyplot.close(figure)


def _sizes(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    first = records[0]["model"] if records else ""
    kept = [r for r in records if r["model"] == first]
    for engine, threads in dict.fromkeys((r["engine"], r["threads"]) for r in kept):
        mine = sorted(
            (r for r in kept if (r["engine"], r["threads"]) == (engine, threads)),
            key=lambda r: float(r["pixels"]),
        )
        pixels = [r["pixels"] for r in mine]
        for name, style in (("compress", "-o"), ("decompress", "--s")):
            rates = [r["pixels"] / r[f"{name}_seconds"] for r in mine]
            label = f"{engine}, {threads} thread{'s' if threads > 1 else ''}, {name}"
            axes.loglog(pixels, rates, style, label=label, markersize=3, linewidth=1)
    axes.set_xlabel("pixels of the image")
    axes.set_ylabel("pixels a second")
    axes.set_title(f"whole processes, model {first}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)


def _threads(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    for isa in dict.fromkeys(r["isa"] for r in records):
        mine = sorted((r for r in records if r["isa"] == isa), key=lambda r: int(r["threads"]))
        counts = [r["threads"] for r in mine]
        rates = [r["multiply_adds_per_second"] / 1e9 for r in mine]
        (line,) = axes.plot(counts, rates, "-o", label=isa, markersize=3, linewidth=1)
        for r, rate in zip(mine, rates, strict=True):
            axes.annotate(f"{r['share']:.0%}", (r["threads"], rate), fontsize=6)
        ideal = [rates[0] * count / counts[0] for count in counts]
        axes.plot(counts, ideal, ":", color=line.get_color(), linewidth=0.8)
    axes.set_xlabel("threads")
    axes.set_ylabel("G multiply-adds a second")
    axes.set_title("walk of a known image; dotted: twice as fast with twice as many", fontsize=9)
    axes.set_xticks(sorted({r["threads"] for r in records}))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if records:
        axes.legend(fontsize=6)
