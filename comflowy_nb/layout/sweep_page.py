"""Arrange one page of a sweep grid: positions of blocks, headings, cells and labels. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comflowy_nb.layout.page import MARGIN_PX, MIN_PAGE_PX, Box, Page, TextRun, Tile
from comflowy_nb.layout.sweep_sheet import CELL_GAP_PX, INPUT_IMAGE_GAP_PX, INPUT_IMAGE_PX, LABEL_GAP_PX, wrap_heading
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.layout.sweep_sheet import Band, Bands, Block, Headings, SweepSheet
    from comflowy_nb.layout.text import Line, Tone


_REVIEW_GAP_PX = 6  # before the mark of a rating, and before each score


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Limits of a page of a sweep, in CSS pixels.

    Attributes
    ----------
    width_px, height_px
        Size of the page. A sweep that needs more height continues on the next page.
    comfortable_px
        Preferred height. Cells become smaller, down to `good_px`, before a page exceeds it.
    largest_px
        Longest side of a cell; None to choose it by the number of cells.
    good_px
        Smallest side of a cell while the page is no higher than `comfortable_px`.
    smallest_px
        Smallest side of a cell on a page that is higher.
    paged_px
        Smallest side of a cell on several pages.
    is_in_notebook
        Whether pages of few cells are zoomed to make the text legible (`arrange_legibly`), and pages name the command
        that shows another page.
    """

    width_px: int
    height_px: int = 2400
    comfortable_px: int = 1500
    largest_px: int | None = None
    good_px: int = 96
    paged_px: int = 72
    smallest_px: int = 64
    is_in_notebook: bool = True

    def reduced(self, width_px: int, zoom: float) -> PageLimits:
        """Return the limits of a page with this width, before it is enlarged by the factor `zoom`."""
        return replace(
            self,
            width_px=width_px,
            height_px=int(self.height_px / zoom),
            comfortable_px=int(self.comfortable_px / zoom),
            good_px=int(self.good_px / zoom),
            paged_px=int(self.paged_px / zoom),
            smallest_px=int(self.smallest_px / zoom),
        )


def arrange_page(bands: Bands, limits: PageLimits, page_bands: Sequence[Band], number: int, of: int) -> Page:
    """Arrange the bands of one page, which is page `number` of `of`."""
    sheet, measure = bands.sheet, bands.measure
    across = max(map(len, page_bands))
    columns = max(len(block.columns) for band in page_bands for block in band)
    needed_px = (
        2 * MARGIN_PX + bands.label_px + (across - 1) * bands.stride_px + columns * bands.column_px - CELL_GAP_PX
    )
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
            page.add_lines(bands.title_lines(block), x + bands.label_px, y)
            if sheet.x is not None:
                _add_headers(page, bands, sheet.x, block, (x + bands.label_px, top, cells_top - 4))
            _add_cells(page, bands, block, x + bands.label_px, cells_top)
            if sheet.y is not None and (position == 0 or bands.layout.splits_rows):
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
    ref, is_shown = bands.sheet.ref, limits.is_in_notebook
    tip = f"; %comflowy show {ref} --page {number % of + 1} for another" if ref and is_shown else ""
    return Paragraph((Part(f"page {number} of {of}: {cells} of {bands.sheet.count} cells{tip}", "muted"),), 2)


def _add_cells(page: Page, bands: Bands, block: Block, left: int, top: float) -> None:
    width, height = bands.cell_px
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
    """Return the line below a cell: its reference or number, then its rating and scores as far as they fit.

    The reference is shown if everything fits beside it, or at least the rating or the first score; else the number.
    """
    measure, (x, y) = bands.measure, position
    review = bands.sheet.reviews.get(number)
    pieces: list[tuple[str, Tone]] = [(score, "small") for score in (review.scores if review is not None else ())]
    if review is not None and review.mark is not None:
        pieces.insert(0, (review.mark.text, review.mark.tone))
    sizes = [measure(text, tone) + _REVIEW_GAP_PX for text, tone in pieces]
    names = (bands.sheet.name_cell(number), str(number))
    name = next((name for name in names if measure(name, "small") + sum(sizes) <= width), None)
    if name is None:
        name = next((name for name in names if measure(name, "small") + sum(sizes[:1]) <= width), names[1])
    texts = [TextRun(name, "small", x, y)]
    used = measure(name, "small")
    for (text, tone), size in zip(pieces, sizes, strict=True):
        if used + size > width:
            break
        texts.append(TextRun(text, tone, x + used + _REVIEW_GAP_PX, y))
        used += size
    return texts


def _numbers_in(block: Block) -> list[int]:
    return [block.panel.cells[row][column] for row in block.rows for column in block.columns]


def _add_headers(page: Page, bands: Bands, axis: Headings, block: Block, position: tuple[int, float, float]) -> None:
    """Add the column headings of a block, and above them the axis name and the input images of an image axis.

    `position` is left, top and bottom.
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
            side = bands.input_image_px
            page.boxes.append(Box(Tile(0, input_image=image), x, round(y - INPUT_IMAGE_GAP_PX - side), side, side))


def _name_lines(bands: Bands, axis: Headings, width: float) -> list[Line]:
    return wrap([Part(axis.name, "muted")], width, bands.measure, max_lines=1)


def _add_labels(page: Page, bands: Bands, axis: Headings, block: Block, corner: tuple[int, float]) -> None:
    """Add the row labels, and above them the name of their axis."""
    x, top = corner
    width, height = bands.label_px - LABEL_GAP_PX, bands.cell_px[1]
    page.add_lines(_name_lines(bands, axis, width), x, top - 4 - LINE_PX)
    most = max(1, height // LINE_PX)
    for down, row in enumerate(block.rows):
        heading, image = axis.values[row], axis.images[row] if axis.images else None
        lines = bands.heading_lines(heading.text, width, most)
        note = wrap_heading(heading.note, width, bands.measure, max_lines=1, tone="small")
        if note and len(lines) < most:
            lines.append([(0.0, note[0], "small")])
        side = (
            min(INPUT_IMAGE_PX, width, height - len(lines) * LINE_PX - INPUT_IMAGE_GAP_PX) if image is not None else 0
        )
        above = side + INPUT_IMAGE_GAP_PX if side >= LINE_PX else 0  # a smaller image is not recognisable
        y = top + down * bands.row_px + max(0.0, (height - len(lines) * LINE_PX - above) / 2)
        if above:
            page.boxes.append(Box(Tile(0, input_image=image), x, round(y), side, side))
        page.add_lines(lines, x, y + above)


def _values_on(sheet: SweepSheet, page_bands: Sequence[Band]) -> set[tuple[str, int]]:
    """Return (axis, index) of each value on a page."""
    values: set[tuple[str, int]] = set()
    for block in (block for band in page_bands for block in band):
        values.update(block.panel.values)
        for axis, indices in ((sheet.x, block.columns), (sheet.y, block.rows)):
            if axis is not None:
                values.update((axis.key, index) for index in indices)
    return values
