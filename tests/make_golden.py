"""Write tests/golden: files that must decode to the same pixels for ever, and files to refuse.

Golden files are kept, not made again: a changed byte is a changed format. Run this only with a new
format version: python tests/make_golden.py TINY.ncpn
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from ncml_codec import codec, images, levels, library, turns
from ncml_codec.container import read_container
from ncml_codec.errors import NcmlError
from ncml_codec.levels import Level
from ncml_codec.model import Model, identified, read_model, write_model
from ncml_codec.pixels import Picture, encode_file, from_array
from ncml_codec.strength import BODY
from ncml_codec.turns import UPRIGHT
from tests.networks import random_network
from tests.pictures import GOLDEN, Samples, extremes, through_ycbcr, valley

IDAT = (b"IDAT", b"")
_WHOLE = Level((BODY + 3,))  # of level 8 the whole network's learning alone


def level_of(name: str) -> Level:
    """The level at which a golden file was made, by its name: level5_scene, or 1."""
    level = int(name[5]) if name.startswith("level") else 1
    return _WHOLE if level == 8 else levels.at(level)


def turn_of(name: str) -> int:
    """The turn in which a golden file was coded, by its name: level5_turned6, or upright."""
    return int(name[-1]) if "_turned" in name else UPRIGHT


def pictures() -> dict[str, tuple[Picture, int]]:
    """Name to picture and tile exponent."""
    scene = valley(100, 200, 37, 29)
    made = {
        "scene": (from_array(scene), 11),
        "grey": (from_array(scene[:, :, 1]), 11),
        "pixel": (from_array(scene[:1, :1]), 11),
        "column": (from_array(scene[:, :1]), 11),
        "row": (from_array(scene[:1]), 11),
        "tiles": (from_array(valley(180, 90, 70, 45)), 5),
        "chunks": (Picture(scene[:9, :8], [(b"gAMA", b"\0\0\xb1\x8f"), IDAT, *_texts()]), 11),
        "trailer": (Picture(scene[:7, :9], [IDAT, (b"IEND", b"behind the end")]), 11),
    }
    for name, samples in extremes(12, 17).items():
        made[name] = (from_array(samples), 11)
    noise = np.random.default_rng(1).integers(0, 256, (33, 40, 3), np.uint8)
    by_tile = np.concatenate([valley(180, 90, 33, 40), noise])  # noise has nothing to be learned
    for level in (1, 5, 8):
        made[f"level{level}_colours"] = (from_array(_on_lattices()), 6)
    for level in (5, 8):
        made[f"level{level}_scene"] = (from_array(scene), 11)
        made[f"level{level}_grey"] = (from_array(scene[:, :, 1]), 11)
        made[f"level{level}_column"] = (from_array(scene[:, :1]), 11)
        made[f"level{level}_by_tile"] = (from_array(by_tile), 5)
    for turn in range(1, turns.COUNT):
        made[f"level5_turned{turn}"] = (from_array(valley(180, 90, 21, 40)), 5)
    return made


def refused(good: bytes) -> dict[str, bytes]:
    """Name to bytes that must be refused; `good` is sound."""
    head = len(good) - len(read_container(good).tiles[0].payload) - 8
    flipped = bytearray(good)
    flipped[head + 7] ^= 16
    wrong_samples = good[:-4] + struct.pack("<I", struct.unpack("<I", good[-4:])[0] ^ 1)
    return {
        "empty": b"",
        "magic": b"\x89PNG" + good[4:],
        "text_mode": good.replace(b"\x89NCZ", b"NCZ"),
        "version": good[:4] + b"\x02" + good[5:],
        "kind": _resealed(good, head, 5, 9),
        "kind_beyond_turns": _resealed(good, head, 5, 33),
        "adaptation": _resealed(good, head, 6, 8),
        "adaptation_of_tile": _resealed(good, head, 6, 255),
        "exponent": _resealed(good, head, 7, 15),
        "header_flip": good[:9] + bytes([good[9] ^ 1]) + good[10:],
        "unknown_model": _resealed(good, head, 9, good[9] ^ 1),
        "cut_header": good[:10],
        "cut_payload": good[:-20],
        "cut_last_byte": good[:-1],
        "longer": good + b"\0",
        "payload_flip": bytes(flipped),
        "samples_checksum": wrong_samples,
    }


def _resealed(good: bytes, head: int, at: int, value: int) -> bytes:
    """One byte of the header changed, its checksum made right again."""
    changed = good[:at] + bytes([value]) + good[at + 1 : head - 4]
    return changed + struct.pack("<I", zlib.crc32(changed)) + good[head:]


def _on_lattices() -> Samples:
    """Three tiles of 64 x 64: converted to YCbCr and back, of few levels, and as it is."""
    array = valley(60, 300, 64, 192)
    array[:, :64] = through_ycbcr(array[:, :64])
    array[:, 64:128] &= 0xF8
    return array


def _texts() -> list[tuple[bytes, bytes]]:
    return [(b"tEXt", b"Title\0golden"), (b"tIME", bytes([7, 234, 1, 2, 3, 4, 5]))]


def main(tiny: Path) -> None:
    """Write everything into tests/golden."""
    (GOLDEN / "refuse").mkdir(parents=True, exist_ok=True)
    (GOLDEN / "tiny.ncpn").write_bytes(tiny.read_bytes())
    model = read_model(tiny.read_bytes())
    for name, (picture, exponent) in pictures().items():
        _write(name, picture, model, exponent)
    wild = random_network(5)
    (GOLDEN / "wild.ncpn").write_bytes(write_model(wild))
    for name, samples in extremes(9, 10).items():
        _write(f"wild_{name}", from_array(samples), identified(wild), 11)
    for name in ("photo", "photo-cid22"):
        photo = library.load(name)
        for level in (5,) if name == "photo-cid22" else (1, 5, 8):
            _write(f"level{level}_{name}", from_array(valley(60, 300, 40, 48)), photo, 11)
            _write(f"level{level}_{name}_colours", from_array(_on_lattices()), photo, 6)
    for name in ("fast", "fast-cid22", "max"):
        _write(f"level5_{name}", from_array(valley(60, 300, 12, 16)), library.load(name), 11)
    good = (GOLDEN / "scene.ncmz").read_bytes()
    for name, data in refused(good).items():
        (GOLDEN / "refuse" / f"{name}.ncmz").write_bytes(data)
        try:
            images.decode(data, [model])
        except NcmlError as error:
            print(f"{name}: {error}")
        else:
            raise SystemExit(f"{name} was not refused")


def _write(name: str, picture: Picture, model: Model, exponent: int) -> None:
    data = codec.encode(
        picture, model, tile_exponent=exponent, level=level_of(name), turn=turn_of(name)
    )
    images.verify(data, picture, model)
    (GOLDEN / f"{name}.ncmz").write_bytes(data)
    (GOLDEN / f"{name}.png").write_bytes(encode_file(picture, f"{name}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
