"""All images of a sweep on a few large pages, from thumbnails: what lies beside the saved copies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image, ImageDraw

from comflowy_nb.errors import ImageError
from comflowy_nb.images.fonts import split_by_font
from comflowy_nb.layout.captions import Paragraph, Part, Tile
from comflowy_nb.layout.legends import NO_LIMIT
from comflowy_nb.layout.text_and_grid import fit, mosaic, wrap
from comflowy_nb.sweeps.captions import sheet_of_sweep
from comflowy_nb.sweeps.cell_states import cell_state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.images.fonts import Font
    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.layout.sweep_sheet import Heading, Headings, Panel, SweepSheet
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell

__all__ = ["PAGE_HEIGHT_PX", "PAGE_WIDTH_PX", "draw_sheets"]

# A page is as large as image viewers like it: 55 MB while it is drawn, a few MB as a JPEG.
PAGE_WIDTH_PX = 3840
PAGE_HEIGHT_PX = 4800
MARGIN_PX = 28
GAP_PX = 10
PANEL_GAP_PX = 40
LINE_PX = 20
_ROOM_PX = PAGE_HEIGHT_PX - 2 * MARGIN_PX - LINE_PX - 6  # the last line says which page it is
LARGEST_PX, SMALLEST_PX = 256, 96  # sides of an image: that of the thumbnails, and what can still be told apart
LEAST_WIDTH_PX = 640  # of a page with few images: room for its legend
ROW_HEADING_PX = 220
_HEADING_LINES = 3  # a value that takes more becomes a letter
_MOSAIC = 16  # images in one cell, at most

_COLOURS: Mapping[Tone, str] = {
    "text": "#333333",
    "muted": "#777777",
    "strong": "#000000",
    "title": "#000000",
    "error": "#b3261e",
    "small": "#777777",
}
_SIZE_PX = 14
_SIZES_PX: Mapping[Tone, int] = {"title": 17, "small": 12}
_ASCENT = 0.93  # of DejaVu Sans: its highest letters above the baseline, as a share of the size
_BOLD: frozenset[Tone] = frozenset({"strong", "title"})

Lines: TypeAlias = "list[list[tuple[float, str, Tone]]]"  # of words: x, text, tone


class Pen:
    """Writes and measures in the tones of captions."""

    def measure(self, text: str, tone: Tone) -> float:
        return sum(font.getlength(letters) for font, letters in self._split(text, tone))

    def wrap(self, paragraph: Paragraph, width: float) -> Lines:
        return wrap(paragraph.parts, width, self.measure, max_lines=paragraph.max_lines)

    def write(self, canvas: ImageDraw.ImageDraw, lines: Lines, x: float, y: float) -> None:
        """Lines from (x, y) on, `LINE_PX` high each."""
        for line in lines:
            for offset, text, tone in line:
                at = x + offset
                baseline = y + _SIZES_PX.get(tone, _SIZE_PX) * _ASCENT
                for font, letters in self._split(text, tone):
                    canvas.text((at, baseline), letters, fill=_COLOURS[tone], font=font, anchor="ls")
                    at += font.getlength(letters)
            y += LINE_PX

    def _split(self, text: str, tone: Tone) -> list[tuple[Font, str]]:
        return split_by_font(text, _SIZES_PX.get(tone, _SIZE_PX), is_bold=tone in _BOLD)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Part of a panel that goes on a page: some of its rows and columns, and the rows of words above it."""

    panel: Panel
    rows: range
    columns: range
    words: tuple[Lines, ...]
    headings: tuple[Lines, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that stands whole on one page. `draw` gets the page and the left and the top of its place."""

    width_px: float
    height_px: float
    draw: Callable[[Image.Image, float, float], None]


@dataclass(slots=True)
class _Page:
    """Items on a page, in shelves: side by side while there is room, then below."""

    items: list[tuple[Item, float, float]] = field(default_factory=list)
    width_px: float = 0.0
    height_px: float = 0.0
    x: float = 0.0  # where the shelf goes on
    top: float = 0.0  # of the shelf

    def put(self, item: Item, most_px: float) -> bool:
        """Whether there was room for it."""
        left, top = self.x, self.top
        if not left or left + item.width_px > most_px or top + item.height_px > _ROOM_PX:
            left, top = 0.0, self.height_px
        if self.items and top + item.height_px > _ROOM_PX:
            return False
        self.items.append((item, left, top))
        self.x, self.top = left + item.width_px + PANEL_GAP_PX, top
        self.width_px = max(self.width_px, left + item.width_px)
        self.height_px = max(self.height_px, top + item.height_px)
        return True


def draw_sheets(sweep: Sweep, thumbnail: Callable[[ImageRecord], Path]) -> Iterator[Image.Image]:
    """The pages, from the first on, each at most 3840 x 4800 px; one at a time is in memory.

    Parameters
    ----------
    thumbnail
        Where the JPEG of an image within 256 px is; raises ImageError where there is none.
    """
    lettered: set[str] = set()
    while True:
        drawing = _Drawing(sweep, sheet_of_sweep(sweep, sweep.layout, lettered=lettered), thumbnail)
        cramped = drawing.cramped() - lettered
        if not cramped:
            break
        lettered |= cramped
    grids = list(drawing.grids())
    # Somewhat wider than high, as far as that goes.
    square = 1.5 * math.sqrt(sum(item.width_px * item.height_px for item in grids))
    most = min(PAGE_WIDTH_PX - 2 * MARGIN_PX, max(square, *(item.width_px for item in grids)))
    width = max(LEAST_WIDTH_PX, *(page.width_px for page in _fill(grids, most)))
    head = drawing.paragraphs(drawing.sheet.head, width)
    legend = drawing.paragraphs([paragraph for _, _, paragraph in drawing.sheet.legend], width)
    pages = _fill([*head, *grids, *legend], max(most, width))
    for number, page in enumerate(pages, 1):
        if len(pages) > 1:
            told = Paragraph((Part(f"{sweep.ref}, page {number} of {len(pages)}", "muted"),), 1)
            (item,) = drawing.paragraphs([told], width)
            page.items.append((item, 0.0, page.height_px))
            page.height_px += item.height_px
        size = (math.ceil(width + 2 * MARGIN_PX), math.ceil(page.height_px + 2 * MARGIN_PX))
        image = Image.new("RGB", size, "white")
        for item, x, y in page.items:
            item.draw(image, MARGIN_PX + x, MARGIN_PX + y)
        yield image


def _fill(items: Sequence[Item], most_px: float) -> list[_Page]:
    """The items on pages no wider than that, in their order."""
    pages = [_Page()]
    for item in items:
        if not pages[-1].put(item, most_px):
            pages.append(_Page())
            pages[-1].put(item, most_px)
    return pages


class _Drawing:
    def __init__(self, sweep: Sweep, sheet: SweepSheet, thumbnail: Callable[[ImageRecord], Path]) -> None:
        self.sheet = sheet
        self._cells = {cell.number: cell for cell in sweep.cells}
        self._thumbnail = thumbnail
        self._pen = Pen()
        self._heading_px = self._row_heading_px(sheet.y)
        count = max(len(row) for panel in sheet.panels for row in panel.cells)
        # One row of many is folded like a text; a true grid keeps its columns together as far as they go on a page.
        wanted = count if sheet.y is not None else min(count, max(8, math.ceil(math.sqrt(count))))
        room = PAGE_WIDTH_PX - 2 * MARGIN_PX - self._heading_px
        self._columns = min(wanted, int(room // (SMALLEST_PX + GAP_PX)))
        side = min(LARGEST_PX, max(SMALLEST_PX, room // self._columns - GAP_PX))
        self._size = self._cell_size(side)

    def _row_heading_px(self, y: Headings | None) -> float:
        if y is None:
            return 0
        texts = [y.name, *(heading.text for heading in y.values), *(heading.note for heading in y.values)]
        return min(ROW_HEADING_PX, max(self._pen.measure(text, "strong") for text in texts)) + GAP_PX

    def _cell_size(self, side: float) -> tuple[float, float]:
        """Of the place for a cell's images: as large as the largest that has one, within the side."""
        sizes = [
            fit((image.width_px, image.height_px), (side, side))
            for cell in self._cells.values()
            if cell.run is not None
            for image in cell.run.record.images
            if image.width_px and image.height_px
        ]
        several = any(cell.run is not None and len(cell.run.record.images) > 1 for cell in self._cells.values())
        if not sizes or several:
            return side, side
        return max(SMALLEST_PX, *(width for width, _ in sizes)), max(40, *(height for _, height in sizes))

    def cramped(self) -> set[str]:
        """Names of axes with a value whose heading would be cut."""
        sides = ((self.sheet.x, self._size[0]), (self.sheet.y, self._heading_px - GAP_PX))
        return {
            axis.key
            for axis, width in sides
            if axis is not None
            for heading in axis.values
            if len(self._pen.wrap(Paragraph((Part(heading.text, "strong"),), NO_LIMIT), width)) > _HEADING_LINES
        }

    def paragraphs(self, paragraphs: Sequence[Paragraph], width: float) -> Iterator[Item]:
        for paragraph in paragraphs:
            lines = self._pen.wrap(paragraph, width)
            yield Item(width, LINE_PX * len(lines) + 6, partial(self._write, lines))

    def grids(self) -> Iterator[Item]:
        """The panels, in pieces that go on a page."""
        width, height = self._size
        row_px = height + LINE_PX + GAP_PX
        for panel in self.sheet.panels:
            for left in range(0, len(panel.cells[0]), self._columns):
                columns = range(left, min(left + self._columns, len(panel.cells[0])))
                width_px = self._heading_px + len(columns) * (width + GAP_PX)
                words = self._words(panel, width_px) if left == 0 or self.sheet.y is not None else ()
                headings = self._headings(columns)
                head_px = _height_px(words, headings)
                most = max(1, int((_ROOM_PX - GAP_PX - head_px) // row_px))
                for top in range(0, len(panel.cells), most):
                    rows = range(top, min(top + most, len(panel.cells)))
                    piece = _Piece(panel, rows, columns, words, headings)
                    yield Item(width_px, head_px + len(rows) * row_px + GAP_PX, partial(self._draw, piece))

    def _words(self, panel: Panel, width_px: float) -> tuple[Lines, ...]:
        """Above a grid: its title, and the names of the axes along its sides."""
        x, y = self.sheet.x, self.sheet.y
        names = [f"{y.name} \N{DOWNWARDS ARROW}"] if y is not None else []
        names += [f"{x.name} \N{RIGHTWARDS ARROW}"] if x is not None else []
        paragraphs = [Paragraph(panel.title, NO_LIMIT)] if panel.title else []
        paragraphs += [Paragraph((Part("    ".join(names), "muted"),), 2)] if names else []
        return tuple(self._pen.wrap(paragraph, width_px) for paragraph in paragraphs)

    def _headings(self, columns: range) -> tuple[Lines, ...]:
        x = self.sheet.x
        return () if x is None else tuple(self._heading(x.values[column], self._size[0]) for column in columns)

    def _heading(self, heading: Heading, width: float) -> Lines:
        lines = self._pen.wrap(Paragraph((Part(heading.text, "strong"),), _HEADING_LINES), width)
        return lines + (self._pen.wrap(Paragraph((Part(heading.note, "small"),), 2), width) if heading.note else [])

    def _write(self, lines: Lines, page: Image.Image, x: float, y: float) -> None:
        self._pen.write(ImageDraw.Draw(page), lines, x, y)

    def _draw(self, piece: _Piece, page: Image.Image, left: float, y: float) -> None:
        canvas = ImageDraw.Draw(page)
        width, height = self._size
        places = [left + self._heading_px + place * (width + GAP_PX) for place in range(len(piece.columns))]
        for lines in piece.words:
            self._pen.write(canvas, lines, left, y)
            y += LINE_PX * len(lines) + 6
        for x, lines in zip(places, piece.headings, strict=False):
            self._pen.write(canvas, lines, x, y)
        y += _height_px((), piece.headings)
        for row in piece.rows:
            if self.sheet.y is not None:
                heading = self._heading(self.sheet.y.values[row], self._heading_px - GAP_PX)
                self._pen.write(canvas, heading, left, y)
            for x, column in zip(places, piece.columns, strict=True):
                self._draw_cell(page, self._cells[piece.panel.cells[row][column]], x, y)
            y += height + LINE_PX + GAP_PX

    def _draw_cell(self, page: Image.Image, cell: SweepCell, x: float, y: float) -> None:
        canvas = ImageDraw.Draw(page)
        width, height = self._size
        name = self.sheet.name_cell(cell.number)
        look = cell_state_of(cell)
        self._pen.write(canvas, [[(0.0, name, "small")]], x, y + height + 2)
        if look.kind == "images" and self._paste(page, cell, x, y):
            return
        canvas.rectangle((x, y, x + width - 1, y + height - 1), outline="#cccccc", fill="#f6f6f6")
        kept = cell.run is not None and any(image.state == "kept" for image in cell.run.record.images)
        lacking = "no thumbnail" if kept else "not on disk"
        word = "not sent" if cell.run is None else lacking if look.kind == "images" else look.word
        is_bad = look.kind == "bad"
        lines = self._pen.wrap(Paragraph((Part(word, "error" if is_bad else "muted"),), 2), width - 12)
        if look.detail and cell.run is not None:
            most = max(1, int((height - 8) // LINE_PX) - len(lines))
            lines += self._pen.wrap(Paragraph((Part(look.detail, "small"),), most), width - 12)
        self._pen.write(canvas, lines, x + 6, y + 4)

    def _paste(self, page: Image.Image, cell: SweepCell, x: float, y: float) -> bool:
        """Whether an image was there to be shown."""
        assert cell.run is not None
        found: list[Image.Image] = []
        for image in cell.run.record.images[:_MOSAIC]:
            try:
                with Image.open(self._thumbnail(image)) as opened:
                    found.append(opened.convert("RGB"))
            except (ImageError, OSError):
                continue
        if not found:
            return False
        for box in mosaic([Tile(0, index, image.size) for index, image in enumerate(found)], self._size):
            small = found[box.tile.image or 0]
            size = (max(1, int(box.width)), max(1, int(box.height)))
            if small.size != size:
                small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
            page.paste(small, (int(x + box.x), int(y + box.y)))
        return True


def _height_px(words: Iterable[Lines], headings: Iterable[Lines]) -> float:
    """Of the words above a grid: its title and names, and the values of its columns side by side."""
    most = max((len(lines) for lines in headings), default=0)
    return sum(LINE_PX * len(lines) + 6 for lines in words) + (LINE_PX * most + 6 if most else 0)
