"""Draw the state of a cell without an image: waiting, running with a progress bar, failed, cancelled.

The colours of its text are in `text.py`, the text itself in `layout/run_captions.py` and `sweeps/captions.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from comflowy_nb.layout.page import CellState, TextRun
from comflowy_nb.layout.text import LINE_PX, Part, wrap
from comflowy_nb.painting.text import measure, write_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.layout.page import CellStateKind


_PLATES: Mapping[CellStateKind, tuple[str, str]] = {  # kind of state -> colour of the plate, colour of its edge
    "waiting": ("#f7f8fa", "#e6e9ed"),
    "live": ("#f2f8fd", "#cfe3f5"),
    "error": ("#fdf3f2", "#f0cfcc"),
    "warning": ("#fff8eb", "#f0ddb8"),
    "done": ("#f0f8f1", "#cde6cf"),
}
_TRACK, _FILLED = "#d5e4f1", "#2684d8"  # colours of a progress bar
_BAR_PX = 12  # height of a progress bar with the gap above it
_SMOOTH = 3  # corners are drawn in this multiple of the size, and reduced
_SMALL_PANEL_PX = 100
_SMALL_ZOOM = 0.8  # zoom of the text in a small panel


@lru_cache(maxsize=256)
def draw_panel(state: CellState, size: tuple[int, int], scale: int) -> Image.Image:
    """Return the panel of a state; `size` is in CSS pixels. The caller holds `DRAWING` and may not change the panel."""
    panel = _plate(state.kind, size, scale).copy()
    zoom = _SMALL_ZOOM if min(size) < _SMALL_PANEL_PX else 1.0
    width, height = size[0] / zoom, size[1] / zoom
    pad = 12 * zoom * zoom
    room = width - 2 * pad
    bar = 0 if state.fraction is None else _BAR_PX
    most = max(1, int((height - 2 * pad - bar) // LINE_PX))
    lines = wrap([Part(state.text, state.kind)], room, measure, max_lines=min(2, most))
    if state.detail and len(lines) < most:
        lines += wrap([Part(state.detail)], room, measure, max_lines=most - len(lines))
    y = max(pad, (height - len(lines) * LINE_PX - bar) / 2)
    texts = []
    for line in lines:
        x, text, tone = line[-1]
        left = pad + max(0.0, (room - x - measure(text, tone)) / 2)
        texts += [TextRun(text, tone, left + x, y) for x, text, tone in line]
        y += LINE_PX
    write_texts(panel, texts, scale * zoom)
    if state.fraction is not None:
        _draw_bar(panel, state.fraction, (pad * zoom, y * zoom + 5, room * zoom), scale)
    return panel


def _draw_bar(panel: Image.Image, fraction: float, position: tuple[float, float, float], scale: int) -> None:
    """Draw a progress bar; `position` is x, y and width."""
    draw = ImageDraw.Draw(panel)
    x, y, width = (round(value * scale) for value in position)
    radius = 2 * scale
    draw.rounded_rectangle((x, y, x + width, y + 4 * scale), radius, fill=_TRACK)
    filled = round(width * min(1.0, max(0.0, fraction)))
    if filled >= 2 * radius + 2:  # Pillow 10.1 cannot draw a narrower one
        draw.rounded_rectangle((x, y, x + filled, y + 4 * scale), radius, fill=_FILLED)


@lru_cache(maxsize=32)
def _plate(kind: CellStateKind, size: tuple[int, int], scale: int) -> Image.Image:
    """Return a rectangle with smooth round corners."""
    fill, edge = _PLATES[kind]
    width = _SMOOTH * scale
    large = Image.new("RGB", (size[0] * width, size[1] * width), "white")
    box = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, 6 * width, fill=fill, outline=edge, width=width)
    return large.resize((size[0] * scale, size[1] * scale), Image.Resampling.BOX)
