"""Where everything on the grid of a sweep stands, page by page, in CSS pixels. Pure: measuring is handed in."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError
from comflowy_nb.runs.captions import Paragraph, Part, Tile
from comflowy_nb.runs.layout import GAP_PX, LINE_PX, MARGIN_PX, Words, fit, longest_side_px, mosaic, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from comflowy_nb.runs.captions import Tone
    from comflowy_nb.runs.layout import Measure
    from comflowy_nb.runs.sweep_captions import Heading, Headings, Panel, SweepSheet

    Pictures = tuple[tuple[int, int], ...]  # width and height of each picture of one cell

__all__ = ["MOSAIC_GAP_PX", "PAGE_PX", "Slot", "SweepPage", "arrange_sweep", "cell_size", "wrap_header"]

PAGE_PX = 2400  # highest page: what is larger goes on to another
COMFORTABLE_PX = 1500  # a grid is made smaller before it grows beyond this
SMALLEST_PX = 64
PAGED_PX = 72  # where there are pages anyhow
GOOD_PX = 96  # below this a higher page is better than smaller pictures
NUMBER_PX = 15  # the line of `s1.7` below a picture
ROW_LABEL_PX = 150
CELL_GAP_PX = 6
MOSAIC_GAP_PX = 2
PANEL_GAP_PX = 26
HEADER_LINES = 4
MIN_PAGE_PX = 420


@dataclass(frozen=True, slots=True)
class Slot:
    """The rectangle of one cell, by its number."""

    number: int
    x: int
    y: int
    width: int
    height: int


@dataclass(slots=True)
class SweepPage:
    """One page with everything but the pictures in its place; `number` counts from 1."""

    width: int
    height: int = 0
    number: int = 1
    of: int = 1
    slots: list[Slot] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Block:
    """A grid or a part of its columns and rows: what stands together under one row of headers."""

    panel: Panel
    columns: range
    rows: range


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What the choice of a size comes to."""

    box: tuple[int, int]
    across: int  # blocks side by side
    columns: int  # most columns in a block
    label: int  # width of the row labels, 0 without
    has_numbers: bool = True

    @property
    def row(self) -> int:
        return self.box[1] + (NUMBER_PX if self.has_numbers else 0) + CELL_GAP_PX

    @property
    def block(self) -> int:
        """Width of a block without its row labels, which stand once before all blocks of a band."""
        return self.columns * (self.box[0] + CELL_GAP_PX) - CELL_GAP_PX


def cell_size(pictures: Collection[Pictures], side: float) -> tuple[int, int]:
    """The rectangle that is enough for each of these cells, no side longer than `side`; a square for none."""
    sizes = [_extent(each, side) for each in pictures] or [(min(side, 256.0), min(side, 256.0))]
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    return math.floor(max(width, min(side, GOOD_PX))), math.floor(max(height, min(side, SMALLEST_PX)))


def _extent(pictures: Pictures, side: float) -> tuple[float, float]:
    """What the pictures of one cell take: one alone, or several as a mosaic."""
    if len(pictures) == 1:
        return fit(pictures[0], (side, side))
    boxes = mosaic([Tile(0, index, size) for index, size in enumerate(pictures)], (side, side), gap=MOSAIC_GAP_PX)
    return max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)


def arrange_sweep(
    write: Callable[[Collection[str]], SweepSheet],
    *,
    width_px: int,
    measure: Measure,
    pictures: Collection[Pictures] = (),
    page: int = 1,
) -> tuple[SweepPage, SweepSheet]:
    """One page of a sweep, at most `width_px` wide, nothing clipped, and the words it was made of.

    Parameters
    ----------
    write
        Makes the words, with letters for the axes of these names: headers that find no room are asked for as letters.
    pictures
        Sizes of the pictures, for each cell that has some; the same once is enough.

    Raises
    ------
    SettingsError
        If there is no such page.
    """
    lettered: set[str] = set()
    while True:
        sheet = write(lettered)
        sizes = _choose(sheet, width_px, measure, pictures)
        cramped = _cramped(sheet, sizes, measure) - lettered
        if not cramped:
            break
        lettered |= cramped
    pages = _paginate(sheet, sizes, width_px, measure)
    if not 1 <= page <= len(pages):
        count = len(pages)
        raise SettingsError(f"there is no page {page}: the grid has {count} page{'s' * (count != 1)}")
    return _Placing(sheet, sizes, width_px, measure).place(pages[page - 1], page, len(pages)), sheet


