"""Arrange the grid of a sweep on pages. Pure: the caller passes the function that measures text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError
from comflowy_nb.layout.page import MARGIN_PX, MIN_PAGE_PX, Box, Page, TextRun, Tile
from comflowy_nb.layout.sweep_sheet import CELL_GAP_PX, INPUT_GAP_PX, INPUT_PX, LABEL_GAP_PX, wrap_heading
from comflowy_nb.layout.sweep_sizes import choose_bands, outside_height
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from comflowy_nb.layout.sweep_sheet import Band, Bands, Block, Headings, SweepSheet
    from comflowy_nb.layout.sweep_sizes import ImageSizes, PageLimits
    from comflowy_nb.layout.text import Line, Measure

__all__ = ["arrange_sweep"]


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
        bands = choose_bands(sheet, limits, measure, images)
        cramped = bands.cramped() - lettered
        if not cramped:
            break
        lettered |= cramped
    pages = _paginate(bands, limits)
    if not 1 <= page <= len(pages):
        count = len(pages)
        raise SettingsError(f"there is no page {page}: the grid has {count} page{'s' * (count != 1)}")
    return _Arranger(bands, limits).arrange(pages[page - 1], page, len(pages))


def _paginate(bands: Bands, limits: PageLimits) -> list[list[Band]]:
    """Distribute the bands among pages; a band that is too high continues on the next page, with its headings."""
    room = max(limits.height_px / 2, limits.height_px - outside_height(bands.sheet, limits, bands.measure))
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


class _Arranger:
    def __init__(self, bands: Bands, limits: PageLimits) -> None:
        self._sheet = bands.sheet
        self._bands = bands
        self._measure = bands.measure
        self._limits = limits

    def arrange(self, shown: Sequence[Band], number: int, of: int) -> Page:
        bands, sheet = self._bands, self._sheet
        across = max(map(len, shown))
        columns = max(len(block.columns) for band in shown for block in band)
        wanted = 2 * MARGIN_PX + bands.label + (across - 1) * bands.stride_px + columns * bands.column_px - CELL_GAP_PX
        page = Page(min(self._limits.width_px, max(MIN_PAGE_PX, wanted)), number=number, of=of)
        text_px = page.width - 2 * MARGIN_PX
        head = [*sheet.head, self._page_note(shown, number, of)] if of > 1 else sheet.head
        y = page.add_paragraphs(head, (MARGIN_PX, MARGIN_PX), text_px, self._measure) + 14
        for before, band in zip((None, *shown), shown, strict=False):
            y += bands.gap(before, band) if before is not None else 0
            top = y + bands.title_height(band)
            cells_top = top + bands.header_height(band)
            for position, block in enumerate(band):
                x = MARGIN_PX + position * bands.stride_px
                page.add_lines(bands.title_lines(block), x + bands.label, y)
                if sheet.x is not None:
                    self._add_headers(page, sheet.x, block, (x + bands.label, top), cells_top - 4)
                self._add_cells(page, block, x + bands.label, cells_top)
                if sheet.y is not None and (position == 0 or bands.shape.splits_rows):
                    self._add_labels(page, sheet.y, block, x, cells_top)
            y += bands.band_height(band)
        legend = [paragraph for axis, index, paragraph in sheet.legend if self._shows(shown, axis, index)]
        if legend:
            y = page.add_paragraphs(legend, (MARGIN_PX, y + 14), text_px, self._measure)
        page.height = math.ceil(y + MARGIN_PX - 4)
        return page

    def _page_note(self, shown: Sequence[Band], number: int, of: int) -> Paragraph:
        cells = sum(len(block.rows) * len(block.columns) for band in shown for block in band)
        ref, command = self._sheet.ref, self._limits.next_page
        tip = f"; {command.format(ref=ref, page=number % of + 1)} for another" if ref and command else ""
        return Paragraph((Part(f"page {number} of {of}: {cells} of {self._sheet.count} cells{tip}", "muted"),), 2)

    def _add_cells(self, page: Page, block: Block, left: int, top: float) -> None:
        width, height = self._bands.box
        for down, row in enumerate(block.rows):
            y = round(top + down * self._bands.row_px)
            for across, column in enumerate(block.columns):
                number = block.panel.cells[row][column]
                if not number:
                    continue
                x = left + across * self._bands.column_px
                page.boxes.append(Box(Tile(number), x, y, width, height))
                name = self._sheet.name_cell(number)
                if self._measure(name, "small") > width:
                    name = str(number)
                page.texts.append(TextRun(name, "small", x, y + height - 2))

    def _add_headers(self, page: Page, axis: Headings, block: Block, corner: tuple[int, float], bottom: float) -> None:
        """Add the headings of the columns, which end at `bottom`, and above them the name of their axis."""
        left, top = corner
        if self._bands.shows_axis(block):
            page.add_lines(self._name_lines(axis, self._bands.block_px), left, top)
        for position, index in enumerate(block.columns):
            lines = self._bands.header_lines(axis, index)
            x, y = left + position * self._bands.column_px, bottom - len(lines) * LINE_PX
            page.add_lines(lines, x, y)
            image = axis.images[index] if axis.images else None
            if image is not None:
                side = self._bands.input_px
                page.boxes.append(Box(Tile(0, input_image=image), x, round(y - INPUT_GAP_PX - side), side, side))

    def _name_lines(self, axis: Headings, width: float) -> list[Line]:
        return wrap([Part(axis.name, "muted")], width, self._measure, max_lines=1)

    def _add_labels(self, page: Page, axis: Headings, block: Block, x: int, top: float) -> None:
        """Add the labels of the rows, and above them the name of their axis."""
        bands = self._bands
        width, height = bands.label - LABEL_GAP_PX, bands.box[1]
        page.add_lines(self._name_lines(axis, width), x, top - 4 - LINE_PX)
        most = max(1, height // LINE_PX)
        for down, row in enumerate(block.rows):
            heading, image = axis.values[row], axis.images[row] if axis.images else None
            lines = bands.heading_lines(heading.text, width, most)
            note = wrap_heading(heading.note, width, self._measure, max_lines=1, tone="small")
            if note and len(lines) < most:
                lines.append([(0.0, note[0], "small")])
            side = min(INPUT_PX, width, height - len(lines) * LINE_PX - INPUT_GAP_PX) if image is not None else 0
            above = side + INPUT_GAP_PX if side >= LINE_PX else 0  # a smaller image shows nothing
            y = top + down * bands.row_px + max(0.0, (height - len(lines) * LINE_PX - above) / 2)
            if above:
                page.boxes.append(Box(Tile(0, input_image=image), x, round(y), side, side))
            page.add_lines(lines, x, y + above)

    def _shows(self, shown: Sequence[Band], axis: str, index: int) -> bool:
        """Return whether a value is on this page."""
        for block in (block for band in shown for block in band):
            if self._sheet.x is not None and axis == self._sheet.x.key:
                is_shown = index in block.columns
            elif self._sheet.y is not None and axis == self._sheet.y.key:
                is_shown = index in block.rows
            else:
                is_shown = (axis, index) in block.panel.values
            if is_shown:
                return True
        return False
