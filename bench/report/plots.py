"""The plots of the report, each a matplotlib figure: told apart by shape, not by colour alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox
from PIL import Image

from bench.codecs.measuring import LOSSLESS
from bench.codecs.tables import bits_per_sample, names_by_size
from bench.likelihood.likelihood import run_name
from bench.record import Record

MARKERS = "osD^vP*X<>hp"
# Okabe and Ito's colours, dark to light, which also differ as greys
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
OURS = "ncml"

_NEAR = 14  # points; a name that is farther from its point has a line to it
_LEADER = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.6", "shrinkA": 0, "shrinkB": 4}
_PLACES = [
    (round(far * right), round(far * up))
    for far in (9, 14, 26, 40, 56, 74)
    for right, up in ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
]


def size_against_speed(
    results: Sequence[Record], quoted: Sequence[Record], key: str
) -> Figure | None:
    """Size against speed, both logarithmic, with the Pareto front of what was measured.

    key: decode_seconds or encode_seconds, one thread. Only codecs that took every image; None if
    there are fewer than two.
    """
    points = _points(results, key)
    if len(points) < 2:
        return None
    figure, axes = _figure(8.5, 5.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    front = _pareto(list(points.values()))
    axes.step(
        [speed for speed, _ in front],
        [bits for _, bits in front],
        where="post",
        color="0.6",
        linewidth=1.2,
        zorder=1,
        label="Pareto front of what was measured",
    )
    shown = []
    for name, (speed, bits) in points.items():
        ours = name.startswith(OURS)
        colour = "black" if ours else "white"
        axes.plot(speed, bits, "o", ms=9 if ours else 7, mfc=colour, mec="black", zorder=3)
        shown.append((speed, bits, name, "bold" if ours else "normal"))
    samples = sum({(r["folder"], r["image"]): r["samples"] for r in results}.values())
    images = len({(r["folder"], r["image"]) for r in results})
    for figure_ in quoted:
        seconds = figure_[key]
        if seconds:
            speed = samples / images / seconds / 1e6
            axes.plot(speed, figure_["bits"], "x", ms=6, mec="0.45", zorder=2)
            name = figure_["codec"].partition(" (")[0]  # without the number of parameters
            shown.append((speed, figure_["bits"], name, "light"))
    if any(weight == "light" for _, _, _, weight in shown):
        axes.plot([], [], "x", ms=6, mec="0.45", label="quoted, of other machines")
    word = "decoded" if key.startswith("decode") else "encoded"
    axes.set_xlabel(f"million sub-pixels {word} a second, one thread (faster to the right)")
    axes.set_ylabel("bits per sub-pixel (smaller files below)")
    axes.margins(0.12)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _few_ticks(axes, [bits for _, bits, _, _ in shown])
    axes.legend(loc="best", frameon=False, fontsize=8)
    _label(figure, axes, shown)
    return figure


def bits_by_image(
    results: Sequence[Record], thumbnails: Mapping[tuple[str, str], str]
) -> Figure | None:
    """Every image a row, every codec a mark, images from the cheapest to the dearest.

    thumbnails: by folder and image, JPEG in base64. At most seven codecs are drawn: ours and those
    with the smallest files. None if nothing was coded.
    """
    ordered = [name for name in reversed(names_by_size(results)) if _coded(results, name)]
    ours = [name for name in ordered if name.startswith(OURS)][:4]
    others = [name for name in ordered if not name.startswith(OURS)]
    names = [*ours, *others[: 7 - len(ours)]]
    images = list(dict.fromkeys((r["folder"], r["image"]) for r in results))
    bits = {
        (r["folder"], r["image"], r["codec"]): 8 * r["bytes"] / r["samples"]
        for r in results
        if r["state"] == LOSSLESS and r["codec"] in names
    }
    if not bits:
        return None

    def middle(image: tuple[str, str]) -> float:
        found = [bits[*image, name] for name in names if (*image, name) in bits]
        return float(np.median(found)) if found else 0.0

    images.sort(key=middle)
    figure, axes = _figure(8.5, 1.9 + 0.34 * len(images))
    for index, name in enumerate(names):
        rows = [row for row, image in enumerate(images) if (*image, name) in bits]
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(
            [bits[*images[row], name] for row in rows],
            rows,
            MARKERS[index % len(MARKERS)],
            color=colour,
            mfc=colour if name in ours else "none",
            ms=7 if name in ours else 5.5,
            label=name,
        )
    axes.set_yticks(range(len(images)), [name[:32] for _, name in images], fontsize=7)
    axes.set_ylim(-0.7, len(images) - 0.3)
    axes.set_xlabel("bits per sub-pixel")
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    if thumbnails:
        axes.tick_params(axis="y", pad=34)
        for row, image in enumerate(images):
            if image in thumbnails:
                _put_thumbnail(axes, row, thumbnails[image])
    return figure


def cost_maps(pictures: Sequence[Record], most: int = 8) -> Figure | None:
    """Images and where their bits go, from the cheapest to the dearest; None if none was mapped."""
    mapped = [p for p in pictures if "cost_map" in p]
    if not mapped:
        return None
    mapped.sort(key=lambda p: float(np.mean(_pixels(p["cost_map"]))))
    chosen = [mapped[round(i)] for i in np.linspace(0, len(mapped) - 1, min(most, len(mapped)))]
    rows = -(-len(chosen) // 2)
    figure = Figure(figsize=(8.5, 0.7 + 1.75 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 4, squeeze=False)
    shown = None
    for place, picture in enumerate(chosen):
        left, right = grid[place // 2][2 * (place % 2) : 2 * (place % 2) + 2]
        left.imshow(_pixels(picture["thumbnail"]), cmap="gray")
        left.set_title(picture["picture"][:28], fontsize=7)
        full = picture["cost_full_scale_bits"]
        bits = _pixels(picture["cost_map"]).astype(float) / 255 * full
        shown = right.imshow(bits, cmap="gray", vmin=0, vmax=full)
        right.set_title(f"{bits.mean():.1f} bits a pixel", fontsize=7)
    for axes in grid.flat:
        axes.set_axis_off()
    if shown is not None:
        figure.colorbar(shown, ax=grid, label="bits a pixel", shrink=0.8)
    return figure


def bits_against_files(lines: Sequence[Record]) -> Figure | None:
    """Bits per dimension of the float network against bits of the file, with the diagonal.

    lines: of bench.likelihood.likelihood. None if no run has files.
    """
    coded = [r for r in lines if r.get("file_bits") is not None]
    if not coded:
        return None
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    runs = list(dict.fromkeys(r["run"] for r in coded))
    shares = sorted({r["pi"] for r in coded})
    for index, run in enumerate(runs):
        for place, share in enumerate(shares):
            mine = [r for r in coded if r["run"] == run and r["pi"] == share]
            x = [r["float_bits"] for r in mine]
            colour = COLOURS[place % len(COLOURS)]
            style = {"mec": colour, "mfc": colour if place == 0 else "none", "ls": "none"}
            mark = MARKERS[(index * len(shares) + place) % len(MARKERS)]
            label = f"{run_name(run)}, pi = {share:g}"
            left.plot(x, [r["file_bits"] for r in mine], mark, ms=5, label=label, **style)
            excess = [100 * (r["file_bits"] / r["float_bits"] - 1) for r in mine]
            right.plot(x, excess, mark, ms=5, **style)
    ends = [
        min(left.get_xlim()[0], left.get_ylim()[0]),
        max(left.get_xlim()[1], left.get_ylim()[1]),
    ]
    left.plot(ends, ends, color="0.6", linewidth=1, zorder=1, label="file = likelihood")
    left.set_xlim(*ends)
    left.set_ylim(*ends)
    left.set_aspect("equal")
    left.set_xlabel("bits per dimension, float network")
    left.set_ylabel("bits per sub-pixel of the file")
    left.legend(fontsize=7, frameon=False)
    right.axhline(0, color="0.6", linewidth=1)
    right.set_xlabel("bits per dimension, float network")
    right.set_ylabel("file larger than the likelihood by, %")
    _quiet(left)
    _quiet(right)
    return figure


def robustness(lines: Sequence[Record]) -> Figure | None:
    """Bits against pi, the share of sub-pixels moved by one level; None for fewer than two."""
    shares = sorted({r["pi"] for r in lines})
    if len(shares) < 2:
        return None
    figure, axes = _figure(6.5, 4)
    for index, run in enumerate(dict.fromkeys(r["run"] for r in lines)):
        for key, dash in (("float_bits", "--"), ("file_bits", "-")):
            mine = [[r for r in lines if r["run"] == run and r["pi"] == s] for s in shares]
            if any(r[key] is None for group in mine for r in group):
                continue
            bits = [
                sum(r[key] * r["samples"] for r in group) / sum(r["samples"] for r in group)
                for group in mine
            ]
            word = "likelihood" if key == "float_bits" else "files"
            axes.plot(
                shares,
                bits,
                dash + MARKERS[index % len(MARKERS)],
                color=COLOURS[index % len(COLOURS)],
                mfc="none" if key == "float_bits" else None,
                ms=8 if key == "float_bits" else 5,
                label=f"{run_name(run)}, {word}",
            )
    axes.set_xlabel("pi, share of sub-pixels moved by one level")
    axes.set_ylabel("bits per sub-pixel")
    axes.legend(fontsize=8, frameon=False)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _quiet(axes)
    return figure, axes


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _coded(results: Sequence[Record], name: str) -> bool:
    return bits_per_sample(results, name) is not None


def _points(results: Sequence[Record], key: str) -> dict[str, tuple[float, float]]:
    """Million sub-pixels a second and bits per sub-pixel, of codecs that took every image."""
    count = len({(r["folder"], r["image"]) for r in results})
    found = {}
    for name in dict.fromkeys(r["codec"] for r in results):
        mine = [r for r in results if r["codec"] == name and r["state"] == LOSSLESS]
        known = [float(r[key]) for r in mine if r.get(key)]
        if len(known) == count:
            samples = sum(r["samples"] for r in mine)
            found[name] = (
                samples / sum(known) / 1e6,
                8 * sum(r["bytes"] for r in mine) / samples,
            )
    return found


def _pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that nothing beats in both, from the fastest to the slowest."""
    front: list[tuple[float, float]] = []
    for speed, bits in sorted(points, reverse=True):
        if not front or bits < front[-1][1]:
            front.append((speed, bits))
    return front


