"""The content of a sweep's grid: blocks, arranged in bands from top to bottom. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.layout.page import GAP_PX
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.layout.review_text import ReviewText
    from comflowy_nb.layout.text import Line, Measure, Tone
    from comflowy_nb.workflow.images import InputImage


NUMBER_PX = 15  # height of the line `s1.7` below an image
CELL_GAP_PX = 6
PANEL_GAP_PX = 26
ROW_LABEL_PX = 150  # limit of the width of row labels
LABEL_GAP_PX = 12
HEADING_LINES = 4  # limit for a column
INPUT_IMAGE_PX = 64  # longest side of an input image in a heading
INPUT_IMAGE_GAP_PX = 4  # between an input image and its name
_MAX_NOTES, _NOTE_LINES = 12, 2  # limits of the notes below a grid, and of the lines of each


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of one value: its label or letter, and a note in small type."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headings:
    """The headings of one axis.

    Attributes
    ----------
    key, name
        The name of the axis as typed, and its short name for display.
    note
        The longest note of the values.
    images
        The values of an axis of input images; empty for every other axis.
    """

    key: str
    name: str
    values: tuple[Heading, ...]
    note: str = ""
    images: tuple[InputImage | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """The table of the cells with the same values on all axes except x and y.

    Attributes
    ----------
    cells
        The numbers of the cells, row by row. 0 is a combination that `--where` or `--sample` excluded.
    values
        (axis, index of the value) for each axis except x and y.
    title
        The names of these values.
    """

    cells: tuple[tuple[int, ...], ...]
    values: tuple[tuple[str, int], ...] = ()
    title: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepSheet:
    """The content of a sweep's grid. All panels have the same shape.

    Attributes
    ----------
    head
        The paragraphs above the grid.
    x, y
        The headings of the columns and of the rows; None without such an axis.
    legend
        Axis, index of the value, and text of each entry.
    ref
        Reference of the sweep; None before the sweep is recorded.
    reviews
        Number of a cell -> rating and scores of its best image.
    """

    head: tuple[Paragraph, ...]
    panels: tuple[Panel, ...]
    x: Headings | None = None
    y: Headings | None = None
    legend: tuple[tuple[str, int, Paragraph], ...] = ()
    ref: str | None = None
    reviews: Mapping[int, ReviewText] = field(default_factory=dict, hash=False)

    @property
    def notes(self) -> list[tuple[int, Paragraph]]:
        """The notes of the cells, each with the number of its cell."""
        noted = [(number, review.flat_note) for number, review in self.reviews.items() if review.note]
        return [
            (number, Paragraph((Part(f"{self.name_cell(number)}  ", "strong"), Part(note)), _NOTE_LINES))
            for number, note in noted[:_MAX_NOTES]
        ]

    @property
    def columns(self) -> int:
        return len(self.panels[0].cells[0])

    @property
    def rows(self) -> int:
        return len(self.panels[0].cells)

    @property
    def count(self) -> int:
        """The number of positions for cells, including excluded combinations."""
        return len(self.panels) * self.rows * self.columns

    def name_cell(self, number: int) -> str:
        """Return `s1.7`, or `7` before the sweep is recorded."""
        return f"{self.ref}.{number}" if self.ref else str(number)


@dataclass(frozen=True, slots=True)
class Block:
    """The cells under one row of headings: a panel, or some of its columns and rows."""

    panel: Panel
    columns: range
    rows: range


Band: TypeAlias = "list[Block]"  # blocks side by side


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How panels are divided into blocks.

    Attributes
    ----------
    columns, rows
        Maximum number of columns and rows in a block.
    across
        Number of blocks side by side.
    splits_rows
        Whether the rows of one panel continue in the block to its right. Then each block has row labels; otherwise only
        the leftmost block has them.
    """

    columns: int
    rows: int
    across: int
    splits_rows: bool = False


def wrap_heading(
    text: str, width: float, measure: Measure, *, max_lines: int, tone: Tone = "title"
) -> list[str] | None:
    """Break a heading at spaces and after `_ - / . ,`, but not inside a number. Return None if it does not fit."""
    lines = [""]
    is_number = re.fullmatch(r"[-+\d.,eE]+", text)  # such as 0.25 or 1e-5
    for piece in re.findall(r"\s*[^\s_\-/.,]*[_\-/.,]*", text):
        if not piece:
            continue
        if measure((lines[-1] + piece).strip(), tone) <= width:
            lines[-1] += piece
        elif measure(piece.strip(), tone) <= width and not is_number:
            lines.append(piece)
        else:
            return None
    stripped = [line.strip() for line in lines if line.strip()]
    return stripped if len(stripped) <= max_lines else None


def label_width(sheet: SweepSheet, measure: Measure) -> int:
    """Return the width of the row labels, including the gap after them; 0 without row labels."""
    if sheet.y is None:
        return 0
    widest = max(
        measure(sheet.y.name, "muted"),
        *(measure(value.text, "title") for value in sheet.y.values),
        *(measure(value.note, "small") for value in sheet.y.values),
    )
    return math.ceil(max(min(widest, ROW_LABEL_PX), INPUT_IMAGE_PX if sheet.y.images else 0)) + LABEL_GAP_PX


