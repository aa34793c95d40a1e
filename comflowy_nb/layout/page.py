"""Pages: boxes for images, and texts, at positions in CSS pixels from the top left. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX, SMALL_THUMBNAIL_PX
from comflowy_nb.layout.text import LINE_PX, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.layout.text import Line, Measure, Paragraph, Tone
    from comflowy_nb.workflow.images import InputImage


MARGIN_PX = 20
GAP_PX = 18
MIN_PAGE_PX = 420  # width
_LEGIBLE_CELLS = 25
_LEGIBLE_PX = 680  # a page of this width, reduced to 560 pixels, has its smallest text reduced from 11 to 9 pixels

# error: failed, rejected or missing. warning: cancelled, unknown or lost. done: a cell of a plan that has succeeded.
CellStateKind = Literal["images", "waiting", "live", "error", "warning", "done"]


@dataclass(frozen=True, slots=True)
class CellState:
    """The state that a cell shows. Equal states look the same.

    Attributes
    ----------
    fraction
        Progress from 0 to 1; None draws no progress bar.
    images
        Index, file and state of each image, if the cell shows images.
    """

    kind: CellStateKind
    text: str = ""
    detail: str = ""
    fraction: float | None = None
    images: tuple[tuple[int, str | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """Content of a box: an image of a cell, the state of a cell, or an input image.

    Attributes
    ----------
    cell
        The index of the run in a grid of runs, or the number of the cell in a sweep.
    image
        Index of the image within its run.
    size_px
        Width and height of the image, if it is known.
    """

    cell: int
    image: int | None = None
    size_px: tuple[int, int] | None = None
    state: CellState | None = None
    input_image: InputImage | None = None


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
    """Text in one tone; `y` is the top of its line, which is `LINE_PX` high."""

    text: str
    tone: Tone
    x: float
    y: float


@dataclass(slots=True)
class Page:
    """One page of a grid, page `number` (from 1) of `of`.

    Attributes
    ----------
    width, height
        In pixels of the layout.
    zoom
        CSS pixels for each pixel of the layout.
    """

    width: int
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    texts: list[TextRun] = field(default_factory=list)
    number: int = 1
    of: int = 1
    zoom: float = 1.0

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in a notebook, in CSS pixels."""
        return round(self.width * self.zoom), round(self.height * self.zoom)

    def add_lines(self, lines: Iterable[Line], x: float, y: float) -> float:
        """Add lines below each other. Return the y coordinate below the last line."""
        for line in lines:
            self.texts += [TextRun(text, tone, x + offset, y) for offset, text, tone in line]
            y += LINE_PX
        return y

    def add_paragraphs(
        self, paragraphs: Iterable[Paragraph], position: tuple[float, float], width: float, measure: Measure
    ) -> float:
        """Add paragraphs below each other. Return the y coordinate below the last paragraph."""
        x, y = position
        for paragraph in paragraphs:
            y = self.add_lines(wrap(paragraph.parts, width, measure, max_lines=paragraph.max_lines), x, y) + 2
        return y


def arrange_legibly(arrange: Callable[[int, float], Page], width_px: int, cells: int) -> Page:
    """Return a page whose text is legible even if a front end shows the page only 560 CSS pixels wide.

    Such a front end reduces a wider page, including its text. A wide page of few cells is therefore arranged on less
    width, with text of the same size, and then enlarged as a whole.

    Parameters
    ----------
    arrange
        Arranges the page for its greatest width, in pixels of the layout, and its zoom.
    width_px
        Greatest width, in CSS pixels.
    cells
        Number of cells; more than 25 are arranged without a zoom.
    """
    page = arrange(width_px, 1.0)
    if cells > _LEGIBLE_CELLS or page.width <= _LEGIBLE_PX:
        return page
    zoom = page.width / _LEGIBLE_PX
    page = arrange(_LEGIBLE_PX, zoom)
    page.zoom = zoom
    return page


def longest_side_px(count: int) -> int:
    """Return the longest side of each image if `count` are shown together. From 5 on, it is a thumbnail's."""
    if count <= 4:
        return 768
    return LARGE_THUMBNAIL_PX if count <= 9 else SMALL_THUMBNAIL_PX


def fit(size: tuple[float, float], into: tuple[float, float]) -> tuple[float, float]:
    """Return a size reduced to fit into another; never enlarged. Each side is at least one pixel."""
    scale = min(1.0, into[0] / size[0], into[1] / size[1])
    return max(1.0, round(size[0] * scale)), max(1.0, round(size[1] * scale))


def mosaic(tiles: Sequence[Tile], into: tuple[float, float], *, gap: float = 4) -> list[Box]:
    """Place the tiles of one cell in a square mosaic that begins at (0, 0).

    A tile of unknown size is as large as the largest known one. If no size is known, it is a wide box for a state.
    """
    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    rows = math.ceil(len(tiles) / columns)
    side = ((into[0] - gap * (columns - 1)) / columns, (into[1] - gap * (rows - 1)) / rows)
    sizes = [fit(tile.size_px, side) if tile.size_px else None for tile in tiles]
    known = [size for size in sizes if size is not None]
    default = max(known) if known else (min(side[0], 480.0), min(side[1], 480.0, max(90.0, side[0] * 0.6), 180.0))
    boxes = []
    y = 0.0
    for start in range(0, len(tiles), columns):
        x = height = 0.0
        for tile, size in zip(tiles[start : start + columns], sizes[start : start + columns], strict=True):
            boxes.append(Box(tile, x, y, *(size or default)))
            x += boxes[-1].width + gap
            height = max(height, boxes[-1].height)
        y += height + gap
    return boxes