def wrap_header(text: str, width: float, measure: Measure, *, max_lines: int, tone: Tone = "title") -> list[str] | None:
    """The text in lines, broken at spaces and behind `_ - / . ,`; None if it doesn't fit."""
    lines = [""]
    for piece in re.findall(r"\s*[^\s_\-/.,]*[_\-/.,]*", text):
        if not piece:
            continue
        if measure((lines[-1] + piece).strip(), tone) <= width:
            lines[-1] += piece
        elif measure(piece.strip(), tone) <= width and not (_is_number(text)):
            lines.append(piece)
        else:
            return None
    found = [line.strip() for line in lines if line.strip()]
    return found if len(found) <= max_lines else None


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+\d.,eE]+", text))


# -- how large ------------------------------------------------------------------------------------------------------


def _choose(sheet: SweepSheet, width_px: int, measure: Measure, pictures: Collection[Pictures]) -> _Sizes:
    """The largest cells with which a page is not too high; the smallest that are good where no size is enough."""
    label = _label_width(sheet, measure)
    columns = len(sheet.panels[0].cells[0])
    room = width_px - 2 * MARGIN_PX
    ideal = longest_side_px(sheet.count)
    outside = _outside(sheet, width_px, measure)
    for limit, smallest in ((COMFORTABLE_PX, GOOD_PX), (PAGE_PX, GOOD_PX), (PAGE_PX, SMALLEST_PX)):
        best: tuple[float, _Sizes] | None = None
        for in_block, across in _shapes(sheet, room, label, smallest):
            widest = (room - label - (across - 1) * PANEL_GAP_PX) / across
            most = min(ideal, math.floor((widest + CELL_GAP_PX) / in_block) - CELL_GAP_PX)

            def fits(side: int, in_block: int = in_block, across: int = across, limit: int = limit) -> bool:
                sizes = _Sizes(cell_size(pictures, side), across, in_block, label)
                return outside + _height(sheet, sizes, measure, limit - outside) <= limit

            side = _largest(smallest, most, fits)
            if side is None:
                continue
            sizes = _Sizes(cell_size(pictures, side), across, in_block, label)
            score = side * _filled(sheet, in_block, across)
            if best is None or score > best[0]:
                best = score, sizes
        if best is not None:
            return best[1]
    most = max(1, (room - label + CELL_GAP_PX) // (PAGED_PX + CELL_GAP_PX))
    in_block = math.ceil(columns / math.ceil(columns / most))
    side = min(ideal, math.floor((room - label + CELL_GAP_PX) / in_block) - CELL_GAP_PX, GOOD_PX)
    sizes = _Sizes(cell_size(pictures, side), 1, in_block, label)
    return replace(sizes, across=max(1, int((room - label + PANEL_GAP_PX) // (sizes.block + PANEL_GAP_PX))))


def _largest(smallest: int, most: int, fits: Callable[[int], bool]) -> int | None:
    """The largest size that fits, None if not even the smallest does."""
    if most < smallest or not fits(smallest):
        return None
    low = smallest
    while low < most:
        middle = (low + most + 1) // 2
        if fits(middle):
            low = middle
        else:
            most = middle - 1
    return low


def _filled(sheet: SweepSheet, in_block: int, across: int) -> float:
    """How much of the places that the bands have is taken, from 0 to 1."""
    blocks = sum(math.ceil(len(panel.cells[0]) / in_block) for panel in sheet.panels)
    columns = sum(len(panel.cells[0]) for panel in sheet.panels)
    return columns / (math.ceil(blocks / across) * across * in_block)


def _shapes(sheet: SweepSheet, room: float, label: int, smallest: int) -> list[tuple[int, int]]:
    """(columns in a block, blocks side by side) worth a try."""
    columns = len(sheet.panels[0].cells[0])
    most = max(1, int((room - label + CELL_GAP_PX) // (smallest + CELL_GAP_PX)))
    if sheet.y is None and columns > 6:  # one axis: it flows like words
        fewest = 4 if columns <= 12 else 5
        flows = {math.ceil(columns / math.ceil(columns / wide)) for wide in range(fewest, most + 1)}
        return [(flow, 1) for flow in sorted(flows)]
    if columns > most:
        return [(math.ceil(columns / math.ceil(columns / most)), 1)]
    return [(columns, across) for across in range(1, min(len(sheet.panels), 6) + 1)]


def _blocks(sheet: SweepSheet, sizes: _Sizes) -> list[list[_Block]]:
    """The bands from top to bottom: each some blocks side by side."""
    blocks = []
    for panel in sheet.panels:
        columns, rows = len(panel.cells[0]), range(len(panel.cells))
        blocks += [
            _Block(panel, range(start, min(columns, start + sizes.columns)), rows)
            for start in range(0, columns, sizes.columns)
        ]
    return [blocks[start : start + sizes.across] for start in range(0, len(blocks), sizes.across)]


def _height(sheet: SweepSheet, sizes: _Sizes, measure: Measure, limit: float) -> float:
    """The height of all bands; at least it where that is beyond the limit already."""
    bands = _blocks(sheet, sizes)
    least = sum(len(band[0].rows) for band in bands) * sizes.row
    if least > limit:
        return least
    gaps = sum(_gap(before, band) for before, band in pairwise(bands))
    return gaps + sum(_band_height(sheet, sizes, band, measure) for band in bands)


def _gap(before: Sequence[_Block], band: Sequence[_Block]) -> int:
    """Between two bands; parts of one grid stand closer."""
    return GAP_PX - 8 if before[0].panel is band[0].panel and len(before[0].panel.cells) == 1 else PANEL_GAP_PX


def _band_height(sheet: SweepSheet, sizes: _Sizes, band: Sequence[_Block], measure: Measure) -> float:
    return (
        _title_height(sizes, band, measure)
        + max(_header_height(sheet, sizes, block, measure) for block in band)
        + max(len(block.rows) for block in band) * sizes.row
        - CELL_GAP_PX
    )


def _title_height(sizes: _Sizes, band: Sequence[_Block], measure: Measure) -> int:
    lines = max((len(_title(block, sizes, measure)) for block in band if block.panel.title), default=0)
    return lines * LINE_PX + 6 if lines else 0


def _title(block: _Block, sizes: _Sizes, measure: Measure) -> list[list[tuple[float, str, Tone]]]:
    return wrap(block.panel.title, sizes.block, measure, max_lines=4)


def _header_height(sheet: SweepSheet, sizes: _Sizes, block: _Block, measure: Measure) -> int:
    if sheet.x is None:
        return LINE_PX + 4 if sheet.y is not None else 0
    lines = max(len(_lines(sheet.x, index, sizes.box[0], measure)) for index in block.columns)
    return (lines + _shows_name(sheet, block)) * LINE_PX + 4


def _shows_name(sheet: SweepSheet, block: _Block) -> bool:
    """Whether the axis is named above its values: not again where a row of values goes on in the next band."""
    return sheet.x is not None and (sheet.y is not None or block.columns.start == 0)


def _lines(axis: Headings, index: int, width: float, measure: Measure) -> list[tuple[str, Tone]]:
    """A column's header, with its note where all have room; what no letter could help is broken anywhere."""
    heading = axis.values[index]
    wrapped = wrap_header(heading.text, width, measure, max_lines=HEADER_LINES)
    if wrapped is None:
        broken = wrap([Part(heading.text, "title")], width, measure, max_lines=HEADER_LINES)
        wrapped = ["".join(text for _, text, _ in line) for line in broken]
    has_note = heading.note and measure(axis.note, "small") <= width
    return [*((line, "title") for line in wrapped), *([(heading.note, "small")] if has_note else [])]  # type: ignore[list-item]  # a Tone


def _label_width(sheet: SweepSheet, measure: Measure) -> int:
    """How much room the row labels take, with the space behind them."""
    if sheet.y is None:
        return 0
    widest = max(
        measure(sheet.y.name, "muted"),
        *(measure(value.text, "title") for value in sheet.y.values),
        *(measure(value.note, "small") for value in sheet.y.values),
    )
    return math.ceil(min(widest, ROW_LABEL_PX)) + 12


def _cramped(sheet: SweepSheet, sizes: _Sizes, measure: Measure) -> set[str]:
    """Names of axes with a header that finds no room."""
    found = set()
    for axis, width, lines in (
        (sheet.x, sizes.box[0], HEADER_LINES),
        (sheet.y, sizes.label - 12, max(1, sizes.box[1] // LINE_PX)),
    ):
        if axis is not None and any(
            wrap_header(value.text, width, measure, max_lines=lines) is None for value in axis.values
        ):
            found.add(axis.key)
    return found


def _outside(sheet: SweepSheet, width_px: int, measure: Measure) -> float:
    """The height of what stands above and below the grids."""
    room = width_px - 2 * MARGIN_PX
    paragraphs = [*sheet.head, *(paragraph for _, _, paragraph in sheet.legend)]
    return 2 * MARGIN_PX + 34 + sum(_paragraph_height(paragraph, room, measure) for paragraph in paragraphs)


def _paragraph_height(paragraph: Paragraph, width: float, measure: Measure) -> int:
    return len(wrap(paragraph.parts, width, measure, max_lines=paragraph.max_lines)) * LINE_PX + 2


def _paginate(sheet: SweepSheet, sizes: _Sizes, width_px: int, measure: Measure) -> list[list[list[_Block]]]:
    """The bands of each page; a band that is higher than a page goes on at the next, headers and all."""
    room = max(PAGE_PX / 2, PAGE_PX - _outside(sheet, width_px, measure))
    pages: list[list[list[_Block]]] = [[]]
    used = 0.0
    for band in _blocks(sheet, sizes):
        rest = band
        while rest:
            above = _gap(pages[-1][-1], rest) if pages[-1] else 0
            if used + above + _band_height(sheet, sizes, rest, measure) <= room:
                pages[-1].append(rest)
                used += above + _band_height(sheet, sizes, rest, measure)
                break
            one_row = [replace(block, rows=block.rows[:1]) for block in rest]
            fixed = _band_height(sheet, sizes, one_row, measure) - sizes.row
            fitting = int((room - used - above - fixed) // sizes.row)
            if fitting < min(2, len(rest[0].rows)) and pages[-1]:
                pages.append([])
                used = 0.0
                continue
            fitting = max(1, fitting)
            pages[-1].append([replace(block, rows=block.rows[:fitting]) for block in rest])
            rest = [replace(block, rows=block.rows[fitting:]) for block in rest if len(block.rows) > fitting]
            pages.append([])
            used = 0.0
    return [page for page in pages if page]


# -- everything in its place ----------------------------------------------------------------------------------------


class _Placing:
    def __init__(self, sheet: SweepSheet, sizes: _Sizes, width_px: int, measure: Measure) -> None:
        self._sheet = sheet
        self._sizes = sizes
        self._measure = measure
        self._width_px = width_px

    def place(self, bands: Sequence[Sequence[_Block]], number: int, of: int) -> SweepPage:
        sheet, sizes = self._sheet, self._sizes
        across = max(len(band) for band in bands)
        columns = max(len(block.columns) for band in bands for block in band)
        one = columns * (sizes.box[0] + CELL_GAP_PX) - CELL_GAP_PX
        wanted = sizes.label + across * one + (across - 1) * PANEL_GAP_PX + 2 * MARGIN_PX
        page = SweepPage(math.ceil(min(self._width_px, max(MIN_PAGE_PX, wanted))), number=number, of=of)
        y = self._write(page, sheet.head, MARGIN_PX)
        if of > 1:
            shown = [block.panel.cells[row][column] for band in bands for block in band
                     for row in block.rows for column in block.columns]  # fmt: skip
            y = self._write(page, [self._say_page(number, of, len(shown))], y)
        y += 14
        for before, band in zip((None, *bands), bands, strict=False):
            y += _gap(before, band) if before is not None else 0
            first = MARGIN_PX + sizes.label
            for place, block in enumerate(band):
                self._place_block(page, block, band, first + place * (sizes.block + PANEL_GAP_PX), y)
            if sheet.y is not None:
                self._write_labels(page, sheet.y, band, y)
            y += _band_height(sheet, sizes, band, self._measure)
        legend = [paragraph for axis, index, paragraph in sheet.legend if self._is_on(bands, axis, index)]
        if legend:
            y = self._write(page, legend, y + 14)
        page.height = math.ceil(y + MARGIN_PX - 4)
        return page

    def _say_page(self, number: int, of: int, shown: int) -> Paragraph:
        ref = self._sheet.ref
        tip = f"; %comflowy show {ref} --page {number % of + 1} for another" if ref else ""
        words = f"page {number} of {of}: {shown} of {self._sheet.count} cells{tip}"
        return Paragraph((Part(words, "muted"),), 2)

    def _place_block(self, page: SweepPage, block: _Block, band: Sequence[_Block], left: int, y: float) -> None:
        sheet, sizes = self._sheet, self._sizes
        for line, words in enumerate(_title(block, sizes, self._measure) if block.panel.title else ()):
            page.words += [Words(text, tone, left + shift, y + line * LINE_PX) for shift, text, tone in words]
        y += _title_height(sizes, band, self._measure)
        header = max(_header_height(sheet, sizes, other, self._measure) for other in band)
        if sheet.x is not None:
            self._write_headers(page, sheet.x, block, left, y, y + header - 4)
        for down, row in enumerate(block.rows):
            top = y + header + down * sizes.row
            for place, index in enumerate(block.columns):
                number = block.panel.cells[row][index]
                x = left + place * (sizes.box[0] + CELL_GAP_PX)
                page.slots.append(Slot(number, round(x), round(top), *sizes.box))
                page.words.append(Words(self._name(number), "small", x, top + sizes.box[1] - 2))

    def _write_headers(  # noqa: PLR0917 - a place on a page is made of many numbers
        self, page: SweepPage, axis: Headings, block: _Block, left: int, top: float, bottom: float
    ) -> None:
        if _shows_name(self._sheet, block):
            line = wrap([Part(axis.name, "muted")], self._sizes.block, self._measure, max_lines=1)[0]
            page.words += [Words(text, tone, left + shift, top) for shift, text, tone in line]
        for place, index in enumerate(block.columns):
            lines = _lines(axis, index, self._sizes.box[0], self._measure)
            x, y = left + place * (self._sizes.box[0] + CELL_GAP_PX), bottom - len(lines) * LINE_PX
            page.words += [Words(text, tone, x, y + n * LINE_PX) for n, (text, tone) in enumerate(lines)]

    def _name(self, number: int) -> str:
        """The reference of a cell; its number alone where there is no room for more."""
        name = self._sheet.name_cell(number)
        return name if self._measure(name, "small") <= self._sizes.box[0] else str(number)

    def _write_labels(self, page: SweepPage, axis: Headings, band: Sequence[_Block], y: float) -> None:
        """The labels of the rows, once for all blocks of a band, and above them the name of their axis."""
        y += _title_height(self._sizes, band, self._measure)
        y += max(_header_height(self._sheet, self._sizes, other, self._measure) for other in band)
        lines = wrap([Part(axis.name, "muted")], self._sizes.label - 12, self._measure, max_lines=1)
        page.words += [
            Words(text, tone, MARGIN_PX + shift, y - 4 - LINE_PX) for line in lines for shift, text, tone in line
        ]
        for down, row in enumerate(band[0].rows):
            self._write_label(page, axis.values[row], MARGIN_PX, y + down * self._sizes.row)

    def _write_label(self, page: SweepPage, heading: Heading, x: int, top: float) -> None:
        width, height = self._sizes.label - 12, self._sizes.box[1]
        most = max(1, height // LINE_PX)
        wrapped = wrap_header(heading.text, width, self._measure, max_lines=most)
        if wrapped is None:
            broken = wrap([Part(heading.text, "title")], width, self._measure, max_lines=most)
            wrapped = ["".join(text for _, text, _ in line) for line in broken]
        lines: list[tuple[str, Tone]] = [(line, "title") for line in wrapped]
        note = wrap_header(heading.note, width, self._measure, max_lines=1, tone="small") if heading.note else None
        if note and len(lines) < most:
            lines.append((note[0], "small"))
        y = top + max(0.0, (height - len(lines) * LINE_PX) / 2)
        page.words += [Words(text, tone, x, y + place * LINE_PX) for place, (text, tone) in enumerate(lines)]

    def _is_on(self, bands: Sequence[Sequence[_Block]], axis: str, index: int) -> bool:
        """Whether a value is one of those on this page."""
        for block in (block for band in bands for block in band):
            if self._sheet.x is not None and axis == self._sheet.x.key:
                if index in block.columns:
                    return True
            elif self._sheet.y is not None and axis == self._sheet.y.key:
                if index in block.rows:
                    return True
            elif (axis, index) in block.panel.values:
                return True
        return False

    def _write(self, page: SweepPage, paragraphs: Iterable[Paragraph], y: float) -> float:
        for paragraph in paragraphs:
            room = page.width - 2 * MARGIN_PX
            for line in wrap(paragraph.parts, room, self._measure, max_lines=paragraph.max_lines):
                page.words += [Words(text, tone, MARGIN_PX + shift, y) for shift, text, tone in line]
                y += LINE_PX
            y += 2
        return y
