"""Files of strangers to the training tools: models, bundles, runs, data. Each is one error.

The law: whatever is in them, an `NcmlError` comes out, the commands exit with its code and no
traceback, and no memory is taken for what a file claims but does not hold.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save

from ncml_cli.evaluate import evaluate, sample
from ncml_cli.train import export, train
from ncml_cli.zip import ncmlzip
from ncml_codec.errors import FormatError, InputError, NcmlError
from ncml_codec.learn.data.datasets import open_dataset
from ncml_codec.learn.evaluation import classifier
from ncml_codec.learn.training import checkpoint, log
from ncml_codec.learn.training.state import State, TrainConfig
from ncml_codec.network import released_models
from ncml_codec.network.model_file import read_model
from ncpn import presets, runs
from ncpn.bundles import bundle_file
from ncpn.bundles.bundle_file import Bundle
from tests.builders.bundles import changed
from tests.builders.limited import run_limited
from tests.builders.model_files import TINY, parts, sealed
from tests.builders.pictures import VALLEY, valley
from tests.builders.runs import saved

DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE = b"9" * 5000
LIMIT = 3000  # MiB of addresses in which torch starts and a small network works


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: the smallest network, untrained, as `ncml-train` leaves it."""
    run = tmp_path_factory.mktemp("kept")
    torch.manual_seed(0)
    config = presets.preset("wave-tiny", 0.1)
    facts = {
        "model": presets.to_json(config),
        "process": {"sde": "vp", "T": 0.1},
        "crops": {"crop": 32, "batch": 2, "grey": 0.0, "augment": 0.0},
        "options": {"data": ["images"]},
    }
    checkpoint.save_config(run, facts)
    checkpoint.save_snapshot(run, State(presets.build(config), TrainConfig()).snapshot())
    return run


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "run"))


