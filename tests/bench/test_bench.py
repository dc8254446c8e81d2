"""The bench's laws: nothing counts that is not lossless, nothing fails the whole, all is said."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.__main__ import main
from bench.codecs import codecs, costs, ours, programs, quoted, tables
from bench.codecs.contenders import Contender, Samples, same_pixels, with_planes
from bench.codecs.measuring import Plan, measure
from bench.codecs.ours import Variant
from bench.codecs.rivals import rivals
from bench.codecs.subjects import Subject, read_subject
from bench.comparing import moved
from bench.record import header, read_lines, shown, write_lines
from ncml_codec import engines
from ncml_codec.encode import orientation_search
from ncml_codec.engines.stepwise import walk_tile
from ncml_codec.entropy.coder import Meter
from ncml_codec.errors import InputError, UsageError
from ncml_codec.network import released_models
from ncml_codec.picture.orientation import turned
from ncml_codec.picture.picture import Picture
from tests.builders.pictures import ROOT, valley

RANDOM = np.random.default_rng(3)


def subject(samples: Samples) -> Subject:
    return Subject("made.png", "made", b"", samples)


def noise(planes: int, kind: type[np.unsignedinteger]) -> Samples:
    top = np.iinfo(kind).max
    return RANDOM.integers(0, top, (24, 40, planes), endpoint=True).astype(kind)


def plain(change: Callable[[Samples], Samples] = lambda samples: samples) -> Contender:
    """A codec that stores samples, and changes them on the way back."""
    shape: list[tuple[int, ...]] = []

    def encode(samples: Samples, threads: int) -> bytes:
        shape.append(samples.shape)
        return samples.tobytes()

    def decode(data: bytes, threads: int) -> Samples:
        return change(np.frombuffer(data, np.uint8).reshape(shape[-1]).copy())

    return Contender("plain", "none", "1", lambda given: given.samples, encode, decode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs, a 16-bit image, and a file that is no image."""
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(valley(50, 60, 20, 33)).save(images / "a.png")
    Image.fromarray(valley(90, 60, 31, 16)[:, :, 0]).save(images / "b.png")
    Image.fromarray(noise(1, np.uint16)[:, :, 0]).save(images / "c.png")
    (images / "d.png").write_bytes(b"no image")
    return images


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("short", sorted(rivals()))
def test_rivals_are_lossless_or_refuse(
    short: str, planes: int, kind: type[np.unsignedinteger]
) -> None:
    result = measure(rivals()[short], subject(noise(planes, kind)), Plan())
    assert result.state in ("lossless", "refused"), result.why
    if kind == np.uint8 and planes == 3:
        assert result.state == "lossless"


@pytest.mark.parametrize("short", sorted(rivals()))
def test_rivals_give_the_same_bytes_again(short: str) -> None:
    given = subject(valley(100, 100, 40, 50))
    first, second = (measure(rivals()[short], given, Plan()).sha256 for _ in range(2))
    assert first == second


def test_other_pixels_are_lossy_and_not_timed() -> None:
    def broken(samples: Samples) -> Samples:
        samples[-1, -1, -1] ^= 1
        return samples

    result = measure(plain(broken), subject(noise(3, np.uint8)), Plan())
    assert (result.state, result.lossless) == ("lossy", False)
    assert result.encode_seconds is None


def test_what_raises_is_shown_as_failed() -> None:
    def broken(samples: Samples) -> Samples:
        raise ValueError("no such luck")

    result = measure(plain(broken), subject(noise(3, np.uint8)), Plan())
    assert (result.state, result.why) == ("failed", "ValueError: no such luck")


def test_peak_memory_is_what_an_image_adds() -> None:
    def heavy(samples: Samples) -> Samples:
        block = np.ones(64 << 20, np.uint8)
        return samples if block[-1] else samples[:0]

    result = measure(plain(heavy), subject(noise(3, np.uint8)), Plan())
    light = measure(plain(), subject(noise(3, np.uint8)), Plan())
    if result.peak_mib is None or light.peak_mib is None:
        pytest.skip("this system does not tell")
    # the kernel counts pages in batches: a few hundred KiB may be missing
    assert 62 <= result.peak_mib < 80
    assert light.peak_mib < 16


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("more", [1, 2, 3, 4])
def test_planes_are_only_changed_where_nothing_is_lost(planes: int, more: int) -> None:
    samples = noise(planes, np.uint8)
    changed = with_planes(samples, more)
    assert np.array_equal(with_planes(changed, planes), samples)
    assert same_pixels(changed, samples)
    other = samples.copy()
    other[0, 0, 0] ^= 1
    assert not same_pixels(with_planes(other, more), samples)


