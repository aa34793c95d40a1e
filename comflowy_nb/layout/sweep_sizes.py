"""How large the cells of a sweep's grid are, and what stands beside what: blocks, bands, pages. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from comflowy_nb.layout.captions import Paragraph, Tile
from comflowy_nb.layout.sweep_blocks import CELL_GAP_PX, PANEL_GAP_PX, Block, Shape, Sizes
from comflowy_nb.layout.sweep_headers import header_height, label_width, title_height
from comflowy_nb.layout.text_and_grid import GAP_PX, LINE_PX, MARGIN_PX, fit, longest_side_px, mosaic, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from comflowy_nb.layout.sweep_sheet import SweepSheet
    from comflowy_nb.layout.text_and_grid import Measure

    Images = tuple[tuple[int, int], ...]  # width and height of each image of one cell

__all__ = [
    "MOSAIC_GAP_PX",
    "PAGE_PX",
    "band_height",
    "cell_size",
    "choose_sizes",
    "gap_between",
    "paginate",
]

PAGE_PX = 2400  # highest page: what is larger goes on to another
COMFORTABLE_PX = 1500  # a grid is made smaller before it grows beyond this
SMALLEST_PX = 64
PAGED_PX = 72  # where there are pages anyhow
GOOD_PX = 96  # below this a higher page is better than smaller images
MOSAIC_GAP_PX = 2


def cell_size(images: Collection[Images], side: float) -> tuple[int, int]:
    """The rectangle that is enough for each of these cells, no side longer than `side`; a square for none."""
    sizes = [_extent(each, side) for each in images] or [(min(side, 256.0), min(side, 256.0))]
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    return math.floor(max(width, min(side, GOOD_PX))), math.floor(max(height, min(side, SMALLEST_PX)))


def _extent(images: Images, side: float) -> tuple[float, float]:
    """What the images of one cell take: one alone, or several as a mosaic."""
    if len(images) == 1:
        return fit(images[0], (side, side))
    boxes = mosaic([Tile(0, index, size) for index, size in enumerate(images)], (side, side), gap=MOSAIC_GAP_PX)
    return max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)


# -- how large ------------------------------------------------------------------------------------------------------


def choose_sizes(sheet: SweepSheet, width_px: int, measure: Measure, images: Collection[Images]) -> Sizes:
    """The largest cells with which a page is not too high; the smallest that are good where no size is enough."""
    label = label_width(sheet, measure)
    room = width_px - 2 * MARGIN_PX
    ideal = longest_side_px(sheet.count)
    outside = _outside(sheet, width_px, measure)
    for limit, smallest in ((COMFORTABLE_PX, GOOD_PX), (PAGE_PX, GOOD_PX), (PAGE_PX, SMALLEST_PX)):
        best: tuple[float, Sizes] | None = None
        for shape in _shapes(sheet, room, label, smallest):
            most = min(ideal, _widest(shape, room, label))

            def fits(side: int, shape: Shape = shape, limit: int = limit) -> bool:
                sizes = Sizes(cell_size(images, side), shape, label)
                return outside + _height(sheet, sizes, measure, limit - outside) <= limit

            side = _largest(smallest, most, fits)
            if side is None:
                continue
            score = side * _filled(sheet, shape)
            if best is None or score > best[0]:
                best = score, Sizes(cell_size(images, side), shape, label)
        if best is not None:
            return best[1]
    return _choose_for_pages(sheet, room, label, PAGE_PX - outside, images)


def _choose_for_pages(sheet: SweepSheet, room: int, label: int, height: float, images: Collection[Images]) -> Sizes:
    """Small cells, so that the pages are few; a narrow grid goes on beside itself."""
    columns, rows = len(sheet.panels[0].cells[0]), len(sheet.panels[0].cells)
    most = max(1, (room - label + CELL_GAP_PX) // (PAGED_PX + CELL_GAP_PX))
    in_block = math.ceil(columns / math.ceil(columns / most))
    side = min(longest_side_px(sheet.count), _widest(Shape(in_block, rows, 1), room, label), GOOD_PX)
    sizes = Sizes(cell_size(images, side), Shape(in_block, rows, 1), label)
    across = max(1, (room - label + PANEL_GAP_PX) // (sizes.block + PANEL_GAP_PX))
    beside = (room + PANEL_GAP_PX) // (label + sizes.block + PANEL_GAP_PX)
    if len(sheet.panels) == 1 and in_block == columns and beside > 1 and sheet.y is not None:
        on_a_page = max(1, int((height - 4 * LINE_PX) // sizes.row))
        return replace(sizes, shape=Shape(columns, on_a_page, beside, splits_rows=True))
    return replace(sizes, shape=Shape(in_block, rows, across))


def _widest(shape: Shape, room: int, label: int) -> int:
    """The longest side of cells with which the blocks of a band have room."""
    labels = label * (shape.across if shape.splits_rows else 1)
    width = (room - labels - (shape.across - 1) * PANEL_GAP_PX) / shape.across
    return math.floor((width + CELL_GAP_PX) / shape.columns) - CELL_GAP_PX


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


def _filled(sheet: SweepSheet, shape: Shape) -> float:
    """How much of the places that the bands have is taken, from 0 to 1."""
    columns, rows = len(sheet.panels[0].cells[0]), len(sheet.panels[0].cells)
    blocks = len(sheet.panels) * math.ceil(columns / shape.columns) * math.ceil(rows / shape.rows)
    return sheet.count / (math.ceil(blocks / shape.across) * shape.across * shape.columns * shape.rows)


def _shapes(sheet: SweepSheet, room: int, label: int, smallest: int) -> list[Shape]:
    """The shapes worth a try."""
    columns, rows = len(sheet.panels[0].cells[0]), len(sheet.panels[0].cells)
    most = max(1, (room - label + CELL_GAP_PX) // (smallest + CELL_GAP_PX))
    if sheet.y is None and columns > 6:  # one axis: it flows like words
        fewest = 4 if columns <= 12 else 5
        flows = {math.ceil(columns / math.ceil(columns / wide)) for wide in range(fewest, most + 1)}
        return [Shape(flow, 1, 1) for flow in sorted(flows)]
    if columns > most:
        return [Shape(math.ceil(columns / math.ceil(columns / most)), rows, 1)]
    found = [Shape(columns, rows, across) for across in range(1, min(len(sheet.panels), 6) + 1)]
    if len(sheet.panels) == 1 and sheet.y is not None:  # high and narrow: it goes on beside itself
        found += [
            Shape(columns, math.ceil(rows / beside), beside, splits_rows=True)
            for beside in range(2, most // columns + 1)
            if rows / beside >= max(4, columns)
        ]
    return found


def _blocks(sheet: SweepSheet, sizes: Sizes) -> list[list[Block]]:
    """The bands from top to bottom: each some blocks side by side."""
    blocks = []
    shape = sizes.shape
    for panel in sheet.panels:
        columns, rows = len(panel.cells[0]), len(panel.cells)
        blocks += [
            Block(panel, range(left, min(columns, left + shape.columns)), range(top, min(rows, top + shape.rows)))
            for top in range(0, rows, shape.rows)
            for left in range(0, columns, shape.columns)
        ]
    return [blocks[start : start + shape.across] for start in range(0, len(blocks), shape.across)]


def _height(sheet: SweepSheet, sizes: Sizes, measure: Measure, limit: float) -> float:
    """The height of all bands; at least it where that is beyond the limit already."""
    bands = _blocks(sheet, sizes)
    least = sum(len(band[0].rows) for band in bands) * sizes.row
    if least > limit:
        return least
    gaps = sum(gap_between(before, band) for before, band in pairwise(bands))
    return gaps + sum(band_height(sheet, sizes, band, measure) for band in bands)


def gap_between(before: Sequence[Block], band: Sequence[Block]) -> int:
    """Between two bands; parts of one grid stand closer."""
    return GAP_PX - 8 if before[0].panel is band[0].panel and len(before[0].panel.cells) == 1 else PANEL_GAP_PX


def band_height(sheet: SweepSheet, sizes: Sizes, band: Sequence[Block], measure: Measure) -> float:
    return (
        title_height(sizes, band, measure)
        + max(header_height(sheet, sizes, block, measure) for block in band)
        + max(len(block.rows) for block in band) * sizes.row
        - CELL_GAP_PX
    )


def _outside(sheet: SweepSheet, width_px: int, measure: Measure) -> float:
    """The height of what stands above and below the grids."""
    room = width_px - 2 * MARGIN_PX
    paragraphs = [*sheet.head, *(paragraph for _, _, paragraph in sheet.legend)]
    return 2 * MARGIN_PX + 34 + sum(_paragraph_height(paragraph, room, measure) for paragraph in paragraphs)


def _paragraph_height(paragraph: Paragraph, width: float, measure: Measure) -> int:
    return len(wrap(paragraph.parts, width, measure, max_lines=paragraph.max_lines)) * LINE_PX + 2


def paginate(sheet: SweepSheet, sizes: Sizes, width_px: int, measure: Measure) -> list[list[list[Block]]]:
    """The bands of each page; a band that is higher than a page goes on at the next, headers and all."""
    room = max(PAGE_PX / 2, PAGE_PX - _outside(sheet, width_px, measure))
    pages: list[list[list[Block]]] = [[]]
    used = 0.0
    for band in _blocks(sheet, sizes):
        rest = band
        while rest:
            above = gap_between(pages[-1][-1], rest) if pages[-1] else 0
            if used + above + band_height(sheet, sizes, rest, measure) <= room:
                pages[-1].append(rest)
                used += above + band_height(sheet, sizes, rest, measure)
                break
            one_row = [replace(block, rows=block.rows[:1]) for block in rest]
            fixed = band_height(sheet, sizes, one_row, measure) - sizes.row
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
