"""Which of the NCML paper's claims hold for the measured runs, as far as their figures decide it.

A claim about likelihoods or AUROC is decided only beyond two standard errors, of differences
image by image; how runs of other seeds would differ is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.comparison.records import SHARES, Measured
from bench.comparison.tables import NAMES, PAPER, Group, auroc_difference, name, paired


@dataclass(frozen=True)
class Finding:
    """Of one run: the figure, and "yes", "no" or "undecided"."""

    claim: str
    run: str
    figure: str
    verdict: str


def findings(group: Group) -> list[Finding]:
    """Every claim for every run with noise of a group, MLE being its first run."""
    base, *others = group
    return [
        Finding(claim, name(run), *found)
        for claim, judge in _CLAIMS.items()
        for run in others
        if (found := judge(run, base)) is not None
    ]


def table(found: Sequence[Finding]) -> str:
    """A row for each claim, a column for each run."""
    runs = [run for run in NAMES.values() if run in {finding.run for finding in found}]
    lines = ["| the paper's claim | " + " | ".join(runs) + " |", "|---" * (1 + len(runs)) + "|"]
    for claim in dict.fromkeys(finding.claim for finding in found):
        row = {f.run: f"**{f.verdict}**, {f.figure}" for f in found if f.claim == claim}
        lines.append(f"| {claim} | " + " | ".join(row.get(run, "") for run in runs) + " |")
    return "\n".join(lines) + "\n"


def short(titles: Sequence[str], groups: Sequence[Sequence[Finding]]) -> str:
    """A row for each claim, a column for each group: for which runs it holds."""
    lines = ["| the paper's claim | " + " | ".join(titles) + " |"]
    lines.append("|---" * (1 + len(titles)) + "|")
    for claim in dict.fromkeys(f.claim for found in groups for f in found):
        cells = [_verdicts([f for f in found if f.claim == claim]) for found in groups]
        lines.append(f"| {claim} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _verdicts(found: Sequence[Finding]) -> str:
    parts = []
    for verdict in ("yes", "no", "undecided"):
        runs = [f.run.removeprefix("NCML-") for f in found if f.verdict == verdict]
        if runs:
            parts.append(f"**{verdict}**: {', '.join(runs)}")
    return "; ".join(parts)


_Judged = tuple[str, str] | None  # figure and verdict; None: not measured
_Judge = Callable[[Measured, Measured], _Judged]


def _decided(gain: float, error: float) -> str:
    if abs(gain) <= 2 * error:
        return "undecided"
    return "yes" if gain > 0 else "no"


def _bits(share: float) -> _Judge:
    def judge(run: Measured, base: Measured) -> _Judged:
        column = SHARES.index(share)
        mean, error = paired(run.bits[share], base.bits[share])
        lower = PAPER[run.facts["sde"]][column] < PAPER["none"][column]
        return f"{mean:+.3f} +- {error:.3f}", _decided(-mean if lower else mean, error)

    return judge


def _less_sensitive(run: Measured, base: Measured) -> _Judged:
    own, theirs = (r.bits[1.0] - r.bits[0.0] for r in (run, base))
    mean, error = paired(own, theirs)
    figure = f"{float(own.mean()):.3f} against {float(theirs.mean()):.3f}"
    return figure, _decided(-mean, error)


def _falls(run: Measured, base: Measured) -> _Judged:
    first, *_, last = (line for line in run.facts["deltas"] if line["pi"] == 1)
    error = (first["delta_error"] ** 2 + last["delta_error"] ** 2) ** 0.5
    figure = f"{first['delta']:.3f} to {last['delta']:.3f}"
    return figure, _decided(first["delta"] - last["delta"], error)


def _outliers(run: Measured, base: Measured) -> _Judged:
    mean, error = auroc_difference(run, base)
    return f"{mean:+.3f} +- {error:.3f}", _decided(mean, error)


def _samples(run: Measured, base: Measured) -> _Judged:
    if "distance" not in run.facts or "distance" not in base.facts:
        return None
    own, theirs = run.facts["distance"]["two phases"], base.facts["distance"]["plain"]
    return _nearer(own["frechet"], theirs["frechet"])


def _refined(run: Measured, base: Measured) -> _Judged:
    if "distance" not in run.facts:
        return None
    found = run.facts["distance"]
    return _nearer(found["two phases"]["frechet"], found["plain"]["frechet"])


def _nearer(own: float, other: float) -> _Judged:
    return f"{own:.2f} against {other:.2f}", "yes" if own < other else "no"


_CLAIMS: dict[str, _Judge] = {
    "pi = 0: VE takes fewer bits than MLE, sub-VP and VP more (table 1)": _bits(0.0),
    "pi = 0.5: fewer bits than MLE (table 1)": _bits(0.5),
    "pi = 1: fewer bits than MLE (table 1)": _bits(1.0),
    "delta log p at t = 0, pi = 1, is below MLE's (section 4.1)": _less_sensitive,
    "delta log p, pi = 1, falls from t = 0 to T (figure 4)": _falls,
    "average AUROC is above MLE's (table 4)": _outliers,
    "samples in two phases are nearer to images than MLE's (table 1, FID; here not FID)": _samples,
    "samples in two phases are nearer than the same network's at t = 0 (section 4.2)": _refined,
}
