"""Memory that runs out in the readers and the codec: a message and exit code 1, nothing lost."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

if sys.platform != "linux":
    pytest.skip("limits the address space of forked processes", allow_module_level=True)

from ncml_cli.report import expected
from ncml_codec.errors import NotEnoughMemory, UsageError
from tests.builders.limited import run_limited
from tests.programs.memory_faults import fail_at, places, scenes


def test_a_memory_error_at_any_call_is_a_message_and_loses_nothing() -> None:
    found: Counter[str] = Counter()
    for number, scene in enumerate(scenes(formats=["png", "tiff", "jpeg"])):
        every = places(scene)
        assert len(every) > 40, scene.name
        found += Counter(fail_at(scene, place) for place in every[number * 9 :: 50])
    assert found["refused"] > 10


# Coded by zstd, by zlib and by the mixing coder; by coefficients.
@pytest.mark.parametrize("format", ["16-bit png", "jpeg"])
def test_little_address_space_is_a_message_and_loses_nothing(format: str) -> None:
    # In a program of its own: how much memory this one has free depends on the tests before.
    code = f"""
from tests.programs.memory_faults import fail_beyond, scenes
formats = [{format!r}]
small, larger = scenes(formats=formats), scenes(100, 150, formats)
for index, large in enumerate(larger):
    for room in (0, 64 << 20):
        print(fail_beyond(large, room, small[index]))
"""
    done = run_limited(code, 4000)
    assert set(done.stdout.split()) == {"refused", "done"}, done.stderr


@pytest.mark.parametrize(
    "action",
    ["zstd_frames.unpack(packed, 'it', at_most=1 << 27)", "zstd_frames.pack(data, level=22)"],
)
def test_zstd_without_memory_is_a_memory_error(action: str) -> None:
    # Sound data: what fails is not called damaged.
    code = f"""
import resource
from ncml_codec import zstd_frames
data = bytes(1 << 22)
packed = zstd_frames.pack(data, level=1)
with open("/proc/self/statm") as file:
    most = int(file.read().split()[0]) * resource.getpagesize() + (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    {action}
except MemoryError:
    print("no memory")
"""
    done = run_limited(code, 2000)
    assert done.stdout == "no memory\n", done.stderr


def test_a_small_file_with_a_large_limit_takes_little_memory() -> None:
    code = """
import resource
from pathlib import Path
from ncml_codec.atomic_files import read_file
with open("/proc/self/statm") as file:
    most = int(file.read().split()[0]) * resource.getpagesize() + (8 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(len(read_file(Path("pyproject.toml"), 1 << 30)) > 0)
"""
    done = run_limited(code, 2000)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    "said", ["encoding error 1", "Error -4 while decompressing data", "not enough memory"]
)
def test_what_libraries_say_of_memory_is_a_lack_of_memory(said: str) -> None:
    error = UsageError("this picture cannot be written so")
    error.__cause__ = ValueError(said)
    assert isinstance(expected(error), NotEnoughMemory)
