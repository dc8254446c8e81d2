"""Scans read and written by native code, to the same bytes and coefficients as the plain modules.

Imported only where the native module is.
"""

from __future__ import annotations

from collections.abc import Sequence

from ncml_codec.errors import FormatError
from ncml_codec.jpeg import _native
from ncml_codec.jpeg.huffman import HuffmanTable
from ncml_codec.jpeg.plain_reader import trimmed
from ncml_codec.jpeg.records import Coefficients, Scan, ScanNotes, ScanReading


def read_scan(
    data: bytes, start: int, scan: Scan, coefficients: Sequence[Coefficients], notes_max: int
) -> ScanReading:
    """See `plain_reader.read_scan`."""
    (padding, breaks, zero_runs, restarts), end, units = _native.read_scan(
        data, start, _fields(scan), _components(scan, coefficients), notes_max
    )
    notes = ScanNotes(trimmed(padding), tuple(breaks), tuple(zero_runs), tuple(restarts))
    return ScanReading(notes, end, units)


def write_scan(
    scan: Scan, coefficients: Sequence[Coefficients], notes: ScanNotes, units: int, limit: int
) -> bytes:
    """See `plain_writer.write_scan`."""
    packed = (notes.padding, notes.breaks, notes.zero_runs, notes.restarts)
    try:
        return _native.write_scan(
            _fields(scan), _components(scan, coefficients), packed, units, limit
        )
    except _native.Unsound as error:
        raise FormatError(str(error)) from error


def _fields(scan: Scan) -> _native.Scan:
    return (
        scan.rows,
        scan.columns,
        scan.interval,
        scan.progressive,
        scan.first,
        scan.last,
        scan.high,
        scan.low,
    )


def _components(scan: Scan, coefficients: Sequence[Coefficients]) -> list[_native.Component]:
    return [
        (
            coefficients[part.index],
            part.horizontal,
            part.vertical,
            _table(part.dc),
            _table(part.ac),
        )
        for part in scan.components
    ]


def _table(table: HuffmanTable | None) -> _native.Table:
    return None if table is None else (table.counts, table.symbols)
