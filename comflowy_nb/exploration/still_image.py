"""Draw the still image of an exploration: a labelled grid of at most 64 cells for the saved notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.errors import RefError
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX, THUMBNAIL_SIZES_PX
from comflowy_nb.layout.page import CellState, Tile, longest_side_px
from comflowy_nb.layout.run_captions import state_of_run
from comflowy_nb.layout.run_grid import Cell, Section, Sheet, arrange
from comflowy_nb.layout.text import Paragraph, Part
from comflowy_nb.layout.value_text import add_part
from comflowy_nb.painting.pages import DrawnPage, draw_encoded, encode_within, read_image
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.headings import choose_axes
from comflowy_nb.sweeps.sweep_painting import SweepPainting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

    from comflowy_nb.exploration.entries import Entry
    from comflowy_nb.exploration.exploration import Exploration


MAX_CELLS = 64
_MAX_BYTES = 340_000  # a saved notebook contains it twice, as an image and within HTML: together under 1 MB
_QUALITIES = (None, 70, 55, 40)


@dataclass(frozen=True, slots=True)
class Still:
    """A grid of exploration cells. `note` is `64 of 200` if cells are omitted, else empty."""

    drawn: DrawnPage
    entries: Sequence[Entry]
    note: str


def draw_still(exploration: Exploration, *, x: str = "", y: str = "") -> Still:
    """Draw the cells of an exploration.

    Parameters
    ----------
    x, y
        Names of the axes of columns and rows, for one sweep of at most `MAX_CELLS` cells. By default the axes of its
        layout.
    """
    entries = exploration.choose(MAX_CELLS)
    total = len(exploration.entries)
    if len(entries) == total and len(exploration.sweeps) == len(exploration.sources) == 1:
        return Still(_draw_sweep(exploration, {"x": x or None, "y": y or None}), entries, "")
    note = f"{len(entries)} of {total:,}" if len(entries) < total else ""
    return Still(_draw_entries(exploration, entries, note), entries, note)


def _draw_sweep(exploration: Exploration, layout: Mapping[str, str | None]) -> DrawnPage:
    sweep = exploration.sweeps[0]
    try:
        choose_axes(sweep.axes, layout)
    except RefError:  # the sweep has no such axis: the axis of the images, for example
        layout = {}
    painting = SweepPainting(sweep, layout if any(layout.values()) else sweep.layout, scale=1)
    painting.refresh()
    jpeg = encode_within(painting.paper, _MAX_BYTES, _QUALITIES)
    return DrawnPage(painting.page, painting.paper, painting.scale, jpeg, painting.palette)


def _draw_entries(exploration: Exploration, entries: Sequence[Entry], note: str) -> DrawnPage:
    head: list[Part] = [Part(exploration.title, "strong")]
    if note:
        add_part(head, "", note)
    cells = [Cell(_tiles(position, entry), _caption(entry)) for position, entry in enumerate(entries)]
    sheet = Sheet((Section(tuple(cells)),), head=(Paragraph(tuple(head), 3),))
    with DRAWING:
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)
        side = longest_side_px(len(page.boxes))
        side = side if side in THUMBNAIL_SIZES_PX else LARGE_THUMBNAIL_PX

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            image = next(image for image in entries[tile.cell].images if image.record.index == tile.image)
            return read_image(image.thumbnail(side), size)

        return draw_encoded(page, load, max_bytes=_MAX_BYTES, qualities=_QUALITIES)


def _tiles(position: int, entry: Entry) -> tuple[Tile, ...]:
    tiles = []
    for image in entry.images:
        record = image.record
        if record.is_image and record.state in {"kept", "pruned"} and record.size_px is not None:
            tiles.append(Tile(position, record.index, record.size_px))
    if tiles:
        return tuple(tiles)
    run = entry.run
    state = CellState("waiting", entry.text) if run is None else state_of_run(run.record)
    return (Tile(position, state=state),)


def _caption(entry: Entry) -> tuple[Paragraph, ...]:
    parts = [Part(entry.caption)] if entry.caption else []
    add_part(parts, "", entry.ref, tone="muted")
    return (Paragraph(tuple(parts), 4),)


def describe(exploration: Exploration, still: Still) -> str:
    """Return the exploration as text: its title, and a line for each cell of the still image."""
    count = len(exploration.entries)
    lines = [f"{exploration.title}: {count:,} cell{'s' * (count != 1)}" + (f", {still.note}" if still.note else "")]
    lines += [f"  {entry.ref} {entry.caption}: {entry.error or entry.text or entry.status}" for entry in still.entries]
    return "\n".join(lines)
