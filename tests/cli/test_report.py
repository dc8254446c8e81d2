"""What the tool says: messages for people, lines of JSON for scripts, one exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncml_cli.report import Done, Outcome, Speech, report, shown
from ncml_cli.zip.ncmlzip import main
from ncml_cli.zip.targets import Skipped
from ncml_codec.errors import FormatError, InputError, NcmlError, UsageError
from ncml_codec.picture import png_chunks
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")


def ncmlzip(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command, *(str(argument) for argument in arguments)])


def compress(*arguments: object) -> Result:
    return ncmlzip("compress", "-m", TINY, *arguments)


def records(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    text = PngInfo()
    text.add_text("Author", "A. Nother")
    Image.fromarray(valley(90, 90, 12, 15)).save(path, dpi=(300, 300), pnginfo=text)
    return path


def code(outcomes: list[Outcome], several: bool = False) -> int:
    paths = [Path(str(index)) for index in range(len(outcomes))]
    try:
        report(paths, outcomes, Speech(several=several))
    except SystemExit as error:
        return int(error.code or 0)
    return 0


@given(
    st.lists(
        st.sampled_from([Done(), Skipped("s"), InputError("i"), UsageError("u"), FormatError("f")]),
        min_size=1,
    ),
    st.booleans(),
)
def test_one_file_alone_has_its_errors_code_and_several_1(
    outcomes: list[Outcome], several: bool
) -> None:
    failures = [one for one in outcomes if isinstance(one, NcmlError) and one.exit_code]
    expected = 1 if failures else 0
    if len(outcomes) == 1 and not several and failures:
        expected = failures[0].exit_code
    assert code(outcomes, several) == expected


def test_each_file_is_a_line_of_json(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "old.ncmz").write_bytes(b"")
    files = [photo, tmp_path / "bad.png", tmp_path / "old.ncmz"]
    result = compress("--json", *files)
    assert result.exit_code == 1
    done, failed, skipped = records(result)
    assert [one["file"] for one in (done, failed, skipped)] == [str(file) for file in files]
    assert done["status"] == "done"
    assert done["output"] == f"{photo}.ncmz"
    assert done["input_bytes"] == photo.stat().st_size
    assert done["output_bytes"] == Path(f"{photo}.ncmz").stat().st_size
    assert (failed["status"], failed["exit_code"]) == ("failed", 1)
    assert skipped["status"] == "skipped"
    assert result.stderr.count("\n") == 1  # the failure, for the log
    (sound,) = records(ncmlzip("test", "--json", "-m", TINY, f"{photo}.ncmz"))
    assert (sound["status"], sound["size"]) == ("done", "15 x 12")


def test_a_last_line_counts_what_became_of_the_files(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    before = photo.stat().st_size
    result = compress("-r", tmp_path)
    after = Path(f"{photo}.ncmz").stat().st_size
    percent = 100 * after / before
    said = f"2 files: 1 compressed, {before} -> {after} bytes ({percent:.1f} %), 1 failed"
    assert result.stderr.splitlines()[-1] == said
    assert compress("-q", "-r", "-f", tmp_path).stderr.count("\n") == 1
    tested = ncmlzip("test", "-m", TINY, "-r", tmp_path)
    assert (tested.exit_code, tested.stderr.splitlines()[-1]) == (0, "1 file: 1 sound, 0 failed")


def test_r_says_at_the_end_what_it_left_out(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"ftypheic")
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    lines = compress("-r", "-f", tmp_path).stderr.splitlines()
    assert lines[-1].startswith("1 file: 1 compressed")
    assert lines[-2] == "left out: 1 HEIC, 1 GIF: not handled"
    for quiet in ("-q", "--json"):
        assert "left out" not in compress("-r", "-f", quiet, tmp_path).stderr
    Image.fromarray(valley(0, 0, 8, 8)).save(tmp_path / "a.jpg")
    for option in ("-f", "--decoded"):
        lines = compress("-r", "-f", option, tmp_path).stderr.splitlines()
        assert lines[-1].startswith("2 files: 2 compressed")
        assert "JPEG" not in lines[-2]
    assert "not .ncmz" in ncmlzip("info", "-r", tmp_path).stderr
    assert "not .ncmz" in ncmlzip("test", "-m", TINY, "-r", tmp_path).stderr


def test_an_archive_that_holds_nothing_is_not_sound(tmp_path: Path) -> None:
    result = ncmlzip("test", "-r", tmp_path)
    assert result.exit_code == 1
    assert "no files to check" in result.stderr
    assert compress("-r", tmp_path).exit_code == 0


def test_a_dry_run_says_the_same_names_and_writes_nothing(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.png").write_bytes(b"")
    (tmp_path / "taken.png.ncmz").write_bytes(b"precious")
    before = sorted(os.listdir(tmp_path))
    result = compress("--dry-run", "--json", "--rm", photo, tmp_path / "taken.png")
    assert result.exit_code == 1
    planned, taken = records(result)
    assert (planned["status"], planned["output"]) == ("planned", f"{photo}.ncmz")
    assert "exists already" in str(taken["error"])
    said = compress("--dry-run", "-O", tmp_path / "new", "--mirror", "-r", tmp_path).stderr
    assert said.splitlines()[-1] == "2 files: 2 to be compressed, 0 failed"
    assert sorted(os.listdir(tmp_path)) == before


def test_existing_outputs_are_skipped_on_request(photo: Path) -> None:
    assert compress(photo).exit_code == 0
    data = Path(f"{photo}.ncmz").read_bytes()
    result = compress("--skip-existing", photo)
    assert (result.exit_code, "skipped" in result.stderr) == (0, True)
    assert Path(f"{photo}.ncmz").read_bytes() == data
    assert compress("--skip-existing", "-f", photo).exit_code == 2


def test_a_file_that_may_not_be_read_is_no_wrong_usage(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "open", refused)
    result = ncmlzip("test", photo)
    assert result.exit_code == 1
    assert "Permission denied" in result.stderr


def test_permissions_and_times_are_kept_both_ways(photo: Path) -> None:
    photo.chmod(0o640)
    os.utime(photo, ns=(1_000_000_123, 2_000_000_456))
    assert compress("--rm", photo).exit_code == 0
    assert ncmlzip("decompress", "--rm", "-m", TINY, f"{photo}.ncmz").exit_code == 0
    status = photo.stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 2_000_000_456)


def test_rm_and_k_are_each_others_opposite(photo: Path) -> None:
    assert compress("--rm", "-k", photo).exit_code == 0
    assert photo.exists()
    assert compress("-f", "-k", "--rm", photo).exit_code == 0
    assert not photo.exists()


def test_strip_leaves_out_what_no_colour_depends_on(photo: Path) -> None:
    assert compress(photo).exit_code == 0
    kept = json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)[0]["metadata"]
    assert sorted(kept) == ["pHYs", "tEXt"]
    assert compress("-f", "--strip", photo).exit_code == 0
    assert json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)[0]["metadata"] == ["pHYs"]
    assert ncmlzip("test", "-m", TINY, f"{photo}.ncmz").exit_code == 0


def test_stripping_keeps_what_an_image_needs() -> None:
    chunks = [
        (b"PLTE", b"p"),
        (b"eXIf", b"e"),
        (b"iCCP", b"i"),
        (png_chunks.PIXELS, b""),
        (b"tIME", b"t"),
    ]
    assert png_chunks.needed(chunks) == [chunks[0], chunks[2], chunks[3]]
    assert png_chunks.needed(chunks[3:]) == []


def test_larger_images_than_allowed_are_refused(photo: Path) -> None:
    refused = compress("--max-pixels", 15 * 12 - 1, photo)
    assert refused.exit_code == 1
    assert "beyond the limit of 179" in refused.stderr
    assert compress("--max-pixels", 15 * 12, photo).exit_code == 0
    for command in (["test"], ["decompress", "-f"]):
        result = ncmlzip(*command, "-m", TINY, "--max-pixels", 15 * 12 - 1, f"{photo}.ncmz")
        assert "beyond the limit of 179" in result.stderr


def test_sections_add_up_to_the_file(photo: Path) -> None:
    assert compress(photo).exit_code == 0
    (facts,) = json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)
    assert sum(section["bytes"] for section in facts["sections"]) == facts["bytes"]
    assert facts["ratio"] == round(15 * 12 * 3 / facts["bytes"], 4)
    assert [one["section"] for one in facts["sections"]][1:] == ["metadata", "layer 0"]


@given(st.binary())
def test_no_name_changes_a_terminal(name: bytes) -> None:
    line = shown(os.fsdecode(name))
    assert line.isprintable()
    line.encode()


def test_names_in_any_bytes_are_worked_on(tmp_path: Path) -> None:
    names = (b"\xff\x80.png", "\N{GREEK SMALL LETTER PI}\n.png".encode(), b"a b\x1b[31m.png")
    paths = [tmp_path / os.fsdecode(name) for name in names]
    for path in paths:
        Image.fromarray(valley(0, 0, 8, 8)).save(path)
    result = compress("-r", "--json", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert {str(record["file"]) for record in records(result)} == {str(path) for path in paths}
    told = ncmlzip("info", "-r", tmp_path)
    assert (told.exit_code, r"\xff\x80.png" in told.stdout) == (0, True)
    restored = ncmlzip("decompress", "-f", "-m", TINY, "-r", tmp_path)
    assert r"\x1b[31m" in restored.stderr
    assert restored.stderr.count("\n") == 5  # three files, what is left out, the summary


def test_shells_get_their_completion() -> None:
    for shell in ("zsh", "fish"):
        result = ncmlzip("completion", shell)
        assert (result.exit_code, "_NCMLZIP_COMPLETE" in result.stdout) == (0, True)
    assert ncmlzip("completion", "tcsh").exit_code == 2


def test_options_complete() -> None:
    script = "import sys; sys.argv[0] = 'ncmlzip'; from ncml_cli.zip.ncmlzip import main; main()"
    asked = {"COMP_WORDS": "ncmlzip compress --s", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "_NCMLZIP_COMPLETE": "bash_complete", **asked},
        capture_output=True,
        text=True,
    )
    found = [line.split(",")[1] for line in done.stdout.splitlines()]
    assert found == ["--stdout", "--skip-existing", "--strip"]
