"""Make display bundles: paragraphs, tables, previews and file outputs, as plain text and as HTML.

The HTML uses only style attributes, because GitHub removes `<style>` from notebooks. It inherits its colours, so that
it is readable on light and dark pages. Text of users and services is escaped.
"""

from __future__ import annotations

import base64
import html
import re
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError
from comflowy_nb.images.disk_usage import size_text
from comflowy_nb.layout.text import aligned, html_text
from comflowy_nb.notebook.display.front_end import without_unusable_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.painting.pages import DrawnPage
    from comflowy_nb.tracking.run import Run, RunImage


FONT = "font-family:var(--jp-ui-font-family,system-ui,-apple-system,sans-serif);font-size:13px;line-height:1.5"
MAX_PREVIEW_BYTES = 1024 * 1024
_MAX_PLAIN_CELL_CHARS = 60  # of a table in plain text; the HTML wraps instead
_CODE_INDENT = 2  # of a line of code in a help text
_MIN_CONTINUATION_INDENT = 8  # of a line of a help text that continues the explanation above it
_MAX_UNWRAPPED_CODE_CHARS = 20
_MAX_UNWRAPPED_CHARS = 12  # of a table cell in HTML
_MIN_LONG_CHARS = 40  # of a table cell that keeps some width in a narrow page
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_MAX_EMBEDDED_BYTES = 4 * 1024 * 1024  # larger files are not embedded in the notebook
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
    """Return a bundle with lines of text."""
    lines = tuple(plain(line) for line in lines)
    body = "<br>".join(html_text(line) for line in lines)
    return {"text/plain": "\n".join(lines), "text/html": f'<div style="{FONT};padding:2px 0">{body}</div>'}


def columns_bundle(text: str) -> dict[str, str]:
    """Return a bundle of a help text, unchanged and as HTML whose paragraphs and columns wrap at any width.

    Indented lines are code; two spaces or more separate the code from its explanation, which may continue on the next
    lines, further to the right. Lines of usage (`%comflowy ...`) come first. Other lines are paragraphs.
    """
    lines = text.splitlines()
    usage = [*takewhile(lambda line: line.startswith("%"), lines)]
    blocks = [[*block] for _, block in groupby(lines[len(usage) :], key=_kind_of_line)]
    markup = "".join(f'<p style="margin:0"><b>{html_text(line)}</b></p>' for line in usage)
    markup += "".join(_code_table(block) if block[0].startswith("  ") else _paragraph(block) for block in blocks)
    return {"text/plain": text, "text/html": f'<div style="{FONT};max-width:60em">{markup}</div>'}


def _kind_of_line(line: str) -> str:
    return "code" if line.startswith("  ") else "text" if line.strip() else ""


def _paragraph(lines: Sequence[str]) -> str:
    text = html_text(" ".join(lines))
    weight = ";font-weight:600" if text.endswith(":") and len(lines) == 1 else ""
    return f'<p style="margin:6px 0{weight}">{text}</p>' if text else ""


def _code_table(lines: Sequence[str]) -> str:
    """Return a table of code and explanations."""
    rows: list[tuple[str, str]] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if rows and indent >= _MIN_CONTINUATION_INDENT:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}".strip())
        elif indent > _CODE_INDENT:
            rows.append((line[_CODE_INDENT:], ""))
        else:
            code, _, explanation = line[_CODE_INDENT:].partition("  ")
            rows.append((code, explanation.strip()))
    body = "".join(f'<tr style="background:none">{_code_row(code, text)}</tr>' for code, text in rows)
    return f'<table style="{FONT};color:inherit;border-collapse:collapse;border:0;margin:2px 0 2px 1em">{body}</table>'