def called(command: click.Command, *arguments: object) -> Result:
    """What a command said and returned: never anything but its own exit."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(command: click.Command, *arguments: object, code: int = 1) -> None:
    result = called(command, *arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.count("\n") == 1, result.stderr  # one sentence


# Models


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"components":', b'"components":Infinity,"x":'),
        (b'"components":', b'"components":NaN,"x":'),
        (b'"components":', b'"components":1e999,"x":'),
        (b'"components":', b'"components":' + HUGE + b',"x":'),
        (b'"components":', b'"components":true,"x":'),
        (b'"components":', b'"components":{},"x":'),
        (b'"blocks":', b'"blocks":-1e999,"x":'),
        (b'"blocks":', b'"blocks":1e18,"x":'),
        (b'"window":[', b'"window":[[1e308,-1e308],'),
        (b'"window":[', b'"window":[[Infinity,1],'),
        (b'"tensors":[', b'"tensors":[["first.weight","<i2",[1e999]],'),
        (b'"tensors":[', b'"tensors":[["first.weight","<i2",[4294967296,4294967296]],'),
        (b'"tensors":[', b'"tensors":[["first.weight","<i2",[]],'),
        (b'"tensors":[', b'"tensors":[["x",["<i2"],[1]],'),
        (b'"kind":', b'"kind":' + DEEP + b',"x":'),
        (b'"kind":', b'"kind":"wave-1","kind":'),
        (b"{", b"\xff{"),
    ],
)
def test_hostile_descriptions_of_models_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    description, packed = parts(TINY)
    assert old in description
    data = sealed(description.replace(old, new, 1), packed)
    with pytest.raises(FormatError):
        read_model(data)
    path = tmp_path / "hostile.ncpn"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"hostile\.ncpn"):
        released_models.load(str(path))


def test_layers_that_are_no_matrices_are_refused() -> None:
    description, packed = parts(TINY)
    found = json.loads(description)
    for entry in found["tensors"]:
        if entry[0] in ("first.weight", "heads.0.trunk.weight"):
            entry[2] = [int(np.prod(entry[2]))]
    with pytest.raises(FormatError, match="matrix"):
        read_model(sealed(json.dumps(found).encode(), packed))


def test_models_that_are_no_files_or_too_large_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "sparse.ncpn").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "empty.ncpn").write_bytes(b"")
    (tmp_path / "folder.ncpn").mkdir()
    for name in ("sparse", "empty", "folder", "missing"):
        output = tmp_path / "x.ncmz"
        refused(ncmlzip.main, "compress", VALLEY, "-o", output, "-m", tmp_path / f"{name}.ncpn")


# Bundles


@pytest.fixture(scope="module")
def made(kept: Path) -> bytes:
    images = [valley(top, 0, 4, 4) for top in (0, 9)]
    return bundle_file.encode(Bundle(["a.png", "b.png"], images), runs.from_pretrained(kept))


def with_header(data: bytes, text: bytes) -> bytes:
    """The bundle with another header and the right checksum."""
    start = len(bundle_file.MAGIC) + 4
    (length,) = struct.unpack("<I", data[start - 4 : start])
    head = bundle_file.MAGIC + struct.pack("<I", len(text)) + text
    return head + struct.pack("<I", zlib.crc32(head)) + data[start + length + 4 :]


@pytest.mark.parametrize(
    "text",
    [DEEP, b"", b"null", b'{"width":Infinity}', b'{"width":' + HUGE + b"}", b"[" * 5_000_000],
    ids=lambda text: str(text[:20]),
)
def test_headers_of_bundles_that_are_no_moderate_json_are_refused(made: bytes, text: bytes) -> None:
    with pytest.raises(FormatError, match="header"):
        bundle_file.sizes(with_header(made, text))


@pytest.mark.parametrize(
    "claims",
    [
        {"width": 4096, "height": 4096, "names": ["a"], "crc": [1], "batch": 4096},
        {"width": 4096, "height": 4096, "names": ["a"], "crc": [1], "batch": 1},
        {"batch": 3},
        {"width": True},
        {"width": 1e999},
        {"names": ["a.png", "\ud800.png"]},
        {"names": {"a.png": 1, "b.png": 2}},
        {"computed_with": {"torch": [1]}},
        {"computed_with": []},
        {"model": 1},
    ],
    ids=str,
)
def test_bundles_that_claim_too_much_are_refused(made: bytes, claims: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        bundle_file.sizes(changed(made, lambda header: header.update(claims)))


def test_a_bundle_is_not_written_if_it_would_not_be_read(kept: Path) -> None:
    model = runs.from_pretrained(kept)
    for names in (["a/b.png"], ["\ud800"]):
        with pytest.raises(InputError, match="fit"):
            bundle_file.encode(Bundle(names, [valley(0, 0, 4, 4)]), model)


# Runs: config.json


def edited(run: Path, part: str | None, **values: object) -> None:
    """Change values of config.json, or of one of its objects."""
    path = run / checkpoint.CONFIG
    config = json.loads(path.read_text())
    (config if part is None else config[part]).update(values)
    path.write_text(json.dumps(config))


CONFIGS: list[bytes] = [
    b"",
    b"[]",
    b"{",
    b'{"model": NaN}',
    b'{"a": 1, "a": 2}',
    DEEP,
    b"\xff\xfe{}",
]


@pytest.mark.parametrize("text", CONFIGS, ids=lambda text: str(text[:20]))
def test_a_config_that_is_no_moderate_json_is_refused(run: Path, text: bytes) -> None:
    (run / checkpoint.CONFIG).write_bytes(text)
    with pytest.raises(InputError, match=r"config\.json"):
        runs.from_pretrained(run)
    refused(sample.main, run, "-o", run / "x.png")


@pytest.mark.parametrize(
    "values",
    [
        {"width": 10**9},
        {"width": 4096},  # more than the file of weights holds
        {"width": 0},
        {"width": -8},
        {"width": 8.0},
        {"width": True},
        {"width": "8"},
        {"width": [8]},
        {"blocks": 10**9},
        {"mixtures": 10**18},
        {"time_features": 7},
        {"time_scale": 0},
        {"time_scale": "1"},
        {"kind": "paper"},
        {"kind": ["wave"]},
        {"more": 1},
    ],
    ids=str,
)
def test_networks_that_cannot_be_are_refused(run: Path, values: dict[str, object]) -> None:
    edited(run, "model", **values)
    with pytest.raises(InputError):
        runs.from_pretrained(run)


@pytest.mark.parametrize(
    "process",
    [None, 3, {}, {"sde": "vp"}, {"sde": "vp", "T": "1"}, {"sde": "vp", "T": 7}, {"sde": ["vp"]}],
    ids=str,
)
def test_processes_that_cannot_be_are_refused(run: Path, process: object) -> None:
    edited(run, None, process=process)
    with pytest.raises(InputError):
        runs.recorded_process(run)
    refused(evaluate.main, "bpd", run, "--data", run)


@pytest.mark.parametrize(
    "values",
    [
        {"crops": None},
        {"crops": {"crop": 10**6, "batch": 10**6, "grey": 0, "augment": 0}},
        {"crops": {"crop": "32", "batch": 2, "grey": 0, "augment": 0}},
        {"options": []},
        {"options": {"images": "all"}},
        {"turns": "01"},
        {"turns": [8]},
        {"turns": [0.5]},
    ],
    ids=str,
)
def test_recorded_crops_and_turns_that_cannot_be_are_refused(
    run: Path, tmp_path: Path, values: dict[str, object]
) -> None:
    edited(run, None, **values)
    images = saved(tmp_path / "images", np.stack([valley(0, 0, 40, 40).transpose(2, 0, 1)]))
    with pytest.raises(InputError):
        export._training_images(run, (str(images),))


# Runs: safetensors and tables


def tensors(
    shape: str, kind: str = "F32", offsets: str = "[0, 4]", body: bytes = bytes(4)
) -> bytes:
    text = f'{{"first.weight": {{"dtype": "{kind}", "shape": {shape}, "data_offsets": {offsets}}}}}'
    return struct.pack("<Q", len(text)) + text.encode() + body


CHECKPOINTS = {
    "empty": b"",
    "short": b"\x01",
    "endless header": struct.pack("<Q", 2**63) + b"{}",
    "large header": struct.pack("<Q", 90 << 20) + b"{}",
    "no JSON": struct.pack("<Q", 2) + b"{[",
    "deep": struct.pack("<Q", len(DEEP)) + DEEP,
    "huge shape": tensors("[1099511627776, 1099511627776]"),
    "negative shape": tensors("[-1]"),
    "beyond the end": tensors("[1000]", offsets="[0, 4000]"),
    "other type": tensors("[1]", kind="XX"),
    "other tensors": save({"x": torch.zeros(1)}),
    "a pickle": pickle.dumps([1, 2]),
}


@pytest.mark.parametrize(
    "name", [*CHECKPOINTS, "a folder", "unfinished", "not finite", "broadcast"]
)
def test_checkpoints_that_are_no_weights_of_the_network_are_refused(run: Path, name: str) -> None:
    for file in (checkpoint.MODEL, checkpoint.TRAINING):
        path = run / file
        data = path.read_bytes()
        if name == "a folder":
            path.unlink()
            path.mkdir()
        elif name == "unfinished":
            path.write_bytes(data[:-100])
        elif name in ("not finite", "broadcast"):
            found, header = checkpoint.read_tensors(path)
            value = torch.tensor([torch.nan]) if name == "not finite" else torch.zeros(1)
            shape = next(iter(found.values())).shape if name == "not finite" else (1,)
            first = next(iter(found))
            path.write_bytes(save({**found, first: value.expand(shape).contiguous()}, header))
        else:
            path.write_bytes(CHECKPOINTS[name])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        runs.from_pretrained(run)
    network = presets.build(presets.preset("wave-tiny", 0.1))
    with pytest.raises(InputError, match=r"training\.safetensors"):
        State.resumed(network, TrainConfig(), run)
    refused(sample.main, run, "-o", run / "x.png")


@pytest.mark.parametrize(
    "progress",
    [
        "",
        "[]",
        "{}",
        '{"step": "1", "seconds": 1}',
        '{"step": Infinity, "seconds": 1}',
        '{"step": -1, "seconds": 1}',
        '{"step": 1, "seconds": NaN}',
        '{"step": 1, "seconds": 1, "running": []}',
        '{"step": 1, "seconds": 1, "running": {"total": "x"}}',
        '{"step": 1, "seconds": 1, "running": {}, "updates": []}',
    ],
)
def test_progress_that_cannot_be_is_refused(run: Path, progress: str) -> None:
    path = run / checkpoint.TRAINING
    found, _ = checkpoint.read_tensors(path)
    path.write_bytes(save(found, {"progress": progress}))
    with pytest.raises(InputError):
        State.resumed(presets.build(presets.preset("wave-tiny", 0.1)), TrainConfig(), run)


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 10**9},
        {"width": 1000},
        {"width": 0},
        {"width": 7},
        {"features": "64"},
        {"more": 1},
    ],
    ids=str,
)
def test_classifiers_that_cannot_be_are_refused(tmp_path: Path, sizes: dict[str, object]) -> None:
    path = tmp_path / "small.safetensors"
    model = classifier.Classifier(classifier.ClassifierConfig(width=8))
    classifier.write(model, path, {})
    assert classifier.read(path).config == model.config
    config = {"width": 8, "features": 64, "classes": 10, **sizes}
    path.write_bytes(save(dict(model.state_dict()), {"classifier": json.dumps(config)}))
    if sizes == {"more": 1}:
        assert classifier.read(path).config == model.config
        return
    with pytest.raises(InputError):
        classifier.read(path)
    path.write_bytes(save(dict(model.state_dict()), {}))
    with pytest.raises(InputError):
        classifier.read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a,b\n",
        b"step,bpd\nx,1\n",
        b"step,bpd\n1,x\n",
        b"\xff\n",
        b'step,bpd\n1,"' + b"0" * 200_000,
    ],
    ids=lambda text: str(text[:20]),
)
def test_tables_that_are_no_logs_are_refused(run: Path, text: bytes) -> None:
    (run / log.LOG).write_bytes(text)
    with pytest.raises(InputError, match=r"log\.csv"):
        log.read_rows(run / log.LOG, ("bpd",))
    refused(evaluate.main, "curves", run, "-o", run / "x.png")


# Data sets


def npy(shape: str, kind: str = "'|u1'", body: bytes = bytes(12), order: str = "False") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


ARRAYS = {
    "empty": b"",
    "short": b"\x93NUMPY\x01",
    "another file": b"PK\x03\x04" + bytes(50),
    "other version": b"\x93NUMPY\x09\x00" + bytes(20),
    "820 GB": npy("(4096, 3, 8192, 8192)"),
    "an overflowing product": npy("(4294967296, 4294967296, 3, 1)"),
    "a negative side": npy("(-1, 3, 2, 2)"),
    "a side of nothing": npy("(0, 3, 2, 2)"),
    "sides that are no numbers": npy("('1', 3, 2, 2)"),
    "booleans": npy("(True, 3, 2, 2)"),
    "objects": npy("(1, 3, 2, 2)", "'|O'"),
    "records": npy("(1, 3, 2, 2)", "[('a', '|u1')]"),
    "floats": npy("(1, 3, 1, 1)", "'<f4'"),
    "no shape": npy("7"),
    "no header": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
    "cut short": npy("(1, 3, 2, 2)", body=bytes(11)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(ARRAYS[name])
    with pytest.raises(InputError, match=r"images\.npy"):
        open_dataset(f"array:{path}", "test", 1)


def zipped(**members: bytes) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return out.getvalue()


IMAGE, LABEL = bytes(3072), npy("(1,)", body=b"\x01")
ARCHIVES = {
    "empty": b"",
    "cut short": zipped(data=npy("(1, 3072)", body=IMAGE), labels=LABEL)[:-30],
    "no labels": zipped(data=npy("(1, 3072)", body=IMAGE)),
    "820 GB": zipped(data=npy("(268435456, 3072)"), labels=LABEL),
    "another size": zipped(data=npy("(1, 100)", body=IMAGE), labels=LABEL),
    "floats": zipped(data=npy("(1, 768)", "'<f4'", IMAGE), labels=LABEL),
    "too many labels": zipped(
        data=npy("(1, 3072)", body=IMAGE), labels=npy("(2,)", body=b"\x01\x01")
    ),
    "labels below 1": zipped(data=npy("(1, 3072)", body=IMAGE), labels=npy("(1,)", body=b"\x00")),
    "labels in a matrix": zipped(
        data=npy("(1, 3072)", body=IMAGE), labels=npy("(1, 1)", body=b"\x01")
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_that_are_no_images_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "val_data.npz").write_bytes(ARCHIVES[name])
    with pytest.raises(InputError):
        open_dataset(f"imagenet32:{tmp_path}", "test", 1)


def pickled(labels: bytes, data: bytes = b"B" + struct.pack("<I", 3072) + IMAGE) -> bytes:
    """A batch of CIFAR-10 put together by hand."""
    return b"\x80\x03}(C\x06labels" + labels + b"C\x04data" + data + b"u."


_NESTED = b"](K\x01e" + b"q\x00" + b"".join(b"](" + b"h\x00" * 200 + b"eq\x00" for _ in range(9))
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
BATCHES = {
    "empty": b"",
    "text": b"hello",
    "a number": pickle.dumps(1),
    "cut short": pickle.dumps({b"data": b"x" * 100})[:50],
    "lists in lists": pickled(_NESTED),
    "data that is no array": pickled(b"](K\x01e"),
    "labels that are no numbers": pickled(b"](C\x01xe"),
    "a large array": pickled(b"](K\x01e", _ARRAY + b"J\xff\xff\xff\x7f\x85C\x01b\x87R"),
    "an array as a function": pickled(b"](K\x01e", b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R"),
    "a large memo": b"\x80\x03]r\xff\xff\xff\x7f.",
    "a large bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "a persistent name": b"\x80\x03C\x01xQ.",
    "an extension": b"\x80\x03\x82\x01.",
    "another codec": pickled(
        b"](K\x01e", b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x04\x00\x00\x00zlib\x86R"
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_pickles_that_are_no_batches_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "test_batch").write_bytes(BATCHES[name])
    with pytest.raises(InputError):
        open_dataset(f"cifar10:{tmp_path}", "test", 1)


def test_files_that_are_no_files_are_refused(tmp_path: Path) -> None:
    for name in ("test_batch.bin", "test_32x32.mat", "val_data.npz", "images.npy", "a.png"):
        (tmp_path / name).mkdir()
    kinds = (f"cifar10:{tmp_path}", f"svhn:{tmp_path}", f"imagenet32:{tmp_path}", f"{tmp_path}")
    for source in (*kinds, f"array:{tmp_path}/images.npy", f"celeba64:{tmp_path}"):
        with pytest.raises(InputError):
            open_dataset(source, "test", 1)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]},
    ],
    ids=["nothing", "no labels", "floats"],
)
@pytest.mark.parametrize("cut", [0, 50])
def test_svhn_of_other_variables_or_cut_short_is_refused(
    tmp_path: Path, content: dict[str, object], cut: int
) -> None:
    from scipy.io import savemat

    path = tmp_path / "test_32x32.mat"
    savemat(path, content)
    path.write_bytes(path.read_bytes()[: -cut or None])
    with pytest.raises(InputError, match=r"test_32x32\.mat"):
        open_dataset(f"svhn:{tmp_path}", "test", 1)


@pytest.mark.parametrize(
    "text",
    [
        "steps = inf",
        "steps = nan",
        "steps = {}",
        "data = [[1]]",
        "data = 1979-05-27",
        "x = " + "[" * 5000,
    ],
)
def test_option_files_with_other_values_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.toml").write_text(text + "\n")
    result = called(train.main, "--config", tmp_path / "options.toml", "--out", tmp_path / "run")
    assert result.exit_code == 2


# Any mutation


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A few bytes of the text changed, taken out, doubled, or replaced by what parsers fear."""
    words = [b"1e999", b"NaN", b"-1", b"[]", b"{}", b"null", b'"', b"true", HUGE, b"[[[[", b"\xff"]
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(len(data) + 1))
        until = at + int(random.integers(8))
        data = data[:at] + words[random.integers(len(words))] + data[until:]
    return data


