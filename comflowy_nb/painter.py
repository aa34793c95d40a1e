"""Draw the pages of grids and contact sheets.

The only module that imports matplotlib, which takes half a second: import it where the first page is drawn. matplotlib
measures and draws the text, because it falls back to other fonts for letters that one font lacks. pyplot is not used:
it keeps figures globally and may show a figure twice.
"""

from __future__ import annotations

import io
import math
import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image, ImageDraw

from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.layout.page import CellState, TextRun
from comflowy_nb.layout.text import LINE_PX, Part, wrap
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.layout.page import Box, CellStateKind, Page, Tile
    from comflowy_nb.layout.text import Tone

__all__ = [
    "DRAWING",
    "MAX_DOUBLED_BYTES",
    "Figure",
    "draw_page",
    "draw_panel",
    "encode",
    "make_figure",
    "measure",
    "paint_box",
    "read_image",
    "writable",
    "write_texts",
]

DRAWING = threading.RLock()  # matplotlib is not thread-safe, and the view thread draws beside the cells
MAX_DOUBLED_BYTES = 740_000  # of a JPEG with two pixels for each CSS pixel; as base64 it is just under 1 MB

_DPI = 100  # one pixel for each CSS pixel
_FINE = 2
_LESS_THAN_A_PIXEL = 1e-6  # matplotlib cuts 827.9999 pixels to 827
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
_INK: Mapping[Tone, tuple[str, str, float]] = {  # tone -> colour, weight, size in CSS pixels
    "text": ("#4a4f57", "normal", 12),
    "muted": ("#8d939c", "normal", 12),
    "strong": ("#1f2329", "bold", 12),
    "title": ("#1f2329", "bold", 12.5),
    "small": ("#8d939c", "normal", 10),
    "waiting": ("#8d939c", "normal", 12),
    "live": ("#1b6fb8", "normal", 12),
    "bad": ("#b3261e", "bold", 12),
    "odd": ("#8a5a00", "bold", 12),
    "done": ("#2e7d32", "bold", 12),
}
_PLATES: Mapping[CellStateKind, tuple[str, str]] = {  # fill, edge
    "waiting": ("#f7f8fa", "#e6e9ed"),
    "live": ("#f2f8fd", "#cfe3f5"),
    "bad": ("#fdf3f2", "#f0cfcc"),
    "odd": ("#fff8eb", "#f0ddb8"),
    "done": ("#f0f8f1", "#cde6cf"),
}
_TRACK, _FILLED = "#d5e4f1", "#2684d8"  # of a progress bar
_BAR_PX = 12  # height of a progress bar with the gap above it
_SMOOTH = 3  # corners are drawn in this multiple of the size, and reduced
_SMALL_PANEL_PX = 100
_SMALL_ZOOM = 0.8  # of the text in a small panel


# -- text -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=100_000)  # the layout tries several sizes
def measure(text: str, tone: Tone) -> float:
    """Return the width of a text in CSS pixels, including spaces at its ends. The caller holds `DRAWING`."""
    # matplotlib measures the ink, without spaces at the ends: measure between bars, which have no kerning.
    font = _font(tone, text.isascii())
    return (_width(f"|{writable(text)}|", font) - _width("||", font)) / _FINE


def write_texts(paper: Image.Image, texts: Sequence[TextRun], scale: float) -> None:
    """Write texts on an image with `scale` pixels for each CSS pixel. The caller holds `DRAWING`."""
    if not texts:
        return
    # Hinting makes small letters wider than they were measured: draw them with at least twice the pixels, and reduce.
    fine = 1 if scale > 1 else _FINE
    left, top = int(scale * min(text.x for text in texts)), int(scale * min(text.y for text in texts))
    width = math.ceil(scale * max(text.x + measure(text.text, text.tone) for text in texts)) + 2 - left
    height = math.ceil(scale * max(text.y + LINE_PX for text in texts)) - top
    renderer = RendererAgg(width * fine, height * fine, _DPI * scale * fine)  # type: ignore[no-untyped-call]  # matplotlib types its public names only
    context = renderer.new_gc()
    for text in texts:
        context.set_foreground(_INK[text.tone][0])
        x, y = (text.x * scale - left) * fine, ((text.y + _BASELINE_PX) * scale - top) * fine
        renderer.draw_text(context, x, y, writable(text.text), _font(text.tone, text.text.isascii()), 0)  # type: ignore[no-untyped-call]
    ink = Image.fromarray(np.asarray(renderer.buffer_rgba()))  # type: ignore[no-untyped-call]
    if fine > 1:
        ink = ink.reduce(fine)
    paper.paste(ink, (left, top), ink)


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(8, 8, _DPI * _FINE)  # type: ignore[no-untyped-call]


