"""The commands as users give them, and the pixels that they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip.ncmlzip import main
from tests.builders.pictures import GOLDEN, Samples

TINY = str(GOLDEN / "tiny.ncpn")


def ncmlzip(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def compress(*arguments: object) -> Result:
    return ncmlzip("compress", "-m", TINY, *arguments)


def decompress(*arguments: object) -> Result:
    return ncmlzip("decompress", "-m", TINY, *arguments)


def pixels(path: Path) -> Samples:
    with Image.open(path) as image:
        return np.asarray(image)