def test_our_codec_refuses_by_name_and_the_bench_goes_on(folder: Path) -> None:
    frame = Image.fromarray(valley(0, 0, 9, 8))
    frame.save(folder / "e.png", save_all=True, append_images=[frame.rotate(180)])
    images = sorted(folder.iterdir())
    variants = [Variant("photo", "static")]
    records = codecs.run(images, variants, ["png"], "auto", Plan(), True, lambda line: None)
    states = {(r["codec"], r["image"]): r["state"] for r in tables.measured(records)}
    assert states["ncml photo", "a.png"] == states["ncml photo", "b.png"] == "lossless"
    assert states["ncml photo", "c.png"] == states["PNG", "c.png"] == "lossless"
    assert states["ncml photo", "e.png"] == "refused"
    text = tables.table(records)
    assert "an animated PNG" in text
    assert "| **ncml photo** | 3 of 4 |" in text
    assert "unreadable" in text


def test_the_same_run_gives_the_same_bytes(folder: Path) -> None:
    images = sorted(folder.iterdir())[:2]
    variants = [Variant("photo", "static")]
    first, second = (
        codecs.run(images, variants, ["jxl3"], "auto", Plan(1, 2), False, lambda line: None)
        for _ in range(2)
    )
    for old, new in zip(first[1:], second[1:], strict=True):
        assert (old["sha256"], old["bytes"], old["state"]) == (
            new["sha256"],
            new["bytes"],
            new["state"],
        )
        assert new["why"] is None  # more threads give the same bytes as well


def test_compare_names_what_moved_and_nothing_else(folder: Path) -> None:
    images = sorted(folder.iterdir())[:2]
    records = codecs.run(images, [], ["jxl3"], "auto", Plan(), False, lambda line: None)
    head, nothing, *noise = moved(records, records).splitlines()
    assert "measurements in both" in head
    assert nothing == "nothing moved"
    assert {line.partition(",")[0] for line in noise} >= {"encode_seconds", "decode_seconds"}
    assert all("medians 1.00 to 1.00" in line for line in noise)
    changed = [dict(r) for r in records]
    place = next(i for i, r in enumerate(changed) if r.get("codec", "").startswith("JPEG"))
    changed[place]["bytes"] += 5
    changed[place]["decode_seconds"] *= 3
    text = moved(records, changed)
    assert f"bytes {records[place]['bytes']} to {records[place]['bytes'] + 5}" in text
    assert "decode_seconds, now by before: medians 2.00 to 2.00" in text
    assert "gone" in moved(records, records[:-1])
    other = [{**records[0], "bench": "speed"}]
    with pytest.raises(UsageError, match="speed"):
        moved(records, other)


def test_programs_on_the_path_are_measured_and_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that copies stands for FLIF: the bench calls it as FLIF is called."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="flif not found"):
        codecs.choose(["flif"])
    program = tmp_path / "flif"
    copy = "import sys; open(sys.argv[-1], 'wb').write(open(sys.argv[-2], 'rb').read())"
    program.write_text(f"#!{sys.executable}\n{copy}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    flif = programs.installed()["flif"]
    given = subject(noise(3, np.uint8))
    result = measure(flif, given, Plan())
    assert (result.state, result.bytes) == ("lossless", given.samples.size + 13)
    assert result.peak_mib is not None
    assert result.peak_mib > 1
    program.write_text(f"#!{sys.executable}\nraise SystemExit('out of order')\n")
    broken = measure(flif, given, Plan())
    assert broken.state == "failed"
    assert broken.why is not None
    assert "out of order" in broken.why
    assert not Path("--version").exists()


def test_published_figures_are_for_their_images_only() -> None:
    kodak = {f"kodim{number:02}.png" for number in range(1, 25)}
    assert {f.codec for f in quoted.figures_for(kodak, set())} >= {"GraLIC", "EMMA"}
    assert "EMMA" not in {f.codec for f in quoted.figures_for(kodak, {"emma"})}
    assert quoted.figures_for(kodak - {"kodim01.png"}, set()) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 1, 3), (1, 9, 1), (13, 8, 3), (8, 13, 1)])