def _few_ticks(axes: Axes, bits: Sequence[float]) -> None:
    """Ticks a person would choose on a short logarithmic axis."""
    low, high = min(bits), max(bits)
    step = next(s for s in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if (high - low) / s <= 9)
    axes.set_yticks(np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def _label(figure: Figure, axes: Axes, shown: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at points, each at the first place around its point that is free, or the freest."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer: RendererAgg = canvas.get_renderer()  # type: ignore[no-untyped-call]
    taken: list[Bbox] = []
    for x, y, _, _ in shown:
        at = axes.transData.transform((x, y))
        taken.append(Bbox.from_bounds(at[0] - 5, at[1] - 5, 10, 10))
    inside = axes.get_window_extent(renderer)
    for x, y, name, weight in shown:
        best: tuple[float, Annotation | None] = (np.inf, None)
        for right, up in _PLACES:
            text = axes.annotate(
                name,
                (x, y),
                (right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="center" if up == 0 else "bottom" if up > 0 else "top",
                fontsize=8,
                fontweight="bold" if weight == "bold" else "normal",
                style="italic" if weight == "light" else "normal",
                color="0.35" if weight == "light" else "black",
                path_effects=[withStroke(linewidth=3, foreground="white")],
                arrowprops=_LEADER if max(abs(right), abs(up)) > _NEAR else None,
                zorder=4,
            )
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the leader
            beyond = (
                inside.x0 - box.x0,
                box.x1 - inside.x1,
                inside.y0 - box.y0,
                box.y1 - inside.y1,
            )
            cost = max(*beyond, 0.0) + sum(_shared(box, other) for other in taken)
            if cost < best[0]:
                if best[1] is not None:
                    best[1].remove()
                best = cost, text
            else:
                text.remove()
            if cost == 0:
                break
        if best[1] is not None:
            taken.append(Text.get_window_extent(best[1], renderer))


def _shared(box: Bbox, other: Bbox) -> float:
    """The area, in square pixels, that two boxes share."""
    width = float(min(box.x1, other.x1) - max(box.x0, other.x0))
    height = float(min(box.y1, other.y1) - max(box.y0, other.y0))
    return max(width, 0.0) * max(height, 0.0)


def _put_thumbnail(axes: Axes, row: int, thumbnail: str) -> None:
    pixels = _pixels(thumbnail)
    zoom = 22 / max(pixels.shape[0], 0.7 * pixels.shape[1])
    box = AnnotationBbox(
        OffsetImage(pixels, zoom=zoom, cmap="gray"),
        (0, row),
        xybox=(-19, 0),
        xycoords=("axes fraction", "data"),
        boxcoords="offset points",
        frameon=False,
        pad=0,
    )
    axes.add_artist(box)


def _pixels(encoded: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        return np.asarray(image)
