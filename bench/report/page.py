"""One page of HTML, complete in itself, from files of results: tables, plots, pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from bench.codecs import altered, jpeg_files, models
from bench.codecs import tables as codec_tables
from bench.codecs.measuring import LOSSLESS
from bench.likelihood import likelihood
from bench.record import Record, bench_of
from bench.rendering import markdown, to_html
from bench.report import plots
from bench.speed import speed

_DPI = 160  # of plots, shown no wider than the page
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #111; background: #fff; }
h1, h2, h3 { line-height: 1.2; } h2 { border-top: 2px solid #111; padding-top: 1rem;
  margin-top: 3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 3px 9px; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #111; } td:first-child { white-space: nowrap; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; }
figcaption { font-size: 13px; color: #333; } code { font-size: 12px; overflow-wrap: anywhere; }
.gallery { display: flex; flex-wrap: wrap; gap: 14px; } .gallery figure { margin: 0; }
.gallery img { image-rendering: pixelated; height: 128px; } details { margin: 1rem 0; }
.scale { width: 16rem; height: 14px; border: 1px solid #111;
  background: linear-gradient(to right, #000, #fff); }
"""

_INTRODUCTION = """Sizes are bits per sub-pixel of whole files: 8 times the bytes of the file,
divided by width, height and number of colour planes; an uncompressed 8-bit image takes 8. A codec's
file counts only if it gave back every pixel, which is checked before anything is timed; one that
refuses an image, fails, or returns other pixels is named as such and is left out of the sums.
*Quoted* figures are published ones, not measured here. How to make this page again:
`bench/README.md` of the repository."""


