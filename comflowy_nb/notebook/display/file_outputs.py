"""What a run made besides images, for the cell: texts to read, sounds and films to play, animations to see."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.layout.html_text import html_text

if TYPE_CHECKING:
    from comflowy_nb.tracking.run import Run, RunImage

__all__ = ["files_html", "files_text", "inline_image"]

LARGEST_SHOWN = 4 * 1024 * 1024  # bytes: it stands in the notebook's file
LONGEST_TEXT = 4000  # characters
LARGEST_PREVIEW = 1024 * 1024
_SOUNDS = {"WAV": "wav", "MP3": "mpeg", "FLAC": "flac", "OGG": "ogg", "OPUS": "ogg", "M4A": "mp4"}
_FILMS = {"MP4": "mp4", "WEBM": "webm"}
_MOVING = {"ANIMATED WEBP": "webp", "ANIMATED PNG": "png", "GIF": "gif"}


def files_text(run: Run) -> str:
    """A line for each file, and texts as they are; empty where there is none."""
    return "\n".join(_text_of(run, number, file) for number, file in enumerate(run.files))


def files_html(run: Run) -> str:
    """The same, with what a browser can play. It holds no script and no address."""
    return "".join(_html_of(run, number, file) for number, file in enumerate(run.files))


def inline_image(content: bytes | None) -> str:
    """A preview as an HTML image; nothing for what is no small JPEG or PNG."""
    if content is None or len(content) > LARGEST_PREVIEW:
        return ""
    kind = "jpeg" if content.startswith(b"\xff\xd8\xff") else "png" if content.startswith(b"\x89PNG\r\n") else ""
    if not kind:
        return ""
    data = base64.b64encode(content).decode("ascii")
    style = "max-width:256px;max-height:256px;display:block;margin:4px 0;border-radius:3px"
    return f'<img alt="preview" style="{style}" src="data:image/{kind};base64,{data}">'


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
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"


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
    if record.state != "kept" or (record.size_bytes or 0) > LARGEST_SHOWN:
        return ""
    try:
        data = base64.b64encode(file.bytes).decode("ascii")
    except (ImageError, OSError):
        return ""
    if kind in _MOVING:
        return f'<img alt="animation" style="max-width:512px" src="data:image/{_MOVING[kind]};base64,{data}">'
    if kind in _SOUNDS:
        return f'<audio controls src="data:audio/{_SOUNDS[kind]};base64,{data}"></audio>'
    if kind in _FILMS:
        source = f"data:video/{_FILMS[kind]};base64,{data}"
        return f'<video controls muted style="max-width:512px" src="{source}"></video>'
    return ""
