"""Show the outputs of a run that are not still images: texts, audio, video and animations."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.layout.html_text import html_text

if TYPE_CHECKING:
    from comflowy_nb.tracking.run import Run, RunImage

__all__ = ["files_html", "files_text"]

MAX_EMBEDDED_BYTES = 4 * 1024 * 1024  # it becomes part of the notebook file
MAX_TEXT_CHARS = 4000
_AUDIO = {"WAV": "wav", "MP3": "mpeg", "FLAC": "flac", "OGG": "ogg", "OPUS": "ogg", "M4A": "mp4"}
_VIDEO = {"MP4": "mp4", "WEBM": "webm"}
_ANIMATIONS = {"ANIMATED WEBP": "webp", "ANIMATED PNG": "png", "GIF": "gif"}


def files_text(run: Run) -> str:
    """Return the content of text files and one line for each other file."""
    return "\n".join(_text_of(run, number, file) for number, file in enumerate(run.files))


def files_html(run: Run) -> str:
    """Return the same as HTML, with players for the formats that browsers support, without scripts and addresses."""
    return "".join(_html_of(run, number, file) for number, file in enumerate(run.files))


def _text_of(run: Run, number: int, file: RunImage) -> str:
    text = _read_text(file)
    return text if text is not None else _name(run, number, file)


def _name(run: Run, number: int, file: RunImage) -> str:
    record = file.record
    size = "" if record.size_bytes is None else f", {_size(record.size_bytes)}"
    why = f", missing: {record.error}" if record.state == "missing" else ""
    return f"{run.ref}.files[{number}] ({record.format}{size}{why})"


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1000 else f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _read_text(file: RunImage) -> str | None:
    if file.record.format != "TXT" or file.record.state != "kept":
        return None
    try:
        text = file.bytes.decode("utf-8", "replace")
    except (ImageError, OSError):
        return None
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + " …"


def _html_of(run: Run, number: int, file: RunImage) -> str:
    text = _read_text(file)
    if text is not None:
        return f'<pre style="white-space:pre-wrap;margin:4px 0">{html_text(text)}</pre>'
    name = html_text(_name(run, number, file))
    caption = f'<div style="opacity:.7;font-size:12px">{name}</div>'
    return f'<div style="margin:4px 0">{_player(file)}{caption}</div>'


def _player(file: RunImage) -> str:
    record = file.record
    kind = record.format or ""
    if record.state != "kept" or (record.size_bytes or 0) > MAX_EMBEDDED_BYTES:
        return ""
    try:
        data = base64.b64encode(file.bytes).decode("ascii")
    except (ImageError, OSError):
        return ""
    if kind in _ANIMATIONS:
        return f'<img alt="animation" style="max-width:512px" src="data:image/{_ANIMATIONS[kind]};base64,{data}">'
    if kind in _AUDIO:
        return f'<audio controls src="data:audio/{_AUDIO[kind]};base64,{data}"></audio>'
    if kind in _VIDEO:
        source = f"data:video/{_VIDEO[kind]};base64,{data}"
        return f'<video controls muted style="max-width:512px" src="{source}"></video>'
    return ""
