"""The bench of JPEG files: only files that came back count, and what is worse is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.__main__ import main
from bench.codecs import jpeg_files
from bench.codecs.jpeg_codecs import JpegCodec, JpegFile, every_of_group, made_by_pillow
from bench.record import header, read_lines
from ncml_codec.errors import InputError
from tests.builders.pictures import valley


def jpeg(quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(valley(0, 0, 40, 56)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def codec(name: str, keep: slice = slice(None), add: bytes = b"") -> JpegCodec:
    """Stores the part `keep` of a file, and bytes before it that its decoder drops."""
    return JpegCodec(name, "none", "1", lambda d, _: add + d[keep], lambda d, _: d[len(add) :])


def refusing() -> JpegCodec:
    def refuse(data: bytes, threads: int) -> bytes:
        raise ValueError("not today")

    return JpegCodec("refusing", "none", "1", refuse, refuse)


FILES = [JpegFile("one.jpg", "made", jpeg(60)), JpegFile("two.jpg", "made", jpeg(90))]


def test_every_file_stands_in_the_table_with_the_ones_that_came_back(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in FILES:
        (folder / file.name).write_bytes(file.data)
    Image.fromarray(valley(0, 0, 40, 56)).save(folder / "three.png")
    out = tmp_path / "sizes.jsonl"
    words = ["jpeg", "--files", str(folder), "--images", str(folder), "--quality", "50"]
    words += ["--sampling", "4:4:4", "--threads", "1,2", "--repeats", "1", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    records = read_lines(out)
    ours = [r for r in records if r.get("codec") in ("ncmlzip", "ncmlzip -1")]
    assert len(ours) == 3 * 2 * 2
    assert {r["state"] for r in records if "state" in r} == {"lossless"}
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert jpeg_files.table(records) == text
    assert f"**photos**: 2 files, {sum(len(file.data) for file in FILES):,} bytes" in text
    assert "**photos, quality 50, 4:4:4**: 1 files" in text


def test_a_codec_that_changes_or_refuses_files_is_not_timed() -> None:
    changing = jpeg_files.measure(FILES[0], codec("changing", slice(1, None)), 1, 1)
    assert (changing["state"], changing["why"]) == ("lossy", "the decoded file is another")
    refused = jpeg_files.measure(FILES[0], refusing(), 1, 1)
    assert (refused["state"], refused["why"]) == ("failed", "ValueError: not today")
    assert not any("seconds" in key for key in (*changing, *refused))


def test_files_on_which_a_rival_is_as_small_are_named_with_sizes() -> None:
    records = [header("jpeg", repeats=1, contenders=[])]
    times = dict.fromkeys(
        ("encode_seconds", "decode_seconds", "encode_cpu_seconds", "decode_cpu_seconds"), 0.5
    )
    for image, ours, theirs in (("a.jpg", 90, 89), ("b.jpg", 90, 90), ("c.jpg", 90, 91)):
        for name, size in (("ncmlzip", ours), ("Lepton", theirs)):
            line = {"codec": name, "image": image, "folder": "made", "threads": 1, "bytes": size}
            records.append({**line, **times, "file_bytes": 1_000_000, "state": "lossless"})
    text = jpeg_files.table(records)
    assert "bytes: a.jpg: ours 90, Lepton 89; b.jpg: ours 90, Lepton 90." in text
    assert "| Lepton | 0.0001 | 1.0000 | 2.00 (2.00) | 2.00 (2.00) |" in text


def test_sums_leave_out_files_that_one_codec_changed() -> None:
    def only_the_second(data: bytes, threads: int) -> bytes:
        return data if data == FILES[1].data else data[1:]

    codecs = [
        codec("storing", add=b"head"),
        JpegCodec("half", "none", "1", only_the_second, lambda data, _: data),
        refusing(),
    ]
    records = jpeg_files.run(FILES, codecs, [1], 1, "", lambda line: None)
    text = jpeg_files.table(records)
    assert f"**made**: 1 files, {len(FILES[1].data):,} bytes" in text
    assert "| storing |" in text
    assert "| half | 1.0000 |" in text
    assert "| half | made | one.jpg | lossy | the decoded file is another |" in text
    assert "| refusing | made | two.jpg | failed | ValueError: not today |" in text


def test_every_group_begins_with_its_first_file() -> None:
    files = [JpegFile(str(at), group, b"") for group in "xy" for at in range(5)]
    assert [f.group + f.name for f in every_of_group(files, 3)] == ["x0", "x3", "y0", "y3"]


def test_pillow_makes_one_group_by_quality_and_sampling(tmp_path: Path) -> None:
    Image.fromarray(valley(0, 0, 40, 56)).save(tmp_path / "valley.png")
    Image.fromarray(valley(0, 0, 40, 56)).convert("LA").save(tmp_path / "grey.png")
    made = made_by_pillow([tmp_path], [50, 90], ["4:2:0", "4:4:4"])
    assert len(made) == 8
    assert len({file.group for file in made}) == 4
    modes = {file.name: Image.open(io.BytesIO(file.data)).mode for file in made}
    assert modes == {"valley": "RGB", "grey": "L"}
    deep = np.full((8, 8), 1000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="8 bits a sample"):
        made_by_pillow([tmp_path], [50], ["4:2:0"])
