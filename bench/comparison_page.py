"""The page MLE against NCML: tables, verdicts and pictures from what `bench.comparison` measured.

Figures of the NCML paper are quoted beside ours, and marked as quoted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bench.comparison import SHARES, SIDE, Measured, Settings, masked
from bench.record import describe, machine
from ncml_codec.learn.animation import enlarged
from ncml_codec.learn.pictures import grid
from ncml_codec.learn.robustness import Curve, draw

NAMES = {"none": "MLE", "ve": "NCML-VE", "subvp": "NCML-subVP", "vp": "NCML-VP"}

# The NCML paper's table 1, CIFAR-10: bits per dimension at pi = 0, 0.5, 1, and FID.
PAPER = {
    "none": (2.91, 3.83, 3.99, 46.72),
    "ve": (2.87, 3.75, 3.95, 32.71),
    "subvp": (2.95, 3.69, 3.94, 23.42),
    "vp": (3.20, 3.62, 3.91, 12.09),
}
# Table 4: AUROC on SVHN, constant uniform, uniform, and their average as printed.
PAPER_AUROC = {
    "none": (0.35, 0.1, 1.0, 0.48),
    "ve": (0.43, 0.56, 1.0, 0.66),
    "subvp": (0.65, 0.59, 1.0, 0.73),
    "vp": (0.74, 0.68, 1.0, 0.80),
}

Group = Sequence[Measured]


def write(
    groups: Sequence[Group], settings: Settings, real: dict[str, Any] | None, out: Path
) -> str:
    """Write the page to `out`, its pictures into a folder beside it, and the figures as JSON.

    Returns the page's text.
    """
    pictures = out.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD]
    for index, group in enumerate(groups, 1):
        parts.append(_section(index, group, settings, real, pictures))
    parts.append(_FOOT.format(settings=_settings(settings), machine=describe(machine())))
    text = "\n".join(parts)
    out.write_text(text)
    facts = {"runs": [run.facts for group in groups for run in group], "real": real}
    out.with_suffix(".json").write_text(json.dumps({**facts, "machine": machine()}, indent=1))
    return text


def grouped(runs: Sequence[Measured]) -> list[list[Measured]]:
    """Runs of the same network and budget together, MLE first in each group."""
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        same = {key: run.facts[key] for key in ("network", "budget")}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    order = list(NAMES)
    return [sorted(g, key=lambda run: order.index(run.facts["sde"])) for g in groups.values()]


def _section(
    index: int, group: Group, settings: Settings, real: dict[str, Any] | None, pictures: Path
) -> str:
    facts = group[0].facts
    kind, folder = facts["network"]["kind"], pictures.name
    curves = [_curve(run.facts) for run in group]
    draw(curves, pictures / f"robustness-{index}.png")
    _sheet(_panels(group), pictures / f"samples-{index}.png")
    _completions(group, settings, pictures / f"completions-{index}.png")
    title = "the paper's NCPN" if kind == "paper" else "the wave NCPN, which the codec runs"
    parts = [
        f"## {index}. {title[0].upper()}{title[1:]}, {facts['parameters']:,} parameters\n",
        _budget(group),
        "### Likelihood under p_pi, asked at t = 0 (the paper's table 1)\n",
        _likelihoods(group, real),
        _differences(group),
    ]
    parts += ["### Bytes\n", _bytes(group) if "coded" in facts else _bundled(group)]
    parts += [
        "### Delta log p over the noise times (the paper's figure 4)\n",
        f"![delta log p over t, and the processes' strength]({folder}/robustness-{index}.png)\n",
        "### Outliers: AUROC (the paper's tables 2 and 4)\n",
        _auroc(group),
        "### Samples (the paper's figure 1)\n",
        f"![samples of every run]({folder}/samples-{index}.png)\n",
        "### Completions (the paper's figure 5, right)\n",
        _about_completions(group),
        f"![completions]({folder}/completions-{index}.png)\n",
        "### What of the paper's claims holds here\n",
        _verdicts(group),
    ]
    return "\n".join(parts)


def _budget(group: Group) -> str:
    lines = ["| run | process | T | std at T, grey levels | steps | images seen | minutes |"]
    lines.append("|---|---|---|---|---|---|---|")
    for run in group:
        facts = run.facts
        lines.append(
            f"| {_name(run)} | {facts['sde']} | {facts['T']:.4g} | {facts['std']:.1f} |"
            f" {facts['steps']} | {facts['images_seen']} | {facts['minutes']:.1f} |"
        )
    lines.append(
        "\nMinutes are wall-clock times, on a core that may have been shared. The paper: 73 M"
        " parameters, 500,000 steps, 1.5 weeks on RTX 2080 Ti.\n"
    )
    epochs = max(run.facts["images_seen"] for run in group) / 50_000
    if epochs < 20:
        lines.append(
            f"**This budget is tiny: {epochs:.2g} times the 50,000 images of CIFAR-10's training"
            " set were seen.** These networks are far from converged. What is shown is that every"
            " measurement works, and which way each effect points after so little training; it is"
            " no evidence for or against the paper's claims about trained networks.\n"
        )
    return "\n".join(lines)


def _likelihoods(group: Group, real: dict[str, Any] | None) -> str:
    """Bits per dimension beside the paper's; distances of samples where they were measured."""
    distance = any("distance" in run.facts for run in group)
    head = "| run | pi = 0 | 0.5 | 1 | paper (quoted): pi = 0 | 0.5 | 1 | FID (quoted) |"
    head += " Frechet, small classifier: plain | two phases |" if distance else ""
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for run in group:
        bits = [run.facts["bits"][str(share)] for share in SHARES]
        cells = [f"{b['mean']:.3f} +- {b['error']:.3f}" for b in bits]
        cells += [f"{value:.2f}" for value in PAPER[run.facts["sde"]]]
        if distance:
            found = run.facts.get("distance", {})
            cells += [
                f"{found[name]['frechet']:.2f}" if name in found else ""
                for name in ("plain", "two phases")
            ]
        lines.append(f"| {_name(run)} | " + " | ".join(cells) + " |")
    lines.append("\nBits per dimension; +- is the standard error over test images.")
    if distance and real is not None:
        lines.append(
            f"The distance is no FID (see the end). It is of {real['samples']} samples; as many"
            f" real test images have {real['frechet']:.2f}."
        )
    return "\n".join(lines) + "\n"


