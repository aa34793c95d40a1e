"""A comparison as one HTML file: the widget's own script, and all its images, with nothing asked of anybody."""

from __future__ import annotations

import base64
import html
import json
from itertools import combinations
from typing import TYPE_CHECKING, Any

from comflowy_nb import __version__
from comflowy_nb.comparison.pixels import jpeg_of, without_metadata
from comflowy_nb.errors import ImageError
from comflowy_nb.notebook.compare.widget import SCRIPT, STYLE
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.workflow.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from comflowy_nb.comparison.inputs import Compared
    from comflowy_nb.notebook.compare.widget import Comparison

__all__ = ["save_page"]

_LARGEST_BYTES = 60_000_000  # of all images together; larger ones go in as JPEG, in full size all the same
_QUALITY = 90

# What anywidget's model is to the script, answered from the page itself.
_MODEL = """
const content = JSON.parse(document.getElementById("comparison").textContent);
const listeners = new Map();
const tell = (name, ...words) => [...(listeners.get(name) ?? [])].forEach((listener) => listener(...words));
const model = {
  get: (name) => content.state[name],
  set(name, value) {
    if (content.state[name] === value) return;
    content.state[name] = value;
    tell(`change:${name}`);
  },
  save_changes() {},
  on: (name, listener) => listeners.set(name, (listeners.get(name) ?? new Set()).add(listener)),
  off: (name, listener) => listeners.get(name)?.delete(listener),
  send(asked) {
    const key = asked.ask === "difference" ? asked.pair.join("-") : String(asked.index);
    setTimeout(() => {
      const place = document.getElementById(`${asked.ask}-${key}`);
      const bytes = Uint8Array.from(atob(place.textContent.trim()), (letter) => letter.charCodeAt(0));
      tell("msg:custom", { to: asked, ...content.said[place.id] }, [new DataView(bytes.buffer)]);
    });
  },
};
render({ model, el: document.getElementById("here") });
"""

_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1280px; padding: 28px clamp(12px, 3vw, 32px);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; background: #fff; color: #1f2329; }
h1 { font-size: 18px; font-weight: 600; margin: 0 0 14px; overflow-wrap: anywhere; }
footer { margin-top: 20px; font-size: 12px; opacity: .65; }
noscript img { max-width: 100%; }
@media (prefers-color-scheme: dark) {
  body { background: #15171b; color: #e6e8eb;
    --jp-layout-color1: #15171b; --jp-ui-font-color1: #e6e8eb; --jp-border-color2: #363b44;
    --jp-brand-color1: #6db3f2; }
}
"""

# Nothing may be fetched, whatever the page holds.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def save_page(comparison: Comparison, images: Sequence[Compared], path: Path) -> Path:
    """Write the page, whole or not at all; the path written, which ends in `.html`.

    Raises
    ------
    ImageError
        If an image is not there any more, or the file can't be written.
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
    given = {}
    for index in range(len(images)):
        given[f"preview-{index}"] = comparison.give({"ask": "preview", "index": index})
        said, content = comparison.give({"ask": "image", "index": index})
        content, kind = without_metadata(content, said["kind"], images[index].name)
        given[f"image-{index}"] = ({"kind": kind}, content)
    is_large = sum(len(content) for _, content in given.values()) > _LARGEST_BYTES
    if is_large:
        for index, image in enumerate(images):
            given[f"image-{index}"] = ({"kind": "image/jpeg"}, jpeg_of(image.open(), quality=_QUALITY))
    for left, right in combinations(range(len(images)), 2):
        found = comparison.give({"ask": "difference", "pair": [left, right]})
        given[f"difference-{left}-{right}"] = found
    state = {name: comparison.get_state(name)[name] for name in _STATE}
    said_by_id = {name: said for name, (said, _) in given.items()}
    blocks = "\n".join(
        f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode("ascii")}</script>'
        for name, (_, content) in given.items()
    )
    return _fill(comparison, {"state": state, "said": said_by_id}, blocks, is_large=is_large)


_STATE = ("mode", "position", "left", "right", "pace_s", "_content")


def _fill(comparison: Comparison, content: dict[str, Any], blocks: str, *, is_large: bool) -> str:
    title = html.escape(plain(f"Comparison of {', '.join(comparison.names)}"))
    # In a script `<` could end it, whatever the quotes say.
    data = json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")
    still = base64.b64encode(comparison.jpeg).decode("ascii")
    note = " The images were large: they are in it as JPEG, in full size." if is_large else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="comflowy_nb {__version__}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<main id="here"></main>
<noscript><img src="data:image/jpeg;base64,{still}" alt="{title}"></noscript>
<footer>Saved by comflowy_nb {__version__}.{note} Nothing on this page comes from a network.</footer>
<script type="application/json" id="comparison">{data}</script>
{blocks}
<script type="module">
{SCRIPT}
{_MODEL}
</script>
</body>
</html>
"""