def only_expected(read: Callable[[bytes], object], data: bytes, count: int = 100) -> None:
    random = np.random.default_rng(18)
    for _ in range(count):
        try:
            read(mutated(data, random))
        except NcmlError:
            continue


def test_mutated_descriptions_of_models_give_errors_or_models() -> None:
    description, packed = parts(TINY)
    only_expected(lambda text: read_model(sealed(text, packed)), description)


def test_mutated_headers_of_bundles_give_errors_or_bundles(made: bytes) -> None:
    start = len(bundle_file.MAGIC) + 4
    (length,) = struct.unpack("<I", made[start - 4 : start])
    only_expected(
        lambda text: bundle_file.sizes(with_header(made, text)), made[start : start + length]
    )


def test_mutated_configs_and_headers_of_checkpoints_give_errors_or_networks(run: Path) -> None:
    config, model = run / checkpoint.CONFIG, run / checkpoint.MODEL
    text, data = config.read_bytes(), model.read_bytes()

    def from_config(changed: bytes) -> None:
        config.write_bytes(changed)
        found = checkpoint.load_config(run).get("model")
        presets.from_json(found if isinstance(found, dict) else {})
        runs.recorded_process(run)

    only_expected(from_config, text)
    config.write_bytes(text)
    (length,) = struct.unpack("<Q", data[:8])

    def from_header(changed: bytes) -> None:
        model.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])
        runs.from_pretrained(run)

    only_expected(from_header, data[8 : 8 + length])


