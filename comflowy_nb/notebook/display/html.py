"""Bundles for the notebook: paragraphs, tables, previews and file outputs, as plain text and as HTML.

The HTML has style attributes only, because GitHub drops `<style>` from a saved notebook, and inherits its colours, so
that it can be read on a light and on a dark page. Text of users and services is escaped.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.images.disk_usage import size_text
from comflowy_nb.layout.text import html_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.tracking.run import Run, RunImage


FONT = "font-family:var(--jp-ui-font-family,system-ui,-apple-system,sans-serif);font-size:13px;line-height:1.5"
MAX_PREVIEW_BYTES = 1024 * 1024
_MAX_PLAIN_CELL_CHARS = 60  # of a table in plain text; the HTML wraps instead
_MAX_UNWRAPPED_CHARS = 24  # of a table cell in HTML
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_MAX_EMBEDDED_BYTES = 4 * 1024 * 1024  # of a file that becomes part of the notebook
_MAX_FILE_TEXT_CHARS = 4000
_PLAYERS = {
    "image": '<img alt="animation" style="max-width:512px" src="{}">',
    "audio": '<audio controls src="{}"></audio>',
    "video": '<video controls muted style="max-width:512px" src="{}"></video>',
}


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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return a bundle of a table, without the columns in which every cell is empty."""
    cells = [[plain(" ".join(cell.split())) for cell in row] for row in rows]
    columns = [index for index in range(len(headings)) if any(row[index] for row in cells)]
    shown = [[row[index] for index in columns] for row in (headings, *cells)]
    markup = [[html_text(cell) for cell in row] for row in shown]
    return {"text/plain": _plain_table(shown), "text/html": html_table(markup[0], markup[1:])}


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML; headings and cells are markup. The first cell of each row is its heading."""
    cell_style = "text-align:left;vertical-align:top;padding:3px 18px 3px 0;border:0;max-width:44em;white-space:"
    line = "border-bottom:1px solid rgba(128,128,128,.35)"
    head = "".join(
        f'<th style="{cell_style}nowrap;{line};font-weight:600"><span style="opacity:.7">{cell}</span></th>'
        for cell in headings
    )
    body = []
    for row in rows:
        cells = []
        for index, cell in enumerate(row):
            tag, weight = ("th", ";font-weight:600") if index == 0 else ("td", "")
            space = "nowrap" if len(cell) <= _MAX_UNWRAPPED_CHARS else "normal"
            cells.append(f'<{tag} style="{cell_style}{space}{weight}">{cell}</{tag}>')
        body.append(f'<tr style="background:none">{"".join(cells)}</tr>')
    style = f"{FONT};color:inherit;border-collapse:collapse;border:0;margin:2px 0;table-layout:auto"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _plain_table(rows: Sequence[Sequence[str]]) -> str:
    most = _MAX_PLAIN_CELL_CHARS
    short = [[cell if len(cell) <= most else f"{cell[: most - 3]}..." for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in short
    )


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
    style = "max-width:256px;max-height:256px;display:block;margin:4px 0;border-radius:3px"
    return f'<img alt="preview" style="{style}" src="{data_url(content, f"image/{kind}")}">'


def files_bundle(run: Run) -> dict[str, str]:
    """Return a bundle of the outputs of a run that are not still images.

    The plain text has the content of text files, and one line for each other file. The HTML also has players for the
    formats that browsers support, without scripts and addresses.
    """
    texts, markup = [], []
    for number, file in enumerate(run.files):
        text = _read_text(file)
        if text is not None:
            markup.append(f'<pre style="white-space:pre-wrap;margin:4px 0">{html_text(text)}</pre>')
        else:
            text = _describe_file(f"{run.ref}.files[{number}]", file)
            caption = f'<div style="opacity:.7;font-size:12px">{html_text(text)}</div>'
            markup.append(f'<div style="margin:4px 0">{_player(file)}{caption}</div>')
        texts.append(text)
    return {"text/plain": "\n".join(texts), "text/html": "".join(markup)}


def _describe_file(ref: str, file: RunImage) -> str:
    record = file.record
    size = "" if record.size_bytes is None else size_text(record.size_bytes)
    missing = f"missing: {record.error}" if record.state == "missing" else ""
    return f"{ref} ({', '.join(part for part in (record.format, size, missing) if part)})"


def _read_text(file: RunImage) -> str | None:
    """Return the content of a text file; None for another file, or if it can't be read."""
    content = _read_kept(file) if file.record.format == "TXT" else None
    if content is None:
        return None
    text = content.decode("utf-8", "replace")
    return text if len(text) <= _MAX_FILE_TEXT_CHARS else text[:_MAX_FILE_TEXT_CHARS] + " …"


def _player(file: RunImage) -> str:
    record = file.record
    media_type = record.media_type
    content = _read_kept(file) if media_type and (record.size_bytes or 0) <= _MAX_EMBEDDED_BYTES else None
    if not media_type or content is None:
        return ""
    return _PLAYERS[media_type.split("/")[0]].format(data_url(content, media_type))


def _read_kept(file: RunImage) -> bytes | None:
    try:
        return file.bytes if file.record.state == "kept" else None
    except (ImageError, OSError):
        return None


def data_url(content: bytes, media_type: str) -> str:
    """Return a URL that contains this content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
