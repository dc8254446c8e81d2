"""What tells a desktop by freedesktop.org about `.ncmz` files: their type, and who shows them.

`setup.py` installs both files below `share/`. `ncmlzip integrate` puts them into a user's home, for
installations whose `share/` no desktop looks into. Shared MIME-info Database 0.21; Thumbnail
Managing Standard.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
# Each file and the folder below `share` that it belongs into.
TYPE, THUMBNAILER = "ncml-codec.xml", "ncml-codec.thumbnailer"
PLACES = {TYPE: Path("mime", "packages"), THUMBNAILER: Path("thumbnailers")}
