"""Where everything of a grid stands, in CSS pixels from the top left. Pure: whoever draws hands in how to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comflowy_nb.layout.captions import Paragraph, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.layout.captions import Cell, Section, Sheet, Tile, Tone

    Measure = Callable[[str, Tone], float]  # text, tone -> its width in pixels

__all__ = ["LINE_PX", "Box", "Page", "TextRun", "arrange", "columns_for", "fit", "longest_side_px", "mosaic", "wrap"]

MARGIN_PX = 20
GAP_PX = 18
ROW_GAP_PX = 22
LINE_PX = 18
MIN_COLUMN_PX = 120
MIN_PAGE_PX = 420
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Box:
    """A tile and its rectangle."""

    tile: Tile
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class TextRun:
    """Words in one tone; `y` is the top of their line, which is `LINE_PX` high."""

    text: str
    tone: Tone
    x: float
    y: float


@dataclass(slots=True)
class Page:
    """A grid with everything in its place."""

    width: float
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    words: list[TextRun] = field(default_factory=list)


def columns_for(count: int) -> int:
    """How many columns so many cells get: one row up to three, then about a square, at most twelve."""
    if count <= 3:
        return max(1, count)
    return min(12, math.ceil(math.sqrt(count)))


def longest_side_px(count: int) -> int:
    """The longest side of an image where so many are shown together."""
    if count <= 4:
        return 768
    return 512 if count <= 9 else 256


def fit(size: tuple[float, float], into: tuple[float, float]) -> tuple[float, float]:
    """The size scaled down, never up, to fit; at least one pixel each way."""
    scale = min(1.0, into[0] / size[0], into[1] / size[1])
    return max(1.0, round(size[0] * scale)), max(1.0, round(size[1] * scale))


def mosaic(tiles: Sequence[Tile], into: tuple[float, float], *, gap: float = 4) -> list[Box]:
    """The tiles of one cell side by side, about as many down as across, from (0, 0)."""
    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    rows = math.ceil(len(tiles) / columns)
    side = ((into[0] - gap * (columns - 1)) / columns, (into[1] - gap * (rows - 1)) / rows)
    sizes = [fit(tile.size_px, side) if tile.size_px else None for tile in tiles]
    known = [size for size in sizes if size is not None]
    blank = max(known) if known else (min(side[0], 480.0), min(side[1], 480.0, max(90.0, side[0] * 0.6), 180.0))
    boxes = []
    y = 0.0
    for row in range(rows):
        chosen = range(row * columns, min(len(tiles), (row + 1) * columns))
        placed = [sizes[index] or blank for index in chosen]
        x = 0.0
        for index, (width, height) in zip(chosen, placed, strict=True):
            boxes.append(Box(tiles[index], x, y, width, height))
            x += width + gap
        y += max(height for _, height in placed) + gap
    return boxes


def arrange(sheet: Sheet, *, width_px: float, measure: Measure) -> Page:
    """Every image and every word of a sheet in its place, at most `width_px` wide, nothing clipped."""
    count = sum(len(cell.tiles) for section in sheet.sections for cell in section.cells)
    columns = columns_for(max(len(section.cells) for section in sheet.sections))
    side = longest_side_px(count)
    room = (width_px - 2 * MARGIN_PX - GAP_PX * (columns - 1)) / columns
    cells = [cell for section in sheet.sections for cell in section.cells]
    mosaics = {id(cell): mosaic(cell.tiles, (min(side, room), side)) for cell in cells}
    widest = max(box.x + box.width for boxes in mosaics.values() for box in boxes)
    column = min(room, max(widest, MIN_COLUMN_PX))
    page = Page(min(width_px, max(MIN_PAGE_PX, columns * column + GAP_PX * (columns - 1) + 2 * MARGIN_PX)))
    y = float(MARGIN_PX)
    if sheet.head:
        y = _write(page, sheet.head, MARGIN_PX, y, page.width - 2 * MARGIN_PX, measure) + 14
    for section in sheet.sections:
        y = _place(page, section, mosaics, y, columns, column, measure) + ROW_GAP_PX
    y -= ROW_GAP_PX
    for paragraphs, above in ((sheet.foot, 10), (sheet.legend, 16)):
        if paragraphs:
            y = _write(page, paragraphs, MARGIN_PX, y + above, page.width - 2 * MARGIN_PX, measure)
    page.height = math.ceil(y + MARGIN_PX - 4)
    page.width = math.ceil(page.width)
    return page


def _place(  # noqa: PLR0917 - a place on a page is made of many numbers
    page: Page,
    section: Section,
    mosaics: dict[int, list[Box]],
    y: float,
    columns: int,
    column: float,
    measure: Measure,
) -> float:
    if section.title:
        y = _write(page, [Paragraph((Part(section.title, "title"),), 1)], MARGIN_PX, y, page.width, measure) + 4
    for start in range(0, len(section.cells), columns):
        row: Sequence[Cell] = section.cells[start : start + columns]
        if any(cell.title for cell in row):
            for place, cell in enumerate(row):
                x = MARGIN_PX + place * (column + GAP_PX)
                _write(page, [Paragraph((Part(cell.title or "", "title"),), 1)], x, y, column, measure)
            y += LINE_PX + 4
        ends: list[float] = []
        for place, cell in enumerate(row):
            x = MARGIN_PX + place * (column + GAP_PX)
            for box in mosaics[id(cell)]:
                page.boxes.append(Box(box.tile, x + box.x, y + box.y, box.width, box.height))
            top = y + max(box.y + box.height for box in mosaics[id(cell)])  # each caption close to its own image
            ends.append(_write(page, cell.caption, x, top + 7, column, measure) if cell.caption else top)
        y = max(ends) + ROW_GAP_PX
    return y - ROW_GAP_PX


def _write(  # noqa: PLR0917 - as above
    page: Page, paragraphs: Iterable[Paragraph], x: float, y: float, width: float, measure: Measure
) -> float:
    """Put paragraphs under each other; the y below the last."""
    for paragraph in paragraphs:
        for line in wrap(paragraph.parts, width, measure, max_lines=paragraph.max_lines):
            page.words.extend(TextRun(text, tone, x + offset, y) for offset, text, tone in line)
            y += LINE_PX
        y += 2
    return y


def wrap(
    parts: Sequence[Part], width: float, measure: Measure, *, max_lines: int
) -> list[list[tuple[float, str, Tone]]]:
    """Break words into lines no wider than `width`; each line is (x, text, tone) from left to right.

    A word wider than a line is broken anywhere, as is a text in a script that writes no spaces. What goes beyond
    `max_lines` is left out and an ellipsis stands for it.
    """
    lines: list[list[tuple[float, str, Tone]]] = [[]]
    x = 0.0
    words = _words(parts)
    while words:
        text, tone = words.pop(0)
        if not lines[-1]:
            text = text.lstrip()
        if not text:
            continue
        size = measure(text, tone)
        if x + size <= width:
            _append(lines[-1], x, text, tone, measure)
            x += size
            continue
        is_broken = size > width or _writes_no_spaces(text)
        head = _longest(text, tone, width - x, measure) if is_broken else ""
        if not head.strip() and not lines[-1]:
            head = text[:1]  # narrower than one letter: still get on
        if head.strip():
            _append(lines[-1], x, head, tone, measure)
            text = text[len(head) :]
        words.insert(0, (text, tone))
        if len(lines) == max_lines:
            _end_early(lines[-1], width, measure)
            break
        lines.append([])
        x = 0.0
    return [line for line in lines if line]


def _words(parts: Sequence[Part]) -> list[tuple[str, Tone]]:
    """Each word with the spaces before it."""
    found: list[tuple[str, Tone]] = []
    for part in parts:
        start = 0
        for index in range(1, len(part.text)):
            if part.text[index].isspace() and not part.text[index - 1].isspace():
                found.append((part.text[start:index], part.tone))
                start = index
        found.append((part.text[start:], part.tone))
    return found


def _append(line: list[tuple[float, str, Tone]], x: float, text: str, tone: Tone, measure: Measure) -> None:
    if line and line[-1][2] == tone:
        line[-1] = (line[-1][0], line[-1][1] + text, tone)
    else:  # spaces before the first word are a distance: whoever draws may not draw them
        word = text.lstrip()
        line.append((x + measure(text[: len(text) - len(word)], tone), word, tone))


def _longest(text: str, tone: Tone, room: float, measure: Measure) -> str:
    """The longest beginning of a text that fits."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle], tone) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _writes_no_spaces(text: str) -> bool:
    return sum(ord(letter) > 0x2E7F for letter in text) > len(text) / 2


def _end_early(line: list[tuple[float, str, Tone]], width: float, measure: Measure) -> None:
    """Shorten the last words of a line until an ellipsis fits behind them."""
    while line:
        x, text, tone = line.pop()
        room = width - x - measure(ELLIPSIS, tone)
        kept = text if measure(text, tone) <= room else _longest(text, tone, room, measure)
        if kept.strip() or not line:
            line.append((x, kept.rstrip(" ,;") + ELLIPSIS, tone))
            return