# Within a limit of address space


LIMITED = """
from pathlib import Path
from ncml_codec.errors import NcmlError
from tests.learn.test_hostile_files import *
found = []
for name, claim in CLAIMS.items():
    try:
        claim(Path({folder!r}))
    except NcmlError:
        found.append(name)
assert found == list(CLAIMS), found
"""


def _config_claims(folder: Path) -> None:
    run = Path(shutil.copytree(folder / "run", folder / "claimed"))
    edited(run, "model", width=4096, blocks=32, head_width=4096)
    runs.from_pretrained(run)


def _sparse_checkpoint(folder: Path) -> None:
    run = Path(shutil.copytree(folder / "run", folder / "sparse"))
    with (run / checkpoint.MODEL).open("wb") as file:
        file.write(tensors("[274877906944]", offsets=f"[0, {1 << 40}]"))
        file.truncate(file.tell() - 4 + (1 << 40))
    runs.from_pretrained(run)


def _bundle_claims(folder: Path) -> None:
    data = (folder / "images.ncpb").read_bytes()
    claims = {"width": 4096, "height": 4096, "names": ["a"], "crc": [1], "batch": 4096}
    hostile = changed(data, lambda header: header.update(claims))
    bundle_file.decode(hostile, runs.from_pretrained(folder / "run"))


