"""How large the cells of a sweep's grid are, and what stands beside what: blocks, bands, pages. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from comflowy_nb.runs.captions import Paragraph, Part, Tile
from comflowy_nb.runs.layout import GAP_PX, LINE_PX, MARGIN_PX, fit, longest_side_px, mosaic, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from comflowy_nb.runs.captions import Tone
    from comflowy_nb.runs.layout import Measure
    from comflowy_nb.runs.sweep_captions import Headings, Panel, SweepSheet

    Pictures = tuple[tuple[int, int], ...]  # width and height of each picture of one cell

__all__ = [
    "CELL_GAP_PX",
    "MOSAIC_GAP_PX",
    "PAGE_PX",
    "THUMB_GAP_PX",
    "THUMB_PX",
    "Block",
    "Shape",
    "Sizes",
    "band_height",
    "cell_size",
    "choose_sizes",
    "find_cramped",
    "gap_between",
    "header_height",
    "header_lines",
    "paginate",
    "shows_name",
    "thumb_height",
    "title_height",
    "title_lines",
    "wrap_header",
]

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
THUMB_PX = 64  # a picture that is the value of an axis, beside its name
THUMB_GAP_PX = 4


@dataclass(frozen=True, slots=True)
class Block:
    """A grid or a part of its columns and rows: what stands together under one row of headers."""

    panel: Panel
    columns: range
    rows: range


@dataclass(frozen=True, slots=True)
class Shape:
    """Most columns and rows in a block, and the blocks side by side."""

    columns: int
    rows: int
    across: int
    splits_rows: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the choice of a size comes to."""

    box: tuple[int, int]
    shape: Shape
    label: int  # width of the row labels, 0 without

    @property
    def row(self) -> int:
        return self.box[1] + NUMBER_PX + CELL_GAP_PX

    @property
    def block(self) -> int:
        """Width of a block without its row labels."""
        return self.shape.columns * (self.box[0] + CELL_GAP_PX) - CELL_GAP_PX

    @property
    def stride(self) -> int:
        """From one block to the next; where the rows go on beside, each block has labels of its own."""
        return self.block + PANEL_GAP_PX + (self.label if self.shape.splits_rows else 0)


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


def choose_sizes(sheet: SweepSheet, width_px: int, measure: Measure, pictures: Collection[Pictures]) -> Sizes:
    """The largest cells with which a page is not too high; the smallest that are good where no size is enough."""
    label = _label_width(sheet, measure)
    room = width_px - 2 * MARGIN_PX
    ideal = longest_side_px(sheet.count)
    outside = _outside(sheet, width_px, measure)
    for limit, smallest in ((COMFORTABLE_PX, GOOD_PX), (PAGE_PX, GOOD_PX), (PAGE_PX, SMALLEST_PX)):
        best: tuple[float, Sizes] | None = None
        for shape in _shapes(sheet, room, label, smallest):
            most = min(ideal, _widest(shape, room, label))

            def fits(side: int, shape: Shape = shape, limit: int = limit) -> bool:
                sizes = Sizes(cell_size(pictures, side), shape, label)
                return outside + _height(sheet, sizes, measure, limit - outside) <= limit

            side = _largest(smallest, most, fits)
            if side is None:
                continue
            score = side * _filled(sheet, shape)
            if best is None or score > best[0]:
                best = score, Sizes(cell_size(pictures, side), shape, label)
        if best is not None:
            return best[1]
    return _choose_for_pages(sheet, room, label, PAGE_PX - outside, pictures)


def _choose_for_pages(sheet: SweepSheet, room: int, label: int, height: float, pictures: Collection[Pictures]) -> Sizes:
    """Small cells, so that the pages are few; a narrow grid goes on beside itself."""
    columns, rows = len(sheet.panels[0].cells[0]), len(sheet.panels[0].cells)
    most = max(1, (room - label + CELL_GAP_PX) // (PAGED_PX + CELL_GAP_PX))
    in_block = math.ceil(columns / math.ceil(columns / most))
    side = min(longest_side_px(sheet.count), _widest(Shape(in_block, rows, 1), room, label), GOOD_PX)
    sizes = Sizes(cell_size(pictures, side), Shape(in_block, rows, 1), label)
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


def title_height(sizes: Sizes, band: Sequence[Block], measure: Measure) -> int:
    lines = max((len(title_lines(block, sizes, measure)) for block in band if block.panel.title), default=0)
    return lines * LINE_PX + 6 if lines else 0


def title_lines(block: Block, sizes: Sizes, measure: Measure) -> list[list[tuple[float, str, Tone]]]:
    return wrap(block.panel.title, sizes.block, measure, max_lines=4)


def header_height(sheet: SweepSheet, sizes: Sizes, block: Block, measure: Measure) -> int:
    if sheet.x is None:
        return LINE_PX + 4 if sheet.y is not None else 0
    lines = max(len(header_lines(sheet.x, index, sizes.box[0], measure)) for index in block.columns)
    return (lines + shows_name(sheet, block)) * LINE_PX + 4 + thumb_height(sheet.x, sizes)


def thumb_height(axis: Headings, sizes: Sizes) -> int:
    """What the pictures of an axis take above the names of its values; they are no wider than a cell."""
    return min(THUMB_PX, sizes.box[0]) + THUMB_GAP_PX if axis.pictures else 0


def shows_name(sheet: SweepSheet, block: Block) -> bool:
    """Whether the axis is named above its values: not again where a row of values goes on in the next band."""
    return sheet.x is not None and (sheet.y is not None or block.columns.start == 0)


def header_lines(axis: Headings, index: int, width: float, measure: Measure) -> list[tuple[str, Tone]]:
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
    return math.ceil(max(min(widest, ROW_LABEL_PX), THUMB_PX if sheet.y.pictures else 0)) + 12


def find_cramped(sheet: SweepSheet, sizes: Sizes, measure: Measure) -> set[str]:
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