def _width(text: str, font: FontProperties) -> float:
    width, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width)


@cache
def _font(tone: Tone, is_ascii: bool) -> FontProperties:  # noqa: FBT001 - a key of the cache
    """Return the font of a tone; for other text with the installed fonts that matplotlib falls back to."""
    _, weight, size_px = _INK[tone]
    families = [_BASE_FONT] if is_ascii else list(_charmaps())
    return FontProperties(family=families, weight=weight, size=size_px * 72 / _DPI)


def writable(text: str) -> str:
    """Replace each letter that no font can draw by a square; matplotlib would warn about it."""
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
    """Return the characters that each font can draw: the base font, then the installed ones of the list."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    charmaps = {}
    for name in (_BASE_FONT, *(name for name in _OTHER_FONTS if name in installed)):
        try:
            path = font_manager.findfont(FontProperties(family=[name]), fallback_to_default=False)
            charmaps[name] = frozenset(font_manager.get_font(path).get_charmap())
        except (OSError, RuntimeError, ValueError):
            continue  # a font that FreeType can't scale, such as one of colour bitmaps
    return charmaps


# -- pages ------------------------------------------------------------------------------------------------------------


def draw_page(page: Page, scale: int, load: Callable[[Tile, tuple[int, int]], Image.Image]) -> Image.Image:
    """Draw a page with `scale` (1 or 2) pixels for each CSS pixel.

    Parameters
    ----------
    load
        Returns the image of a tile in this size. A box shows the error if it raises ComflowyError or OSError.
    """
    with DRAWING:
        paper = Image.new("RGB", (page.width * scale, page.height * scale), "white")
        write_texts(paper, page.texts, scale)
        for box in page.boxes:
            paint_box(paper, box, scale, load)
        return paper


def paint_box(paper: Image.Image, box: Box, scale: int, load: Callable[[Tile, tuple[int, int]], Image.Image]) -> None:
    """Paint one box of a page. The caller holds `DRAWING`."""
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    state = box.tile.state
    if state is None:
        try:
            image = load(box.tile, size)
        except (ComflowyError, OSError) as error:
            why = str(error) if isinstance(error, ComflowyError) else "the file can't be read"
            state = CellState("bad", "missing", why)
    if state is not None:
        image = draw_panel(state, (size[0] // scale, size[1] // scale), scale)
    paper.paste(image, (round(box.x * scale), round(box.y * scale)))


def make_figure(page: Page, drawn: Image.Image, scale: int) -> Figure:
    """Return a page that was drawn in this scale as a matplotlib figure, with text as text."""
    with DRAWING:
        inches = [(side + _LESS_THAN_A_PIXEL) / _DPI for side in (page.width, page.height)]
        figure = Figure((inches[0], inches[1]), _DPI * _FINE, facecolor="white", edgecolor="white")
        figure.set_layout_engine("none")  # overrides the user's rcParams
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, page.width)
        axes.set_ylim(page.height, 0)
        images = Image.new("RGB", drawn.size, "white")  # all images in one axes: an axes for each is slow
        for box in page.boxes:
            x, y = round(box.x * scale), round(box.y * scale)
            images.paste(drawn.crop((x, y, x + round(box.width * scale), y + round(box.height * scale))), (x, y))
        extent = (0, page.width, page.height, 0)
        axes.imshow(np.asarray(images), extent=extent, interpolation="none", aspect="auto")
        for text in page.texts:
            axes.text(
                text.x,
                text.y + _BASELINE_PX,
                writable(text.text),
                color=_INK[text.tone][0],
                fontproperties=_font(text.tone, text.text.isascii()),
                va="baseline",
                ha="left",
                parse_math=False,  # `$5` is text
                usetex=False,
            )
        return figure


# -- panels -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def draw_panel(state: CellState, size: tuple[int, int], scale: int) -> Image.Image:
    """Return the panel of a state; `size` is in CSS pixels. The caller holds `DRAWING` and must not change it."""
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


# -- files ------------------------------------------------------------------------------------------------------------


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
