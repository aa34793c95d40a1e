"""The content of a sweep's grid, and how it is split into blocks, and these into bands from top to bottom. Pure."""

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
ROW_LABEL_PX = 150  # widest row label
LABEL_GAP_PX = 12
HEADING_LINES = 4
INPUT_PX = 64  # side of an input image beside its name
INPUT_GAP_PX = 4
_MAX_NOTES, _NOTE_LINES = 12, 2  # notes of cells below a grid, and lines of each


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of one value: its label or letter, and a note in small letters."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headings:
    """The headings of one axis.

    Attributes
    ----------
    key, name
        The name of the axis as typed, and the short name to show.
    note
        The longest of the notes.
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
    """A table of cells: their numbers in rows, and the (axis, index) of each further axis.

    The number is 0 where a combination is not a cell of the sweep (`--where`, `--sample`).
    """

    cells: tuple[tuple[int, ...], ...]
    values: tuple[tuple[str, int], ...] = ()
    title: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepSheet:
    """The content of a sweep's grid. All panels have the same shape.

    Attributes
    ----------
    legend
        Axis, index of the value, and text of each entry.
    ref
        Reference of the sweep; None while it has no number.
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
        """Number of places for cells."""
        return len(self.panels) * self.rows * self.columns

    def name_cell(self, number: int) -> str:
        """Return `s1.7`, or `7` while the sweep has no number."""
        return f"{self.ref}.{number}" if self.ref else str(number)


@dataclass(frozen=True, slots=True)
class Block:
    """The cells under one row of headings: a panel, or some of its columns and rows."""

    panel: Panel
    columns: range
    rows: range


Band: TypeAlias = "list[Block]"  # blocks side by side


@dataclass(frozen=True, slots=True)
class Shape:
    """Most columns and rows in a block, and the blocks side by side.

    `splits_rows` says that the rows of one panel continue beside it, so that each block has row labels.
    """

    columns: int
    rows: int
    across: int
    splits_rows: bool = False


def wrap_heading(
    text: str, width: float, measure: Measure, *, max_lines: int, tone: Tone = "title"
) -> list[str] | None:
    """Break a heading at spaces and behind `_ - / . ,`, but not a number; return None if it does not fit."""
    lines = [""]
    is_number = re.fullmatch(r"[-+\d.,eE]+", text)
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
    """Return the width of the row labels with the gap behind them; 0 without rows."""
    if sheet.y is None:
        return 0
    widest = max(
        measure(sheet.y.name, "muted"),
        *(measure(value.text, "title") for value in sheet.y.values),
        *(measure(value.note, "small") for value in sheet.y.values),
    )
    return math.ceil(max(min(widest, ROW_LABEL_PX), INPUT_PX if sheet.y.images else 0)) + LABEL_GAP_PX


@dataclass(frozen=True)
class Bands:
    """A sweep's grid with cells of one size and shape.

    Attributes
    ----------
    box
        Width and height of a cell, without the line below it.
    label
        Width of the row labels, 0 without.
    """

    sheet: SweepSheet
    measure: Measure
    box: tuple[int, int]
    shape: Shape
    label: int

    @property
    def column_px(self) -> int:
        """From one column to the next."""
        return self.box[0] + CELL_GAP_PX

    @property
    def row_px(self) -> int:
        """From one row to the next."""
        return self.box[1] + NUMBER_PX + CELL_GAP_PX

    @property
    def block_px(self) -> int:
        """Width of a block without its row labels."""
        return self.shape.columns * self.column_px - CELL_GAP_PX

    @property
    def stride_px(self) -> int:
        """From one block to the next."""
        return self.block_px + PANEL_GAP_PX + (self.label if self.shape.splits_rows else 0)

    @cached_property
    def all(self) -> list[Band]:
        """The bands from top to bottom."""
        shape, columns, rows = self.shape, self.sheet.columns, self.sheet.rows
        blocks = [
            Block(panel, range(left, min(columns, left + shape.columns)), range(top, min(rows, top + shape.rows)))
            for panel in self.sheet.panels
            for top in range(0, rows, shape.rows)
            for left in range(0, columns, shape.columns)
        ]
        return [blocks[start : start + shape.across] for start in range(0, len(blocks), shape.across)]

    @property
    def filled(self) -> float:
        """The share of the bands that cells take, from 0 to 1."""
        return self.sheet.count / (len(self.all) * self.shape.across * self.shape.columns * self.shape.rows)

    def fits(self, limit_px: float) -> bool:
        """Return whether all bands below each other are no higher than the limit."""
        if sum(len(band[0].rows) for band in self.all) * self.row_px > limit_px:
            return False  # without measuring the headings
        gaps = sum(self.gap(before, band) for before, band in pairwise(self.all))
        return gaps + sum(map(self.band_height, self.all)) <= limit_px

    def gap(self, before: Band, band: Band) -> int:
        """Return the gap between two bands; the rows of one axis are closer."""
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
        """Return the height of the column headings and of the name of their axis."""
        axis = self.sheet.x
        if axis is None:
            return LINE_PX + 4 if self.sheet.y is not None else 0
        lines = max(
            max(len(self.header_lines(axis, index)) for index in block.columns) + self.shows_axis(block)
            for block in band
        )
        return lines * LINE_PX + 4 + (self.input_px + INPUT_GAP_PX if axis.images else 0)

    @property
    def input_px(self) -> int:
        """Side of an input image above a column; it is no wider than a cell."""
        return min(INPUT_PX, self.box[0])

    def shows_axis(self, block: Block) -> bool:
        """Return whether a block shows the axis name above its column headings.

        If there are no rows to name, only the first block shows it.
        """
        return self.sheet.x is not None and (self.sheet.y is not None or block.columns.start == 0)

    def header_lines(self, axis: Headings, index: int) -> list[Line]:
        """Return the heading of a column, with its note if all columns have room for theirs."""
        heading, width = axis.values[index], self.box[0]
        lines = self.heading_lines(heading.text, width, HEADING_LINES)
        if heading.note and self.measure(axis.note, "small") <= width:
            lines.append([(0.0, heading.note, "small")])
        return lines

    def heading_lines(self, text: str, width: float, max_lines: int) -> list[Line]:
        """Break a heading into lines; one that does not fit is broken anywhere."""
        lines = wrap_heading(text, width, self.measure, max_lines=max_lines)
        if lines is None:
            return wrap([Part(text, "title")], width, self.measure, max_lines=max_lines)
        return [[(0.0, line, "title")] for line in lines]

    def cramped(self) -> set[str]:
        """Return the names of axes with a heading that does not fit."""
        sides: Sequence[tuple[Headings | None, int, int]] = (
            (self.sheet.x, self.box[0], HEADING_LINES),
            (self.sheet.y, self.label - LABEL_GAP_PX, max(1, self.box[1] // LINE_PX)),
        )
        return {
            axis.key
            for axis, width, lines in sides
            if axis is not None
            and any(wrap_heading(value.text, width, self.measure, max_lines=lines) is None for value in axis.values)
        }

    def split(self, band: Band, rows: int) -> tuple[Band, Band]:
        """Split a band after its first `rows` rows. Return the upper and the lower part."""
        upper = [replace(block, rows=block.rows[:rows]) for block in band]
        lower = [replace(block, rows=block.rows[rows:]) for block in band if len(block.rows) > rows]
        return upper, lower
