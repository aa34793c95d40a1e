"""Measure and draw text with matplotlib, which uses other fonts for characters that are missing in the first one.

Importing matplotlib takes half a second, so import this module only when the first page is drawn.
"""

from __future__ import annotations

import math
import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from PIL import Image

from comflowy_nb.layout.text import LINE_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes

    from comflowy_nb.layout.page import TextRun
    from comflowy_nb.layout.text import Tone
    from comflowy_nb.painting.palette import Palette


DRAWING = threading.RLock()  # matplotlib is not thread-safe, and the view thread draws beside the cells
DPI = 100  # one pixel for each CSS pixel
FINE = 2  # small text is drawn and measured in this multiple of its size

_BASELINE_PX = LINE_PX * 0.76
_BASE_FONT = "DejaVu Sans"  # part of matplotlib
# Fonts for letters that DejaVu Sans lacks, in the order in which they are tried.
_OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti SC",
    "Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "MS Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Noto Serif CJK SC", "Noto Serif CJK JP", "Droid Sans Fallback", "IPAGothic", "IPAexGothic", "NanumGothic",
    "Arial Unicode MS", "Noto Sans", "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol", "Apple Symbols", "Symbola",
)  # fmt: skip
_NO_GLYPH = "\N{WHITE SQUARE}"
_BOLD = {"strong", "title", "error", "warning", "done"}
_TEXT_PX = 12.0
_SIZES_PX: Mapping[Tone, float] = {"title": 12.5, "small": 11.0}  # of the tones that are not `_TEXT_PX` high


@lru_cache(maxsize=100_000)  # the layout tries several sizes
def measure(text: str, tone: Tone) -> float:
    """Return the width of a text in CSS pixels, including spaces at its ends. The caller holds `DRAWING`."""
    # matplotlib measures the ink, without spaces at the ends: measure between bars, which have no kerning.
    font = _font(tone, text.isascii())
    return (_width(f"|{writable(text)}|", font) - _width("||", font)) / FINE


def write_texts(paper: Image.Image, texts: Sequence[TextRun], scale: float, palette: Palette) -> None:
    """Write texts on an image with `scale` pixels for each CSS pixel. The caller holds `DRAWING`."""
    if not texts:
        return
    # Hinting makes small letters wider than they were measured: draw them with at least twice the pixels, and reduce.
    fine = 1 if scale > 1 else FINE
    left, top = int(scale * min(text.x for text in texts)), int(scale * min(text.y for text in texts))
    width = math.ceil(scale * max(text.x + measure(text.text, text.tone) for text in texts)) + 2 - left
    height = math.ceil(scale * max(text.y + LINE_PX for text in texts)) - top
    renderer = RendererAgg(width * fine, height * fine, DPI * scale * fine)  # type: ignore[no-untyped-call]  # matplotlib types its public names only
    context = renderer.new_gc()
    for text in texts:
        context.set_foreground(palette.inks[text.tone])
        x, y = (text.x * scale - left) * fine, ((text.y + _BASELINE_PX) * scale - top) * fine
        renderer.draw_text(context, x, y, writable(text.text), _font(text.tone, text.text.isascii()), 0)  # type: ignore[no-untyped-call]
    ink = Image.fromarray(np.asarray(renderer.buffer_rgba()))  # type: ignore[no-untyped-call]
    if fine > 1:
        ink = ink.reduce(fine)
    paper.paste(ink, (left, top), ink)


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(8, 8, DPI * FINE)  # type: ignore[no-untyped-call]


def _width(text: str, font: FontProperties) -> float:
    width, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width)


@cache
def _font(tone: Tone, is_ascii: bool) -> FontProperties:  # noqa: FBT001 - a key of the cache
    """Return the font of a tone; for text that is not ASCII, with the installed fallback fonts."""
    weight = "bold" if tone in _BOLD else "normal"
    families = [_BASE_FONT] if is_ascii else list(_charmaps())
    return FontProperties(family=families, weight=weight, size=_SIZES_PX.get(tone, _TEXT_PX) * 72 / DPI)


def writable(text: str) -> str:
    """Replace each character that no font can draw by a square, because matplotlib would print a warning."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if letter.isspace() else letter if _is_drawable(letter) else _NO_GLYPH
        for letter in text
        if letter.isspace() or letter.isprintable()
    )


@cache
def _is_drawable(letter: str) -> bool:
    return any(ord(letter) in letters for letters in _charmaps().values())


@cache
def _charmaps() -> dict[str, frozenset[int]]:
    """Return the characters of each font: the base font, then the installed fallback fonts."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    charmaps = {}
    for name in (_BASE_FONT, *(name for name in _OTHER_FONTS if name in installed)):
        try:
            path = font_manager.findfont(FontProperties(family=[name]), fallback_to_default=False)
            charmaps[name] = frozenset(font_manager.get_font(path).get_charmap())
        except (OSError, RuntimeError, ValueError):
            continue  # a font that FreeType can't scale, such as one of colour bitmaps
    return charmaps


def add_texts(axes: Axes, texts: Iterable[TextRun], zoom: float, palette: Palette) -> None:
    """Add texts to a figure as text, `zoom` times their size. The caller holds `DRAWING`."""
    for text in texts:
        font = _font(text.tone, text.text.isascii()).copy()
        font.set_size(font.get_size_in_points() * zoom)
        axes.text(
            text.x,
            text.y + _BASELINE_PX,
            writable(text.text),
            color=palette.inks[text.tone],
            fontproperties=font,
            va="baseline",
            ha="left",
            parse_math=False,  # `$5` is text
            usetex=False,
        )
