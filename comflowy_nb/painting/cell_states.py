"""Draw the state of a cell without an image: waiting, running with a progress bar, failed, cancelled.

The colours are in `palette.py`, the text itself in `layout/run_captions.py` and `sweeps/headings.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from comflowy_nb.layout.page import CellState, TextRun
from comflowy_nb.layout.text import LINE_PX, Part, wrap
from comflowy_nb.painting.text import measure, write_texts

if TYPE_CHECKING:
    from comflowy_nb.layout.page import CellStateKind
    from comflowy_nb.painting.palette import Palette


_BAR_PX = 12  # height of a progress bar with the gap above it
_SMOOTH = 3  # corners are drawn in this multiple of the size, and reduced
_SMALL_PANEL_PX = 100
_SMALL_ZOOM = 0.8  # zoom of the text in a small panel


@lru_cache(maxsize=256)
def draw_panel(state: CellState, size: tuple[int, int], scale: float, palette: Palette) -> Image.Image:
    """Return the panel of a state, `size` in pixels. The caller holds `DRAWING` and must not change the panel.

    `scale` is the number of pixels for each pixel of the layout.
    """
    panel = _plate(state.kind, size, scale, palette).copy()
    zoom = _SMALL_ZOOM if min(size) < _SMALL_PANEL_PX * scale else 1.0
    width, height = size[0] / scale / zoom, size[1] / scale / zoom
    pad = 12 * zoom * zoom
    text_width = width - 2 * pad
    bar = 0 if state.fraction is None else _BAR_PX
    line_limit = max(1, int((height - 2 * pad - bar) // LINE_PX))
    lines = wrap([Part(state.text, state.kind)], text_width, measure, max_lines=min(2, line_limit))
    if state.detail and len(lines) < line_limit:
        lines += wrap([Part(state.detail)], text_width, measure, max_lines=line_limit - len(lines))
    y = max(pad, (height - len(lines) * LINE_PX - bar) / 2)
    texts = []
    for line in lines:
        x, text, tone = line[-1]
        left = pad + max(0.0, (text_width - x - measure(text, tone)) / 2)
        texts += [TextRun(text, tone, left + x, y) for x, text, tone in line]
        y += LINE_PX
    write_texts(panel, texts, scale * zoom, palette)
    if state.fraction is not None:
        _draw_bar(panel, state.fraction, (pad * zoom, y * zoom + 5, text_width * zoom), scale, palette)
    return panel


def _draw_bar(
    panel: Image.Image, fraction: float, position: tuple[float, float, float], scale: float, palette: Palette
) -> None:
    """Draw a progress bar; `position` is x, y and width."""
    draw = ImageDraw.Draw(panel)
    x, y, width = (round(value * scale) for value in position)
    radius, height = round(2 * scale), round(4 * scale)
    draw.rounded_rectangle((x, y, x + width, y + height), radius, fill=palette.track)
    filled = round(width * min(1.0, max(0.0, fraction)))
    if filled >= 2 * radius + 2:  # Pillow 10.1 cannot draw a narrower one
        draw.rounded_rectangle((x, y, x + filled, y + height), radius, fill=palette.bar)


@lru_cache(maxsize=32)
def _plate(kind: CellStateKind, size: tuple[int, int], scale: float, palette: Palette) -> Image.Image:
    """Return a rectangle with smooth round corners, `size` in pixels."""
    fill, edge = palette.plates[kind]
    width = round(_SMOOTH * scale)
    large = Image.new("RGB", (size[0] * _SMOOTH, size[1] * _SMOOTH), palette.paper)
    box = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, 6 * width, fill=fill, outline=edge, width=width)
    return large.resize(size, Image.Resampling.BOX)
