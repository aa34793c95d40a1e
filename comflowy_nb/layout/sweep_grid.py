"""Arrange the grid of a sweep on pages: the size of its cells, and the positions of its blocks and headings. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.errors import SettingsError
from comflowy_nb.layout.page import MARGIN_PX, MIN_PAGE_PX, Box, Page, TextRun, Tile, fit, longest_side_px, mosaic
from comflowy_nb.layout.sweep_sheet import (
    CELL_GAP_PX,
    INPUT_GAP_PX,
    INPUT_PX,
    LABEL_GAP_PX,
    PANEL_GAP_PX,
    Bands,
    Shape,
    label_width,
    wrap_heading,
)
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from comflowy_nb.layout.sweep_sheet import Band, Block, Headings, SweepSheet
    from comflowy_nb.layout.text import Line, Measure, Tone


ImageSizes: TypeAlias = tuple[tuple[int, int], ...]  # width and height of each image of one cell
MOSAIC_GAP_PX = 2
_MARK_GAP_PX = 6  # before the mark of a rating, and before a score


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Limits of a page of a sweep, in CSS pixels.

    Attributes
    ----------
    width_px, height_px
        Of the page; a sweep that needs more height continues on the next page.
    comfortable_px
        Height up to which the cells are as large as possible. They become smaller before the page becomes higher.
    largest_px
        Longest side of a cell; None lets the number of cells decide.
    good_px
        A higher page is better than smaller cells.
    paged_px, smallest_px
        Shortest cells where there are several pages, and on a single page.
    next_page
        What to type for another page, with `{ref}` and `{page}`.
    """

    width_px: int
    height_px: int = 2400
    comfortable_px: int = 1500
    largest_px: int | None = None
    good_px: int = 96
    paged_px: int = 72
    smallest_px: int = 64
    next_page: str = "%comflowy show {ref} --page {page}"


def arrange_sweep(
    write: Callable[[Collection[str]], SweepSheet],
    *,
    limits: PageLimits,
    measure: Measure,
    images: Collection[ImageSizes] = (),
    page: int = 1,
) -> Page:
    """Arrange one page of a sweep; nothing is clipped.

    The tile of a cell has the number of the cell; the caller draws its images or state.

    Parameters
    ----------
    write
        Makes the content, with letters for the values of the axes of these names: those with a heading that does not
        fit.
    images
        Sizes of the images of each cell, or of the cells that differ.

    Raises
    ------
    SettingsError
        If there is no such page.
    """
    lettered: set[str] = set()
    while True:
        sheet = write(lettered)
        bands = _Chooser(sheet, limits, measure, images).choose()
        cramped = bands.cramped() - lettered
        if not cramped:
            break
        lettered |= cramped
    pages = _paginate(bands, limits)
    if not 1 <= page <= len(pages):
        count = len(pages)
        raise SettingsError(f"there is no page {page}: the grid has {count} page{'s' * (count != 1)}")
    return _arrange_page(bands, limits, pages[page - 1], page, len(pages))


def _paginate(bands: Bands, limits: PageLimits) -> list[list[Band]]:
    """Distribute the bands among pages; a band that is too high continues on the next page, with its headings."""
    room = max(limits.height_px / 2, limits.height_px - _outside_height(bands.sheet, limits, bands.measure))
    pages: list[list[Band]] = [[]]
    used = 0
    for band in bands.all:
        rest = band
        while rest:
            above = bands.gap(pages[-1][-1], rest) if pages[-1] else 0
            height = above + bands.band_height(rest)
            if used + height <= room:
                pages[-1].append(rest)
                used += height
                break
            rows = max(len(block.rows) for block in rest)
            fitting = int((room - used - height) // bands.row_px) + rows
            if fitting >= min(2, len(rest[0].rows)) or not pages[-1]:
                upper, rest = bands.split(rest, max(1, fitting))
                pages[-1].append(upper)
            pages.append([])
            used = 0
    return [page for page in pages if page]


# -- size and placement of the cells ----------------------------------------------------------------------------------


def cell_size(images: Collection[ImageSizes], side: float, limits: PageLimits) -> tuple[int, int]:
    """Return the size that is enough for each of these cells, no side longer than `side`; a square for no cells."""
    sizes = [_extent(each, side) for each in images] or [(min(side, 256.0), min(side, 256.0))]
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    return math.floor(max(width, min(side, limits.good_px))), math.floor(max(height, min(side, limits.smallest_px)))


def _extent(images: ImageSizes, side: float) -> tuple[float, float]:
    """Return the size of one image, or of a mosaic of several."""
    if len(images) == 1:
        return fit(images[0], (side, side))
    boxes = mosaic([Tile(0, index, size) for index, size in enumerate(images)], (side, side), gap=MOSAIC_GAP_PX)
    return max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)


