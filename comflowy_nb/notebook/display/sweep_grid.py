"""Draw the grid of a sweep: write the labels once, and paint only the cells that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from comflowy_nb.errors import ComflowyError
from comflowy_nb.images.decode import flatten
from comflowy_nb.layout.captions import Tile
from comflowy_nb.layout.sweep_layout import arrange_sweep
from comflowy_nb.layout.sweep_sizes import MOSAIC_GAP_PX
from comflowy_nb.layout.text_and_grid import mosaic
from comflowy_nb.notebook.display.cell_panels import draw_panel
from comflowy_nb.notebook.display.figure import DRAWING, TWICE_BELOW_BYTES, draw_figure, encode, measure, read_image
from comflowy_nb.notebook.display.run_grid import Grid
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.captions import choose_axes, sheet_of_sweep
from comflowy_nb.sweeps.cell_states import CellState, cell_state_of, chosen_images
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.layout.sweep_layout import Slot, SweepPage, Thumb
    from comflowy_nb.layout.sweep_sheet import SweepSheet
    from comflowy_nb.notebook.display.figure import Figure
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import RunImage

__all__ = ["SweepGrid", "SweepPainting"]

_TWICE_BELOW_PX = 1_400_000  # CSS pixels of a page, and cells on it: twice the pixels of more is beyond a megabyte
_TWICE_UP_TO = 40
_MAX_LARGE_CELLS = 144  # on a page; with more, submitting and showing it again would add a megabyte to the notebook
_QUALITIES = (75, 60, 45)  # tried in order, if the page has too many bytes without doubled pixels
_MAX_NAMED_CELLS = 40  # in the plain text of the grid


class SweepPainting:
    """The pixels of one page of a sweep. `refresh` paints the cells that have changed, `jpeg` encodes the page.

    Parameters
    ----------
    layout
        `x`, `y`, `z`: names of axes, or None for those next in the order typed.
    label
        Field ids for the title.
    node, image
        Which of a cell's images.
    scale
        Pixels for each CSS pixel; None takes two where that stays below a megabyte.
    """

    def __init__(
        self,
        sweep: Sweep,
        layout: Mapping[str, str | None],
        *,
        label: Sequence[str] | None = None,
        node: str | None = None,
        image: int | None = None,
        page: int = 1,
        scale: int | None = None,
    ) -> None:
        self.scale = scale or 1
        self._chooses_scale = scale is None
        self._sweep = sweep
        self._layout = layout
        self._label = label
        self._node = node
        self._image = image
        self._page_number = page
        self._page: SweepPage | None = None
        self._sizes: set[tuple[tuple[int, int], ...]] = set()  # of the images of a cell
        self._states: dict[int, CellState] = {}
        self._slots: dict[int, Slot] = {}
        self._paper = Image.new("RGB", (1, 1))

    @property
    def page(self) -> SweepPage:
        if self._page is None:
            self.refresh()
            assert self._page is not None
        return self._page

    @property
    def paper(self) -> Image.Image:
        """The pixels, which the next `refresh` changes."""
        return self._paper

    def refresh(self, numbers: Iterable[int] | None = None) -> bool:
        """Paint these cells again if their state has changed; all cells if `numbers` is None.

        Returns
        -------
        Whether a pixel changed.
        """
        with DRAWING:
            cells = self._sweep.cells
            changed = [cells[number - 1] for number in numbers] if numbers is not None else cells
            states = {cell.number: cell_state_of(cell, node=self._node, image=self._image) for cell in changed}
            found = {self._sizes_of(cells[number - 1]) for number, state in states.items() if state.images}
            sizes = self._sizes | {each for each in found if each}
            is_new = self._page is None or (sizes != self._sizes and self._outgrows(sizes))
            self._sizes = sizes
            if is_new:
                self._states |= states
                self._lay_out()
                return True
            painted = False
            for number, state in states.items():
                if self._states.get(number) == state:
                    continue
                self._states[number] = state
                if number in self._slots:
                    self._paint(cells[number - 1], state)
                    painted = True
            return painted

    def jpeg(self) -> bytes:
        """Return the page as a JPEG of less than a megabyte in a notebook."""
        jpeg = encode(self._paper)
        if self._chooses_scale and self.scale > 1 and len(jpeg) > TWICE_BELOW_BYTES:
            self._chooses_scale, self.scale = False, 1
            with DRAWING:
                self._lay_out()
            jpeg = encode(self._paper)
        limit_bytes = TWICE_BELOW_BYTES // (2 if len(self._slots) > _MAX_LARGE_CELLS else 1)
        for quality in _QUALITIES:
            if len(jpeg) <= limit_bytes:
                break
            jpeg = encode(self._paper, quality=quality)
        return jpeg

    def figure(self) -> Figure:
        """Return the page as a matplotlib figure with text as text."""
        page = self.page
        with DRAWING:
            images = Image.new("RGB", self._paper.size, "white")
            boxes = [(slot.x, slot.y, slot.width, slot.height) for slot in self._slots.values()]
            for left, top, width, height in (*boxes, *((one.x, one.y, one.side, one.side) for one in page.thumbs)):
                x, y, right, low = (n * self.scale for n in (left, top, left + width, top + height))
                images.paste(self._paper.crop((x, y, right, low)), (x, y))
            return draw_figure((page.width, page.height), page.words, scale=self.scale, paper=images)[0]

    def _write(self, lettered: Collection[str]) -> SweepSheet:
        return sheet_of_sweep(self._sweep, self._layout, label=self._label, lettered=lettered)

    def _arrange(self, sizes: Collection[tuple[tuple[int, int], ...]]) -> SweepPage:
        width_px = settings.grid_width_px
        found = arrange_sweep(self._write, width_px=width_px, measure=measure, images=sizes, page=self._page_number)
        return found[0]

    def _outgrows(self, sizes: Collection[tuple[tuple[int, int], ...]]) -> bool:
        """Return True if images of these sizes need another layout."""
        return self._page is None or self._arrange(sizes).slots != self._page.slots

    def _lay_out(self) -> None:
        """Write the labels and paint every cell."""
        page = self._page = self._arrange(self._sizes)
        if self._chooses_scale:
            self.scale = 2 if _may_be_fine(page) else 1
        self._paper = draw_figure((page.width, page.height), page.words, scale=self.scale)[1]
        self._slots = {slot.number: slot for slot in page.slots}
        for thumb in page.thumbs:
            self._paint_thumb(thumb)
        for number in self._slots:
            cell = self._sweep.cells[number - 1]
            state = self._states.setdefault(number, cell_state_of(cell, node=self._node, image=self._image))
            self._paint(cell, state)

    def _paint_thumb(self, thumb: Thumb) -> None:
        """Paint the thumbnail of an axis value."""
        side = thumb.side * self.scale
        try:
            with open_image_file(thumb.image.load()) as opened:
                opened.draft("RGB", (side, side))
                assert_decodable(opened, thumb.image.name)
                small = flatten(opened)
        except Exception:  # noqa: BLE001 - the file may be deleted or not an image; the label shows its name
            return
        small.thumbnail((side, side))
        self._paper.paste(small, (thumb.x * self.scale, thumb.y * self.scale))

    def _sizes_of(self, cell: SweepCell) -> tuple[tuple[int, int], ...]:
        sizes = [_size(image) for image in self._images(cell)]
        return tuple(size for size in sizes if size)

    def _images(self, cell: SweepCell) -> list[RunImage]:
        if cell.run is None:
            return []
        chosen = {one.index for one in chosen_images(cell.run.record.images, node=self._node, image=self._image)}
        return [image for image in cell.run.images if image.record.index in chosen]

    def _paint(self, cell: SweepCell, state: CellState) -> None:
        slot, scale = self._slots[cell.number], self.scale
        box = (slot.width, slot.height)
        corner = (slot.x * scale, slot.y * scale)
        if not state.images:
            self._paper.paste(draw_panel(state, box, scale), corner)
            return
        self._paper.paste("white", (*corner, corner[0] + box[0] * scale, corner[1] + box[1] * scale))
        images = {image.record.index: image for image in self._images(cell)}
        tiles = [Tile(0, index, _size(images[index])) for index in images]
        for part in mosaic(tiles, box, gap=MOSAIC_GAP_PX):
            at = (corner[0] + round(part.x * scale), corner[1] + round(part.y * scale))
            size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
            assert part.tile.image is not None
            self._paper.paste(self._load_tile(images[part.tile.image], size), at)

    def _load_tile(self, image: RunImage, size: tuple[int, int]) -> Image.Image:
        """Return the image in this size, or a panel that says why it is missing."""
        record, scale = image.record, self.scale
        box = (max(1, size[0] // scale), max(1, size[1] // scale))
        if record.state == "expected":
            return draw_panel(CellState("live", "fetching"), box, scale)
        try:
            return read_image(self._source(image, max(size)), size)
        except (ComflowyError, OSError) as error:
            why = str(error) if isinstance(error, ComflowyError) else "the file can't be read"
            if record.state == "kept" and record.error:
                return draw_panel(CellState("odd", "kept, not shown", record.error), box, scale)
            return draw_panel(CellState("bad", "missing", record.error or why), box, scale)

    def _source(self, image: RunImage, side: int) -> Path:
        """Return the file to draw: the original for up to four cells, else the thumbnail."""
        if len(self._sweep.cells) <= 4:
            return image.path
        return image.thumbnail(512 if side > 256 else 256)


class SweepGrid(Grid):
    """The grid of a sweep, drawn when it is first needed.

    Parameters are those of `SweepPainting`; `x`, `y` and `z` precede those that the sweep was made with.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        label: Sequence[str] | None = None,
        node: str | None = None,
        image: int | None = None,
        page: int = 1,
    ) -> None:
        super().__init__([])
        given = {"x": x, "y": y, "z": z}
        layout = given if any(given.values()) else {side: sweep.layout.get(side) for side in given}
        choose_axes(sweep.axes, layout)  # reports an unknown axis now
        self._sweep = sweep
        self._options: dict[str, Any] = {"layout": layout, "label": label, "node": node, "image": image, "page": page}
        self._node, self._image = node, image
        self._painting: SweepPainting | None = None
        self._bytes: bytes | None = None

    def paint(self, *, scale: int | None = None) -> SweepPainting:
        """Return a painting of the same grid, which can be refreshed."""
        return SweepPainting(self._sweep, scale=scale, **self._options)

    def reuse(self, painting: SweepPainting) -> None:
        """Use a painting made while the runs were in progress, if it has as many pixels as this grid would have."""
        if not _may_be_fine(painting.page):
            painting.refresh()
            self._painting, self._bytes = painting, painting.jpeg()

    @property
    def figure(self) -> Figure:
        return self._paint()[0].figure()

    @property
    def jpeg(self) -> bytes:
        return self._paint()[1]

    @property
    def size_px(self) -> tuple[int, int]:
        page = self._paint()[0].page
        return page.width, page.height

    def files(self) -> list[str]:
        return [name for cell in self._sweep.cells for name in self._files(cell)]

    def _paint(self) -> tuple[SweepPainting, bytes]:
        if self._painting is None or self._bytes is None:
            self._painting = self.paint()
            self._painting.refresh()
            self._bytes = self._painting.jpeg()
        return self._painting, self._bytes

    def _files(self, cell: SweepCell) -> list[str]:
        if cell.run is None:
            return []
        chosen = chosen_images(cell.run.record.images, node=self._node, image=self._image)
        return [image.file.rsplit("/", 1)[-1] for image in chosen if image.file]

    def __str__(self) -> str:
        cells = self._sweep.cells
        lines = []
        for cell in cells[:_MAX_NAMED_CELLS]:
            labels = ", ".join(f"{name}={label}" for name, label in cell.labels.items())
            what = " ".join(self._files(cell)) or cell.error or str(cell.status or "not sent")
            lines.append(f"  {cell.ref} {labels}: {what}")
        if len(cells) > _MAX_NAMED_CELLS:
            lines.append(f"  ... {len(cells) - _MAX_NAMED_CELLS} more")
        count = f"{_counted(len(cells), 'cell')}, {_counted(len(self.files()), 'image')}"
        return "\n".join([f"{self._sweep.ref}: {count}", *lines])

    def __repr__(self) -> str:
        return f"<Grid of {self._sweep!r}>"


def _may_be_fine(page: SweepPage) -> bool:
    """Return True if doubled pixels may stay below a megabyte."""
    return page.width * page.height <= _TWICE_BELOW_PX and len(page.slots) <= _TWICE_UP_TO


def _size(image: RunImage) -> tuple[int, int] | None:
    width, height = image.record.width_px, image.record.height_px
    return (width, height) if width and height else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
