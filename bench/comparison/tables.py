"""Tables of the page MLE against NCML, with the NCML paper's figures beside ours, marked as quoted.

Each function takes a group: measured runs of one network and budget, MLE first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.comparison.records import SHARES, Measured

NAMES = {"none": "MLE", "ve": "NCML-VE", "subvp": "NCML-subVP", "vp": "NCML-VP"}

# The NCML paper's table 1, CIFAR-10: bits per dimension at pi = 0, 0.5, 1, and FID.
PAPER = {
    "none": (2.91, 3.83, 3.99, 46.72),
    "ve": (2.87, 3.75, 3.95, 32.71),
    "subvp": (2.95, 3.69, 3.94, 23.42),
    "vp": (3.20, 3.62, 3.91, 12.09),
}
# Table 4: AUROC by set and in the order of NAMES; the averages are as printed.
PAPER_AUROC = {
    "svhn": (0.35, 0.43, 0.65, 0.74),
    "constant": (0.1, 0.56, 0.59, 0.68),
    "uniform": (1.0, 1.0, 1.0, 1.0),
    "average": (0.48, 0.66, 0.73, 0.80),
}

Group = Sequence[Measured]


def name(run: Measured) -> str:
    """What the run is called on the page."""
    return NAMES[run.facts["sde"]]


def budget(group: Group) -> str:
    """What was trained, for how long, and with how much noise."""
    rows = [
        [
            name(run),
            f"{run.facts['T']:.4g}" if run.facts["T"] else "",
            f"{run.facts['std']:.1f}" if run.facts["T"] else "",
            f"{run.facts['steps']:,}",
            f"{run.facts['images_seen']:,}",
            f"{run.facts['minutes']:.1f}",
        ]
        for run in group
    ]
    head = ["run", "T", "std at T, grey levels", "steps", "images seen", "minutes of wall clock"]
    text = _table(head, rows) + (
        "\nThe paper (quoted): 73 M parameters, 500,000 steps, 1.5 weeks on RTX 2080 Ti.\n"
    )
    epochs = max(run.facts["images_seen"] for run in group) / 50_000
    if epochs < 20:
        text += (
            f"\n**This budget is tiny: as many images were seen as {epochs:.2g} times the 50,000 of"
            " CIFAR-10's training set.** These networks are far from converged. What is shown is"
            " that every measurement works, and which way each effect points after so little"
            " training; it is no evidence for or against the paper's claims about trained"
            " networks.\n"
        )
    return text


def likelihoods(group: Group) -> str:
    """The paper's table 1: bits per dimension under p_pi at t = 0."""
    rows = []
    for run in group:
        bits = [run.facts["bits"][str(share)] for share in SHARES]
        cells = [f"{b['mean']:.3f} +- {b['error']:.3f}" for b in bits]
        quoted = [f"{value:.2f}" for value in PAPER[run.facts["sde"]][:3]]
        rows.append([name(run), *cells, *quoted])
    head = ["run", "pi = 0", "0.5", "1", "paper (quoted): pi = 0", "0.5", "1"]
    count = len(group[0].bits[0.0])
    return _table(head, rows) + (
        f"\nBits per dimension of {count} test images; +- is the standard error over images.\n"
    )


def differences(group: Group) -> str:
    """From MLE image by image, so that what images differ in among themselves drops out."""
    rows = []
    for run in group[1:]:
        parts = [paired(run.bits[share], group[0].bits[share]) for share in SHARES]
        base = PAPER["none"]
        quoted = [
            f"{own - theirs:+.2f}"
            for own, theirs in zip(PAPER[run.facts["sde"]][:3], base, strict=False)
        ]
        rows.append([name(run), *(f"{mean:+.3f} +- {error:.3f}" for mean, error in parts), *quoted])
    head = ["run minus MLE, image by image", "pi = 0", "0.5", "1"]
    return _table([*head, "paper (quoted): pi = 0", "0.5", "1"], rows)


def paired(one: Tensor, other: Tensor) -> tuple[float, float]:
    """The mean difference of two runs on the same images, and its standard error."""
    difference = one - other
    return float(difference.mean()), float(difference.std(correction=1)) / len(difference) ** 0.5


def coded(group: Group) -> str:
    """Bits by likelihood, and bytes of the same images, decoded again."""
    rows = []
    for run in group:
        none = run.facts["coded"]["0.0"]
        for share, sizes in run.facts["coded"].items():
            ideal = sizes["ideal_bits"] / sizes["sub_pixels"]
            theirs = group[0].facts["coded"][share]
            rows.append(
                [
                    name(run),
                    f"{float(share):g}",
                    f"{sizes['float_bits']:.4f}",
                    f"{ideal:.4f}",
                    f"{sizes['stream_bits']:.4f}",
                    f"{sizes['stream_bits'] / sizes['float_bits'] - 1:+.2%}",
                    f"{sizes['stream_bytes']:,}",
                    f"{sizes['file_bytes']:,}",
                    f"{sizes['stream_bytes'] / none['stream_bytes'] - 1:+.1%}",
                    f"{sizes['stream_bytes'] / theirs['stream_bytes'] - 1:+.1%}",
                ]
            )
    head = ["run", "pi", "likelihood, float", "cross-entropy, integer", "one stream"]
    head += ["stream over float", "bytes, one stream", "bytes, files"]
    count = next(iter(group[0].facts["coded"].values()))["images"]
    return _table([*head, "over pi = 0", "over MLE"], rows) + (
        f"\nThe first {count} test images, bits per sub-pixel; every one decoded again and"
        " compared. One stream: the range coder's words for all images one after the other, its"
        " flush with them, no header. Files: one `.ncmz` for each image, without learning from it"
        " (level 1), header, checksums and flush included. Over: more bytes of the stream.\n"
    )


