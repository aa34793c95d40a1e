"""Draw a cell without an image: a panel with its state.

Drawn with Pillow, because panels change several times a second and matplotlib is slow.
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
    from collections.abc import Mapping

    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.sweeps.cell_states import CellState, CellStateKind

__all__ = ["draw_panel"]

_COLOURS: Mapping[CellStateKind, tuple[str, str, str]] = {  # fill, edge, ink of the word
    "waiting": ("#f7f8fa", "#e6e9ed", "#8d939c"),
    "live": ("#f2f8fd", "#cfe3f5", "#1b6fb8"),
    "bad": ("#fdf3f2", "#f0cfcc", "#b3261e"),
    "odd": ("#fff8eb", "#f0ddb8", "#8a5a00"),
    "done": ("#f0f8f1", "#cde6cf", "#2e7d32"),
    "images": ("#f7f8fa", "#e6e9ed", "#8d939c"),
}
_DETAIL = "#4a4f57"
_TRACK, _FILLED = "#d5e4f1", "#2684d8"
_SMOOTH = 3  # corners are drawn so much larger, and reduced
_SMALL_PX = 100  # below this the letters are smaller


@lru_cache(maxsize=256)
def draw_panel(state: CellState, size: tuple[int, int], scale: int) -> Image.Image:
    """Return the panel of a state; `size` is in CSS pixels. It is cached: callers must not change it."""
    width, height = size[0] * scale, size[1] * scale
    panel = _plate(state.kind, (width, height), scale).copy()
    draw = ImageDraw.Draw(panel)
    is_small = size[0] < _SMALL_PX or size[1] < _SMALL_PX
    letter_px = 9.5 if is_small else 12.0
    line_px = letter_px * 1.4
    pad = 5 if is_small else 12
    room = size[0] - 2 * pad
    bar = 0 if state.fraction is None else 12
    most = max(1, int((size[1] - 2 * pad - bar) // line_px))

    def measure(text: str, tone: Tone) -> float:
        return _width(text, INK[tone][1], letter_px * scale) / scale

    word_tone: Tone = "strong" if state.kind in {"bad", "odd", "done"} else "text"
    lines = wrap([Part(state.word, word_tone)], room, measure, max_lines=min(2, most)) if state.word else []
    if state.detail and len(lines) < most:
        lines += wrap([Part(state.detail, "text")], room, measure, max_lines=most - len(lines))
    y = max(float(pad), (size[1] - len(lines) * line_px - bar) / 2)
    state_lines = _count_lines(state, room, measure, word_tone, most)
    for row, line in enumerate(lines):
        ink = _COLOURS[state.kind][2] if row < state_lines else _DETAIL
        taken = max((x + measure(text, tone) for x, text, tone in line), default=0.0)
        left = pad + max(0.0, (room - taken) / 2)
        for x, text, tone in line:
            _write(draw, ((left + x) * scale, (y + letter_px) * scale), text, INK[tone][1], letter_px * scale, ink)
        y += line_px
    if state.fraction is not None:
        _draw_bar(draw, state.fraction, (pad, y + 5, room), scale)
    return panel


def _count_lines(state: CellState, room: float, measure: object, tone: Tone, most: int) -> int:
    """Return how many of the lines belong to the state, not to the detail."""
    return len(wrap([Part(state.word, tone)], room, measure, max_lines=min(2, most))) if state.word else 0  # type: ignore[arg-type]


def _draw_bar(draw: ImageDraw.ImageDraw, fraction: float, position: tuple[float, float, float], scale: int) -> None:
    x, y, width = (value * scale for value in position)
    radius = 2 * scale
    draw.rounded_rectangle((x, y, x + width, y + 4 * scale), radius, fill=_TRACK)
    filled = width * min(1.0, max(0.0, fraction))
    if filled >= 2 * radius:
        draw.rounded_rectangle((x, y, x + filled, y + 4 * scale), radius, fill=_FILLED)


@lru_cache(maxsize=32)
def _plate(kind: CellStateKind, size: tuple[int, int], scale: int) -> Image.Image:
    """Return a rectangle with smooth round corners."""
    fill, edge, _ = _COLOURS[kind]
    large = Image.new("RGB", (size[0] * _SMOOTH, size[1] * _SMOOTH), "white")
    box = (0, 0, large.width - 1, large.height - 1)
    width = _SMOOTH * scale
    ImageDraw.Draw(large).rounded_rectangle(box, 6 * scale * _SMOOTH, fill=fill, outline=edge, width=width)
    return large.resize(size, Image.Resampling.BOX)


def _write(  # noqa: PLR0917 - a text at a position, in a font and a colour
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, weight: str, size_px: float, ink: str
) -> None:
    x, y = at
    for file, letters in _runs(text, weight):
        font = _font(file, size_px)
        draw.text((x, y), letters, font=font, fill=ink, anchor="ls")
        x += font.getlength(letters)


def _width(text: str, weight: str, size_px: float) -> float:
    return sum(_font(file, size_px).getlength(letters) for file, letters in _runs(text, weight))


def _runs(text: str, weight: str) -> list[tuple[str, str]]:
    """Split the text into pieces that one font can draw."""
    if text.isascii() and text.isprintable():
        return [(_file("a", weight), text)]
    files = [(_file(letter, weight), letter) for letter in writable(text)]
    return [(file, "".join(letter for _, letter in group)) for file, group in groupby(files, key=lambda one: one[0])]


@cache
def _file(letter: str, weight: str) -> str:
    return font_file("a" if letter.isspace() else letter, weight)


@cache
def _font(file: str, size_px: float) -> ImageFont.FreeTypeFont:
    # Basic layout: Raqm may be missing.
    return ImageFont.truetype(file, size_px, layout_engine=ImageFont.Layout.BASIC)
