"""Draw a sweep: one page of its grid, on which only changed cells are painted again, and contact sheets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.errors import ComflowyError
from comflowy_nb.images.decode import flatten
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX, SMALL_THUMBNAIL_PX
from comflowy_nb.layout.page import CellState, Tile, mosaic
from comflowy_nb.layout.review_text import NO_REVIEW, write_review
from comflowy_nb.layout.sweep_grid import MOSAIC_GAP_PX, arrange_sweep
from comflowy_nb.layout.sweep_page import PageLimits
from comflowy_nb.painting.cell_states import draw_panel
from comflowy_nb.painting.pages import MAX_DOUBLED_BYTES, draw_page, encode, encode_within, paint_box, read_image
from comflowy_nb.painting.palette import current_palette
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.headings import cell_state_of, chosen_images, sheet_of_sweep
from comflowy_nb.tracking.reviews import best_review, reviews_to_show
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from comflowy_nb.layout.page import Box, Page
    from comflowy_nb.layout.review_text import ReviewText
    from comflowy_nb.layout.sweep_grid import ImageSizes
    from comflowy_nb.layout.sweep_sheet import SweepSheet
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import RunImage
    from comflowy_nb.workflow.images import InputImage


_MAX_DOUBLED_PX = 1_400_000  # size of a page, in CSS pixels, whose JPEG may be below a megabyte with doubled pixels
_MAX_DOUBLED_CELLS = 40
_MAX_LARGE_CELLS = 144  # a page of more cells has half the bytes, because a notebook often contains it twice
_QUALITIES = (75, 60, 45)  # tried in order, if the page has too many bytes without doubled pixels
_MAX_ORIGINALS = 4  # cells up to which the originals are drawn, not thumbnails

# A contact sheet has doubled pixels: at most 3840 x 4800, which image viewers open easily. Its thumbnails have 256.
_SHEET_WIDTH_PX, _SHEET_HEIGHT_PX = 1920, 2400
_SHEET_THUMBNAIL_PX = 128


class SweepPainting:
    """The pixels of one page of a sweep. `refresh` paints changed cells; `jpeg` encodes the page.

    Parameters
    ----------
    layout
        `x`, `y`, `z`: names of axes; None for the next axis in the order typed.
    label
        Field ids for the title.
    node, image
        The node and the index of the images to show.
    scale
        Pixels for each CSS pixel. None uses two if the JPEG then stays below a megabyte.
    limits
        Limits of the page. None uses the limits of a grid in a notebook.
    max_originals
        Number of cells up to which the originals are drawn, not thumbnails.
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
        limits: PageLimits | None = None,
        max_originals: int = _MAX_ORIGINALS,
    ) -> None:
        self.scale = scale or 1
        self._chooses_scale = scale is None
        self._sweep = sweep
        self._layout = layout
        self._label = label
        self._node = node
        self._image = image
        self._page_number = page
        self._limits = limits or PageLimits(settings.grid_width_px)
        self._uses_originals = len(sweep.cells) <= max_originals
        self._page: Page | None = None
        self._sizes: set[ImageSizes] = set()
        self._states: dict[int, CellState] = {}
        self._boxes: dict[int, Box] = {}
        self.paper = Image.new("RGB", (1, 1))  # the pixels, which the next `refresh` changes
        self.palette = current_palette()
        self._reviews: dict[int, ReviewText] = {}  # by the number of the cell

    @property
    def page(self) -> Page:
        if self._page is None:
            self.refresh()
            assert self._page is not None
        return self._page

    @property
    def _pixels(self) -> float:
        """Pixels of the paper for each pixel of the layout."""
        return self.scale * self.page.zoom

    def refresh(self, numbers: Iterable[int] | None = None) -> bool:
        """Paint the changed cells among the cells with these numbers; None checks all cells.

        Returns
        -------
        Whether a pixel has changed.
        """
        # Reviews are read again only if all cells are checked, not for each change of a running sweep.
        reviews = self._read_reviews() if self._page is None or numbers is None else self._reviews
        with DRAWING:
            is_reviewed = reviews != self._reviews
            self._reviews = reviews
            cells = self._sweep.cells
            checked = [cells[number - 1] for number in numbers] if numbers is not None else cells
            states = {cell.number: self._state(cell) for cell in checked}
            changed = {number: state for number, state in states.items() if self._states.get(number) != state}
            self._states |= changed
            sizes = self._sizes | {self._sizes_of(cells[number - 1]) for number in changed if changed[number].images}
            is_new = self._page is None or is_reviewed or (sizes != self._sizes and self._moves_cells(sizes))
            self._sizes = sizes
            if is_new:
                self._draw()
                return True
            shown = [self._boxes[number] for number in changed if number in self._boxes]
            for box in shown:
                paint_box(self.paper, box, self._pixels, self._load, self.palette)
            return bool(shown)

    def jpeg(self) -> bytes:
        """Return the page as a JPEG. In a notebook, it has less than a megabyte."""
        jpeg = encode(self.paper)
        if self._chooses_scale and self.scale > 1 and len(jpeg) > MAX_DOUBLED_BYTES:
            self._chooses_scale, self.scale = False, 1
            self._draw()
            jpeg = encode(self.paper)
        limit_bytes = MAX_DOUBLED_BYTES // (2 if len(self._boxes) > _MAX_LARGE_CELLS else 1)
        return jpeg if len(jpeg) <= limit_bytes else encode_within(self.paper, limit_bytes, _QUALITIES)

    def _make_sheet(self, lettered: Collection[str]) -> SweepSheet:
        return sheet_of_sweep(self._sweep, self._layout, label=self._label, lettered=lettered, reviews=self._reviews)

    def _read_reviews(self) -> dict[int, ReviewText]:
        """Return a mapping from cell number to the review of its best image. Cells without a review are omitted."""
        shown = {cell.number: self._images(cell) for cell in self._sweep.cells}
        by_token = reviews_to_show(image for images in shown.values() for image in images)
        written = {number: write_review(best_review(images, by_token)) for number, images in shown.items()}
        return {number: review for number, review in written.items() if review != NO_REVIEW}

    def _arrange(self, sizes: set[ImageSizes]) -> Page:
        limits, number = self._limits, self._page_number
        return arrange_sweep(self._make_sheet, limits=limits, measure=measure, images=sizes - {()}, page=number)

    def _moves_cells(self, sizes: set[ImageSizes]) -> bool:
        """Return whether images of these sizes need another layout."""
        page = self._arrange(sizes)
        return (page.zoom, page.boxes) != (self.page.zoom, self.page.boxes)

    def _draw(self) -> None:
        """Draw the page with every cell."""
        with DRAWING:
            page = self._page = self._arrange(self._sizes)
            if self._chooses_scale:
                self.scale = 2 if may_be_doubled(page) else 1
            self._boxes = {box.tile.cell: box for box in page.boxes if box.tile.input_image is None}
            for number in self._boxes.keys() - self._states.keys():
                self._states[number] = self._state(self._sweep.cells[number - 1])
            self.paper = draw_page(page, self.scale, self._load, self.palette)

    def _state(self, cell: SweepCell) -> CellState:
        return cell_state_of(cell, node=self._node, image=self._image)

    def _images(self, cell: SweepCell) -> list[RunImage]:
        if cell.run is None:
            return []
        chosen = {image.index for image in chosen_images(cell.run.record.images, node=self._node, image=self._image)}
        return [image for image in cell.run.images if image.record.index in chosen]

    def _sizes_of(self, cell: SweepCell) -> ImageSizes:
        return tuple(size for image in self._images(cell) if (size := image.record.size_px))

    def _load(self, tile: Tile, size: tuple[int, int]) -> Image.Image:
        """Return the content of a box: an input image, or the images or the state of a cell."""
        if tile.input_image is not None:
            return _load_input(tile.input_image, size, self.palette.paper)
        scale, palette = self._pixels, self.palette
        state = self._states[tile.cell]
        if not state.images:
            return draw_panel(state, size, scale, palette)
        paper = Image.new("RGB", size, palette.paper)
        images = {image.record.index: image for image in self._images(self._sweep.cells[tile.cell - 1])}
        fetching = CellState("live", "fetching")
        tiles = [
            Tile(tile.cell, index, image.record.size_px, fetching if image.record.state == "expected" else None)
            for index, image in images.items()
        ]
        for box in mosaic(tiles, (size[0] / scale, size[1] / scale), gap=MOSAIC_GAP_PX):
            paint_box(paper, box, scale, lambda part, inner: self._load_image(images[part.image or 0], inner), palette)
        return paper

    def _load_image(self, image: RunImage, size: tuple[int, int]) -> Image.Image:
        """Return an image from its file, or from the thumbnail that is large enough."""
        record = image.record
        try:
            is_original = self._uses_originals and not image.is_pruned
            size_px = LARGE_THUMBNAIL_PX if max(size) > SMALL_THUMBNAIL_PX else SMALL_THUMBNAIL_PX
            path = image.intact_path if is_original else image.thumbnail(size_px)
            return read_image(path, size)
        except (ComflowyError, OSError):
            if not record.error and not image.is_pruned:
                raise
        reason = record.error or "pruned, and its thumbnail is gone"
        is_kept = record.state == "kept"
        state = CellState("warning", "kept, not shown", reason) if is_kept else CellState("error", "missing", reason)
        return draw_panel(state, size, self._pixels, self.palette)


