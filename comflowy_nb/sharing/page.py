"""The explorer as one HTML page that needs no network and no kernel."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb import __version__
from comflowy_nb.layout.scripts import widget_script, widget_style

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent
_SCRIPT_END = re.compile(r"<(?=/script|!--)", re.IGNORECASE)


def page_html(
    document: Mapping[str, Any],
    images: Mapping[str, tuple[str, bytes | str]],
    full: Mapping[str, tuple[str, bytes | str]],
) -> str:
    """Return the HTML of a page with a document of the explorer, and its images.

    Parameters
    ----------
    document : mapping
        As the explorer receives it. Its `view`, if there is one, holds the first values of `x`, `y` and so on.
    images : mapping of str to tuple
        Key of an image -> media type, and preview. The preview is bytes, or the URL of a file beside the page.
    full : mapping of str to tuple
        The same for images in full size. The page shows the preview of all other images.
    """
    script = widget_script("explore/page.js")
    style = "\n".join([(_FOLDER / "page.css").read_text("utf-8"), widget_style("explore/explore.css")])
    blocks: list[str] = []
    sources = {"thumbs": _embed(images, "t", blocks), "fulls": _embed(full, "f", blocks)}
    has_files = any(isinstance(content, str) for group in (images, full) for _, content in group.values())
    values = {
        "version": __version__,
        "title": html.escape(str(document.get("title") or "Images")),
        "policy": html.escape(_policy(script, style, has_files=has_files)),
        "style": style,
        "script": script,
        "content": json.dumps({"document": document, **sources}).replace("<", "\\u003c"),
        "blocks": "\n".join(blocks),
    }
    template = (_FOLDER / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _embed(images: Mapping[str, tuple[str, bytes | str]], letter: str, blocks: list[str]) -> dict[str, dict[str, str]]:
    """Add an element for the bytes of each image. Return the element id or the URL of each image."""
    found = {}
    for number, (key, (kind, content)) in enumerate(images.items()):
        if isinstance(content, str):
            found[key] = {"kind": kind, "url": content}
            continue
        encoded = base64.b64encode(content).decode("ascii")
        blocks.append(f'<script type="text/plain" id="{letter}{number}">{encoded}</script>')
        found[key] = {"kind": kind, "id": f"{letter}{number}"}
    return found


def _policy(script: str, style: str, *, has_files: bool) -> str:
    """Return the content security policy: this script, this style, and images in the page or beside it."""
    assert not _SCRIPT_END.search(script), "the script would end within its element"
    sources = "data: blob: 'self' file:" if has_files else "data: blob:"
    rules = [
        "default-src 'none'",
        f"img-src {sources}",
        f"media-src {sources}",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
