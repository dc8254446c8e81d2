"""The page MLE against NCML, of what `bench.comparison.measurements` measured: order, words and
files.

Its tables are `bench.comparison.tables`, its pictures `bench.comparison.pictures`, and what is
made of the paper's claims `bench.comparison.claims`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.comparison import pictures, tables
from bench.comparison.claims import findings, short, table
from bench.comparison.records import Measured, Settings
from bench.comparison.tables import NAMES, Group
from bench.record import describe, machine


def write(groups: Sequence[Group], note: str, out: Path) -> str:
    """Write the page to `out`, its pictures into a folder beside it, and the figures as JSON.

    note: a paragraph of the caller's. Returns the page's text.
    """
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    titles = [f"{index}. {_title(group)}" for index, group in enumerate(groups, 1)]
    parts = [_HEAD, note + "\n" if note else ""]
    parts += [_IN_SHORT, short(titles, [findings(group) for group in groups])]
    for index, group in enumerate(groups, 1):
        parts += [f"## {titles[index - 1]}\n", _section(index, group, folder)]
    parts.append(_FOOT.format(machine=describe(machine())))
    text = "\n".join(part for part in parts if part)
    out.write_text(text, encoding="utf-8")
    facts = {"runs": [run.facts for group in groups for run in group], "machine": machine()}
    out.with_suffix(".json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return text


def grouped(runs: Sequence[Measured]) -> list[list[Measured]]:
    """Runs of the same network and budget together, MLE first in each group."""
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        same = {key: run.facts[key] for key in ("network", "budget")}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    order = list(NAMES)
    return [sorted(g, key=lambda run: order.index(run.facts["sde"])) for g in groups.values()]


def _title(group: Group) -> str:
    facts = group[0].facts
    kind = "Paper's NCPN" if facts["network"]["kind"] == "paper" else "Wave NCPN"
    return f"{kind}, {facts['parameters']:,} parameters"


def _section(index: int, group: Group, folder: Path) -> str:
    facts, settings = group[0].facts, Settings(**group[0].facts["settings"])
    pictures.curves(group, folder / f"robustness-{index}.png")
    pictures.samples(group, settings, folder / f"samples-{index}.png")
    pictures.completions(group, settings, folder / f"completions-{index}.png")
    parts = [
        tables.budget(group),
        "### The paper's claims here\n",
        table(findings(group)),
        "### Likelihood under p_pi, asked at t = 0 (the paper's table 1)\n",
        tables.likelihoods(group),
        tables.differences(group),
        "### Bytes beside bits\n",
        tables.coded(group) if "coded" in facts else tables.bundled(group),
        "### Delta log p over the noise times (the paper's figure 4)\n",
        f"![delta log p over t, and the processes' strength]({folder.name}/robustness-{index}.png)",
        f"\n{settings.curve_images} test images, {settings.times} noise times.\n",
        "### Outliers (the paper's tables 2 and 4)\n",
        tables.auroc(group),
        "### Samples (the paper's figure 1)\n",
    ]
    if "distance" in facts:
        parts.append(tables.distances(group))
    parts += [
        f"![samples of every run]({folder.name}/samples-{index}.png)\n",
        f"Refined in {settings.steps} steps of the reverse SDE (Euler-Maruyama); not chosen, the"
        f" first {settings.samples} of seed {settings.seed}.\n",
        "### Completions (the paper's figure 5, right)\n",
        f"![completions]({folder.name}/completions-{index}.png)\n",
        _about_completions(group),
    ]
    return "\n".join(parts)


def _about_completions(group: Group) -> str:
    text = "The upper half of test images is given; three completions by each run.\n"
    if group[0].facts["network"]["kind"] == "wave":
        text += (
            "This network's order is not row by row: a pixel of the lower half is drawn without a"
            " look at the given pixels of later waves, those far to the upper right of it.\n"
        )
    return text


_HEAD = """# MLE against NCML

The same network, data and number of steps, trained by plain maximum likelihood and by noise
conditional maximum likelihood (NCML) under three noise processes; everything that the NCML paper
evaluates, on CIFAR-10, and the bytes of coded images. The paper's own figures are marked as quoted.
"""

_IN_SHORT = """## In short

Which of the paper's claims hold for these runs:
"""

_FOOT = """## How to read this page

- p_pi moves each sub-pixel by -1, 0 or +1 levels with probabilities pi/2, 1 - pi, pi/2 (eq. 5); at
  0 and 255 a move that would leave the range goes the other way, of which the paper says nothing.
- Delta log p is eq. 8 as printed: images without the noise of t, the network asked at t.
- Strengths are set by the standard deviation at T, not by the paper's T, which do not give the
  noise that it states.
- The paper's statistic is log |p(x)| + log ||grad log p(x)||. For images of 32 x 32 the first term
  is hundreds to thousands of nats and the second a few, so it orders images as log p does.
  "constant": one colour an image.
- The distance is a Frechet distance in the features of a small classifier (`ncml-eval classifier`).
  It is not FID, not comparable to any FID, and falls with the number of images.
- "yes" and "no" of likelihoods, delta log p and AUROC are beyond two standard errors, which are
  over images; distances have no error bars here. One training run each: how runs of other seeds
  would differ is not known.
- With half of their images at t = 0 (`--clean-share` 0.5) runs with noise have seen half as many
  clean images as MLE at the same number of steps.
- Not here: class-conditional samples (the paper's figure 5, left; `ncml-sample --classes`), since
  no network with classes was trained; FID, which needs Inception weights (`ncml-eval quality`).

{machine}
"""
