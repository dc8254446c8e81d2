"""The import graph of CONTRIBUTING.md: the codec's rooms and the arrows between them.

python -m tests.programs.import_graph writes it there anew. Arrows that follow from others are left
out: if encode imports decode, and decode format, encode's own arrow to format says no more.
"""

from __future__ import annotations

from pathlib import Path

import grimp

_PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
_BEGIN, _END = "```mermaid\n", "```\n"
_ROOT = "ncml_codec"


def arrows() -> list[tuple[str, str]]:
    """(room, room that it imports), sorted, without those that follow from others."""
    graph = grimp.build_graph(_ROOT)
    rooms = sorted(graph.find_children(_ROOT))
    reached = {
        room: {
            other
            for other in rooms
            if other != room
            and graph.find_shortest_chains(importer=room, imported=other, as_packages=True)
        }
        for room in rooms
    }
    return [
        (room.removeprefix(f"{_ROOT}."), other.removeprefix(f"{_ROOT}."))
        for room in rooms
        for other in sorted(reached[room])
        if not any(other in reached[between] for between in reached[room])
    ]


def drawing() -> str:
    """The graph in Mermaid's language."""
    return "graph TD\n" + "".join(f"    {one} --> {other}\n" for one, other in arrows())


def page(text: str) -> str:
    """CONTRIBUTING.md with the graph as it is."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + drawing() + _END + after


if __name__ == "__main__":
    _PAGE.write_text(page(_PAGE.read_text("utf-8")), "utf-8")
