"""Write tests/golden: files that must decode to the same images for ever.

Golden files are kept, not made again: a changed byte is a changed format. After a change of the
format that is meant: python -m tests.programs.make_golden

tests/golden holds photographs, tests/golden/kinds every other kind, transform and method,
tests/golden/jpeg JPEG files (`jpeg_golden`). What they decode to stands in `digests.json`. Further
codings of the same photographs, VARIANTS, have no files: the tests encode them, and digests.json
holds the SHA-256 of the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import CODERS, kept_stream
from ncml_codec.encode import image_encoder, layer_search, tile_encoder
from ncml_codec.encode.levels import Level
from ncml_codec.format import byte_planes
from ncml_codec.format.byte_planes import Transformed
from ncml_codec.format.container import Container, Header, Layer, Method, Transform, write
from ncml_codec.format.tiles import Tiles, adaptation_of
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model, read_model, write_model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import decode_file, encode_file, from_array
from ncml_codec.picture.kinds import Kind
from ncml_codec.picture.orientation import UPRIGHT
from ncml_codec.picture.picture import Picture
from tests.builders import kinds_of_images
from tests.builders.adaptations import BODY, STATIC
from tests.builders.digests import Digests, Images, digest_of, sha256, write_digests
from tests.builders.networks import random_network
from tests.builders.pictures import GOLDEN, Samples, extremes, through_ycbcr, valley
from tests.programs import jpeg_golden

KINDS = GOLDEN / "kinds"
_HEADS, _WHOLE = 3, BODY + 3


@dataclass(frozen=True)
class Case:
    """How a photograph is coded.

    model: `tiny`, `wild` or a released one. adaptation: the byte that states it; tiles that
    are smaller without learning are coded so. exponent: of the tiles' side.
    """

    model: str = "tiny"
    adaptation: int = STATIC
    exponent: int = 11
    turn: int = UPRIGHT

    @property
    def level(self) -> Level:
        return Level((adaptation_of(self.adaptation),))


KEPT = {
    "pixel": Case(),
    "column": Case(adaptation=_WHOLE),
    "grey": Case(adaptation=_HEADS),
    "scene": Case(),
    "tiles": Case(adaptation=_WHOLE, exponent=5),  # of the noise without learning
    "chunks": Case(),
    "trailer": Case(),
    "colours-11": Case(adaptation=_WHOLE, exponent=6),
    "turned-1": Case(adaptation=_HEADS, exponent=5, turn=1),
    **{
        f"released-{name}": Case(name, _HEADS)
        for name in ("photo", "photo-cid22", "fast", "fast-cid22", "max")
    },
    "noise": Case("wild"),
    "primaries": Case("wild"),
}
VARIANTS = {
    **{f"scene-strength{n}": Case(adaptation=n) for n in (1, 3, 5, BODY + 1, BODY + 3, BODY + 5)},
    **{f"colours-{n}": Case(adaptation=n, exponent=6) for n in (STATIC, _HEADS)},
    **{f"turned-{n}": Case(adaptation=_HEADS, exponent=5, turn=n) for n in (4, 7)},
    "released-photo-whole": Case("photo", _WHOLE),
}
CASES = {**KEPT, **VARIANTS}


def picture_name(name: str) -> str:
    """The photograph of a case."""
    return name.partition("-")[0]


def model_of(case: Case) -> Model:
    """The network that a photograph is coded by."""
    kept = GOLDEN / f"{case.model}.ncpn"
    return read_model(kept.read_bytes()) if kept.exists() else released_models.load(case.model)


def encoded(name: str, picture: Picture, engine: str = "auto") -> bytes:
    """The golden file of this name, coded again."""
    case = CASES[name]
    effort = Effort(engine)
    return tile_encoder.encode(
        picture, model_of(case), effort, case.exponent, case.level, case.turn
    )


def photographs() -> dict[str, Picture]:
    """By name."""
    scene = valley(100, 200, 37, 29)
    noise = np.random.default_rng(1).integers(0, 256, (33, 40, 3), np.uint8)
    unlike = extremes(9, 10)
    made = {
        "pixel": scene[:1, :1],
        "column": scene[:, :1],
        "grey": scene[:, :, 1],
        "scene": scene,
        "tiles": np.concatenate([valley(180, 90, 33, 40), noise]),
        "colours": _on_lattices(),
        "turned": valley(180, 90, 21, 40),
        "released": valley(60, 300, 12, 16),
        "noise": unlike["noise"],
        "primaries": unlike["primaries"],
    }
    chunks = [(b"gAMA", b"\0\0\xb1\x8f"), (png_chunks.PIXELS, b""), *_texts()]
    return {
        **{name: from_array(samples) for name, samples in made.items()},
        "chunks": Picture(scene[:9, :8], chunks),
        "trailer": Picture(scene[:7, :9], [(png_chunks.PIXELS, b""), (b"IEND", b"behind the end")]),
    }


def _on_lattices() -> Samples:
    """Three tiles of 64 x 64: converted to YCbCr and back, of few levels, and as it is."""
    array = valley(60, 300, 64, 192)
    array[:, :64] = through_ycbcr(array[:, :64])
    array[:, 64:128] &= 0xF8
    return array


def _texts() -> list[tuple[bytes, bytes]]:
    return [(b"tEXt", b"Title\0golden"), (b"tIME", bytes([7, 234, 1, 2, 3, 4, 5]))]


class Kinds:
    """Files of every kind. Transforms, and the methods that code layers, take turns."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._turn = 0
        self._images: Images = {}

    def write(self) -> Images:
        """One of each kind, some of a small photograph, and an interlaced one; their digests."""
        for index, kind in enumerate(kinds_of_images.ALL):
            made = kinds_of_images.picture(kind, 13, 11)
            self._write(str(kind).replace(" ", "_"), encode_file(made, "x.png"), index)
        scene = valley(100, 200, 17, 23)
        alpha = scene[:, :, :1] // 16 * 16
        rgba = Picture(np.concatenate([scene, alpha], axis=2))
        self._write("photo_rgba", encode_file(rgba, "x.png"), 0)
        deep = Picture(scene.astype(np.uint16) * 15 + alpha % 13)  # 12 bits of 16 are used
        self._write("photo_12_bits", encode_file(deep, "x.png"), -1, Method.MIXING)
        interlaced = kinds_of_images.picture(Kind(2, 16), 13, 11)
        self._write("interlaced", kinds_of_images.png_file(interlaced, interlaced=True), None)
        return self._images

    def _write(
        self, name: str, data: bytes, index: int | None, method: Method | None = None
    ) -> None:
        """index: of the transform; None for the stream of the PNG as it is. method: of all planes
        in one layer; None for several layers and the methods in turn."""
        picture = decode_file(data, name)
        if index is None:
            assert picture.image_data is not None
            planes, depth = 2 * picture.planes, picture.kind.bit_depth
            table, layers = b"", [kept_stream(picture.image_data, planes, depth)]
            transform, low_bits = Transform.SAMPLES, 8
        else:
            choices = list(byte_planes.choices(picture.samples, picture.kind))
            made = choices[index % len(choices)]
            table, transform, low_bits = made.table, made.transform, made.low_bits
            layers = self._layers(made, picture.kind, method)
        header = Header(picture.width, picture.height, picture.kind, transform, low_bits)
        section, crc = (
            png_chunks.pack_chunks(picture.chunks),
            byte_planes.samples_crc(picture.samples),
        )
        file = write(Container(header, section, table, layers, crc))
        image_encoder.verify(file, picture, self._model)
        (KINDS / f"{name}.ncmz").write_bytes(file)
        self._images[f"kinds/{name}"] = digest_of(picture)

    def _layers(self, made: Transformed, kind: Kind, method: Method | None) -> list[Layer | Tiles]:
        planes = made.planes.shape[2]
        edges = [0, planes] if method is not None else list(layer_search.cuts(made, kind))[-1]
        wide = made.low_bits == 8 and len(edges) == 2
        tools = layer_search.encoding_tools([self._model], Effort(), 5, wide)
        layers: list[Layer | Tiles] = []
        for start, stop in pairwise(edges):
            part = np.ascontiguousarray(made.planes[:, :, start:stop])
            by = self._next(part) if method is None else method
            layers.append(CODERS[by].encode(part, tools))
        return layers

    def _next(self, part: Samples) -> Method:
        able = [method for method, coder in CODERS.items() if coder.takes(part.shape)]
        self._turn += 1
        return able[(self._turn - 1) % len(able)]


def main() -> None:
    """Write everything into tests/golden but `tiny.ncpn`, a trained network, which stays."""
    KINDS.mkdir(exist_ok=True)
    for path in GOLDEN.rglob("*.ncmz"):
        path.unlink()
    (GOLDEN / "wild.ncpn").write_bytes(write_model(random_network(5)))
    made, variants = photographs(), dict[str, str]()
    for name, case in CASES.items():
        picture = made[picture_name(name)]
        data = encoded(name, picture)
        image_encoder.verify(data, picture, model_of(case))
        if name in KEPT:
            (GOLDEN / f"{name}.ncmz").write_bytes(data)
        else:
            variants[name] = sha256(data)
    images = {name: digest_of(picture) for name, picture in made.items()}
    images.update(Kinds(model_of(Case())).write())
    write_digests(Digests(images, variants, jpeg_golden.write()))


if __name__ == "__main__":
    main()
