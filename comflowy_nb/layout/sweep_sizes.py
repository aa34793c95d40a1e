"""Choose the size of the cells of a sweep's grid, and how its blocks are placed. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.layout.page import MARGIN_PX, Tile, fit, longest_side_px, mosaic
from comflowy_nb.layout.sweep_sheet import CELL_GAP_PX, PANEL_GAP_PX, Bands, Shape, label_width
from comflowy_nb.layout.text import LINE_PX, wrap

if TYPE_CHECKING:
    from collections.abc import Collection

    from comflowy_nb.layout.sweep_sheet import SweepSheet
    from comflowy_nb.layout.text import Measure

__all__ = ["MOSAIC_GAP_PX", "ImageSizes", "PageLimits", "cell_size", "choose_bands", "outside_height"]

ImageSizes: TypeAlias = tuple[tuple[int, int], ...]  # width and height of each image of one cell
MOSAIC_GAP_PX = 2


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


def outside_height(sheet: SweepSheet, limits: PageLimits, measure: Measure) -> int:
    """Return the height of the text above and below the cells."""
    room = limits.width_px - 2 * MARGIN_PX
    paragraphs = [*sheet.head, *(paragraph for _, _, paragraph in sheet.legend)]
    lines = sum(len(wrap(each.parts, room, measure, max_lines=each.max_lines)) for each in paragraphs)
    return 2 * MARGIN_PX + 34 + lines * LINE_PX + 2 * len(paragraphs)


def choose_bands(sheet: SweepSheet, limits: PageLimits, measure: Measure, images: Collection[ImageSizes]) -> Bands:
    """Choose the largest cells with which the page is not too high; small cells if there must be several pages."""
    return _Chooser(sheet, limits, measure, images).choose()


class _Chooser:
    def __init__(self, sheet: SweepSheet, limits: PageLimits, measure: Measure, images: Collection[ImageSizes]) -> None:
        self._sheet, self._limits, self._measure, self._images = sheet, limits, measure, images
        self._label = label_width(sheet, measure)
        self._room = limits.width_px - 2 * MARGIN_PX
        self._outside = outside_height(sheet, limits, measure)
        self._largest = limits.largest_px or longest_side_px(sheet.count)

    def choose(self) -> Bands:
        limits = self._limits
        for height, smallest in (
            (limits.comfortable_px, limits.good_px),
            (limits.height_px, limits.good_px),
            (limits.height_px, limits.smallest_px),
        ):
            best: tuple[float, Bands] | None = None
            for shape in self._shapes(smallest):
                side = self._largest_side(shape, smallest, height - self._outside)
                if side is not None:
                    bands = self._bands(side, shape)
                    if best is None or side * bands.filled > best[0]:
                        best = side * bands.filled, bands
            if best is not None:
                return best[1]
        return self._choose_for_pages()

    def _bands(self, side: int, shape: Shape) -> Bands:
        return Bands(self._sheet, self._measure, cell_size(self._images, side, self._limits), shape, self._label)

    def _largest_side(self, shape: Shape, smallest: int, height: float) -> int | None:
        """Return the longest side of cells that are not too high together; None if the smallest are."""
        low, high = smallest, min(self._largest, self._widest(shape))
        if high < low or not self._bands(low, shape).fits(height):
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if self._bands(middle, shape).fits(height):
                low = middle
            else:
                high = middle - 1
        return low

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