def _outside_height(sheet: SweepSheet, limits: PageLimits, measure: Measure) -> int:
    """Return the height of the text above and below the cells."""
    room = limits.width_px - 2 * MARGIN_PX
    paragraphs = [*sheet.head, *(each for _, _, each in sheet.legend), *(each for _, each in sheet.notes)]
    lines = sum(len(wrap(each.parts, room, measure, max_lines=each.max_lines)) for each in paragraphs)
    return 2 * MARGIN_PX + 34 + lines * LINE_PX + 2 * len(paragraphs)


class _Chooser:
    """Choose the largest cells with which the page is not too high; small cells if there must be several pages."""

    def __init__(self, sheet: SweepSheet, limits: PageLimits, measure: Measure, images: Collection[ImageSizes]) -> None:
        self._sheet, self._limits, self._measure, self._images = sheet, limits, measure, images
        self._label = label_width(sheet, measure)
        self._room = limits.width_px - 2 * MARGIN_PX
        self._outside = _outside_height(sheet, limits, measure)
        self._largest = limits.largest_px or longest_side_px(sheet.count)

    def choose(self) -> Bands:
        limits = self._limits
        for height, smallest in (
            (limits.comfortable_px, limits.good_px),
            (limits.height_px, limits.good_px),
            (limits.height_px, limits.smallest_px),
        ):
            fitting = [
                (side, self._bands(side, shape))
                for shape in self._shapes(smallest)
                if (side := self._largest_side(shape, smallest, height - self._outside)) is not None
            ]
            if fitting:
                return max(fitting, key=lambda pair: pair[0] * pair[1].filled)[1]
        return self._choose_for_pages()

    def _bands(self, side: int, shape: Shape) -> Bands:
        return Bands(self._sheet, self._measure, cell_size(self._images, side, self._limits), shape, self._label)

    def _largest_side(self, shape: Shape, smallest: int, height: float) -> int | None:
        """Return the longest side of cells that are not too high together; None if the smallest are."""
        sides = range(smallest, min(self._largest, self._widest(shape)) + 1)
        count = bisect_left(sides, True, key=lambda side: not self._bands(side, shape).fits(height))
        return sides[count - 1] if count else None

    def _widest(self, shape: Shape) -> int:
        """Return the longest side of cells for which the page is wide enough."""
        labels = self._label * (shape.across if shape.splits_rows else 1)
        width = (self._room - labels - (shape.across - 1) * PANEL_GAP_PX) / shape.across
        return math.floor((width + CELL_GAP_PX) / shape.columns) - CELL_GAP_PX

    def _most_columns(self, side: int) -> int:
        return max(1, (self._room - self._label + CELL_GAP_PX) // (side + CELL_GAP_PX))

    def _shapes(self, smallest: int) -> list[Shape]:
        """Return the shapes to try."""
        sheet, columns, rows = self._sheet, self._sheet.columns, self._sheet.rows
        most = self._most_columns(smallest)
        if sheet.y is None and columns > 6:  # one axis continues in the next row, like text
            fewest = 4 if columns <= 12 else 5
            widths = {_even(columns, wide) for wide in range(fewest, most + 1)}
            return [Shape(wide, 1, 1) for wide in sorted(widths)]
        if columns > most:
            return [Shape(_even(columns, most), rows, 1)]
        shapes = [Shape(columns, rows, across) for across in range(1, min(len(sheet.panels), 6) + 1)]
        if len(sheet.panels) == 1 and sheet.y is not None:  # a high and narrow panel continues beside itself
            shapes += [
                Shape(columns, math.ceil(rows / beside), beside, splits_rows=True)
                for beside in range(2, most // columns + 1)
                if rows / beside >= max(4, columns)
            ]
        return shapes

    def _choose_for_pages(self) -> Bands:
        """Choose small cells, so that there are few pages."""
        sheet, columns, rows = self._sheet, self._sheet.columns, self._sheet.rows
        shape = Shape(_even(columns, self._most_columns(self._limits.paged_px)), rows, 1)
        bands = self._bands(min(self._largest, self._widest(shape), self._limits.good_px), shape)
        beside = (self._room + PANEL_GAP_PX) // (self._label + bands.block_px + PANEL_GAP_PX)
        if len(sheet.panels) == 1 and shape.columns == columns and beside > 1 and sheet.y is not None:
            on_page = max(1, int((self._limits.height_px - self._outside - 4 * LINE_PX) // bands.row_px))
            return replace(bands, shape=Shape(columns, on_page, beside, splits_rows=True))
        across = max(1, (self._room - self._label + PANEL_GAP_PX) // (bands.block_px + PANEL_GAP_PX))
        return replace(bands, shape=replace(shape, across=across))


def _even(count: int, most: int) -> int:
    """Return the length of rows of equal length, none longer than `most`."""
    return math.ceil(count / math.ceil(count / most))


# -- positions on a page ----------------------------------------------------------------------------------------------


def _arrange_page(bands: Bands, limits: PageLimits, page_bands: Sequence[Band], number: int, of: int) -> Page:
    sheet, measure = bands.sheet, bands.measure
    across = max(map(len, page_bands))
    columns = max(len(block.columns) for band in page_bands for block in band)
    needed_px = 2 * MARGIN_PX + bands.label + (across - 1) * bands.stride_px + columns * bands.column_px - CELL_GAP_PX
    page = Page(min(limits.width_px, max(MIN_PAGE_PX, needed_px)), number=number, of=of)
    text_px = page.width - 2 * MARGIN_PX
    head = [*sheet.head, _page_note(bands, limits, page_bands, number, of)] if of > 1 else sheet.head
    y = page.add_paragraphs(head, (MARGIN_PX, MARGIN_PX), text_px, measure) + 14
    for before, band in zip((None, *page_bands), page_bands, strict=False):
        y += bands.gap(before, band) if before is not None else 0
        top = y + bands.title_height(band)
        cells_top = top + bands.header_height(band)
        for position, block in enumerate(band):
            x = MARGIN_PX + position * bands.stride_px
            page.add_lines(bands.title_lines(block), x + bands.label, y)
            if sheet.x is not None:
                _add_headers(page, bands, sheet.x, block, (x + bands.label, top, cells_top - 4))
            _add_cells(page, bands, block, x + bands.label, cells_top)
            if sheet.y is not None and (position == 0 or bands.shape.splits_rows):
                _add_labels(page, bands, sheet.y, block, (x, cells_top))
        y += bands.band_height(band)
    values = _values_on(sheet, page_bands)
    legend = [paragraph for axis, index, paragraph in sheet.legend if (axis, index) in values]
    shown = {number for band in page_bands for block in band for number in _numbers_in(block)}
    notes = [paragraph for number, paragraph in sheet.notes if number in shown]
    for paragraphs in (legend, notes):
        if paragraphs:
            y = page.add_paragraphs(paragraphs, (MARGIN_PX, y + 14), text_px, measure)
    page.height = math.ceil(y + MARGIN_PX - 4)
    return page


def _page_note(bands: Bands, limits: PageLimits, page_bands: Sequence[Band], number: int, of: int) -> Paragraph:
    cells = sum(len(block.rows) * len(block.columns) for band in page_bands for block in band)
    ref, command = bands.sheet.ref, limits.next_page
    tip = f"; {command.format(ref=ref, page=number % of + 1)} for another" if ref and command else ""
    return Paragraph((Part(f"page {number} of {of}: {cells} of {bands.sheet.count} cells{tip}", "muted"),), 2)


def _add_cells(page: Page, bands: Bands, block: Block, left: int, top: float) -> None:
    width, height = bands.box
    for down, row in enumerate(block.rows):
        y = round(top + down * bands.row_px)
        for across, column in enumerate(block.columns):
            number = block.panel.cells[row][column]
            if not number:
                continue
            x = left + across * bands.column_px
            page.boxes.append(Box(Tile(number), x, y, width, height))
            page.texts += _line_below(bands, number, (x, y + height - 2), width)


def _line_below(bands: Bands, number: int, position: tuple[float, float], width: float) -> list[TextRun]:
    """Return the reference of a cell with its rating and scores, as far as there is room for them."""
    measure, (x, y) = bands.measure, position
    review = bands.sheet.reviews.get(number)
    pieces: list[tuple[str, Tone]] = [(score, "small") for score in (review.scores if review is not None else ())]
    if review is not None and review.mark is not None:
        pieces.insert(0, (review.mark.text, review.mark.tone))
    sizes = [measure(text, tone) + _MARK_GAP_PX for text, tone in pieces]
    names = (bands.sheet.name_cell(number), str(number))
    # The whole reference if all pieces fit beside it, else the number; and as many pieces as fit.
    name = next((name for name in names if measure(name, "small") + sum(sizes) <= width), None)
    if name is None:
        name = next((name for name in names if measure(name, "small") + sum(sizes[:1]) <= width), names[1])
    texts = [TextRun(name, "small", x, y)]
    used = measure(name, "small")
    for (text, tone), size in zip(pieces, sizes, strict=True):
        if used + size > width:
            break
        texts.append(TextRun(text, tone, x + used + _MARK_GAP_PX, y))
        used += size
    return texts


def _numbers_in(block: Block) -> list[int]:
    return [block.panel.cells[row][column] for row in block.rows for column in block.columns]


def _add_headers(page: Page, bands: Bands, axis: Headings, block: Block, position: tuple[int, float, float]) -> None:
    """Add the column headings, with their lower edge at `bottom`.

    Above them are the axis name and, for an image axis, the input images. `position` is left, top and bottom.
    """
    left, top, bottom = position
    if bands.shows_axis(block):
        page.add_lines(_name_lines(bands, axis, bands.block_px), left, top)
    for across, index in enumerate(block.columns):
        lines = bands.header_lines(axis, index)
        x, y = left + across * bands.column_px, bottom - len(lines) * LINE_PX
        page.add_lines(lines, x, y)
        image = axis.images[index] if axis.images else None
        if image is not None:
            side = bands.input_px
            page.boxes.append(Box(Tile(0, input_image=image), x, round(y - INPUT_GAP_PX - side), side, side))


def _name_lines(bands: Bands, axis: Headings, width: float) -> list[Line]:
    return wrap([Part(axis.name, "muted")], width, bands.measure, max_lines=1)


def _add_labels(page: Page, bands: Bands, axis: Headings, block: Block, corner: tuple[int, float]) -> None:
    """Add the labels of the rows, and above them the name of their axis."""
    x, top = corner
    width, height = bands.label - LABEL_GAP_PX, bands.box[1]
    page.add_lines(_name_lines(bands, axis, width), x, top - 4 - LINE_PX)
    most = max(1, height // LINE_PX)
    for down, row in enumerate(block.rows):
        heading, image = axis.values[row], axis.images[row] if axis.images else None
        lines = bands.heading_lines(heading.text, width, most)
        note = wrap_heading(heading.note, width, bands.measure, max_lines=1, tone="small")
        if note and len(lines) < most:
            lines.append([(0.0, note[0], "small")])
        side = min(INPUT_PX, width, height - len(lines) * LINE_PX - INPUT_GAP_PX) if image is not None else 0
        above = side + INPUT_GAP_PX if side >= LINE_PX else 0  # a smaller image shows nothing
        y = top + down * bands.row_px + max(0.0, (height - len(lines) * LINE_PX - above) / 2)
        if above:
            page.boxes.append(Box(Tile(0, input_image=image), x, round(y), side, side))
        page.add_lines(lines, x, y + above)


def _values_on(sheet: SweepSheet, page_bands: Sequence[Band]) -> set[tuple[str, int]]:
    """Return (axis, index) of each value on this page."""
    values: set[tuple[str, int]] = set()
    for block in (block for band in page_bands for block in band):
        values.update(block.panel.values)
        for axis, indices in ((sheet.x, block.columns), (sheet.y, block.rows)):
            if axis is not None:
                values.update((axis.key, index) for index in indices)
    return values