def page(files: Mapping[str, Sequence[Record]]) -> str:
    """The page of all results. files: records by the name of their file, in order."""
    body = ["<h1>ncml-codec, measured</h1>", to_html(_INTRODUCTION)]
    if len(files) > 1:
        links = "".join(f'<li><a href="#{_id(n)}">{html.escape(n)}</a></li>' for n in files)
        body.append(f"<ul>{links}</ul>")
    for name, records in files.items():
        body.append(f'<h2 id="{_id(name)}">{html.escape(name)}</h2>')
        for caption, figure in figures(records):
            body.append(_shown(caption, figure))
        text = _text(records)
        first, *rest = text.split("\n\n", 2)
        if bench_of(records) == "codecs" and rest:
            # the totals; what is long goes under a line that opens
            body.append(to_html("\n\n".join([first, rest[0]])))
            body += _gallery(records)
            remainder = to_html("\n\n".join(rest[1:]))
            body.append(
                "<details><summary>Every image, what was refused, settings, versions, machine"
                f"</summary>{remainder}</details>"
            )
        else:
            body.append(to_html(text))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ncml-codec, measured</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def save_plots(files: Mapping[str, Sequence[Record]], folder: Path) -> Iterator[Path]:
    """Write every plot of the page as PNG; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        for number, (_, figure) in enumerate(figures(records), 1):
            path = folder / f"{name}-{number}.png"
            figure.savefig(path, dpi=130)
            yield path


def figures(records: Sequence[Record]) -> list[tuple[str, Figure]]:
    """Captions and plots that these records can give."""
    kind = bench_of(records)
    found: list[tuple[str, Figure | None]] = []
    if kind == "codecs":
        found = _codec_figures(records)
    elif kind == "likelihood":
        lines = [r for r in records if "float_bits" in r]
        found = [
            (
                "Every image: what the float network promises, and what the file takes.",
                plots.bits_against_files(lines),
            ),
            ("What one grey level of noise costs.", plots.robustness(lines)),
        ]
    return [(caption, figure) for caption, figure in found if figure is not None]


def _codec_figures(records: Sequence[Record]) -> list[tuple[str, Figure | None]]:
    results = codec_tables.measured(records)
    quoted = records[0].get("quoted", [])
    pictures = [r for r in records if "thumbnail" in r]
    thumbnails = {(r["folder"], r["picture"]): r["thumbnail"] for r in pictures}
    count = len({(r["folder"], r["image"]) for r in results})
    partial = []
    for name in codec_tables.names_by_size(results):
        done = sum(r["codec"] == name and r["state"] == LOSSLESS for r in results)
        if done < count:
            partial.append(f"{name} ({done} of {count})")
    left = f" Not drawn, since not all images: {', '.join(partial)}." if partial else ""
    return [
        (
            f"Size against speed of {word}.{left}",
            plots.size_against_speed(results, quoted, key),
        )
        for word, key in (("decoding", "decode_seconds"), ("encoding", "encode_seconds"))
    ] + [
        (
            "Every image, cheapest at the bottom: our models and the rivals with the smallest"
            " files.",
            plots.bits_by_image(results, thumbnails),
        ),
        (
            "Where the bits go, as the static network predicts: white pixels are dear.",
            plots.cost_maps(pictures),
        ),
    ]


def _text(records: Sequence[Record]) -> str:
    tables: Mapping[str, Callable[[Sequence[Record]], str]] = {
        "altered": altered.table,
        "codecs": codec_tables.table,
        "jpeg": jpeg_files.table,
        "likelihood": likelihood.table,
        "models": models.table,
        "speed": speed.table,
    }
    return tables.get(bench_of(records), _plain)(records)


def _plain(records: Sequence[Record]) -> str:
    """A table of whatever the records hold."""
    lines = [r for r in records if "machine" not in r]
    keys = list(dict.fromkeys(key for line in lines for key in line))
    return markdown(keys, [[str(line.get(key, "")) for key in keys] for line in lines])


def _gallery(records: Sequence[Record]) -> list[str]:
    """Thumbnails beside cost maps, with what the image takes."""
    pictures = [r for r in records if "thumbnail" in r]
    if not pictures:
        return []
    results = codec_tables.measured(records)
    cards = []
    for picture in pictures:
        mine = [
            r
            for r in results
            if (r["folder"], r["image"]) == (picture["folder"], picture["picture"])
            and r["state"] == LOSSLESS
        ]
        sizes = sorted((8 * r["bytes"] / r["samples"], r["codec"]) for r in mine)
        smallest = ", ".join(f"{codec} {bits:.3f}" for bits, codec in sizes[:2])
        parts = [_image(picture["thumbnail"], "jpeg", picture["picture"])]
        if "cost_map" in picture:
            parts.append(_image(picture["cost_map"], "png", f"bits of {picture['picture']}"))
        cards.append(
            f"<figure>{' '.join(parts)}<figcaption>{html.escape(picture['picture'])}<br>"
            f"{html.escape(smallest)}</figcaption></figure>"
        )
    full = next((p["cost_full_scale_bits"] for p in pictures if "cost_map" in p), None)
    scale = (
        f'<p>Bits of each pixel, 0 to {full:g} and more:</p><div class="scale"></div>'
        if full
        else ""
    )
    return [
        "<h3>Images</h3><p>Beside each image, where its bits go; below, the two smallest files in"
        " bits per sub-pixel. An image without a map was refused by our codec.</p>",
        scale,
        f'<p></p><div class="gallery">{"".join(cards)}</div>',
    ]


def _shown(caption: str, figure: Figure) -> str:
    data = base64.b64encode(_as_webp(figure)).decode("ascii")
    return (
        f'<figure><img src="data:image/webp;base64,{data}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _as_webp(figure: Figure) -> bytes:
    """Lossless, but for figures with photographs, which are smaller if they are not.

    A fifth of what SVG takes, where outlined letters are two long paths each.
    """
    drawn, found = io.BytesIO(), []
    figure.savefig(drawn, format="png", dpi=_DPI)
    with Image.open(drawn) as image:
        for lossless in (True, False):
            out = io.BytesIO()
            image.save(out, "WEBP", lossless=lossless, quality=90, method=6)
            found.append(out.getvalue())
    return min(found, key=len)


def _image(data: str, kind: str, words: str) -> str:
    return f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(words)}" loading="lazy">'


def _id(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
