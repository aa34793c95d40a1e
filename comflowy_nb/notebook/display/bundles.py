"""Texts and tables as bundles: the same words as plain text and as HTML that sits well on white and on black.

Style attributes only, since GitHub drops `<style>` from a saved notebook; colours are inherited. Everything that came
from a person or a service is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.sanitize import plain
from comflowy_nb.notebook.display.status import FONT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Table", "join", "paragraph", "preformatted", "table"]

_CELL = "text-align:left;vertical-align:top;padding:3px 18px 3px 0;white-space:{space};border:0"
_LINE = "border-bottom:1px solid rgba(128,128,128,.35)"
_WIDEST = 60  # characters of a cell in the text; the HTML wraps instead


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; `first` cells stand out."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def paragraph(*lines: str) -> dict[str, str]:
    """Lines of text."""
    lines = tuple(plain(line) for line in lines)
    body = "<br>".join(html_text(line) for line in lines)
    return {"text/plain": "\n".join(lines), "text/html": f'<div style="{FONT};padding:2px 0">{body}</div>'}


def preformatted(text: str) -> dict[str, str]:
    """Text whose columns count."""
    style = "font-size:12.5px;line-height:1.5;margin:2px 0;white-space:pre-wrap;background:none;color:inherit"
    return {"text/plain": text, "text/html": f'<pre style="{style}">{html_text(text)}</pre>'}


def table(content: Table) -> dict[str, str]:
    """A table; columns in which every cell is empty are left out."""
    rows = [[plain(" ".join(cell.split())) for cell in row] for row in content.rows]
    kept = [index for index in range(len(content.headings)) if any(row[index] for row in rows)]
    rows = [[row[index] for index in kept] for row in rows]
    headings = [content.headings[index] for index in kept]
    return {"text/plain": _as_text(headings, rows), "text/html": _as_html(headings, rows)}


def join(*bundles: dict[str, str]) -> dict[str, str]:
    """Bundles under each other, as one."""
    return {
        "text/plain": "\n\n".join(bundle["text/plain"] for bundle in bundles),
        "text/html": "".join(f'<div style="margin:0 0 6px">{bundle["text/html"]}</div>' for bundle in bundles),
    }


def _as_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    short = [[cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 3]}..." for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in [headings, *short]) for index in range(len(headings))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [headings, *short]
    ]
    return "\n".join(lines)


def _as_html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    narrow, wide = _CELL.format(space="nowrap"), _CELL.format(space="normal")
    head = "".join(
        f'<th style="{narrow};{_LINE};font-weight:600"><span style="opacity:.7">{html_text(cell)}</span></th>'
        for cell in headings
    )
    body = []
    for row in rows:
        cells = []
        for index, cell in enumerate(row):
            style = narrow if len(cell) <= 24 else wide
            weight = ";font-weight:600" if index == 0 else ""
            cells.append(f'<td style="{style}{weight}">{html_text(cell)}</td>')
        body.append(f'<tr style="background:none">{"".join(cells)}</tr>')
    style = f"{FONT};color:inherit;border-collapse:collapse;border:0;margin:2px 0;table-layout:auto"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
