"""Draw texts and images with matplotlib, for every grid.

The only module that imports matplotlib, and itself imported when the first image is drawn: matplotlib costs half a
second. `Figure` with the Agg canvas and never pyplot: no global state, and nothing that shows a figure twice.
"""

from __future__ import annotations

import io
import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.images.fonts import OTHER_FAMILIES
from comflowy_nb.layout.captions import Part
from comflowy_nb.layout.text_and_grid import LINE_PX, wrap
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.layout.text_and_grid import Box, TextRun

__all__ = [
    "DRAWING",
    "INK",
    "TWICE_BELOW_BYTES",
    "Figure",
    "draw_figure",
    "encode",
    "font_file",
    "measure",
    "read_image",
    "writable",
]

# matplotlib is not thread-safe (its text parser: ipympl issue 610), and a view thread draws beside the cells.
DRAWING = threading.RLock()

_DPI = 100  # of a layout pixel; twice that for a dense screen
_FINE = 2
TWICE_BELOW_BYTES = 740_000  # as base64 in the notebook that is just under 1 MB
INK: Mapping[Tone, tuple[str, str, float]] = {  # tone -> colour, weight, size in pixels
    "text": ("#4a4f57", "normal", 12),
    "muted": ("#8d939c", "normal", 12),
    "strong": ("#1f2329", "bold", 12),
    "title": ("#1f2329", "bold", 12.5),
    "error": ("#b3261e", "normal", 12),
    "small": ("#8d939c", "normal", 10),
}
_BASE_FONT = "DejaVu Sans"  # comes with matplotlib, so it is always there
_LESS_THAN_A_PIXEL = 1e-6  # matplotlib cuts 827.9999 pixels to 827
_NO_GLYPH = "\N{WHITE SQUARE}"


def draw_figure(
    size: tuple[int, int],
    words: Iterable[TextRun],
    *,
    scale: int,  # 1 or 2
    paper: Image.Image | None = None,
    notes: Iterable[tuple[Box, str]] = (),
) -> tuple[Figure, Image.Image]:
    """Draw `paper` and texts on top of it; return the figure, `size` in CSS pixels, and its image at this scale."""
    width, height = size
    # Hinting makes letters of few pixels wider than they were measured: they are drawn fine, and reduced.
    inches = [(side + _LESS_THAN_A_PIXEL) / _DPI for side in size]
    figure = Figure(figsize=(inches[0], inches[1]), dpi=_DPI * _FINE, facecolor="white", edgecolor="white")
    figure.set_layout_engine("none")  # whatever the person's rcParams ask for
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    if paper is not None:  # one mosaic for all images: an axes for each costs several times as much
        axes.imshow(np.asarray(paper), extent=(0, width, height, 0), interpolation="none", aspect="auto")
    for word in words:
        _write(axes, word.x, word.y, word.text, word.tone)
    for box, note in notes:
        _write_note(axes, box, note)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types its public names only
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    return figure, drawn if scale == _FINE else drawn.reduce(_FINE // scale)


def encode(drawn: Image.Image, *, quality: int | None = None) -> bytes:
    """Return the image as a JPEG."""
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=quality or settings.jpeg_quality, optimize=True)
    return stream.getvalue()


def read_image(path: Path, size: tuple[int, int]) -> Image.Image:
    """Read an image in this size, alpha on white.

    Raises
    ------
    ImageError
        If it can't be decoded, or has too many pixels.
    """
    try:
        with open_image_file(path) as opened:
            opened.draft("RGB", size)
            assert_decodable(opened, "kept on disk, but not shown: the image")
            return flatten(opened).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise ImageError(f"the image {path.name} can't be read") from error


def font_file(letter: str, weight: str) -> str:
    """Return the file of a font that can draw the letter, for Pillow."""
    name = _font_for(letter) or _BASE_FONT
    return str(font_manager.findfont(FontProperties(family=[name], weight=weight)))


def _write(axes: Any, x: float, y: float, text: str, tone: Tone) -> None:
    colour, weight, size_px = INK[tone]
    axes.text(
        x,
        y + LINE_PX * 0.76,
        writable(text),
        color=colour,
        fontproperties=_font(text, weight, size_px),
        va="baseline",
        ha="left",
        parse_math=False,  # `$5` is text
        usetex=False,
    )


def _write_note(axes: Any, box: Box, note: str) -> None:
    """Draw a panel in place of an image, with the reason why it is missing."""
    tone: Tone = "error" if box.tile.is_error else "muted"
    frame = FancyBboxPatch(
        (box.x + 1, box.y + 1),
        box.width - 2,
        box.height - 2,
        boxstyle="round,pad=0,rounding_size=6",
        facecolor="#fdf3f2" if box.tile.is_error else "#f6f7f9",
        edgecolor="#f0cfcc" if box.tile.is_error else "#dfe3e8",
        linewidth=0.8,
    )
    axes.add_patch(frame)
    pad = min(14.0, box.width / 8)
    most = max(1, int((box.height - 2 * pad) // LINE_PX))
    lines = wrap([Part(note, tone)], box.width - 2 * pad, measure, max_lines=most)
    y = box.y + max(pad, (box.height - len(lines) * LINE_PX) / 2)
    for line in lines:
        for x, text, _ in line:
            _write(axes, box.x + pad + x, y, text, tone)
        y += LINE_PX


@cache
def _renderer() -> RendererAgg:
    # Hinting widens letters: they are measured at the density at which they are usually drawn.
    return RendererAgg(8, 8, _DPI * _FINE)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=100_000)  # a grid is tried in several sizes
def measure(text: str, tone: Tone) -> float:
    """Return the width of a text in CSS pixels, including spaces at its ends."""
    _, weight, size_px = INK[tone]
    # Measure the text between bars and subtract them: matplotlib measures the ink, without spaces at the ends. Bars
    # have no kerning.
    font = _font(text, weight, size_px)
    return (_width(f"|{writable(text)}|", font) - _width("||", font)) / _FINE


def _width(text: str, font: FontProperties) -> float:
    width, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width)


def _font(text: str, weight: str, size_px: float) -> FontProperties:
    names = set() if text.isascii() else {_font_for(letter) for letter in text}
    return _properties(tuple(sorted(name for name in names if name and name != _BASE_FONT)), weight, size_px)


@cache
def _properties(others: tuple[str, ...], weight: str, size_px: float) -> FontProperties:
    return FontProperties(family=[_BASE_FONT, *others], weight=weight, size=size_px * 72 / _DPI)


def writable(text: str) -> str:
    """Replace each letter that no font can draw by a square; matplotlib would warn about it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if letter.isspace() else letter if _font_for(letter) else _NO_GLYPH
        for letter in text
        if letter.isspace() or letter.isprintable()
    )


@cache
def _font_for(letter: str) -> str | None:
    """Return the font family that can draw a letter, or None."""
    return next((name for name, letters in _charmaps() if ord(letter) in letters), None)


@cache
def _charmaps() -> list[tuple[str, frozenset[int]]]:
    """Return font families and the characters each can draw: the base font, then the installed ones of the list."""
    installed = {entry.name: entry.fname for entry in reversed(font_manager.fontManager.ttflist)}
    found = []
    for name in (_BASE_FONT, *(name for name in OTHER_FAMILIES if name in installed)):
        try:
            path = font_manager.findfont(FontProperties(family=[name]), fallback_to_default=False)
            found.append((name, frozenset(font_manager.get_font(path).get_charmap())))
        except (OSError, RuntimeError, ValueError):
            continue  # a font that FreeType can't scale, such as one of colour bitmaps
    return found