def bundled(group: Group) -> str:
    """The same for a network that the codec does not run."""
    rows = []
    for run in group:
        sizes = run.facts["bundled"]
        rows.append(
            [
                name(run),
                f"{sizes['float_bits']:.4f}",
                f"{sizes['payload_bits']:.4f}",
                f"{sizes['payload_bits'] / sizes['float_bits'] - 1:+.2%}",
                f"{sizes['payload_bytes']:,}",
                f"{sizes['other_bytes']:,}",
            ]
        )
    head = ["run", "likelihood, float", "payload", "payload over float", "payload, bytes"]
    count = group[0].facts["bundled"]["images"]
    return _table([*head, "header and checksums, bytes"], rows) + (
        f"\nThe first {count} test images in one bundle (`ncmlzip bundle`), bits per sub-pixel,"
        " decoded again and compared. Floating point: it decodes with the same torch on the same"
        " kind of processor only. The codec itself does not run this network.\n"
    )


def auroc(group: Group) -> str:
    """The paper's tables 2 and 4, then the other statistics."""
    sets = list(group[0].places)
    rows = []
    for place in [*sets, "average"]:
        chosen = sets if place == "average" else [place]
        means = [_mean_place([run.places[s] for s in chosen]) for run in group]
        cells = [f"{mean:.3f} +- {error:.3f}" for mean, error in means]
        rows.append([_sets(place, sets), *cells, *_quoted(group, place)])
    if "svhn" not in sets:
        rows.append(["SVHN", *[""] * len(group), *_quoted(group, "svhn")])
    bits = [run.facts["bits"]["1.0"]["mean"] for run in group]
    paper = [f"{PAPER[run.facts['sde']][2]:.2f}" for run in group]
    rows.append(["bits per dimension, pi = 1", *(f"{value:.3f}" for value in bits), *paper])
    head = ["outliers", *map(name, group), *(f"{name(run)}, paper (quoted)" for run in group)]
    count = group[0].facts["settings"]["outliers"]
    text = _table(head, rows) + (
        f"\nAUROC of the paper's statistic, {count} images of each set; 0.5 is chance, below it the"
        " outliers look more like the data. +- is DeLong's standard error, too small near 0 and 1."
        " SVHN was not at hand where its row is empty; the paper's average includes it."
        " The other statistics:\n\n"
    )
    others = [
        [name(run), statistic, *(f"{row[place]:.3f}" for place in [*sets, "average"])]
        for run in group
        for statistic, row in run.facts["auroc"].items()
        if statistic != "paper"
    ]
    return text + _table(["run", "statistic", *sets, "average"], others)


def auroc_difference(one: Measured, other: Measured) -> tuple[float, float]:
    """Of two runs' average AUROC on the same images, and its standard error (DeLong)."""
    pairs = [(one.places[place], other.places[place]) for place in one.places]
    return _mean_place([(a[0] - b[0], a[1] - b[1]) for a, b in pairs])


def distances(group: Group) -> str:
    """How like test images samples are, in the features of a small classifier."""
    rows = []
    for run in group:
        found = run.facts["distance"]
        cells = [
            f"{found[n]['frechet']:.2f}" if n in found else "" for n in ("plain", "two phases")
        ]
        rows.append([name(run), *cells, f"{PAPER[run.facts['sde']][3]:.2f}"])
    real = group[0].facts["distance"]["real"]
    head = ["run", "drawn at t = 0", "in two phases", "FID in the paper (quoted)"]
    return _table(head, rows) + (
        f"\nFrechet distance of {real['samples']} samples to {real['real']:,} test images in the"
        f" features of a small classifier: no FID. As many other test images have"
        f" {real['frechet']:.2f}.\n"
    )


def _mean_place(places: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The mean over sets of outliers, and its standard error: see `outliers.placements`.

    The images of the distribution are the same for each set, those of the sets are not.
    """
    inside = torch.stack([part for part, _ in places]).mean(0)
    variance = float(inside.var()) / len(inside)
    variance += sum(float(part.var()) / len(part) for _, part in places) / len(places) ** 2
    return float(inside.mean()), variance**0.5


def _quoted(group: Group, place: str) -> list[str]:
    if place not in PAPER_AUROC:
        return [""] * len(group)
    row = dict(zip(NAMES, PAPER_AUROC[place], strict=True))
    return [f"{row[run.facts['sde']]:.2f}" for run in group]


def _sets(place: str, sets: Sequence[str]) -> str:
    return f"average of {', '.join(sets)}" if place == "average" else place


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
