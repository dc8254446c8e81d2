"""Markdown tables, and the small part of Markdown that they use as HTML: one text, two forms."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def to_html(text: str) -> str:
    """HTML of Markdown made of paragraphs and tables, with **bold**, *emphasis* and `code`."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if len(lines) > 1 and lines[0].startswith("|") and set(lines[1]) <= set("|-: "):
            blocks.append(_table([_cells(line) for line in [lines[0], *lines[2:]]]))
        else:
            blocks.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(blocks)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
    body = "\n".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:]
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>"
    )


def _cells(line: str) -> list[str]:
    inside = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inside)]


def _inline(text: str) -> str:
    escaped = html.escape(text)
    parts = re.split(r"(`[^`]*`)", escaped)
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", parts[index])
        parts[index] = re.sub(r"(?<!\w)\*(\S(?:.*?\S)?)\*(?!\w)", r"<em>\1</em>", parts[index])
    return "".join(
        f"<code>{part[1:-1]}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
