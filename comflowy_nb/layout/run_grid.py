"""Arrange the grid of runs or of a comparison: images with captions below them, in sections. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.layout.page import (
    GAP_PX,
    MARGIN_PX,
    MIN_PAGE_PX,
    Box,
    Page,
    Tile,
    arrange_legibly,
    longest_side_px,
    mosaic,
)
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part

if TYPE_CHECKING:
    from comflowy_nb.layout.text import Measure


_ROW_GAP_PX = 22
_MIN_COLUMN_PX = 120


@dataclass(frozen=True, slots=True)
class Cell:
    """An image, or a mosaic of all images of a run, with a title above it and a caption below it."""

    tiles: tuple[Tile, ...]
    caption: tuple[Paragraph, ...] = ()
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Cells under one title, such as the images of one node."""

    cells: tuple[Cell, ...]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The content of a grid, before it is arranged on a page."""

    sections: tuple[Section, ...]
    head: tuple[Paragraph, ...] = ()
    footer: tuple[Paragraph, ...] = ()
    legend: tuple[Paragraph, ...] = ()


def arrange(sheet: Sheet, *, width_px: int, measure: Measure) -> Page:
    """Arrange a grid on a page at most `width_px` wide; nothing is clipped."""
    cells = sum(len(section.cells) for section in sheet.sections)
    return arrange_legibly(lambda width, _: _arrange(sheet, width, measure), width_px, cells)


def _arrange(sheet: Sheet, width_px: int, measure: Measure) -> Page:
    cells = [cell for section in sheet.sections for cell in section.cells]
    columns = _columns_for(max(len(section.cells) for section in sheet.sections))
    side = longest_side_px(sum(len(cell.tiles) for cell in cells))
    available = (width_px - 2 * MARGIN_PX - GAP_PX * (columns - 1)) / columns
    mosaics = {cell: mosaic(cell.tiles, (min(side, available), side)) for cell in cells}
    column = min(available, max(_MIN_COLUMN_PX, *(box.x + box.width for boxes in mosaics.values() for box in boxes)))
    needed_px = columns * column + GAP_PX * (columns - 1) + 2 * MARGIN_PX
    page = Page(math.ceil(min(width_px, max(MIN_PAGE_PX, needed_px))))
    text_px = page.width - 2 * MARGIN_PX
    y = float(MARGIN_PX)
    if sheet.head:
        y = page.add_paragraphs(sheet.head, (MARGIN_PX, y), text_px, measure) + 14
    for section in sheet.sections:
        if section.title:
            y = page.add_paragraphs([_title(section.title)], (MARGIN_PX, y), text_px, measure) + 4
        for start in range(0, len(section.cells), columns):
            row = section.cells[start : start + columns]
            y = _add_row(page, row, [mosaics[cell] for cell in row], y, column, measure) + _ROW_GAP_PX
    y -= _ROW_GAP_PX
    for paragraphs, above in ((sheet.footer, 10), (sheet.legend, 16)):
        if paragraphs:
            y = page.add_paragraphs(paragraphs, (MARGIN_PX, y + above), text_px, measure)
    page.height = math.ceil(y + MARGIN_PX - 4)
    return page


def _columns_for(count: int) -> int:
    """Return the number of columns for `count` cells: one row for up to three cells, else a square, at most twelve."""
    return max(1, count) if count <= 3 else min(12, math.ceil(math.sqrt(count)))


def _title(text: str | None) -> Paragraph:
    return Paragraph((Part(text or "", "title"),), 1)


def _add_row(  # noqa: PLR0917 - a row on a page has many measures
    page: Page, cells: tuple[Cell, ...], mosaics: list[list[Box]], y: float, column: float, measure: Measure
) -> float:
    """Add a row of cells. Return the y coordinate below it. Each caption is closest to its own image."""
    lefts = [MARGIN_PX + position * (column + GAP_PX) for position in range(len(cells))]
    if any(cell.title for cell in cells):
        for x, cell in zip(lefts, cells, strict=True):
            page.add_paragraphs([_title(cell.title)], (x, y), column, measure)
        y += LINE_PX + 4
    bottoms = []
    for x, cell, boxes in zip(lefts, cells, mosaics, strict=True):
        page.boxes += [Box(box.tile, x + box.x, y + box.y, box.width, box.height) for box in boxes]
        bottom = y + max(box.y + box.height for box in boxes)
        if cell.caption:
            bottom = page.add_paragraphs(cell.caption, (x, bottom + 7), column, measure)
        bottoms.append(bottom)
    return max(bottoms)
