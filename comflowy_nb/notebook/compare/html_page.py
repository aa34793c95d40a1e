"""Save a comparison as one HTML file: the script of the widget and all images, with nothing to load."""

from __future__ import annotations

import base64
import html
import json
import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb import __version__
from comflowy_nb.errors import ImageError
from comflowy_nb.images.atomic_files import write_file
from comflowy_nb.images.browser_images import jpeg_of, without_notes
from comflowy_nb.notebook.compare.widget import SCRIPT, STYLE
from comflowy_nb.notebook.display.html import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.comparison.inputs import Compared
    from comflowy_nb.notebook.compare.widget import Comparison

__all__ = ["save_page"]

MAX_IMAGE_BYTES = 60_000_000  # of all images together; larger ones are saved as JPEG in full size
_JPEG_QUALITY = 90
_STATE = ("mode", "position", "left", "right", "pace_s", "_content")


def save_page(comparison: Comparison, images: Sequence[Compared], path: Path) -> Path:
    """Write the page atomically; return its path, which ends in `.html`.

    Raises
    ------
    ImageError
        If an image is missing, or the file can't be written.
    """
    if path.is_dir():
        raise ImageError(f"{path.name} is a folder; name a file: {path.name}/comparison.html")
    if not path.suffix:
        path = path.with_suffix(".html")
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ImageError(f"a comparison is saved as a page: {path.with_suffix('.html').name}, not {path.name}")
    content = _page(comparison, images)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content.encode())
    except OSError as error:
        raise ImageError(f"{path.name} can't be written: {error.strerror}") from error
    return path


def _page(comparison: Comparison, images: Sequence[Compared]) -> str:
    replies = {}  # key of a request -> the reply and its content
    for index, image in enumerate(images):
        replies[f"preview-{index}"] = comparison.reply_to({"ask": "preview", "index": index})
        reply, content = comparison.reply_to({"ask": "image", "index": index})
        content, kind = without_notes(content, reply["kind"], image.name)
        replies[f"image-{index}"] = ({"kind": kind}, content)
    is_large = sum(len(content) for _, content in replies.values()) > MAX_IMAGE_BYTES
    if is_large:
        for index, image in enumerate(images):
            replies[f"image-{index}"] = ({"kind": "image/jpeg"}, jpeg_of(image.open(), quality=_JPEG_QUALITY))
    for left, right in combinations(range(len(images)), 2):
        replies[f"difference-{left}-{right}"] = comparison.reply_to({"ask": "difference", "pair": [left, right]})
    state = {name: comparison.get_state(name)[name] for name in _STATE}
    data = json.dumps({"state": state, "replies": {key: reply for key, (reply, _) in replies.items()}})
    values = {
        "version": __version__,
        "title": html.escape(plain(f"Comparison of {', '.join(comparison.names)}")),
        "style": STYLE,
        "script": SCRIPT,
        "still": _base64(comparison.jpeg),
        "note": " The images are large, so they are JPEG, in full size." if is_large else "",
        "content": data.replace("<", "\\u003c"),  # `</script` would end the script, also within quotes
        "blocks": "\n".join(
            f'<script type="text/plain" id="{key}">{_base64(content)}</script>' for key, (_, content) in replies.items()
        ),
    }
    template = (Path(__file__).parent / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
