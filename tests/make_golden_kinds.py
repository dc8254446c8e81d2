"""Write tests/golden/kinds: files of version 2 that must decode to the same image for ever.

Every kind, transform and method. They are kept, not made again: `python -m tests.make_golden_kinds`
only with a new format version.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ncml_codec import choice, general, images, methods, png, transforms
from ncml_codec.codec import Effort
from ncml_codec.general import General, Header, Layer
from ncml_codec.kinds import Kind
from ncml_codec.methods import Tools
from ncml_codec.model import Model, read_model
from ncml_codec.picture import Picture
from ncml_codec.pixels import decode_file, encode_file
from ncml_codec.transforms import Transformed
from tests import kinds_of_images
from tests.pictures import GOLDEN, valley

FOLDER = GOLDEN / "kinds"


def pictures() -> dict[str, Picture]:
    """Name to picture: one of each kind, and a small photograph in other forms."""
    made = {
        str(kind).replace(" ", "_"): kinds_of_images.picture(kind, 13, 11)
        for kind in kinds_of_images.ALL
    }
    scene = valley(100, 200, 17, 23)
    alpha = scene[:, :, :1] // 16 * 16
    made["photo_rgba"] = Picture(np.concatenate([scene, alpha], axis=2))
    made["photo_grey_in_rgb"] = Picture(scene[:, :, 1:2].repeat(3, axis=2))
    made["photo_12_bits"] = Picture(scene.astype(np.uint16) * 15 + alpha % 13)
    made["photo_stretched"] = Picture(scene.astype(np.uint16) * 257)
    return made


def main() -> None:
    """Every transform of every picture, each part by the next method in turn that takes it."""
    FOLDER.mkdir(exist_ok=True)
    model = read_model((GOLDEN / "tiny.ncpn").read_bytes())
    tools, turn = Tools([model], Effort(), 1), 0
    for name, picture in pictures().items():
        data = encode_file(picture, name + ".png")
        (FOLDER / f"{name}.png").write_bytes(data)
        picture = decode_file(data, name)
        for index, made in enumerate(transforms.choices(picture.samples, picture.kind)):
            file, turn = coded(picture, made, tools, turn)
            write(f"{name}-{index}", general.write(file), picture, model)
        write(name, images.encode(picture, model, level=1), picture, model)
    interlaced = kinds_of_images.picture(Kind(2, 16), 13, 11)
    data = kinds_of_images.png_file(interlaced, interlaced=True)
    found = decode_file(data, "interlaced")
    assert found.image_data is not None
    payload = methods.kept_stream(found.image_data, 16)
    header = Header(11, 13, Kind(2, 16), general.SAMPLES, 8)
    crc = transforms.samples_crc(found.samples)
    section = png.pack_chunks(found.chunks)
    file = General(header, section, b"", [Layer(methods.DEFLATE, 6, payload)], crc)
    (FOLDER / "interlaced.png").write_bytes(data)
    write("interlaced", general.write(file), found, model)
    add_mixing()


def add_mixing() -> None:
    """Each of the photograph's forms and a palette in one layer of the mixing coder."""
    model = read_model((GOLDEN / "tiny.ncpn").read_bytes())
    for name in ("photo_rgba", "photo_12_bits", "photo_stretched", "4-bit_palette"):
        picture = decode_file((FOLDER / f"{name}.png").read_bytes(), name)
        made = list(transforms.choices(picture.samples, picture.kind))[-1]
        tools = Tools([model], Effort(), 5, wide=made.low_bits == 8)
        payload = methods.by_number(methods.MIXING).encode(made.planes, tools)
        layers = [Layer(methods.MIXING, made.planes.shape[2], payload)]
        header = Header(picture.width, picture.height, picture.kind, made.transform, made.low_bits)
        section, crc = png.pack_chunks(picture.chunks), transforms.samples_crc(picture.samples)
        file = General(header, section, made.table, layers, crc)
        write(f"{name}-mixing", general.write(file), picture, model)


def coded(picture: Picture, made: Transformed, tools: Tools, turn: int) -> tuple[General, int]:
    """A file whose layers are coded by methods in turn, and whose turn is next."""
    layers = []
    for start, stop in pairwise(list(choice.cuts(made, picture.kind))[-1]):
        part = np.ascontiguousarray(made.planes[:, :, start:stop])
        able = [method for method in methods.METHODS if method.takes(part.shape)]
        method = able[turn % len(able)]
        turn += 1
        layers.append(Layer(method.number, stop - start, method.encode(part, tools)))
    header = Header(picture.width, picture.height, picture.kind, made.transform, made.low_bits)
    section, crc = png.pack_chunks(picture.chunks), transforms.samples_crc(picture.samples)
    return General(header, section, made.table, layers, crc), turn


def write(name: str, data: bytes, picture: Picture, model: Model) -> None:
    images.verify(data, picture, model)
    (FOLDER / f"{name}.ncmz").write_bytes(data)


if __name__ == "__main__":
    main()