def _code_row(code: str, text: str) -> str:
    style = "text-align:left;vertical-align:top;border:0;padding:1px 18px 1px 0"
    space = "nowrap" if len(code) <= _MAX_UNWRAPPED_CODE_CHARS else "pre-wrap"
    code_style = (
        f"{style};font-family:var(--jp-code-font-family,monospace);white-space:{space};overflow-wrap:break-word"
    )
    span = "" if text else ' colspan="2"'
    markup = html_text(code).replace(",", ",<wbr>")  # a long word may break there
    explanation = f'<td style="{style};min-width:12em">{html_text(text)}</td>' if text else ""
    return f'<td style="{code_style}"{span}>{markup}</td>{explanation}'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return a bundle with a table. Empty columns are left out."""
    cells = [[plain(" ".join(cell.split())) for cell in row] for row in rows]
    columns = [index for index in range(len(headings)) if any(row[index] for row in cells)]
    shown = [[row[index] for index in columns] for row in (headings, *cells)]
    markup = [[html_text(cell) for cell in row] for row in shown]
    most = _MAX_PLAIN_CELL_CHARS
    short = [[cell if len(cell) <= most else f"{cell[: most - 3]}..." for cell in row] for row in shown]
    return {"text/plain": aligned(short), "text/html": html_table(markup[0], markup[1:])}


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML; headings and cells are markup. The first cell of each row is its heading."""
    cell_style = "text-align:left;vertical-align:top;padding:3px 14px 3px 0;border:0;max-width:44em;white-space:"
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
            space += ";min-width:11em" if len(cell) >= _MIN_LONG_CHARS else ""
            cells.append(f'<{tag} style="{cell_style}{space}{weight}">{cell}</{tag}>')
        body.append(f'<tr style="background:none">{"".join(cells)}</tr>')
    style = f"{FONT};color:inherit;border-collapse:collapse;border:0;margin:2px 0;table-layout:auto"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def join(*bundles: dict[str, str]) -> dict[str, str]:
    """Join bundles vertically to one bundle."""
    return {
        "text/plain": "\n\n".join(bundle["text/plain"] for bundle in bundles),
        "text/html": "".join(f'<div style="margin:0 0 6px">{bundle["text/html"]}</div>' for bundle in bundles),
    }


def inline_image(content: bytes | None) -> str:
    """Return an `<img>` element with a preview; empty if the preview is not a JPEG or PNG, or is too large."""
    if content is None or len(content) > MAX_PREVIEW_BYTES:
        return ""
    kind = "jpeg" if content.startswith(b"\xff\xd8\xff") else "png" if content.startswith(b"\x89PNG\r\n") else ""
    if not kind:
        return ""
    style = "max-width:256px;max-height:256px;display:block;margin:4px 0;border-radius:3px"
    return f'<img alt="preview" style="{style}" src="{data_url(content, f"image/{kind}")}">'


def files_bundle(run: Run) -> dict[str, str]:
    """Return a bundle with the outputs of a run that are not still images.

    The plain text contains the content of text files, and a line for each other file. The HTML also contains players
    for the formats that browsers support, without scripts or URLs.
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
    """Return the content of a text file; None if the file is not text or can't be read."""
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
    """Return a data URL with this content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_bundle(text: str, jpeg: bytes, size_px: tuple[int, int]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return data and metadata of a JPEG with this size in CSS pixels, and of its text."""
    width, height = size_px
    data = {"text/plain": text, "image/jpeg": base64.b64encode(jpeg).decode("ascii")}
    return data, {"image/jpeg": {"width": width, "height": height}}


def widget_bundle(
    parent: Any, drawn: DrawnPage, *, text: str, markup: str, alt: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return data and metadata of a widget, with text, HTML and an image for front ends without widgets.

    Parameters
    ----------
    parent
        The bundle of ipywidgets: data and metadata, only data, or None.
    drawn
        The image, which is shown below `markup`.
    """
    data, metadata = parent if isinstance(parent, tuple) else (parent or {}, {})
    still, size = jpeg_bundle(text, drawn.jpeg, drawn.page.size_px)
    # nbconvert prefers HTML to images, so the HTML contains the image too.
    source = f'alt="{html.escape(alt)}" src="data:image/jpeg;base64,{still["image/jpeg"]}"'
    shown = f'<div>{markup}<img width="{drawn.page.size_px[0]}" style="max-width:100%" {source}></div>'
    return {**without_unusable_view(data), **still, "text/html": shown}, {**metadata, **size}
