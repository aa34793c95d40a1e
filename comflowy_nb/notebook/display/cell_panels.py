"""Draw a cell without an image: a panel with its state.

Panels change several times a second, so Pillow draws them: matplotlib is too slow.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from comflowy_nb.layout.captions import Part
from comflowy_nb.layout.text_and_grid import wrap
from comflowy_nb.notebook.display.figure import INK, font_file, writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.sweeps.cell_states import CellState, CellStateKind

__all__ = ["draw_panel"]

_COLOURS: Mapping[CellStateKind, tuple[str, str, str]] = {  # fill, edge, text of the state
    "waiting": ("#f7f8fa", "#e6e9ed", "#8d939c"),
    "live": ("#f2f8fd", "#cfe3f5", "#1b6fb8"),
    "bad": ("#fdf3f2", "#f0cfcc", "#b3261e"),
    "odd": ("#fff8eb", "#f0ddb8", "#8a5a00"),
    "done": ("#f0f8f1", "#cde6cf", "#2e7d32"),
    "images": ("#f7f8fa", "#e6e9ed", "#8d939c"),
}
_DETAIL_COLOUR = "#4a4f57"
_BAR_COLOURS = ("#d5e4f1", "#2684d8")  # track, filled part
_BAR_PX = 12  # height with the gap above
_CORNER_SCALE = 3  # corners are drawn so much larger, and reduced
_SMALL_PANEL_PX = 100  # a panel below this size has smaller letters


@lru_cache(maxsize=256)
def draw_panel(state: CellState, size: tuple[int, int], scale: int) -> Image.Image:
    """Return the panel of a state; `size` is in CSS pixels. It is cached: callers must not change it."""
    panel = _background(state.kind, (size[0] * scale, size[1] * scale), scale).copy()
    draw = ImageDraw.Draw(panel)
    letter_px, pad = (9.5, 5) if min(size) < _SMALL_PANEL_PX else (12.0, 12)
    line_px = letter_px * 1.4
    width = size[0] - 2 * pad
    bar_px = 0 if state.fraction is None else _BAR_PX
    max_lines = max(1, int((size[1] - 2 * pad - bar_px) // line_px))

    def measure(text: str, tone: Tone) -> float:
        fonts = _split_by_font(text, INK[tone][1], letter_px * scale)
        return sum(font.getlength(letters) for font, letters in fonts) / scale

    tone: Tone = "strong" if state.kind in {"bad", "odd", "done"} else "text"
    lines: list[tuple[list[tuple[float, str, Tone]], str]] = []
    for text, text_tone, colour, limit in (
        (state.word, tone, _COLOURS[state.kind][2], min(2, max_lines)),
        (state.detail, "text", _DETAIL_COLOUR, max_lines),
    ):
        if text and len(lines) < limit:
            wrapped = wrap([Part(text, text_tone)], width, measure, max_lines=limit - len(lines))
            lines += [(line, colour) for line in wrapped]
    y = max(float(pad), (size[1] - len(lines) * line_px - bar_px) / 2)
    for line, colour in lines:
        line_width = max((x + measure(text, tone) for x, text, tone in line), default=0.0)
        left = pad + max(0.0, (width - line_width) / 2)
        for x, text, text_tone in line:
            position = (left + x) * scale
            for font, letters in _split_by_font(text, INK[text_tone][1], letter_px * scale):
                draw.text((position, (y + letter_px) * scale), letters, font=font, fill=colour, anchor="ls")
                position += font.getlength(letters)
        y += line_px
    if state.fraction is not None:
        _draw_bar(draw, state.fraction, (pad * scale, (y + 5) * scale, width * scale), scale)
    return panel


def _draw_bar(draw: ImageDraw.ImageDraw, fraction: float, position: tuple[float, float, float], scale: int) -> None:
    x, y, width = position
    radius = 2 * scale
    filled = width * min(1.0, max(0.0, fraction))
    for length, colour in zip((width, filled), _BAR_COLOURS, strict=True):
        if length >= 2 * radius:
            draw.rounded_rectangle((x, y, x + length, y + 4 * scale), radius, fill=colour)


@lru_cache(maxsize=32)
def _background(kind: CellStateKind, size: tuple[int, int], scale: int) -> Image.Image:
    """Return a rectangle with smooth round corners."""
    fill, edge, _ = _COLOURS[kind]
    large = Image.new("RGB", (size[0] * _CORNER_SCALE, size[1] * _CORNER_SCALE), "white")
    box, unit = (0, 0, large.width - 1, large.height - 1), _CORNER_SCALE * scale
    ImageDraw.Draw(large).rounded_rectangle(box, 6 * unit, fill=fill, outline=edge, width=unit)
    return large.resize(size, Image.Resampling.BOX)


def _split_by_font(text: str, weight: str, size_px: float) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
    """Split the text into pieces that one font can draw."""
    files = [(_font_file("a" if letter.isspace() else letter, weight), letter) for letter in writable(text)]
    for file, group in groupby(files, key=lambda pair: pair[0]):
        yield _font(file, size_px), "".join(letter for _, letter in group)


_font_file = cache(font_file)


@cache
def _font(file: str, size_px: float) -> ImageFont.FreeTypeFont:
    # Basic layout: Raqm may be missing.
    return ImageFont.truetype(file, size_px, layout_engine=ImageFont.Layout.BASIC)