def _model_claims(folder: Path) -> None:
    import zstandard

    zeros = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    entry = b'"tensors":[["first.weight","<i2",[4096,32768]],'
    read_model(sealed(parts(TINY)[0].replace(b'"tensors":[', entry, 1), zeros))


def _array_claims(folder: Path) -> None:
    (folder / "claims.npy").write_bytes(ARRAYS["820 GB"])
    open_dataset(f"array:{folder}/claims.npy", "test", 1)


def _pickle_claims(folder: Path) -> None:
    (folder / "test_batch").write_bytes(BATCHES["a large memo"])
    open_dataset(f"cifar10:{folder}", "test", 1)


CLAIMS = {
    "config": _config_claims,
    "sparse": _sparse_checkpoint,
    "bundle": _bundle_claims,
    "model": _model_claims,
    "array": _array_claims,
    "pickle": _pickle_claims,
}


@pytest.mark.skipif(os.name == "nt", reason="no limit of address space")
def test_no_memory_is_taken_for_what_a_file_only_claims(
    run: Path, made: bytes, tmp_path: Path
) -> None:
    (tmp_path / "images.ncpb").write_bytes(made)
    result = run_limited(LIMITED.format(folder=str(tmp_path)), LIMIT)
    assert result.returncode == 0, result.stderr[-2000:]
