"""Build texts, tables and small images for the notebook, each as plain text and as HTML.

The HTML has style attributes only, because GitHub drops `<style>` from a saved notebook, and inherits its colours, so
that it can be read on a light and on a dark page. Every text of a user or a service is escaped.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.layout.html_text import html_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FONT", "MAX_PREVIEW_BYTES", "Table", "inline_image", "join", "paragraph", "plain", "preformatted", "table"]

FONT = "font-family:var(--jp-ui-font-family,system-ui,-apple-system,sans-serif);font-size:13px;line-height:1.5"
MAX_PREVIEW_BYTES = 1024 * 1024
_CELL = "text-align:left;vertical-align:top;padding:3px 18px 3px 0;white-space:{space};border:0"
_LINE = "border-bottom:1px solid rgba(128,128,128,.35)"
_MAX_CELL_CHARS = 60  # in the plain text; the HTML wraps instead
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. The first cell of each row is bold."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def plain(text: str) -> str:
    """Return the text without control characters and escape sequences of terminals."""
    return _CONTROL.sub("", text)


def paragraph(*lines: str) -> dict[str, str]:
    """Return a bundle of lines of text."""
    lines = tuple(plain(line) for line in lines)
    body = "<br>".join(html_text(line) for line in lines)
    return {"text/plain": "\n".join(lines), "text/html": f'<div style="{FONT};padding:2px 0">{body}</div>'}


def preformatted(text: str) -> dict[str, str]:
    """Return a bundle of text whose columns must stay aligned."""
    style = "font-size:12.5px;line-height:1.5;margin:2px 0;white-space:pre-wrap;background:none;color:inherit"
    return {"text/plain": text, "text/html": f'<pre style="{style}">{html_text(text)}</pre>'}


def table(content: Table) -> dict[str, str]:
    """Return a bundle of a table, without the columns in which every cell is empty."""
    rows = [[plain(" ".join(cell.split())) for cell in row] for row in content.rows]
    kept = [index for index in range(len(content.headings)) if any(row[index] for row in rows)]
    rows = [[row[index] for index in kept] for row in rows]
    headings = [content.headings[index] for index in kept]
    return {"text/plain": _as_text(headings, rows), "text/html": _as_html(headings, rows)}


def join(*bundles: dict[str, str]) -> dict[str, str]:
    """Return one bundle with these bundles below each other."""
    return {
        "text/plain": "\n\n".join(bundle["text/plain"] for bundle in bundles),
        "text/html": "".join(f'<div style="margin:0 0 6px">{bundle["text/html"]}</div>' for bundle in bundles),
    }


def inline_image(content: bytes | None) -> str:
    """Return an `<img>` of a preview; an empty string if it is not a JPEG or PNG, or too large."""
    if content is None or len(content) > MAX_PREVIEW_BYTES:
        return ""
    kind = "jpeg" if content.startswith(b"\xff\xd8\xff") else "png" if content.startswith(b"\x89PNG\r\n") else ""
    if not kind:
        return ""
    data = base64.b64encode(content).decode("ascii")
    style = "max-width:256px;max-height:256px;display:block;margin:4px 0;border-radius:3px"
    return f'<img alt="preview" style="{style}" src="data:image/{kind};base64,{data}">'


def _as_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    short = [
        [cell if len(cell) <= _MAX_CELL_CHARS else f"{cell[: _MAX_CELL_CHARS - 3]}..." for cell in row] for row in rows
    ]
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