def _differences(group: Group) -> str:
    """Image by image, so that what images differ in among themselves drops out."""
    lines = ["| run minus MLE, image by image | pi = 0 | 0.5 | 1 |", "|---|---|---|---|"]
    for run in group[1:]:
        cells = []
        for share in SHARES:
            mean, error = paired(run.bits[share], group[0].bits[share])
            cells.append(f"{mean:+.3f} +- {error:.3f}")
        lines.append(f"| {_name(run)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def paired(one: Tensor, other: Tensor) -> tuple[float, float]:
    """The mean difference of two runs on the same images, and its standard error."""
    difference = one - other
    return float(difference.mean()), float(difference.std(correction=1)) / len(difference) ** 0.5


def _bytes(group: Group) -> str:
    lines = [
        "| run | pi | likelihood, float | ideal, integer | one stream | files | bytes, one stream |"
        " bytes, files |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in group:
        for share, sizes in run.facts["coded"].items():
            ideal = sizes["ideal_bits"] / sizes["sub_pixels"]
            lines.append(
                f"| {_name(run)} | {float(share):g} | {sizes['float_bits']:.4f} | {ideal:.4f} |"
                f" {sizes['stream_bits']:.4f} | {sizes['file_bits']:.4f} |"
                f" {sizes['stream_bytes']} | {sizes['file_bytes']} |"
            )
    count = next(iter(group[0].facts["coded"].values()))["images"]
    lines.append(
        f"\n{count} test images, bits per sub-pixel; every one decoded again and compared. One"
        " stream: the range coder's words for all images one after the other, no header. Files: one"
        " `.ncmz` for each image, without learning from it (level 1), header, checksums and flush"
        " included.\n"
    )
    return "\n".join(lines)


def _bundled(group: Group) -> str:
    lines = [
        "| run | likelihood, float | payload | payload, bytes | header and checksums, bytes |",
        "|---|---|---|---|---|",
    ]
    for run in group:
        sizes = run.facts["bundled"]
        lines.append(
            f"| {_name(run)} | {sizes['float_bits']:.4f} | {sizes['payload_bits']:.4f} |"
            f" {sizes['payload_bytes']} | {sizes['other_bytes']} |"
        )
    count = group[0].facts["bundled"]["images"]
    lines.append(
        f"\n{count} test images in one bundle (`ncmlzip bundle`), bits per sub-pixel, decoded again"
        " and compared. Floating point: it decodes with the same torch on the same kind of"
        " processor only.\n"
    )
    return "\n".join(lines)


def _auroc(group: Group) -> str:
    names = list(next(iter(group[0].facts["auroc"].values())))
    lines = ["| run | statistic | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for run in group:
        for statistic, row in run.facts["auroc"].items():
            cells = " | ".join(f"{row[name]:.3f}" for name in names)
            lines.append(f"| {_name(run)} | {statistic} | {cells} |")
    lines.append(
        "\nThe paper's statistic in the paper (quoted): SVHN, constant, uniform, average:\n"
    )
    for sde, row in PAPER_AUROC.items():
        cells = ", ".join(f"{value:.2f}" for value in row)
        lines.append(f"- {NAMES[sde]}: {cells}")
    count = group[0].facts["settings"]["outliers"]
    lines.append(
        f"\n{count} images of each set; 0.5 is chance, below it the outliers look more like the"
        " data. SVHN is in the table only if it was at hand.\n"
    )
    return "\n".join(lines)


def _verdicts(group: Group) -> str:
    """The paper's claims, each with our figure; decided only beyond two standard errors."""
    base, others = group[0], group[1:]
    lines = ["| claim | run | here | holds here? |", "|---|---|---|---|"]

    def add(claim: str, run: Measured, figure: str, verdict: str) -> None:
        lines.append(f"| {claim} | {_name(run)} | {figure} | {verdict} |")

    for run in others:
        for share in SHARES:
            sde, column = run.facts["sde"], SHARES.index(share)
            lower = PAPER[sde][column] < PAPER["none"][column]
            mean, error = paired(run.bits[share], base.bits[share])
            claim = f"bits at pi = {share:g} {'below' if lower else 'above'} MLE's"
            figure = f"{mean:+.3f} +- {error:.3f}"
            add(claim, run, figure, _decided(-mean if lower else mean, error))
    for run in others:
        own, theirs = (r.bits[1.0] - r.bits[0.0] for r in (run, base))
        mean, error = paired(own, theirs)
        figure = f"{mean:+.3f} +- {error:.3f}"
        add("delta log p (pi = 1) at t = 0 below MLE's", run, figure, _decided(-mean, error))
    for run in others:
        first, *_, last = (line for line in run.facts["deltas"] if line["pi"] == 1)
        error = (first["delta_error"] ** 2 + last["delta_error"] ** 2) ** 0.5
        figure = f"{first['delta']:.3f} to {last['delta']:.3f}"
        verdict = _decided(first["delta"] - last["delta"], error)
        add("delta log p (pi = 1) falls from t = 0 to T", run, figure, verdict)
    for run in others:
        own, theirs = (r.facts["auroc"]["paper"]["average"] for r in (run, base))
        figure = f"{own:.3f} against {theirs:.3f}"
        add("average AUROC above MLE's", run, figure, "yes" if own > theirs else "no")
    for run in others:
        if "distance" in run.facts:
            own = run.facts["distance"]["two phases"]["frechet"]
            theirs = base.facts["distance"]["plain"]["frechet"]
            figure = f"{own:.2f} against {theirs:.2f}"
            claim = "samples nearer to real images than MLE's (not by FID)"
            add(claim, run, figure, "yes" if own < theirs else "no")
    return "\n".join(lines) + "\n"


def _decided(gain: float, error: float) -> str:
    if abs(gain) <= 2 * error:
        return "undecided"
    return "yes" if gain > 0 else "no"


def _curve(facts: dict[str, Any]) -> Curve:
    lines, horizon = facts["deltas"], facts["T"] or 1.0
    times = sorted({line["t"] for line in lines})
    deltas = {pi: [line["delta"] for line in lines if line["pi"] == pi] for pi in SHARES[1:]}
    moved = facts["moved"] if facts["T"] else []
    return Curve(NAMES[facts["sde"]], [t / horizon for t in times], deltas, moved)


def _panels(group: Group) -> list[tuple[str, Tensor]]:
    panels = []
    for run in group:
        panels.append((f"{_name(run)}, t = 0", run.plain))
        if run.refined is not None:
            panels.append((f"{_name(run)}, two phases", run.refined))
    return [(caption, enlarged(grid(images), 2)) for caption, images in panels]


def _completions(group: Group, settings: Settings, path: Path) -> None:
    """Rows: three completions by MLE, what was given, three by the last NCML run."""
    given = masked(settings)
    shown = torch.where(given.mask, given.values[::3], 255.0)[:, None]
    left, right = (run.completions.reshape(-1, 3, 3, SIDE, SIDE) for run in (group[0], group[-1]))
    rows = torch.cat([left, shown, right], 1).flatten(0, 1)
    caption = f"{_name(group[0])} | given | {_name(group[-1])}"
    _sheet([(caption, enlarged(grid(rows, 7), 2))], path)


def _about_completions(group: Group) -> str:
    text = (
        f"The upper half of test images is given. Left of it three completions by"
        f" {_name(group[0])}, right three by {_name(group[-1])} (in two phases).\n"
    )
    if group[0].facts["network"]["kind"] == "wave":
        text += (
            "\nThis network's order is not row by row: a pixel of the lower half is drawn without a"
            " look at the given pixels of later waves, those far to the upper right of it.\n"
        )
    return text


def _sheet(panels: Sequence[tuple[str, Tensor]], path: Path, columns: int = 4) -> None:
    """Pictures side by side under their captions."""
    margin, head = 8, 18
    _, height, width = panels[0][1].shape
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    size = (across * (width + margin) + margin, down * (height + head + margin) + margin)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, (caption, pixels) in enumerate(panels):
        left = margin + (index % across) * (width + margin)
        top = margin + (index // across) * (height + head + margin)
        pen.text((left, top), caption, fill="black")
        sheet.paste(
            Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), (left, top + head)
        )
    sheet.save(path, optimize=True)


def _name(run: Measured) -> str:
    return NAMES[run.facts["sde"]]


def _settings(settings: Settings) -> str:
    return (
        f"{settings.images} test images for likelihoods, {settings.curve_images} for the curves,"
        f" {settings.outliers} of each set for AUROC, {settings.samples} samples a grid,"
        f" {settings.steps} steps of the reverse SDE (Euler-Maruyama), seed {settings.seed}"
    )


_HEAD = """# MLE against NCML

The same network, data and number of steps, trained by plain maximum likelihood and by noise
conditional maximum likelihood (NCML) under three noise processes; everything that the NCML paper
evaluates, on CIFAR-10.
"""

_FOOT = """## How to read this page

- p_pi moves each sub-pixel by -1, 0 or +1 levels with probabilities pi/2, 1 - pi, pi/2 (eq. 5); at
  0 and 255 a move that would leave the range goes the other way, of which the paper says nothing.
- Delta log p is eq. 8 as printed: images without the noise of t, the network asked at t.
- Strengths are set by the standard deviation at T, not by the paper's T, which do not give the
  noise that it states.
- The paper's statistic is log |p(x)| + log ||grad log p(x)||. "constant": one colour an image.
- The distance is a Frechet distance in the features of a small classifier (`ncml-eval classifier`).
  It is not FID, and not comparable to any FID.
- "yes" and "no" of the likelihoods are beyond two standard errors of the difference image by image;
  AUROC and distances have no error bars here. One training run each: the spread between seeds is
  not known.

{settings}. {machine}
"""