@dataclass(frozen=True)
class Bands:
    """A sweep grid as bands of blocks, for one cell size. Measures widths and heights.

    Attributes
    ----------
    cell_px
        Width and height of a cell, without the line below it.
    label_px
        Width of the row labels, including the gap after them; 0 if there are none.
    """

    sheet: SweepSheet
    measure: Measure
    cell_px: tuple[int, int]
    layout: BlockLayout
    label_px: int

    @property
    def column_px(self) -> int:
        """Distance from one column to the next."""
        return self.cell_px[0] + CELL_GAP_PX

    @property
    def row_px(self) -> int:
        """Distance from one row to the next."""
        return self.cell_px[1] + NUMBER_PX + CELL_GAP_PX

    @property
    def block_px(self) -> int:
        """Width of a block without its row labels."""
        return self.layout.columns * self.column_px - CELL_GAP_PX

    @property
    def stride_px(self) -> int:
        """Distance from one block to the next."""
        return self.block_px + PANEL_GAP_PX + (self.label_px if self.layout.splits_rows else 0)

    @cached_property
    def all(self) -> list[Band]:
        """The bands from top to bottom."""
        layout, columns, rows = self.layout, self.sheet.columns, self.sheet.rows
        blocks = [
            Block(panel, range(left, min(columns, left + layout.columns)), range(top, min(rows, top + layout.rows)))
            for panel in self.sheet.panels
            for top in range(0, rows, layout.rows)
            for left in range(0, columns, layout.columns)
        ]
        return [blocks[start : start + layout.across] for start in range(0, len(blocks), layout.across)]

    @property
    def fill_ratio(self) -> float:
        """The fraction of the positions that cells use, from 0 to 1."""
        return self.sheet.count / (len(self.all) * self.layout.across * self.layout.columns * self.layout.rows)

    def fits(self, limit_px: float) -> bool:
        """Return whether all bands together fit into the height limit."""
        if sum(len(band[0].rows) for band in self.all) * self.row_px > limit_px:
            return False  # the rows alone are too high; measuring the headings takes longer
        gaps = sum(self.gap(before, band) for before, band in pairwise(self.all))
        return gaps + sum(map(self.band_height, self.all)) <= limit_px

    def gap(self, before: Band, band: Band) -> int:
        """Return the gap between two bands, which is smaller if the columns of a single axis continue below."""
        return GAP_PX - 8 if before[0].panel is band[0].panel and self.sheet.rows == 1 else PANEL_GAP_PX

    def band_height(self, band: Band) -> int:
        rows = max(len(block.rows) for block in band)
        return self.title_height(band) + self.header_height(band) + rows * self.row_px - CELL_GAP_PX

    def title_lines(self, block: Block) -> list[Line]:
        return wrap(block.panel.title, self.block_px, self.measure)

    def title_height(self, band: Band) -> int:
        lines = max(len(self.title_lines(block)) for block in band)
        return lines * LINE_PX + 6 if lines else 0

    def header_height(self, band: Band) -> int:
        """Return the height of the column headings and their axis name."""
        axis = self.sheet.x
        if axis is None:
            return LINE_PX + 4 if self.sheet.y is not None else 0
        lines = max(
            max(len(self.header_lines(axis, index)) for index in block.columns) + self.shows_axis(block)
            for block in band
        )
        return lines * LINE_PX + 4 + (self.input_image_px + INPUT_IMAGE_GAP_PX if axis.images else 0)

    @property
    def input_image_px(self) -> int:
        """Longest side of an input image above a column; at most the width of a cell."""
        return min(INPUT_IMAGE_PX, self.cell_px[0])

    def shows_axis(self, block: Block) -> bool:
        """Return whether a block shows the name of the x axis above its column headings.

        Without a y axis only the first block of a panel shows it, because the columns continue in the next blocks.
        """
        return self.sheet.x is not None and (self.sheet.y is not None or block.columns.start == 0)

    def header_lines(self, axis: Headings, index: int) -> list[Line]:
        """Return the heading of a column, with its note if the notes of all columns fit."""
        heading, width = axis.values[index], self.cell_px[0]
        lines = self.heading_lines(heading.text, width, HEADING_LINES)
        if heading.note and self.measure(axis.note, "small") <= width:
            lines.append([(0.0, heading.note, "small")])
        return lines

    def heading_lines(self, text: str, width: float, max_lines: int) -> list[Line]:
        """Break a heading into lines. A heading that does not fit is broken at any letter and shortened."""
        lines = wrap_heading(text, width, self.measure, max_lines=max_lines)
        if lines is None:
            return wrap([Part(text, "title")], width, self.measure, max_lines=max_lines)
        return [[(0.0, line, "title")] for line in lines]

    def axes_that_do_not_fit(self) -> set[str]:
        """Return the keys of the axes with a heading that does not fit."""
        limits: Sequence[tuple[Headings | None, int, int]] = (
            (self.sheet.x, self.cell_px[0], HEADING_LINES),
            (self.sheet.y, self.label_px - LABEL_GAP_PX, max(1, self.cell_px[1] // LINE_PX)),
        )
        return {
            axis.key
            for axis, width, lines in limits
            if axis is not None
            and any(wrap_heading(value.text, width, self.measure, max_lines=lines) is None for value in axis.values)
        }

    def split(self, band: Band, rows: int) -> tuple[Band, Band]:
        """Split a band after its first `rows` rows. Return the upper and the lower part."""
        upper = [replace(block, rows=block.rows[:rows]) for block in band]
        lower = [replace(block, rows=block.rows[rows:]) for block in band if len(block.rows) > rows]
        return upper, lower
