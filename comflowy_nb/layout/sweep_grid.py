"""Arrange the grid of a sweep on pages: cell size, and positions of blocks and headings. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.errors import SettingsError, counted
from comflowy_nb.layout.page import MARGIN_PX, Page, Tile, arrange_legibly, fit, longest_side_px, mosaic
from comflowy_nb.layout.sweep_page import PageLimits, arrange_page
from comflowy_nb.layout.sweep_sheet import CELL_GAP_PX, PANEL_GAP_PX, Bands, BlockLayout, label_width
from comflowy_nb.layout.text import LINE_PX, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from comflowy_nb.layout.sweep_sheet import Band, SweepSheet
    from comflowy_nb.layout.text import Measure


ImageSizes: TypeAlias = tuple[tuple[int, int], ...]  # width and height of each image of one cell
MOSAIC_GAP_PX = 2


def arrange_sweep(
    make_sheet: Callable[[Collection[str]], SweepSheet],
    *,
    limits: PageLimits,
    measure: Measure,
    images: Collection[ImageSizes] = (),
    page: int = 1,
) -> Page:
    """Arrange one page of a sweep. Nothing is clipped.

    The tile of a cell contains the number of the cell; the caller draws its images or its state.

    Parameters
    ----------
    make_sheet
        Return the content of the grid. Its argument has the keys of the axes whose headings do not fit: letters replace
        their values.
    images
        The sizes of the images of each cell. Cells with the same sizes may be listed once.

    Raises
    ------
    SettingsError
        If the grid has no page of this number.
    """
    if not limits.is_in_notebook:
        return _arrange(make_sheet, limits, measure, images, page)
    count = make_sheet(()).count
    return arrange_legibly(
        lambda width, zoom: _arrange(make_sheet, limits.reduced(width, zoom), measure, images, page),
        limits.width_px,
        count,
    )


def _arrange(
    make_sheet: Callable[[Collection[str]], SweepSheet],
    limits: PageLimits,
    measure: Measure,
    images: Collection[ImageSizes],
    page: int,
) -> Page:
    lettered: set[str] = set()  # letters change the heights, and with them the size of the cells: repeat
    while True:
        sheet = make_sheet(lettered)
        bands = _ArrangementChooser(sheet, limits, measure, images).choose()
        unfitting = bands.axes_that_do_not_fit() - lettered
        if not unfitting:
            break
        lettered |= unfitting
    pages = _paginate(bands, limits)
    if not 1 <= page <= len(pages):
        count = len(pages)
        raise SettingsError(f"there is no page {page}: the grid has {counted(count, 'page')}")
    return arrange_page(bands, limits, pages[page - 1], page, len(pages))


def _paginate(bands: Bands, limits: PageLimits) -> list[list[Band]]:
    """Distribute the bands over pages. A band that is too high continues on the next page, with its headings.

    A band is not split after its first row, unless it begins the page.
    """
    available = max(limits.height_px / 2, limits.height_px - _text_height(bands.sheet, limits, bands.measure))
    pages: list[list[Band]] = [[]]
    used = 0
    for band in bands.all:
        rest = band
        while rest:
            above = bands.gap(pages[-1][-1], rest) if pages[-1] else 0
            height = above + bands.band_height(rest)
            if used + height <= available:
                pages[-1].append(rest)
                used += height
                break
            rows = max(len(block.rows) for block in rest)
            fitting = int((available - used - height) // bands.row_px) + rows
            if fitting >= min(2, len(rest[0].rows)) or not pages[-1]:
                upper, rest = bands.split(rest, max(1, fitting))
                pages[-1].append(upper)
            pages.append([])
            used = 0
    return [page for page in pages if page]


# -- size and placement of the cells ----------------------------------------------------------------------------------


def cell_size(images: Collection[ImageSizes], side: float, limits: PageLimits) -> tuple[int, int]:
    """Return the size of a cell: the smallest in which the images of each cell fit, if no side exceeds `side`.

    Cells are at least `good_px` wide, because headings need width, and `smallest_px` high. Without images they are
    squares.
    """
    sizes = [_size_of_images(sizes_of_cell, side) for sizes_of_cell in images] or [(min(side, 256.0), min(side, 256.0))]
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    return math.floor(max(width, min(side, limits.good_px))), math.floor(max(height, min(side, limits.smallest_px)))


def _size_of_images(images: ImageSizes, side: float) -> tuple[float, float]:
    """Return the size of an image, or of the mosaic of several images."""
    if len(images) == 1:
        return fit(images[0], (side, side))
    boxes = mosaic([Tile(0, index, size) for index, size in enumerate(images)], (side, side), gap=MOSAIC_GAP_PX)
    return max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)


def _text_height(sheet: SweepSheet, limits: PageLimits, measure: Measure) -> int:
    """Return the height of the text above and below the cells."""
    width_px = limits.width_px - 2 * MARGIN_PX
    paragraphs = [
        *sheet.head,
        *(paragraph for _, _, paragraph in sheet.legend),
        *(paragraph for _, paragraph in sheet.notes),
    ]
    lines = sum(
        len(wrap(paragraph.parts, width_px, measure, max_lines=paragraph.max_lines)) for paragraph in paragraphs
    )
    return 2 * MARGIN_PX + 34 + lines * LINE_PX + 2 * len(paragraphs)  # 34 for the gaps around the cells


class _ArrangementChooser:
    """Choose the size of the cells and their division into blocks.

    The cells are the largest that fit on one page, or small cells if they need several pages.
    """

    def __init__(self, sheet: SweepSheet, limits: PageLimits, measure: Measure, images: Collection[ImageSizes]) -> None:
        self._sheet, self._limits, self._measure, self._images = sheet, limits, measure, images
        self._label_px = label_width(sheet, measure)
        self._width_px = limits.width_px - 2 * MARGIN_PX
        self._text_px = _text_height(sheet, limits, measure)
        self._largest = limits.largest_px or longest_side_px(sheet.count)

    def choose(self) -> Bands:
        limits = self._limits
        # First no cell is smaller than `good_px`: on a comfortable page, else on a high one.
        for height, smallest in (
            (limits.comfortable_px, limits.good_px),
            (limits.height_px, limits.good_px),
            (limits.height_px, limits.smallest_px),
        ):
            fitting = [
                (side, self._bands(side, layout))
                for layout in self._layouts(smallest)
                if (side := self._largest_side(layout, smallest, height - self._text_px)) is not None
            ]
            if fitting:
                return max(fitting, key=lambda pair: pair[0] * pair[1].fill_ratio)[1]
        return self._choose_for_pages()

    def _bands(self, side: int, layout: BlockLayout) -> Bands:
        return Bands(self._sheet, self._measure, cell_size(self._images, side, self._limits), layout, self._label_px)

    def _largest_side(self, layout: BlockLayout, smallest: int, height: float) -> int | None:
        """Return the longest side of cells that fit into the height; None if even the smallest cells do not fit."""
        sides = range(smallest, min(self._largest, self._widest(layout)) + 1)
        count = bisect_left(sides, True, key=lambda side: not self._bands(side, layout).fits(height))
        return sides[count - 1] if count else None

    def _widest(self, layout: BlockLayout) -> int:
        """Return the longest side of cells that fit into the width."""
        labels = self._label_px * (layout.across if layout.splits_rows else 1)
        width = (self._width_px - labels - (layout.across - 1) * PANEL_GAP_PX) / layout.across
        return math.floor((width + CELL_GAP_PX) / layout.columns) - CELL_GAP_PX

    def _max_columns(self, side: int) -> int:
        return max(1, (self._width_px - self._label_px + CELL_GAP_PX) // (side + CELL_GAP_PX))

    def _layouts(self, smallest: int) -> list[BlockLayout]:
        """Return the divisions into blocks to try, for cells of at least `smallest` pixels."""
        sheet, columns, rows = self._sheet, self._sheet.columns, self._sheet.rows
        most = self._max_columns(smallest)
        if sheet.y is None and columns > 6:  # a single axis continues in the next row, like text
            fewest = 4 if columns <= 12 else 5
            row_lengths = {_even_row_length(columns, limit) for limit in range(fewest, most + 1)}
            return [BlockLayout(length, 1, 1) for length in sorted(row_lengths)]
        if columns > most:
            return [BlockLayout(_even_row_length(columns, most), rows, 1)]
        layouts = [BlockLayout(columns, rows, across) for across in range(1, min(len(sheet.panels), 6) + 1)]
        if len(sheet.panels) == 1 and sheet.y is not None:  # the rows of a high and narrow panel continue to its right
            layouts += [
                BlockLayout(columns, math.ceil(rows / across), across, splits_rows=True)
                for across in range(2, most // columns + 1)
                if rows / across >= max(4, columns)
            ]
        return layouts

    def _choose_for_pages(self) -> Bands:
        """Choose small cells, to keep the number of pages low."""
        sheet, columns, rows = self._sheet, self._sheet.columns, self._sheet.rows
        layout = BlockLayout(_even_row_length(columns, self._max_columns(self._limits.paged_px)), rows, 1)
        bands = self._bands(min(self._largest, self._widest(layout), self._limits.good_px), layout)
        across = (self._width_px + PANEL_GAP_PX) // (self._label_px + bands.block_px + PANEL_GAP_PX)
        if len(sheet.panels) == 1 and layout.columns == columns and across > 1 and sheet.y is not None:
            rows_on_page = max(1, int((self._limits.height_px - self._text_px - 4 * LINE_PX) // bands.row_px))
            return replace(bands, layout=BlockLayout(columns, rows_on_page, across, splits_rows=True))
        across = max(1, (self._width_px - self._label_px + PANEL_GAP_PX) // (bands.block_px + PANEL_GAP_PX))
        return replace(bands, layout=replace(layout, across=across))


def _even_row_length(count: int, most: int) -> int:
    """Return the length of the rows if `count` cells are divided evenly into rows of at most `most` cells."""
    return math.ceil(count / math.ceil(count / most))
