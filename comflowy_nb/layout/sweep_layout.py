"""Where everything on the grid of a sweep stands, page by page, in CSS pixels. Pure: measuring is handed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError
from comflowy_nb.layout.captions import Paragraph, Part
from comflowy_nb.layout.sweep_blocks import CELL_GAP_PX
from comflowy_nb.layout.sweep_headers import (
    THUMB_GAP_PX,
    THUMB_PX,
    find_cramped,
    header_height,
    header_lines,
    shows_name,
    thumb_height,
    title_height,
    title_lines,
    wrap_header,
)
from comflowy_nb.layout.sweep_sizes import band_height, choose_sizes, gap_between, paginate
from comflowy_nb.layout.text_and_grid import LINE_PX, MARGIN_PX, TextRun, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.layout.sweep_blocks import Block, Sizes
    from comflowy_nb.layout.sweep_sheet import Heading, Headings, SweepSheet
    from comflowy_nb.layout.sweep_sizes import Images
    from comflowy_nb.layout.text_and_grid import Measure
    from comflowy_nb.workflow.images import InputImage

__all__ = ["Slot", "SweepPage", "Thumb", "arrange_sweep"]

MIN_PAGE_PX = 420


@dataclass(frozen=True, slots=True)
class Slot:
    """The rectangle of one cell, by its number."""

    number: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Thumb:
    """An image that is the value of an axis, within a square."""

    image: InputImage
    x: int
    y: int
    side: int


@dataclass(slots=True)
class SweepPage:
    """One page with everything but the images in its place; `number` counts from 1."""

    width: int
    height: int = 0
    number: int = 1
    of: int = 1
    slots: list[Slot] = field(default_factory=list)
    words: list[TextRun] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)


def arrange_sweep(
    write: Callable[[Collection[str]], SweepSheet],
    *,
    width_px: int,
    measure: Measure,
    images: Collection[Images] = (),
    page: int = 1,
) -> tuple[SweepPage, SweepSheet]:
    """One page of a sweep, at most `width_px` wide, nothing clipped, and the words it was made of.

    Parameters
    ----------
    write
        Makes the words, with letters for the axes of these names: headers that find no room are asked for as letters.
    images
        Sizes of the images, for each cell that has some; the same once is enough.

    Raises
    ------
    SettingsError
        If there is no such page.
    """
    lettered: set[str] = set()
    while True:
        sheet = write(lettered)
        sizes = choose_sizes(sheet, width_px, measure, images)
        cramped = find_cramped(sheet, sizes, measure) - lettered
        if not cramped:
            break
        lettered |= cramped
    pages = paginate(sheet, sizes, width_px, measure)
    if not 1 <= page <= len(pages):
        count = len(pages)
        raise SettingsError(f"there is no page {page}: the grid has {count} page{'s' * (count != 1)}")
    return _Placing(sheet, sizes, width_px, measure).place(pages[page - 1], page, len(pages)), sheet


class _Placing:
    def __init__(self, sheet: SweepSheet, sizes: Sizes, width_px: int, measure: Measure) -> None:
        self._sheet = sheet
        self._sizes = sizes
        self._measure = measure
        self._width_px = width_px

    def place(self, bands: Sequence[Sequence[Block]], number: int, of: int) -> SweepPage:
        sheet, sizes = self._sheet, self._sizes
        across = max(len(band) for band in bands)
        columns = max(len(block.columns) for band in bands for block in band)
        last = columns * (sizes.box[0] + CELL_GAP_PX) - CELL_GAP_PX
        wanted = 2 * MARGIN_PX + sizes.label + (across - 1) * sizes.stride + last
        page = SweepPage(math.ceil(min(self._width_px, max(MIN_PAGE_PX, wanted))), number=number, of=of)
        y = self._write(page, sheet.head, MARGIN_PX)
        if of > 1:
            shown = [block.panel.cells[row][column] for band in bands for block in band
                     for row in block.rows for column in block.columns]  # fmt: skip
            y = self._write(page, [self._say_page(number, of, len(shown))], y)
        y += 14
        for before, band in zip((None, *bands), bands, strict=False):
            y += gap_between(before, band) if before is not None else 0
            for place, block in enumerate(band):
                x = MARGIN_PX + place * sizes.stride
                self._place_block(page, block, band, x + sizes.label, y)
                if sheet.y is not None and (place == 0 or sizes.shape.splits_rows):
                    self._write_labels(page, sheet.y, block, band, x, y)
            y += band_height(sheet, sizes, band, self._measure)
        legend = [paragraph for axis, index, paragraph in sheet.legend if self._is_on(bands, axis, index)]
        if legend:
            y = self._write(page, legend, y + 14)
        page.height = math.ceil(y + MARGIN_PX - 4)
        return page

    def _say_page(self, number: int, of: int, shown: int) -> Paragraph:
        ref = self._sheet.ref
        tip = f"; %comflowy show {ref} --page {number % of + 1} for another" if ref else ""
        words = f"page {number} of {of}: {shown} of {self._sheet.count} cells{tip}"
        return Paragraph((Part(words, "muted"),), 2)

    def _place_block(self, page: SweepPage, block: Block, band: Sequence[Block], left: int, y: float) -> None:
        sheet, sizes = self._sheet, self._sizes
        for line, words in enumerate(title_lines(block, sizes, self._measure) if block.panel.title else ()):
            page.words += [TextRun(text, tone, left + shift, y + line * LINE_PX) for shift, text, tone in words]
        y += title_height(sizes, band, self._measure)
        header = max(header_height(sheet, sizes, other, self._measure) for other in band)
        if sheet.x is not None:
            self._write_headers(page, sheet.x, block, left, y, y + header - 4)
        for down, row in enumerate(block.rows):
            top = y + header + down * sizes.row
            for place, index in enumerate(block.columns):
                number = block.panel.cells[row][index]
                x = left + place * (sizes.box[0] + CELL_GAP_PX)
                page.slots.append(Slot(number, round(x), round(top), *sizes.box))
                page.words.append(TextRun(self._name(number), "small", x, top + sizes.box[1] - 2))

    def _write_headers(  # noqa: PLR0917 - a place on a page is made of many numbers
        self, page: SweepPage, axis: Headings, block: Block, left: int, top: float, bottom: float
    ) -> None:
        if shows_name(self._sheet, block):
            line = wrap([Part(axis.name, "muted")], self._sizes.block, self._measure, max_lines=1)[0]
            page.words += [TextRun(text, tone, left + shift, top) for shift, text, tone in line]
        for place, index in enumerate(block.columns):
            lines = header_lines(axis, index, self._sizes.box[0], self._measure)
            x, y = left + place * (self._sizes.box[0] + CELL_GAP_PX), bottom - len(lines) * LINE_PX
            page.words += [TextRun(text, tone, x, y + n * LINE_PX) for n, (text, tone) in enumerate(lines)]
            image = axis.images[index] if axis.images else None
            if image is not None:
                side = thumb_height(axis, self._sizes) - THUMB_GAP_PX
                page.thumbs.append(Thumb(image, round(x), round(y - THUMB_GAP_PX - side), side))

    def _name(self, number: int) -> str:
        """The reference of a cell; its number alone where there is no room for more."""
        name = self._sheet.name_cell(number)
        return name if self._measure(name, "small") <= self._sizes.box[0] else str(number)

    def _write_labels(  # noqa: PLR0917 - as above
        self, page: SweepPage, axis: Headings, block: Block, band: Sequence[Block], x: int, y: float
    ) -> None:
        """The labels of the rows, once for all blocks that have the same, and above them the name of their axis."""
        y += title_height(self._sizes, band, self._measure)
        y += max(header_height(self._sheet, self._sizes, other, self._measure) for other in band)
        lines = wrap([Part(axis.name, "muted")], self._sizes.label - 12, self._measure, max_lines=1)
        page.words += [TextRun(text, tone, x + shift, y - 4 - LINE_PX) for line in lines for shift, text, tone in line]
        for down, row in enumerate(block.rows):
            image = axis.images[row] if axis.images else None
            self._write_label(page, axis.values[row], x, y + down * self._sizes.row, image)

    def _write_label(self, page: SweepPage, heading: Heading, x: int, top: float, image: InputImage | None) -> None:
        width, height = self._sizes.label - 12, self._sizes.box[1]
        most = max(1, height // LINE_PX)
        wrapped = wrap_header(heading.text, width, self._measure, max_lines=most)
        if wrapped is None:
            broken = wrap([Part(heading.text, "title")], width, self._measure, max_lines=most)
            wrapped = ["".join(text for _, text, _ in line) for line in broken]
        lines: list[tuple[str, Tone]] = [(line, "title") for line in wrapped]
        note = wrap_header(heading.note, width, self._measure, max_lines=1, tone="small") if heading.note else None
        if note and len(lines) < most:
            lines.append((note[0], "small"))
        side = min(THUMB_PX, width, height - len(lines) * LINE_PX - THUMB_GAP_PX) if image is not None else 0
        above = side + THUMB_GAP_PX if side >= LINE_PX else 0  # a smaller one shows nothing
        y = top + max(0.0, (height - len(lines) * LINE_PX - above) / 2)
        if image is not None and above:
            page.thumbs.append(Thumb(image, x, round(y), side))
            y += above
        page.words += [TextRun(text, tone, x, y + place * LINE_PX) for place, (text, tone) in enumerate(lines)]

    def _is_on(self, bands: Sequence[Sequence[Block]], axis: str, index: int) -> bool:
        """Whether a value is one of those on this page."""
        for block in (block for band in bands for block in band):
            if self._sheet.x is not None and axis == self._sheet.x.key:
                if index in block.columns:
                    return True
            elif self._sheet.y is not None and axis == self._sheet.y.key:
                if index in block.rows:
                    return True
            elif (axis, index) in block.panel.values:
                return True
        return False

    def _write(self, page: SweepPage, paragraphs: Iterable[Paragraph], y: float) -> float:
        for paragraph in paragraphs:
            room = page.width - 2 * MARGIN_PX
            for line in wrap(paragraph.parts, room, self._measure, max_lines=paragraph.max_lines):
                page.words += [TextRun(text, tone, MARGIN_PX + shift, y) for shift, text, tone in line]
                y += LINE_PX
            y += 2
        return y