def contact_sheet_limits(cells: int) -> PageLimits:
    """Return the limits of a contact sheet with this number of cells. The page is approximately square."""
    side = _SHEET_THUMBNAIL_PX
    return PageLimits(
        _SHEET_WIDTH_PX,
        _SHEET_HEIGHT_PX,
        comfortable_px=min(_SHEET_HEIGHT_PX, 200 + round(side * math.sqrt(cells))),
        largest_px=side,
        good_px=side // 2,
        paged_px=side // 2,
        smallest_px=side * 3 // 8,
        is_in_notebook=False,
    )


def draw_contact_sheets(sweep: Sweep) -> Iterator[SweepPainting]:
    """Draw all images of a sweep on large pages. Yield one page at a time, to save memory."""
    limits = contact_sheet_limits(len(sweep.cells))
    number = of = 1
    while number <= of:
        painting = SweepPainting(sweep, sweep.layout, page=number, scale=2, limits=limits, max_originals=0)
        painting.refresh()
        of = painting.page.of
        yield painting
        number += 1


def may_be_doubled(page: Page) -> bool:
    """Return whether the JPEG of a page may be below a megabyte with doubled pixels."""
    cells = sum(box.tile.input_image is None for box in page.boxes)
    width, height = page.size_px
    return width * height <= _MAX_DOUBLED_PX and cells <= _MAX_DOUBLED_CELLS


def _load_input(image: InputImage, size: tuple[int, int], background: str) -> Image.Image:
    """Return an input image within this size; blank if it can't be read, because the label shows its name."""
    paper = Image.new("RGB", size, background)
    try:
        with open_image_file(image.load()) as opened:
            opened.draft("RGB", size)
            assert_decodable(opened, image.name)
            small = flatten(opened)
    except Exception:  # noqa: BLE001 - the file may be deleted or not an image
        return paper
    small.thumbnail(size)
    paper.paste(small)
    return paper
