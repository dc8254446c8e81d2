"""The chain from a network's likelihood to a file's bytes, and the page that shows it."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.likelihood import likelihood
from bench.likelihood.likelihood import STEPS
from bench.record import Record, read_lines, write_lines
from bench.rendering import markdown, to_html
from bench.report.page import figures, page, save_plots
from ncml_codec.engines.numpy_engine import NumpyEngine
from ncml_codec.errors import InputError
from ncml_codec.learn.training.checkpoint import Snapshot, save_config, save_snapshot
from ncml_codec.network import released_models
from ncpn import presets
from tests.builders.pictures import ROOT, TESTS, valley

VOID = {"meta", "img", "br", "link", "input", "hr"}


def checkpoint(folder: Path, name: str) -> str:
    """An untrained network as a training run would leave it."""
    torch.manual_seed(1)
    config = presets.preset(name, 1.0)
    model = presets.build(config)
    presets.initialise(model, torch.rand(2, 3, 16, 16) * 255, torch.zeros(2))
    weights = {key: value.detach() for key, value in model.state_dict().items()}
    save_config(folder, {"model": presets.to_json(config), "process": {"sde": "none", "T": 0.0}})
    save_snapshot(folder, Snapshot({}, weights, {}, {}))
    return str(folder)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """A wave network and one of the paper's on two images, clean and moved."""
    root = tmp_path_factory.mktemp("likelihood")
    images = root / "images"
    images.mkdir()
    for index in range(2):
        Image.fromarray(valley(60 + 40 * index, 80, 33, 46)).save(images / f"{index}.png")
    runs = [checkpoint(root / name, name) for name in ("wave-tiny", "tiny")]
    return likelihood.run(runs, str(images), [0.0, 1.0], None, 32, 0, lambda line: None)


def test_every_step_of_a_wave_network_follows_from_the_one_before(records: list[Record]) -> None:
    waves = [r for r in records if str(r.get("run", "")).endswith("wave-tiny")]
    assert len(waves) == 4
    for r in waves:
        # an untrained network of 8 channels, rounded to integers: a percent and no more
        assert abs(r["network_bits"] / r["float_bits"] - 1) < 0.01
        # an untrained network is often far off, and tables of 2**-16 steps are coarse in far tails
        assert abs(r["tables_bits"] / r["network_bits"] - 1) < 0.005
        words = r["samples"] * (r["coder_bits"] - r["tables_bits"])
        assert -1 < words <= 64 + 0.001 * r["samples"] * r["tables_bits"]
        assert r["samples"] * (r["payload_bits"] - r["coder_bits"]) == pytest.approx(64)
        assert r["file_bits"] > r["payload_bits"]


def test_a_network_without_integers_has_a_likelihood_alone(records: list[Record]) -> None:
    papers = [r for r in records if str(r.get("run", "")).endswith("/tiny")]
    assert len(papers) == 4
    for r in papers:
        assert r["float_bits"] > 0
        assert all(r[step] is None for step in STEPS if step != "float_bits")


def test_moved_pixels_cost_more_with_a_trained_network() -> None:
    run = f"{ROOT / 'models/ncpn/checkpoints/photo'}=photo"
    images = str(TESTS / "images")
    found = likelihood.run([run], images, [0.0, 1.0], 1, 40, 0, lambda line: None)
    clean, moved = found[1:]
    assert moved["file_bits"] > clean["file_bits"] + 0.1
    assert abs(clean["tables_bits"] / clean["network_bits"] - 1) < 0.0005
    assert clean["file_bits"] < 1.05 * clean["float_bits"]  # 40 x 40 pixels and a header
    assert "| photo | 0 | 1 |" in likelihood.table(found)


def test_exact_masses_of_all_grey_levels_sum_to_one() -> None:
    walk = NumpyEngine(released_models.load("photo").network).walk(6, 7)
    count = walk.begin(0)
    walk.high(0)
    masses = [likelihood.masses(walk, np.full(count, level)) for level in range(256)]
    assert np.allclose(np.sum(masses, axis=0), 1, atol=1e-12)


def test_data_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        likelihood.read_images(str(tmp_path / "nowhere"), None)


class _Reader(HTMLParser):
    """Checks that tags close, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src":
                self.sources.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_complete_in_itself(records: list[Record]) -> None:
    kodak = read_lines(ROOT / "bench" / "results" / "kodak.jsonl")
    speed = read_lines(ROOT / "bench" / "results" / "speed.jsonl")
    text = page({"chain": records, "kodak": kodak, "speed": speed, "other": [records[0], {"a": 1}]})
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert {link.removeprefix("#") for link in reader.links} <= reader.ids
    # likelihood: scatter and curves; Kodak: two speeds, by image; and what was kept of its images
    kept = sum(field in r for r in kodak for field in ("thumbnail", "cost_map"))
    assert len(reader.sources) == 5 + (kept + 1 if kept else 0)  # and the scale of the cost maps
    for source in reader.sources:
        kind, _, data = source.partition(";base64,")
        content = base64.b64decode(data, validate=True)
        if kind == "data:image/svg+xml":
            assert ElementTree.fromstring(content).tag.endswith("svg")
        else:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
    for words in ("JPEG XL effort 9", "ncmlzip -5", "wave-tiny", "avx2"):
        assert words in text


def test_plots_are_written_and_show_something(records: list[Record], tmp_path: Path) -> None:
    assert len(figures(records)) == 2
    write_lines(tmp_path / "chain.jsonl", records)
    paths = list(save_plots({"chain": records}, tmp_path / "plots"))
    assert [path.name for path in paths] == ["chain-1.png", "chain-2.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.convert("L").getextrema() == (0, 255)


def test_tables_are_the_same_in_both_forms() -> None:
    table = markdown(["a", "b"], [["x | y", "**1.5**"], ["<tag>", "*quoted* `2 * 3 * 4`"]])
    assert to_html("words & more\n\n" + table) == (
        "<p>words &amp; more</p>\n"
        '<div class="wide"><table><thead><tr><th>a</th><th>b</th></tr></thead>\n<tbody>'
        "<tr><td>x | y</td><td><strong>1.5</strong></td></tr>\n"
        "<tr><td>&lt;tag&gt;</td><td><em>quoted</em> <code>2 * 3 * 4</code></td></tr>"
        "</tbody></table></div>"
    )
