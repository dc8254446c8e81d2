from collections.abc import Sequence

from ncml_codec.jpeg.records import Coefficients

Table = tuple[bytes, bytes] | None  # counts, symbols
Component = tuple[Coefficients, int, int, Table, Table]  # blocks in a unit across, down; DC, AC
Scan = tuple[int, int, int, bool, int, int, int, int]
Notes = tuple[bytes, Sequence[int], Sequence[tuple[int, int]], Sequence[tuple[int, bytes]]]

class Unsound(ValueError): ...

def read_scan(
    data: bytes, start: int, scan: Scan, components: Sequence[Component], notes_max: int
) -> tuple[Notes, int, int]: ...
def write_scan(
    scan: Scan, components: Sequence[Component], notes: Notes, units: int, limit: int
) -> bytes: ...
