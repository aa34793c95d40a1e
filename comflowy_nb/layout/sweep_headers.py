"""Headers, row labels and titles of a sweep's grid: how they are broken into lines, and what room they take. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from comflowy_nb.layout.captions import Part
from comflowy_nb.layout.legends import NO_LIMIT
from comflowy_nb.layout.text_and_grid import LINE_PX, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.layout.captions import Tone
    from comflowy_nb.layout.sweep_blocks import Block, Sizes
    from comflowy_nb.layout.sweep_sheet import Headings, SweepSheet
    from comflowy_nb.layout.text_and_grid import Measure

__all__ = [
    "THUMB_GAP_PX",
    "THUMB_PX",
    "find_cramped",
    "header_height",
    "header_lines",
    "label_width",
    "shows_name",
    "thumb_height",
    "title_height",
    "title_lines",
    "wrap_header",
]

ROW_LABEL_PX = 150
HEADER_LINES = 4
THUMB_PX = 64  # an image that is the value of an axis, beside its name
THUMB_GAP_PX = 4


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


def title_height(sizes: Sizes, band: Sequence[Block], measure: Measure) -> int:
    lines = max((len(title_lines(block, sizes, measure)) for block in band if block.panel.title), default=0)
    return lines * LINE_PX + 6 if lines else 0


def title_lines(block: Block, sizes: Sizes, measure: Measure) -> list[list[tuple[float, str, Tone]]]:
    return wrap(block.panel.title, sizes.block, measure, max_lines=NO_LIMIT)


def header_height(sheet: SweepSheet, sizes: Sizes, block: Block, measure: Measure) -> int:
    if sheet.x is None:
        return LINE_PX + 4 if sheet.y is not None else 0
    lines = max(len(header_lines(sheet.x, index, sizes.box[0], measure)) for index in block.columns)
    return (lines + shows_name(sheet, block)) * LINE_PX + 4 + thumb_height(sheet.x, sizes)


def thumb_height(axis: Headings, sizes: Sizes) -> int:
    """What the images of an axis take above the names of its values; they are no wider than a cell."""
    return min(THUMB_PX, sizes.box[0]) + THUMB_GAP_PX if axis.images else 0


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


def label_width(sheet: SweepSheet, measure: Measure) -> int:
    """How much room the row labels take, with the space behind them."""
    if sheet.y is None:
        return 0
    widest = max(
        measure(sheet.y.name, "muted"),
        *(measure(value.text, "title") for value in sheet.y.values),
        *(measure(value.note, "small") for value in sheet.y.values),
    )
    return math.ceil(max(min(widest, ROW_LABEL_PX), THUMB_PX if sheet.y.images else 0)) + 12


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