def test_costs_of_pixels_sum_to_the_meters(shape: tuple[int, int, int]) -> None:
    model = released_models.load("photo")
    samples = RANDOM.integers(0, 256, shape).astype(np.uint8)
    meter = Meter()
    laid = np.ascontiguousarray(turned(samples, orientation_search.turn_of(Picture(samples))))
    walk_tile(engines.load("auto", model.network), laid.shape, laid, meter)
    bits = costs.bits_by_pixel(model, samples, "auto")
    assert bits.shape == shape[:2]
    assert bits.min() > 0
    assert abs(bits.sum() - meter.bits) < 1e-6 * meter.bits


def test_costs_lie_where_the_image_is_hard() -> None:
    samples = np.full((32, 64, 3), 90, np.uint8)
    samples[:, 32:] = noise(3, np.uint8)[:1, :1] ^ RANDOM.integers(0, 256, (32, 32, 3))
    bits = costs.bits_by_pixel(released_models.load("photo"), samples, "auto")
    assert bits[:, 40:].mean() > 10 * bits[:, :32].mean()


def test_one_command_writes_lines_table_and_page(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "sizes.jsonl"
    words = ["codecs", "--images", str(folder), "--rivals", "jxl3,webp", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    records = read_lines(out)
    assert tables.table(records) == out.with_suffix(".md").read_text(encoding="utf-8")
    assert "<table>" in out.with_suffix(".html").read_text(encoding="utf-8")
    again = CliRunner().invoke(main, [*words, "--compare", str(out)], catch_exceptions=False)
    assert "measurements in both" in again.output
    assert " bytes " not in again.output.split("measurements in both")[1]


def test_models_stand_beside_rivals_with_the_figures_they_were_given(tmp_path: Path) -> None:
    results = tmp_path / "made.jsonl"
    done = {"image": "a.png", "folder": "f", "samples": 800, "state": "lossless", "settings": ""}
    times = {"lossless": True, "encode_seconds": 0.5, "decode_seconds": 0.25}
    lines = [header("codecs"), {**done, **times, "codec": "ncml photo 5", "bytes": 250}]
    lines.append({**done, **times, "codec": "JPEG XL effort 9", "bytes": 200})
    write_lines(results, lines)
    out = CliRunner().invoke(main, ["models", str(results)], catch_exceptions=False).output
    assert "| **ncml photo 5** | 1 of 1 | 2.5000 | +25.0 % | 0.500 | 0.250 |" in out
    for name in released_models.released():
        model = released_models.load(name)
        assert f"| {name} | {model.network.multiply_adds():,} |" in out
        assert model.identity.hex() in out
    write_lines(results, [header("speed")])
    refused = CliRunner().invoke(main, ["models", str(results)])
    assert isinstance(refused.exception, InputError)


def test_older_results_are_still_read() -> None:
    results = Path(codecs.__file__).parent.parent / "results"
    for path in sorted(results.glob("*.jsonl")):
        assert read_lines(path)
    old = read_lines(results / "kodak.jsonl")
    assert "| **ncmlzip -5** | 24 of 24 |" in tables.table(old)


def test_what_is_no_file_of_results_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for text in ("", "no json", '{"codec": 1}'):
        path.write_text(text)
        with pytest.raises(InputError):
            read_lines(path)


def test_subjects_keep_sixteen_bits(folder: Path) -> None:
    found = read_subject(folder / "c.png")
    assert found.samples.dtype == np.uint16
    assert len(np.unique(found.samples & 255)) > 100
    with pytest.raises(InputError):
        read_subject(folder / "d.png")


def test_levels_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="best"):
        ours.variants(["photo"], ["best"])
    two = ours.variants(["photo", "x.ncpn"], list(ours.LEVELS))
    assert len({replace(v).name for v in two}) == 2 * len(ours.LEVELS)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("/home/me/images/valid-jpeg", "VALID-JPEG"),
        ("--files=/data/kodak/", "--files=KODAK"),
        ("RUN=runs/photo", "RUN=runs/photo"),
        ("bench/results/jpeg.jsonl", "bench/results/jpeg.jsonl"),
        ("75,90", "75,90"),
        ("/", ""),
    ],
)
def test_reports_name_no_folder_of_a_machine(argument: str, expected: str) -> None:
    assert shown(argument) == expected


def test_results_in_the_repository_name_no_folder_of_a_machine() -> None:
    for path in (ROOT / "bench" / "results").rglob("*.jsonl"):
        with path.open(encoding="utf-8") as file:
            command = json.loads(file.readline()).get("command", "")
        assert not [word for word in command.split() if Path(word).is_absolute()], path
